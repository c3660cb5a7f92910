"""What a prediction's ends and parts are made of, in numbers: what ratios alone do not show."""

from dataclasses import replace

import pytest

from sailsim.analysis.baselines.cpu import constants, cpu_tokens_per_s, prompt_tokens_per_s, prompt_work
from sailsim.analysis.baselines.fitted import fitted_constants
from sailsim.analysis.baselines.gpu import gpu_tokens_per_s
from sailsim.analysis.baselines.kernel_rates import kernel_rates
from sailsim.sim.files import load_card, load_system
from sailsim.workloads.formats import TENSOR_FORMATS, uniform_format, weight_format
from sailsim.workloads.load import load_model

GRAVITON2 = load_system("graviton2")
LLAMA = load_model("llama-7b")
Q4 = weight_format("q4_k_m")


def test_a_prompt_reads_the_weights_once_for_every_512_tokens():
    reads = [float(prompt_work(LLAMA, Q4, prompt).weight_bytes) for prompt in (1, 512, 513, 1024, 1025)]
    assert [each / reads[0] for each in reads] == pytest.approx([1, 1, 2, 2, 3], rel=0.002)


def test_a_band_holds_the_whole_range_of_an_assumed_kernel():
    """Where the kernel decides, the ends are those of its range beside the scatter of measurements."""
    fmt = uniform_format(5, 128)
    prediction = prompt_tokens_per_s(GRAVITON2, LLAMA, fmt, 1, 512)
    _, rate = constants("llama.cpp", fmt)
    assert rate.kind == "assumed"
    assert rate.low < rate.relative < rate.high
    share = prediction.parts["kernels"] / prediction.step_s
    slow, fast = (1 - share + share * rate.relative / end for end in (rate.low, rate.high))
    assert prediction.low == pytest.approx(prediction.tokens_per_s / slow, rel=0.02)
    assert prediction.high == pytest.approx(prediction.tokens_per_s / fast, rel=0.02)


def test_a_rate_relative_to_another_anchor_keeps_its_range():
    rate = kernel_rates()["q2_k"]
    other = rate.times(3.0)
    assert (other.low, other.relative, other.high) == (3 * rate.low, 3 * rate.relative, 3 * rate.high)


def test_a_context_is_64_where_none_is_said():
    asked = cpu_tokens_per_s(GRAVITON2, LLAMA, Q4, 16, 4, 64)
    assert cpu_tokens_per_s(GRAVITON2, LLAMA, Q4, 16, 4).step_s == asked.step_s


def test_a_cards_band_is_that_of_its_test():
    """Sixteen bits, one sequence and batches have bands of their own; up to eight rows go one by one."""
    card, bands = load_card("a100"), fitted_constants().gpu
    for fmt, test in ((weight_format("f16"), "f16"), (Q4, "decode")):
        found, band = gpu_tokens_per_s(card, LLAMA, fmt), bands.band(test)
        ends = (found.low / found.tokens_per_s, found.high / found.tokens_per_s)
        assert ends == pytest.approx((band.low, band.high))
    batch, band = gpu_tokens_per_s(card, LLAMA, Q4, 4), bands.band("batched")
    assert batch.low < batch.tokens_per_s * band.low
    assert batch.high > batch.tokens_per_s * band.high
    kernels = [gpu_tokens_per_s(card, LLAMA, Q4, rows).parts["kernels"] for rows in (8, 9)]
    assert kernels[0] > 1.5 * kernels[1]


def test_launches_are_of_every_layer_in_nanoseconds():
    layers, gpu = LLAMA.n_layers, fitted_constants().gpu
    card = load_card("a100")
    for fmt, software, name in (
        (Q4, "llama.cpp", "layer_overhead"),
        (uniform_format(4, 128), "serving", "layer_overhead_w4"),
    ):
        found = gpu_tokens_per_s(card, LLAMA, fmt, software=software)
        row = 0.0 if name == "layer_overhead" else gpu.value(name.replace("layer", "row"))
        assert found.parts["launches"] == pytest.approx((layers * gpu.value(name) + row) * 1e-9)
        assert 1e-4 < found.step_s < 1


def test_rates_of_tables_have_the_range_of_what_was_measured():
    """A step a bit: the ends are those of the look-up rate; types without tables keep llama.cpp's kernel."""
    lut = fitted_constants().software("t-mac").constants["lut_rate"]
    for bits in (2, 3, 4):
        _, rate = constants("t-mac", uniform_format(bits, 128))
        assert rate.low == pytest.approx(lut.low / lut.value / bits)
        assert rate.high == pytest.approx(lut.high / lut.value / bits)
    types = ((TENSOR_FORMATS["q4_0"], 0.6), (TENSOR_FORMATS["q8_0"], 0.4))
    _, joined = constants("t-mac", replace(uniform_format(4, 128), shares=types))
    llama = fitted_constants().software("llama.cpp").value("kernel_rate_q4_k_m")
    eight = kernel_rates()["q8_0"].relative * llama / lut.value
    assert joined.relative == pytest.approx(1 / (0.6 * 4 + 0.4 / eight))
    assert joined.note == "products by type: q4_0 60%, q8_0 40%"
