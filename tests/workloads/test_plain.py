"""What only plain blocks can do says so of others: running a model, images, traces of experts."""

from dataclasses import replace
from pathlib import Path

import pytest

from sailsim.base.errors import SailsimError
from sailsim.workloads.activations import Activations
from sailsim.workloads.decoder import forward
from sailsim.workloads.experts import Experts
from sailsim.workloads.gguf_model import open_gguf
from sailsim.workloads.image import plan_image
from sailsim.workloads.load import load_model
from sailsim.workloads.traces import plan_trace

from .decoder_files import attention, blocks, dense, ends, experts, facts, write_gguf

D = 64
PLAIN = attention(D, 4, 2, 16)
SAID = facts(4, 2)


@pytest.mark.parametrize(
    ("tensors", "said", "words"),
    [
        (blocks(2, PLAIN, experts(D, 32, 4)), {"expert_used_count": 2}, "experts is 4; allowed is none in"),
        (
            blocks(2, PLAIN, dense(D, 96), {"attn_q_norm": (16,), "attn_k_norm": (16,)}),
            {},
            "norms is .*attn_q_norm.*; allowed is attn_norm, ffn_norm, output_norm in",
        ),
        (
            blocks(2, PLAIN, dense(D, 96)),
            {"attention.sliding_window": 8, "attention.sliding_window_pattern": 2},
            "sliding_window is 8; allowed is none in",
        ),
        (
            blocks(2, PLAIN, {"ffn_norm": (D,), "ffn_up": (D, 192), "ffn_down": (96, D)}),
            {},
            "fused_ffn is True; allowed is none in",
        ),
        (blocks(2, attention(D, 4, 2, 16, 8), dense(D, 96)), {}, "value_dim is 16; allowed is 32 in"),
    ],
)
def test_running_and_images_need_plain_blocks(tmp_path: Path, tensors, said, words) -> None:
    path = write_gguf(tmp_path / "m.gguf", "llama", tensors | ends(D, 48), SAID | said)
    with pytest.raises(SailsimError, match=words):
        forward(open_gguf(path), [1])
    with pytest.raises(SailsimError, match=words):
        plan_image(path)


def test_an_image_of_a_shape_needs_plain_blocks() -> None:
    for name in ("qwen3-8b", "mixtral-8x7b", "gemma-3-4b"):
        with pytest.raises(SailsimError, match="in an image"):
            plan_image(name)
    load_model("phi-4").require_plain("anything")
    with pytest.raises(SailsimError, match="experts is 4"):
        replace(load_model("phi-4"), experts=Experts(4, 1, 17920)).require_plain("anything")


def test_a_trace_leaves_experts_out_and_says_so(tmp_path: Path) -> None:
    tensors = blocks(2, PLAIN, experts(D, 32, 4, shared=32)) | ends(D, 48)
    path = write_gguf(tmp_path / "m.gguf", "x", tensors, SAID | {"expert_used_count": 2}, kind="q8_0")
    activations = Activations.load()
    plan = plan_trace(path, activations, batch=1, slices=1)
    names = {linear.name for linear, _ in plan.matrices}
    assert "blk.1.ffn_up_shexp" in names
    assert not any(name.endswith("_exps") for name in names)
    assert "left out, as tokens choose among their matrices: 6 of experts" in plan.provenance["notes"]
    with pytest.raises(SailsimError, match="those of experts, which a trace does not choose among"):
        plan_trace(path, activations, batch=1, slices=1, tensors="*_exps")
