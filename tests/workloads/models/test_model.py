import re

import pytest

from sailsim.base.errors import SailsimError
from sailsim.workloads.images.image_file import plan_image
from sailsim.workloads.inference.activation_file import Activations
from sailsim.workloads.inference.decoder import open_llama
from sailsim.workloads.model_files.load import load_model
from sailsim.workloads.models.model import model_names
from sailsim.workloads.traces import plan_trace

from ...refusals import refusal
from ..decoder_files import attention, blocks, dense, ends, experts, facts, write_gguf


@pytest.mark.parametrize("name", model_names())
def test_parameter_count_is_the_published_one(name):
    model = load_model(name)
    assert model.source
    assert model.published_source
    assert model.n_params == pytest.approx(model.published_params, rel=0.01)


def test_exact_counts_of_llama_2_7b_by_hand():
    model = load_model("llama-2-7b")
    block = 4 * 4096 * 4096 + 3 * 4096 * 11008
    assert sum(linear.params for linear in model.layer_linears(0)) == block
    assert model.n_params == 32 * (block + 2 * 4096) + 2 * 32000 * 4096 + 4096
    assert [linear.name for linear in model.layer_linears(3)] == [
        f"blk.3.{name}"
        for name in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
    ]
    assert len(model.linears()) == 32 * 7 + 1
    assert model.kv_bytes_per_token() == 32 * 2 * 4096 * 2


def test_a_missing_field_is_named(tmp_path):
    (tmp_path / "m.toml").write_text('name = "m"')
    assert "'title' is missing" in refusal(load_model, tmp_path / "m.toml")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("title = ", "is not TOML"),
        ("n_layers = 0", r"n_layers is 0; allowed .*1\.\."),
        ("n_layers = 1.5", "n_layers is 1.5; allowed .*int"),
        ("n_kv_heads = 5", "n_kv_heads is 5; allowed .*divisor"),
        ("kv_bits = 9", "kv_bits is 9; allowed .*16"),
        ("kv_bits = 8\nkv_scale_bits = 0", "kv_scale_bits is 0; allowed is 16 where kv_bits is 8"),
        ("kv_bits = 4\nkv_scale_bits = 8", "kv_scale_bits is 8; allowed is 16 where kv_bits is 4"),
        ("kv_scale_bits = 16", "kv_scale_bits is 16; allowed is 0 where kv_bits is 16"),
        ("flavour = 3", "field 'flavour' is unknown"),
        ('source = "  "', "source .*the origin of the shapes"),
        ("published = 3", "published is 3; allowed .*dict"),
        ("experts = 3", "experts is 3; allowed is a table"),
        ("experts = {count = 4, used = 2}", "experts: field 'd_ffn' is missing"),
        (
            "experts = {count = 4, used = 2, d_ffn = 96, kind = 1}",
            "experts: field 'kind' is unknown; allowed are",
        ),
        (
            "experts = {count = 4, used = true, d_ffn = 96}",
            "experts: used is True; allowed is a value of type int",
        ),
        ("experts = {count = 4, used = 5, d_ffn = 96}", "experts.used is 5; allowed is a whole number 1..4"),
        ("experts = {count = 4, used = 2, d_ffn = 90}", r"d_ffn is 96; allowed is experts.d_ffn \(90\)"),
        (
            "experts = {count = 4, used = 2, d_ffn = 96, dense_layers = [2]}",
            r"experts.dense_layers is \[2\]; allowed are rising blocks of 0..1",
        ),
        ("experts = {count = 4, used = 2, d_ffn = 9, dense_layers = [0, 1]}", "has every block"),
        ("norms = ['attn_norm', 'other']", "norms is attn_norm, other; allowed is some of attn_norm, "),
        ("norms = 'attn_norm'", "norms is 'attn_norm'; allowed is a list of values of type str"),
        ("full_layers = [0]", "full_layers is \\[0\\]; allowed is none where sliding_window is 0"),
        ("sliding_window = -1", "sliding_window is -1; allowed is a whole number 0.."),
        ("fused_ffn = 1", "fused_ffn is 1; allowed is a value of type bool"),
        ("notes = ['x']", "field 'notes' is unknown"),
        ("published = {active = -1}", "published_active is -1; allowed is a whole number"),
    ],
)
def test_a_bad_field_is_named(tmp_path, change, words):
    path = tmp_path / "m.toml"
    fields = {"name": '"m"', "title": '"M"', "source": '"s"', "n_layers": 2, "d_model": 64, "n_heads": 4}
    fields |= {"n_kv_heads": 2, "head_dim": 16, "d_ffn": 96, "vocab": 9}
    field, value = change.split(" = ", 1)
    path.write_text("".join(f"{name} = {value}\n" for name, value in (fields | {field: value}).items()))
    assert re.search(words, refusal(load_model, path))


def test_active_parameters_are_the_published_ones():
    """Whether an embedding counts is each page's own: gpt-oss' counts the head alone."""
    for name, embedding in (("mixtral-8x7b", True), ("qwen3-30b-a3b", True), ("gpt-oss-20b", False)):
        model = load_model(name)
        counted = model.active_params - (0 if embedding else model.vocab * model.d_model)
        assert counted == pytest.approx(model.published_active, rel=0.02), name
    assert load_model("llama-2-7b").active_params == load_model("llama-2-7b").n_params


def test_unknown_model_lists_the_known():
    with pytest.raises(SailsimError, match=r"'llama-9b'.*llama-2-7b"):
        load_model("llama-9b")


# --- What only plain blocks can do says so of others: running a model, images, traces of expert ---

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
def test_running_and_images_need_plain_blocks(tmp_path, tensors, said, words):
    path = write_gguf(tmp_path / "m.gguf", "llama", tensors | ends(D, 48), SAID | said)
    for refused in (refusal(open_llama, path), refusal(plan_image, path)):
        assert re.search(words, refused)


def test_a_trace_leaves_experts_out_and_says_so(tmp_path):
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
