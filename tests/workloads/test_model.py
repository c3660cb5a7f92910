from pathlib import Path

import pytest

from sailsim.base.errors import SailsimError
from sailsim.workloads import load_model, model_names

EXPECTED = [
    "gemma-2b",
    "llama-2-13b",
    "llama-2-70b",
    "llama-2-7b",
    "llama-3-8b",
    "llama-3.3-70b",
    "llama-7b",
    "mistral-7b",
    "phi-4",
    "smollm2-135m",
]


def test_the_promised_models_ship():
    assert list(model_names()) == EXPECTED


@pytest.mark.parametrize("name", EXPECTED)
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


def test_tied_head_reads_the_embedding():
    assert load_model("gemma-2b").head.name == "token_embd"
    assert load_model("llama-2-7b").head.name == "output"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("n_layers = 0", ["n_layers", "0", "1.."]),
        ("n_layers = 1.5", ["n_layers", "1.5", "int"]),
        ("n_kv_heads = 5", ["n_kv_heads", "5", "divisor"]),
        ("kv_bits = 7", ["kv_bits", "7", "16"]),
        ("flavour = 3", ["flavour", "unknown"]),
        ('source = "  "', ["source", "empty"]),
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


def test_unknown_model_lists_the_known():
    with pytest.raises(SailsimError, match=r"'llama-9b'.*llama-2-7b"):
        load_model("llama-9b")
