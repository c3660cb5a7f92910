import gguf
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sailsim.workloads.inference.perplexity import quantize_compensated
from sailsim.workloads.inference.weights import _unpack_blocks, quantize, synthetic_source, weight_source
from sailsim.workloads.model_files.gguf_model import GgufModel, open_gguf
from sailsim.workloads.model_files.load import chosen_format, load_model
from sailsim.workloads.models.formats import TENSOR_FORMATS, uniform_format, weight_format
from sailsim.workloads.models.model import Linear

from ...refusals import refusal
from ..conftest import write_tiny_gguf

# Bits per weight that llama.cpp publishes: tools/quantize/README.md at 311c2c9 (Llama-3.1-8B, whose shapes
# are those of Llama-3-8B) and examples/quantize at 66d575c (Llama 2, two decimals; its Q2_K predates a
# change of that mix and its 70B mixes differ by 0.02, so both are left out).
LLAMA_3_8B = {
    "q2_k": 3.1593, "q3_k_s": 3.6429, "q3_k_l": 4.2979, "iq4_xs": 4.4597, "iq4_nl": 4.6818, "q4_k_s": 4.6672,
    "q4_k_m": 4.8944, "q5_k_s": 5.5704, "q5_k_m": 5.7036, "q6_k": 6.5633, "q8_0": 8.5008, "f16": 16.0005,
}  # fmt: skip
LLAMA_2_7B = {
    "q3_k_s": 3.50, "q3_k_m": 3.91, "q3_k_l": 4.27, "q4_k_s": 4.58, "q4_k_m": 4.84, "q5_k_s": 5.52,
    "q5_k_m": 5.68, "q6_k": 6.56,
}  # fmt: skip
LLAMA_2_13B = {
    "q3_k_s": 3.48, "q3_k_m": 3.89, "q3_k_l": 4.26, "q4_k_s": 4.56, "q4_k_m": 4.83, "q5_k_s": 5.51,
    "q5_k_m": 5.67, "q6_k": 6.56,
}  # fmt: skip


def test_blocks_are_as_large_as_ggmls():
    sizes = {name: (fmt.block, fmt.block_bytes) for name, fmt in TENSOR_FORMATS.items()}
    types = gguf.constants.GGMLQuantizationType
    assert sizes == {name: gguf.constants.GGML_QUANT_SIZES[types[name.upper()]] for name in sizes}


@pytest.mark.parametrize(
    ("model", "published", "digits"),
    [("llama-3-8b", LLAMA_3_8B, 4), ("llama-2-7b", LLAMA_2_7B, 2), ("llama-2-13b", LLAMA_2_13B, 2)],
)
def test_mixes_have_the_published_bits_per_weight(model, published, digits):
    spec = load_model(model)
    for name, bits in published.items():
        assert weight_format(name).model_bits_per_weight(spec) == pytest.approx(
            bits, abs=0.6 * 10**-digits
        ), name


@given(
    wbits=st.integers(1, 8), group=st.sampled_from([0, 1, 3, 16, 32, 64, 128]), k=st.integers(1, 300),
    n=st.integers(1, 50),
)  # fmt: skip
def test_uniform_bytes_are_codes_plus_scales(wbits, group, k, n):
    fmt = uniform_format(wbits, group)
    model = load_model("llama-2-7b")
    size = fmt.tensor(Linear("x", "ffn_in", k, n, 0), model).bytes(k, n)
    blocks = -(-k // group) if group else 1
    assert size == k * -(-n * wbits // 8) + 2 * blocks * n
    assert fmt.wbits == wbits
    assert fmt.group_size == group


@pytest.mark.parametrize(("wbits", "group"), [(0, 32), (9, 32), (4, -1), (4, 65536)])
def test_uniform_refuses_what_the_abi_cannot_hold(wbits, group):
    assert "allowed is" in refusal(uniform_format, wbits, group)


def test_the_quantizers_rules_reproduce_the_real_file(smollm2_path):
    model = open_gguf(smollm2_path)
    mix, spec = weight_format("q4_1"), load_model("smollm2-135m")
    for linear in spec.linears():
        assert mix.tensor(linear, spec) == model.format.tensor(linear, model.spec), linear.name
    assert (
        mix.model_bytes(spec)
        == sum(tensor.n_bytes for tensor in model.stored)
        == model.format.model_bytes(model.spec)
    )
    assert model.spec.n_params == spec.n_params


# --- Which format a model's weights have: what is said reaches the engine, the cores and the ca ---

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


def test_a_word_is_a_uniform_format_a_mix_or_a_single_type():
    assert chosen("4g32") == uniform_format(4, 32)
    assert chosen("Q4_K_M") == weight_format("q4_k_m")
    assert chosen("mxfp4").base.name == "mxfp4"
    assert [found.name for found, _, _ in chosen("q4_k_m").census(MODEL)] == ["q4_k", "q6_k"]


def test_the_first_pattern_of_a_policy_that_matches_decides(tmp_path):
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


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (('source = "a test"', ""), ("'source' is missing",)),
        (('source = "a test"', 'source = " "'), ("source is ' '",)),
        (('default = "4g32"', 'default = "q9"'), ("weights is 'q9'",)),
        (('"blk.0.*"', '"blk.99.*"'), ("'blk.99.*'", "matches no tensor")),
        (('"output" = "f16"', '"output" = 3'), ("tensors: output is 3; allowed is a value of type str",)),
        (('name = "careful"', 'colour = "red"\nname = "careful"'), ("'colour' is unknown",)),
        (('default = "4g32"', 'default = "other.toml"'), ("names another policy",)),
        (('name = "careful"', "name = "), ("is not TOML",)),
    ],
)
def test_a_damaged_policy_is_one_sentence(tmp_path, change, words):
    path = tmp_path / "policy.toml"
    path.write_text(POLICY.replace(*change))
    sentence = refusal(chosen, str(path))
    assert all(word in sentence for word in words), sentence


