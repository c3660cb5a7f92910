import pytest
from hypothesis import given
from hypothesis import strategies as st

from sailsim.base.errors import SailsimError
from sailsim.workloads.formats import TENSOR_FORMATS, uniform_format, weight_format
from sailsim.workloads.gguf_model import open_gguf
from sailsim.workloads.load import load_model
from sailsim.workloads.model import Linear

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


def test_single_formats_by_hand():
    assert TENSOR_FORMATS["q4_0"].bits_per_weight == 4.5
    assert TENSOR_FORMATS["q4_1"].bits_per_weight == 5.0
    assert TENSOR_FORMATS["q8_0"].bits_per_weight == 8.5
    assert TENSOR_FORMATS["q4_k"].bits_per_weight == 4.5
    assert TENSOR_FORMATS["q6_k"].bits_per_weight == 6.5625
    assert TENSOR_FORMATS["q4_0"].bytes(64, 3) == 3 * 2 * 18
    assert all(fmt.source for fmt in TENSOR_FORMATS.values())


def test_q4_k_m_by_tensor():
    fmt, model = weight_format("Q4_K_M"), load_model("llama-2-7b")
    kinds = {linear.name: fmt.tensor(linear, model).name for linear in model.linears()}
    assert kinds["blk.0.attn_v"] == kinds["blk.31.ffn_down"] == kinds["output"] == "q6_k"
    assert kinds["blk.4.ffn_down"] == kinds["blk.0.ffn_up"] == kinds["blk.0.attn_q"] == "q4_k"
    assert kinds["blk.6.ffn_down"] == "q6_k"
    assert fmt.wbits == 4


def test_a_width_without_whole_blocks_falls_back():
    model = load_model("smollm2-135m")
    fmt = weight_format("q4_k_m")
    by_name = {linear.name: fmt.tensor(linear, model).name for linear in model.linears()}
    assert by_name["blk.10.attn_q"] == "q5_0"
    assert by_name["token_embd"] == "q8_0"
    assert by_name["blk.14.ffn_down"] == "q6_k"
    assert fmt._fitting("q4_k", 33).name == "f16"


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
    assert fmt.bits_per_weight == pytest.approx(wbits + (16 / group if group else 0))
    assert fmt.wbits == wbits
    assert fmt.group_size == group


@pytest.mark.parametrize(("wbits", "group"), [(0, 32), (9, 32), (4, -1), (4, 65536)])
def test_uniform_refuses_what_the_abi_cannot_hold(wbits, group):
    with pytest.raises(SailsimError, match="allowed is"):
        uniform_format(wbits, group)


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
