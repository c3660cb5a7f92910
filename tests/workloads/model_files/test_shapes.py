"""Shapes from tensors: decoders of many architectures, hand-made, and what cannot be read."""

import re
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from sailsim.workloads.model_files.gguf_model import open_gguf
from sailsim.workloads.model_files.load import load_model
from sailsim.workloads.model_files.shapes import PERIODS
from sailsim.workloads.models.experts import Experts
from sailsim.workloads.models.graph import decode_step
from sailsim.workloads.models.model import ModelSpec

from ...examples import examples
from ...refusals import refusal
from .. import folder_cases, folder_files
from ..decoder_files import Tensors, attention, blocks, dense, ends, experts, facts, write_gguf

D, V = 64, 96
PLAIN = blocks(3, attention(D, 4, 2, 16), dense(D, 80))
SIZES = {"n_layers": 3, "d_model": D, "n_heads": 4, "n_kv_heads": 2, "head_dim": 16, "vocab": V}


def heads_norms(width: int = 16) -> Tensors:
    return {"attn_q_norm": (width,), "attn_k_norm": (width,)}


def biases(**widths: int) -> Tensors:
    return {f"{name}.bias": (width,) for name, width in widths.items()}


# name -> architecture, tensors, facts, and the fields of the shapes that differ from SIZES.
DECODERS: dict[str, tuple[str, Tensors, dict[str, Any], dict[str, Any]]] = {
    "qwen2, with biases": (
        "qwen2",
        PLAIN | blocks(3, biases(attn_q=64, attn_k=32, attn_v=32)) | ends(D, V),
        facts(4, 2),
        {"d_ffn": 80, "extra_params": 3 * 128},
    ),
    "qwen3, with norms of heads": (
        "qwen3",
        PLAIN | blocks(3, heads_norms()) | ends(D, V),
        facts(4, 2, attention__key_length=16, attention__value_length=16),
        {"d_ffn": 80, "norms": ("attn_norm", "attn_q_norm", "attn_k_norm", "ffn_norm", "output_norm")},
    ),
    "gemma2": (
        "gemma2",
        PLAIN | blocks(3, {"post_attention_norm": (D,), "post_ffw_norm": (D,)}) | ends(D, V, head=False),
        facts(4, 2, attention__sliding_window=7),
        {
            "d_ffn": 80,
            "tied_embeddings": True,
            "norms": ("attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm", "output_norm"),
            "sliding_window": 7,
            "full_layers": (1,),
        },
    ),
    "phi3, fused twice": (
        "phi3",
        blocks(
            3,
            {"attn_norm": (D,), "attn_qkv": (D, 128), "attn_output": (D, D)},
            {"ffn_norm": (D,), "ffn_up": (D, 160), "ffn_down": (80, D)},
        )
        | ends(D, V)
        | {"rope_factors_long.weight": (8,)},
        facts(4, 2),
        {"d_ffn": 80, "fused_projections": True, "extra_params": 8},
    ),
    "glm4, fused in the network alone": (
        "glm4",
        blocks(3, attention(D, 4, 2, 16), {"ffn_norm": (D,), "ffn_up": (D, 160), "ffn_down": (80, D)})
        | ends(D, V),
        facts(4, 2),
        {"d_ffn": 80, "fused_ffn": True},
    ),
    "falcon, one head of keys, no gate, no second norm": (
        "falcon",
        blocks(
            3,
            {"attn_norm": (D,), "attn_norm.bias": (D,), "attn_qkv": (D, 96), "attn_output": (D, D)},
            {"ffn_up": (D, 256), "ffn_down": (256, D)},
        )
        | ends(D, V)
        | {"output_norm.bias": (D,)},
        facts(4, 1),
        {
            "d_ffn": 256,
            "n_kv_heads": 1,
            "fused_projections": True,
            "gated_ffn": False,
            "norms": ("attn_norm", "output_norm"),
            "extra_params": 4 * D,
        },
    ),
    "bitnet": (
        "bitnet",
        PLAIN | blocks(3, {"attn_sub_norm": (64,), "ffn_sub_norm": (80,)}) | ends(D, V, head=False),
        facts(4, 2),
        {
            "d_ffn": 80,
            "tied_embeddings": True,
            "norms": ("attn_norm", "attn_sub_norm", "ffn_norm", "ffn_sub_norm", "output_norm"),
        },
    ),
    "olmoe, norms of all heads together": (
        "olmoe",
        blocks(
            3, attention(D, 4, 2, 16), {"attn_q_norm": (64,), "attn_k_norm": (32,)}, experts(D, 24, 6)
        )
        | ends(D, V),
        facts(4, 2, expert_used_count=2),
        {
            "d_ffn": 24,
            "experts": Experts(6, 2, 24),
            "norms": ("attn_norm", "attn_q_norm", "attn_k_norm", "ffn_norm", "output_norm"),
            "extra_params": 3 * (64 + 32 - 2 * 16),
        },
    ),
    "gpt-oss": (
        "gpt-oss",
        {
            name.replace("ffn_norm", "post_attention_norm"): shape
            for name, shape in blocks(
                3,
                attention(D, 4, 2, 16),
                experts(D, 64, 4),
                {"attn_sinks.weight": (4,), "ffn_up_exps.bias": (64, 4), "ffn_gate_inp.bias": (4,)},
            ).items()
        }
        | ends(D, V),
        facts(4, 2, expert_used_count=2, attention__sliding_window=5),
        {
            "d_ffn": 64,
            "experts": Experts(4, 2, 64),
            "sliding_window": 5,
            "full_layers": (1,),
            "extra_params": 3 * (4 + 256 + 4),
        },
    ),
    "a dense block before experts": (
        "ernie4_5-moe",
        blocks(1, attention(D, 4, 2, 16), dense(D, 80))
        | {
            name: shape
            for name, shape in blocks(3, attention(D, 4, 2, 16), experts(D, 24, 6)).items()
            if not name.startswith("blk.0.")
        }
        | ends(D, V),
        facts(4, 2, expert_used_count=2),
        {"d_ffn": 80, "experts": Experts(6, 2, 24, dense_layers=(0,))},
    ),
    "a window by blocks": (
        "any",
        PLAIN | ends(D, V),
        facts(
            4, 2, attention__sliding_window=9, attention__sliding_window_pattern=[True, False, True]
        ),
        {"d_ffn": 80, "sliding_window": 9, "full_layers": (1,)},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DECODERS)
def test_shapes_of_an_architecture_come_from_its_tensors(tmp_path, name):
    arch, tensors, said, fields = DECODERS[name]
    model = open_gguf(write_gguf(tmp_path / "m.gguf", arch, tensors, said))
    expected = ModelSpec(**{"name": "m", "title": "m", "source": "GGUF file m.gguf", **SIZES, **fields})
    assert model.spec == expected
    assert model.spec.n_params == sum(info.n_elements for info in model.tensors.values())
    own = {linear.name: linear for linear in model.spec.linears()}
    for linear in own.values():
        info = model.tensors[f"{linear.name}.weight"]
        assert model.format.tensors[linear.name].bytes(linear.k, linear.n) * linear.count == info.n_bytes
    assert len(decode_step(model.spec, model.format, 3, 20)) > 3 * len(own) / 4


@st.composite
def drawn(draw: st.DrawFn) -> tuple[Tensors, dict[str, Any], dict[str, Any]]:
    """A decoder of any of the kinds above: tensors, facts, and the fields that should come out."""
    layers, dim, kv = draw(st.integers(1, 3)), draw(st.integers(1, 9)), draw(st.integers(1, 3))
    heads, d, f, vocab = kv * draw(st.integers(1, 3)), *(draw(st.integers(1, 40)) for _ in range(3))
    value = draw(st.sampled_from([dim, draw(st.integers(1, 9))]))
    count = draw(st.integers(0, 5))
    parts = [attention(d, heads, kv, dim, value)]
    fields: dict[str, Any] = {
        "n_layers": layers, "d_model": d, "n_heads": heads, "n_kv_heads": kv, "head_dim": dim, "d_ffn": f,
        "vocab": vocab, "value_dim": 0 if value == dim else value,
    }  # fmt: skip
    said = facts(heads, kv, attention__key_length=dim, attention__value_length=value)
    if count:
        shared = draw(st.integers(0, 5))
        parts.append(experts(d, f, count, shared))
        used = draw(st.integers(1, count))
        said |= facts(heads, expert_used_count=used)
        fields["experts"] = Experts(count, used, f, shared)
        fields["extra_params"] = layers * d if shared else 0
    else:
        parts.append(dense(d, f))
    tied = draw(st.booleans())
    fields["tied_embeddings"] = tied
    return blocks(layers, *parts) | ends(d, vocab, head=not tied), said, fields


@examples(60, but=[HealthCheck.function_scoped_fixture])
@given(file=drawn())
def test_any_sizes(tmp_path, file):
    tensors, said, fields = file
    spec = load_model(write_gguf(tmp_path / "m.gguf", "whatever", tensors, said))
    assert spec == ModelSpec(name="m", title="m", source="GGUF file m.gguf", **fields)


def changed(**tensors: tuple[int, ...] | None) -> Tensors:
    """`PLAIN` with tensors of its second block changed, or left out (None)."""
    found = PLAIN | ends(D, V)
    for name, shape in tensors.items():
        whole = f"blk.1.{name}.weight"
        found.pop(whole, None)
        if shape:
            found[whole] = shape
    return found


MIXED = blocks(2, attention(D, 4, 2, 16), experts(D, 24, 6)) | ends(D, V)


@pytest.mark.parametrize(
    ("tensors", "said", "words"),
    [
        (changed(ssm_in=(D, 128)), {}, r"tensor blk\.1\.ssm_in\.weight of shape \(64, 128\) is not modelled"),
        (changed(attn_q_a=(D, 8)), {}, r"tensor blk\.1\.attn_q_a\.weight .* not modelled"),
        (changed(time_mix_key=(D, 8)), {}, r"blk\.1\.time_mix_key\.weight"),
        (PLAIN | ends(D, V) | {"per_layer_proj.weight": (D, 8)}, {}, r"tensor per_layer_proj\.weight"),
        (changed(attn_output=None), {}, r"blk\.1\.attn_output\.weight is absent; allowed is \(64, 64\)"),
        (changed(ffn_up=(D, 81)), {}, r"blk\.1\.ffn_up\.weight is \(64, 81\); allowed is \(64, 80\)"),
        (changed(attn_qkv=(D, 128)), {}, r"tensor blk\.1\.attn_qkv\.weight"),
        (blocks(2, dense(D, 80)) | ends(D, V), {}, r"attn_q\.weight or blk\.0\.attn_qkv\.weight is absent"),
        (blocks(1, {"ffn_norm": (D,)}) | ends(D, V), {}, r"attn_q.* is absent"),
        (ends(D, V), {}, "its blocks are none"),
        (changed(), {"block_count": 4}, r"its blocks are 3 of 0\.\.2; its header says 4"),
        (
            {name.replace("blk.1", "blk.7"): shape for name, shape in changed().items()},
            {}, r"its blocks are 3 of 0\.\.7; allowed are all",
        ),
        (PLAIN | {"output_norm.weight": (D,)}, {}, r"token_embd\.weight is no matrix"),
        (changed(), {"embedding_length": 65}, r"embedding_length is 65; allowed is 64, as its tensors have"),
        (changed(), {"expert_count": 8}, r"expert_count is 8; allowed is 0"),
        (changed(), {"attention.head_count": 0}, "number of heads is 0"),
        (changed(), {"attention.head_count": 6}, r"attn_q\.weight is \(64, 64\); allowed is \(64, 60\)"),
        (changed(), {"attention.head_count_kv": 0}, "heads of keys and values is 0"),
        (changed(), {"attention.head_count": [4, 2, 4]}, r"head_count is \[4, 2, 4\]; allowed is one number"),
        (changed(), {"attention.key_length": 32}, r"attn_q\.weight is \(64, 64\); allowed is \(64, 128\)"),
        (changed(), {"attention.causal": False}, r"attention\.causal is False; allowed is true"),
        (
            changed(),
            {"attention.sliding_window": 4, "attention.sliding_window_pattern": [True]},
            "of 1 blocks whether attention has a window; allowed is 3",
        ),
        (MIXED, {}, "does not say how many a token uses"),
        (changed(), {"block_count": 9, "/split.count": 3, "/split.no": 0}, r"part 1 of 3 of a split model"),
        (ends(D, V), {"/split.count": 3, "/split.no": 2}, r"part 3 of 3 .* --merge"),
        (MIXED, {"expert_used_count": 7}, r"experts\.used is 7; allowed is a whole number 1\.\.6"),
        (
            MIXED | {"blk.1.ffn_up.weight": (D, 24)},
            {"expert_used_count": 2}, r"tensor blk\.1\.ffn_up\.weight of shape",
        ),
        (
            MIXED | {"blk.1.ffn_down_exps.weight": (24, D, 5)},
            {"expert_used_count": 2}, r"ffn_down_exps\.weight is \(24, 64, 5\); allowed is \(24, 64, 6\)",
        ),
        (
            MIXED | {"blk.0.ffn_down_exps.weight": (24, D)},
            {"expert_used_count": 2}, r"is \(24, 64\); allowed is a matrix for each expert",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_read_ends_in_one_sentence(tmp_path, tensors, said, words):
    path = write_gguf(tmp_path / "m.gguf", "x", tensors, facts(4, 2) | said)
    sentence = refusal(open_gguf, path)
    assert sentence.endswith(".")
    assert re.search(words, sentence)


@pytest.mark.parametrize("architecture", ["new", *PERIODS])
def test_a_file_and_a_folder_take_the_same_of_a_window(tmp_path, architecture):
    """Neither says which blocks have it."""
    said = facts(4, 2, attention__sliding_window=6)
    file = load_model(write_gguf(tmp_path / "m.gguf", architecture, PLAIN | ends(D, V), said))
    config = folder_cases.CONFIG | {"sliding_window": 6, "model_type": architecture}
    folder = load_model(folder_files.write_folder(tmp_path / "m", folder_cases.PLAIN, config))
    blocks = range(folder.n_layers)  # fewer than the file's
    seen = [[spec.attended(layer, 100) for layer in blocks] for spec in (file, folder)]
    assert seen[0] == seen[1]
    assert file.notes == folder.notes
    assert bool(file.notes) == (architecture == "new")


def test_an_architecture_without_a_name_is_refused(tmp_path):
    path = write_gguf(tmp_path / "m.gguf", "two words", PLAIN | ends(D, V), facts(4, 2))
    assert "general.architecture is 'two words'" in refusal(open_gguf, path)
