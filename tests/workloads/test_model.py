from pathlib import Path

import pytest

from sailsim.base.errors import SailsimError
from sailsim.workloads.load import load_model
from sailsim.workloads.model import model_names


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


def test_fused_projections_hold_the_same_weights():
    model = load_model("phi-4")
    fused = {linear.name: linear for linear in model.layer_linears(0)}
    assert fused["blk.0.attn_qkv"].n == 5120 + 2 * 1280
    assert fused["blk.0.ffn_up"].n == 2 * 17920
    assert len(fused) == 4


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("n_layers = 0", ["n_layers", "0", "1.."]),
        ("n_layers = 1.5", ["n_layers", "1.5", "int"]),
        ("n_kv_heads = 5", ["n_kv_heads", "5", "divisor"]),
        ("kv_bits = 9", ["kv_bits", "9", "16"]),
        ("flavour = 3", ["flavour", "unknown"]),
        ('source = "  "', ["source", "the origin of the shapes"]),
        ("published = 3", ["published", "table"]),
    ],
)
def test_a_bad_model_file_names_the_field(tmp_path: Path, change, words):
    shapes = {
        "name": '"m"', "title": '"M"', "source": '"s"', "n_layers": 2, "d_model": 64, "n_heads": 4,
        "n_kv_heads": 2, "head_dim": 16, "d_ffn": 96, "vocab": 100,
    }  # fmt: skip
    field, value = change.split(" = ")
    shapes[field] = value
    path = tmp_path / "m.toml"
    path.write_text("\n".join(f"{key} = {value}" for key, value in shapes.items()))
    with pytest.raises(SailsimError) as error:
        load_model(path)
    assert all(word in str(error.value) for word in words)
    assert "\n" not in str(error.value)


def test_a_missing_field_and_broken_toml(tmp_path: Path):
    path = tmp_path / "m.toml"
    path.write_text('name = "m"')
    with pytest.raises(SailsimError, match="'title' is missing"):
        load_model(path)
    path.write_text("name = [")
    with pytest.raises(SailsimError, match="is not TOML"):
        load_model(path)


def test_a_shape_in_words_has_what_says_something():
    assert "norms" not in repr(load_model("llama-2-7b"))
    assert repr(load_model("llama-2-7b")).endswith("(safetensors)')")
    assert "experts=Experts(count=8, used=2, d_ffn=14336" in repr(load_model("mixtral-8x7b"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("experts = 3", "experts is 3; allowed is a table"),
        ("experts = {count = 4, used = 2}", "experts: field 'd_ffn' is missing"),
        (
            "experts = {count = 4, used = 2, d_ffn = 96, kind = 1}",
            "experts: field 'kind' is unknown; allowed are",
        ),
        (
            "experts = {count = 4, used = true, d_ffn = 96}",
            "experts.used is True; allowed is a value of type int",
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
        ("published = {active = -1}", "published.active is -1; allowed is a whole number"),
    ],
)
def test_a_bad_field_of_some_models_is_named(tmp_path: Path, change, words):
    path = tmp_path / "m.toml"
    shape = "n_layers = 2\nd_model = 64\nn_heads = 4\nn_kv_heads = 2\nhead_dim = 16\nd_ffn = 96\nvocab = 9"
    path.write_text(f'name = "m"\ntitle = "M"\nsource = "s"\n{shape}\n{change}\n')
    with pytest.raises(SailsimError, match=words) as error:
        load_model(path)
    assert "\n" not in str(error.value)


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
