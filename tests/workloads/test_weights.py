import gguf
import numpy as np
import pytest

from sailsim.base.errors import SailsimError
from sailsim.lut_gemv.codes import WeightCode
from sailsim.workloads.formats import TENSOR_FORMATS, uniform_format
from sailsim.workloads.gguf_model import GgufModel, open_gguf
from sailsim.workloads.model import Linear
from sailsim.workloads.weights import _stored, file_source, synthetic_source

from .conftest import write_tiny_gguf

FOUR = uniform_format(4, 32).base


@pytest.mark.parametrize(
    ("exponent", "codes", "good"), [(120, 0x11, True), (90, 0x11, False), (90, 0x80, True)]
)
def test_a_power_of_two_that_no_tile_holds_is_refused(exponent, codes, good):
    raw = np.full((1, 17), codes, np.uint8)
    raw[0, 0] = exponent
    if good:
        truth = gguf.quants.dequantize(raw, gguf.GGMLQuantizationType.MXFP4).T
        np.testing.assert_array_equal(_stored(raw, TENSOR_FORMATS["mxfp4"], "").values(), truth)
    else:
        with pytest.raises(SailsimError, match="a scale of MXFP4 is"):
            _stored(raw, TENSOR_FORMATS["mxfp4"], "")


def test_another_width_is_quantized_again_and_says_so(tiny_gguf):
    model = open_gguf(tiny_gguf)
    linear = model.spec.layer_linears(1)[-1]
    weights = file_source(model, linear, uniform_format(3, 16).base).load()
    assert weights.origin == "w3g16 codes of q4_0 values"
    assert weights.code == WeightCode.twos(3)
    truth = model.file.dequantize(f"{linear.name}.weight").T
    step = np.repeat(weights.scales.astype(np.float32), 16, axis=0)
    assert (np.abs(weights.values() - truth) <= 0.51 * step + 1e-6).all()


CODED = [name for name, fmt in TENSOR_FORMATS.items() if fmt.code is not None]


@pytest.mark.parametrize("name", CODED)
def test_values_become_the_codes_blocks_and_minima_of_any_format(float_model, name):
    fmt = TENSOR_FORMATS[name]
    linear = float_model.spec.layer_linears(0)[0]
    weights = file_source(float_model, linear, fmt).load()
    assert (weights.code, weights.group_size) == (fmt.code, fmt.group_size)
    assert weights.scales.shape == (-(-linear.k // fmt.group_size), linear.n)
    assert (weights.minima is not None) == fmt.minimum
    truth = float_model.file.dequantize(f"{linear.name}.weight").T
    levels = np.unique(fmt.code.values).astype(int)
    step = np.repeat(np.abs(weights.scales.astype(np.float32)), fmt.group_size, axis=0)[: linear.k]
    # Half of the widest gap between levels, or what lies beyond the last one, and the rounding of the scale.
    reach = max(np.diff(levels).max() / 2, abs(levels[0] + levels[-1]))
    assert (np.abs(weights.values() - truth) <= (reach + 0.1) * step + 1e-4).all()


@pytest.fixture
def float_model(tmp_path) -> GgufModel:
    write_tiny_gguf(tmp_path / "m.gguf", kind="F16")
    return open_gguf(tmp_path / "m.gguf")


def test_floats_have_no_codes_of_their_own(float_model):
    with pytest.raises(SailsimError, match="format is f16, which has no scalar codes"):
        file_source(float_model, float_model.spec.head)


def test_synthetic_weights_depend_on_name_and_seed_only():
    one, two = Linear("blk.0.attn_q", "attn_in", 96, 40, 0), Linear("blk.1.attn_q", "attn_in", 96, 40, 1)
    weights = synthetic_source(one, FOUR, seed=5).load()
    assert (weights.codes == synthetic_source(one, FOUR, seed=5).load().codes).all()
    assert not (weights.codes == synthetic_source(one, FOUR, seed=6).load().codes).all()
    assert not (weights.codes == synthetic_source(two, FOUR, seed=5).load().codes).all()
    assert weights.values().std() == pytest.approx(0.02, rel=0.1)
    part = weights.columns(8, 12)
    np.testing.assert_array_equal(part.values(), weights.values()[:, 8:12])
