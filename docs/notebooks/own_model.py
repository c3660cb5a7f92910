# %% [markdown]
# # A model of your own
#
# A GGUF file is a model: its header says the shapes, and each tensor has its own format. This one is made
# here, small and random, with four-bit blocks and an eight-bit head.

# %%
from pathlib import Path
from tempfile import mkdtemp

import gguf
import numpy as np

D, LAYERS, FFN, VOCAB = 256, 4, 768, 2048
path = Path(mkdtemp()) / "mine.gguf"
file = gguf.GGUFWriter(path, "llama")
facts = {
    "context_length": 2048, "embedding_length": D, "block_count": LAYERS, "feed_forward_length": FFN,
    "attention.head_count": 4, "attention.head_count_kv": 2, "vocab_size": VOCAB,
}  # fmt: skip
for key, value in facts.items():
    file.add_uint32(f"llama.{key}", value)
file.add_float32("llama.attention.layer_norm_rms_epsilon", 1e-5)


def add(name: str, outputs: int, inputs: int, kind: str) -> None:
    """A random matrix in blocks of llama.cpp's."""
    values = np.random.default_rng(len(name)).normal(0, 0.02, (outputs, inputs)).astype(np.float32)
    of = gguf.GGMLQuantizationType[kind]
    file.add_tensor(f"{name}.weight", gguf.quants.quantize(values, of), raw_dtype=of)


for name in ("token_embd", "output"):
    add(name, VOCAB, D, "Q8_0")
file.add_tensor("output_norm.weight", np.ones(D, np.float32))
for layer in range(LAYERS):
    for name, outputs, inputs in (
        ("attn_q", D, D), ("attn_k", D // 2, D), ("attn_v", D // 2, D), ("attn_output", D, D),
        ("ffn_gate", FFN, D), ("ffn_up", FFN, D), ("ffn_down", D, FFN),
    ):  # fmt: skip
        add(f"blk.{layer}.{name}", outputs, inputs, "Q4_0")
    for name in ("attn_norm", "ffn_norm"):
        file.add_tensor(f"blk.{layer}.{name}.weight", np.ones(D, np.float32))
file.write_header_to_file()
file.write_kv_data_to_file()
file.write_tensors_to_file()
file.close()

# %% [markdown]
# Its path stands where a name stands. The weights are then as the file has them.

# %%
from sailsim import Point, compare, load_model

model = load_model(path)
point = Point(model=path, batch=4, threads=4, context=256)
print(f"{model.n_params:,} parameters: {point.formats(model).census_in_words(model)}")
compare(point)

# %% [markdown]
# What if it had other weights? `replace` checks the new point as the first one.

# %%
from sailsim import simulate

choices = {"as stored": point} | {f"{bits} bits": point.replace(wbits=bits) for bits in (2, 4, 8)}
for name, each in choices.items():
    print(f"{name:>10} {simulate(each).tokens_per_s:8.0f} tokens/s")

# %% [markdown]
# Bits hardly matter for a model this small: the cores and conversion take its time, not its weights.

# %%
import pandas as pd

step = simulate(point)
shares = 100 * pd.Series(step.breakdown) / step.step_s
shares.plot.barh(xlabel="% of the step")
