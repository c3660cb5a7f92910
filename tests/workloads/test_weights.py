import gguf
import numpy as np
import pytest

from sailsim.lut_gemv import WeightCode
from sailsim.workloads import Linear, open_gguf
from sailsim.workloads.weights import file_source, synthetic_source

from .conftest import write_tiny_gguf


@pytest.mark.parametrize(
    ("kind", "code"),
    [("Q4_0", WeightCode.offset(4, 8)), ("Q4_1", WeightCode.offset(4, 0)), ("Q8_0", WeightCode.twos(8))],
)
def test_stored_codes_mean_what_the_reference_dequantizes(tmp_path, kind, code):
    path = tmp_path / "m.gguf"
    write_tiny_gguf(path, kind=kind)
    model = open_gguf(path)
    for linear in model.spec.linears():
        weights = file_source(model, linear).load()
        assert weights.code == code
        assert weights.origin == f"stored {kind.lower()} codes"
        assert weights.codes.shape == (linear.k, linear.n)
        assert weights.scales.shape == (linear.k // 32, linear.n)
        assert (weights.minima is None) == (kind != "Q4_1")
        source = file_source(model, linear)
        assert (source.wbits, source.minimum) == (code.wbits, kind == "Q4_1")
        truth = model.file.dequantize(f"{linear.name}.weight").T
        np.testing.assert_allclose(weights.values(), truth, rtol=1e-6, atol=1e-7)


def test_another_width_is_requantized_and_says_so(tiny_gguf):
    model = open_gguf(tiny_gguf)
    linear = model.spec.layer_linears(1)[-1]
    weights = file_source(model, linear, wbits=3, group_size=16).load()
    assert weights.origin == "requantized from q4_0 to 3 bits"
    assert weights.code == WeightCode.twos(3)
    truth = model.file.dequantize(f"{linear.name}.weight").T
    step = np.repeat(weights.scales.astype(np.float32), 16, axis=0)
    assert (np.abs(weights.values() - truth) <= 0.51 * step + 1e-6).all()


def test_floats_are_quantized_to_eight_bits(tmp_path):
    path = tmp_path / "m.gguf"
    write_tiny_gguf(path, kind="F16")
    model = open_gguf(path)
    assert file_source(model, model.spec.head).load().origin == "requantized from f16 to 8 bits"


def test_synthetic_weights_depend_on_name_and_seed_only():
    one, two = Linear("blk.0.attn_q", "attn_in", 96, 40, 0), Linear("blk.1.attn_q", "attn_in", 96, 40, 1)
    weights = synthetic_source(one, 4, 32, seed=5).load()
    assert (weights.codes == synthetic_source(one, 4, 32, seed=5).load().codes).all()
    assert not (weights.codes == synthetic_source(one, 4, 32, seed=6).load().codes).all()
    assert not (weights.codes == synthetic_source(two, 4, 32, seed=5).load().codes).all()
    assert weights.values().std() == pytest.approx(0.02, rel=0.1)
    part = weights.columns(8, 12)
    np.testing.assert_array_equal(part.values(), weights.values()[:, 8:12])


def test_the_real_file_reads_as_its_own_codes(smollm2_path):
    model = open_gguf(smollm2_path)
    linear = model.spec.layer_linears(7)[0]
    weights = file_source(model, linear).load()
    truth = gguf.quants.dequantize(model.file.raw(f"{linear.name}.weight"), gguf.GGMLQuantizationType.Q4_1).T
    np.testing.assert_allclose(weights.values(), truth, rtol=1e-6, atol=1e-7)