@pytest.mark.parametrize("choice", ["file", "q4_k_x", "9", "4g99999", "nothing.toml", "-4"])
def test_what_is_no_choice_is_one_sentence(choice):
    assert "allowed" in refusal(chosen, choice)


# ---  ---

FOUR = uniform_format(4, 32).base


@pytest.mark.parametrize(
    ("exponent", "codes", "good"), [(120, 0x11, True), (90, 0x11, False), (90, 0x80, True)]
)
def test_a_power_of_two_that_no_tile_holds_is_refused(exponent, codes, good):
    raw = np.full((1, 17), codes, np.uint8)
    raw[0, 0] = exponent
    if good:
        truth = gguf.quants.dequantize(raw, gguf.GGMLQuantizationType.MXFP4).T
        np.testing.assert_array_equal(_unpack_blocks(raw, TENSOR_FORMATS["mxfp4"], "").values(), truth)
    else:
        assert "a scale of MXFP4 is" in refusal(_unpack_blocks, raw, TENSOR_FORMATS["mxfp4"], "")


CODED = [name for name, fmt in TENSOR_FORMATS.items() if fmt.code is not None]


@pytest.mark.parametrize("name", CODED)
def test_values_become_the_codes_blocks_and_minima_of_any_format(float_model, name):
    fmt = TENSOR_FORMATS[name]
    linear = float_model.spec.layer_linears(0)[0]
    weights = weight_source(float_model, linear, fmt).load()
    assert (weights.code, weights.group_size) == (fmt.code, fmt.group_size)
    assert weights.scales.shape == (-(-linear.k // fmt.group_size), linear.n)
    assert (weights.minima is not None) == fmt.minimum
    truth = float_model.dequantize(f"{linear.name}.weight").T
    levels = np.unique(fmt.code.values).astype(int)
    step = np.repeat(np.abs(weights.scales.astype(np.float32)), fmt.group_size, axis=0)[: linear.k]
    # Half of the widest gap between levels, or what lies beyond the last one, and the rounding of the scale.
    reach = max(np.diff(levels).max() / 2, abs(levels[0] + levels[-1]))
    assert (np.abs(weights.values() - truth) <= (reach + 0.1) * step + 1e-4).all()


@pytest.fixture
def float_model(tmp_path) -> GgufModel:
    write_tiny_gguf(tmp_path / "m.gguf", kind="F16")
    return open_gguf(tmp_path / "m.gguf")


def test_synthetic_weights_depend_on_name_and_seed_only():
    one, two = Linear("blk.0.attn_q", "attn_in", 96, 40, 0), Linear("blk.1.attn_q", "attn_in", 96, 40, 1)
    weights = synthetic_source(one, FOUR, seed=5).load()
    assert (weights.codes == synthetic_source(one, FOUR, seed=5).load().codes).all()
    assert not (weights.codes == synthetic_source(one, FOUR, seed=6).load().codes).all()
    assert not (weights.codes == synthetic_source(two, FOUR, seed=5).load().codes).all()
    assert weights.values().std() == pytest.approx(0.02, rel=0.1)
    part = weights.take(slice(8, 12))
    np.testing.assert_array_equal(part.values(), weights.values()[:, 8:12])


# --- Compensated weights: codes of the format, and outputs nearer than with each weight at its  ---


def inputs(k, rows=400):
    """Columns that move together, as a layer's do."""
    rng = np.random.default_rng(4)
    return (rng.normal(0, 1, (rows, k // 2)) @ rng.normal(0, 1, (k // 2, k))).astype(np.float32)


FORMATS = [uniform_format(4, 32).base, uniform_format(3, 0).base, uniform_format(1, 32).base]
FORMATS += [TENSOR_FORMATS[name] for name in ("q2_k", "q4_1", "mxfp4", "tq2_0", "iq4_nl", "q4_0")]


@pytest.mark.parametrize("fmt", FORMATS, ids=lambda fmt: fmt.name)
def test_outputs_are_nearer_than_with_each_weight_nearest(fmt):
    values = np.random.default_rng(1).normal(0, 0.1, (256, 24)).astype(np.float32)
    x = inputs(256)
    made, plain = quantize_compensated(values, x, fmt, "here"), quantize(values, fmt, "there")
    assert (made.code, made.group_size, made.codes.shape) == (fmt.code, fmt.group_size, values.shape)
    assert made.scales.shape == plain.scales.shape
    assert (made.minima is None) == (not fmt.minimum)
    off = [np.square(x @ (weights.values() - values)).mean() for weights in (made, plain)]
    assert off[0] < 0.7 * off[1]
