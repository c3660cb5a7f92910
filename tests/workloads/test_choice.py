"""Which format a model's weights have: what is said reaches the engine, the cores and the cards."""

from pathlib import Path

import pytest

from sailsim.base.errors import SailsimError
from sailsim.workloads.formats import uniform_format, weight_format
from sailsim.workloads.load import chosen_format, load_model

MODEL = load_model("llama-2-7b")
POLICY = """
name = "careful"
source = "a test"
default = "4g32"
[tensors]
"blk.*.attn_v" = "q6_k"
"blk.0.*" = "8g64"
"output" = "f16"
"""


def chosen(choice: str, model: str = "llama-2-7b"):
    return chosen_format(choice, model, load_model(model))


def test_a_word_is_a_uniform_format_a_mix_or_a_single_type() -> None:
    assert chosen("4g32") == uniform_format(4, 32)
    assert chosen("Q4_K_M") == weight_format("q4_k_m")
    assert chosen("mxfp4").base.name == "mxfp4"
    assert [found.name for found, _, _ in chosen("q4_k_m").census(MODEL)] == ["q4_k", "q6_k"]


def test_the_first_pattern_of_a_policy_that_matches_decides(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(POLICY)
    fmt = chosen(str(path))
    named = {linear.name: fmt.tensor(linear, MODEL).name for linear in MODEL.linears()}
    assert named["blk.0.attn_v"] == named["blk.5.attn_v"] == "q6_k"
    assert named["blk.0.attn_q"] == "w8g64"
    assert named["blk.1.attn_q"] == "w4g32"
    assert named["output"] == "f16"
    assert fmt.embedding(MODEL).name == "w4g32"
    counts = {found.name: tensors for found, tensors, _ in fmt.census(MODEL)}
    assert counts == {"w4g32": 186, "q6_k": 32, "w8g64": 6, "f16": 1}
    assert sum(share for _, share in fmt.shares) == pytest.approx(1)
    assert fmt.source.endswith("a test")


def test_a_policy_over_a_file_leaves_the_rest_as_the_file_has_it(tiny_gguf: Path, tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text('name = "p"\nsource = "s"\ndefault = "file"\n[tensors]\n"blk.0.ffn_up" = "8g32"\n')
    fmt = chosen(str(path), str(tiny_gguf))
    spec = load_model(tiny_gguf)
    assert {fmt.tensor(linear, spec).name for linear in spec.linears()} == {"q4_0", "w8g32"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (('source = "a test"', ""), ("source is missing",)),
        (('source = "a test"', 'source = " "'), ("source is ' '",)),
        (('default = "4g32"', 'default = "q9"'), ("weights is 'q9'",)),
        (('"blk.0.*"', '"blk.99.*"'), ("'blk.99.*'", "matches no tensor")),
        (('"output" = "f16"', '"output" = 3'), ("tensors is no table",)),
        (('name = "careful"', 'colour = "red"\nname = "careful"'), ("'colour' is unknown",)),
        (('default = "4g32"', 'default = "other.toml"'), ("names another policy",)),
        (('name = "careful"', "name = "), ("is not TOML",)),
    ],
)
def test_a_damaged_policy_is_one_sentence(tmp_path: Path, change, words) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(POLICY.replace(*change))
    with pytest.raises(SailsimError) as refused:
        chosen(str(path))
    for word in words:
        assert word in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("choice", ["file", "q4_k_x", "9", "4g99999", "nothing.toml", "-4"])
def test_what_is_no_choice_is_one_sentence(choice: str) -> None:
    with pytest.raises(SailsimError, match="allowed"):
        chosen(choice)
