"""The baselines' formulas: closed forms, limits, bands and bad input."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sailsim.analysis.baselines.cpu import (
    Constants,
    CpuSheet,
    constants,
    cpu_tokens_per_s,
    overlapped,
    prompt_tokens_per_s,
    step_parts,
)
from sailsim.analysis.baselines.fitted import fitted_constants
from sailsim.analysis.baselines.gpu import GpuConstants, GpuSheet, gpu_roofline, gpu_tokens_per_s
from sailsim.analysis.baselines.gpu import step_parts as gpu_step_parts
from sailsim.analysis.baselines.kernel_rates import format_key, kernel_rates, lut_bits
from sailsim.analysis.baselines.predict import baseline
from sailsim.analysis.baselines.prediction import Work
from sailsim.base.errors import SailsimError
from sailsim.sim.files import card_names, load_card, load_system
from sailsim.workloads.formats import format_names, uniform_format, weight_format
from sailsim.workloads.graph import decode_step
from sailsim.workloads.load import load_model

from ...examples import examples

GRAVITON2 = load_system("graviton2")
LLAMA = load_model("llama-7b")
Q4 = weight_format("q4_k_m")


def scalar(value):
    return np.asarray(float(value))


def work(**changes):
    base = Work(*(scalar(v) for v in (1, 1e9, 0, 1e9, 0, 32, 0, 1, 0)))
    return replace(base, **{k: scalar(v) for k, v in changes.items()})


MACHINE = CpuSheet(scalar(1e9), scalar(1e11), scalar(2e10))
CONSTANTS = Constants(scalar(0.5), scalar(2), scalar(1), 0.0, scalar(0))


def test_step_is_the_sum_of_its_closed_forms():
    parts = step_parts(
        work(kv_bytes=5e8, attention_macs=4e9, attention_width=2, operations=10, products=3),
        MACHINE,
        scalar(4),
        replace(CONSTANTS, barrier_s=1e-3, product_s=1e-2),
        scalar(3),
    )
    # 0.5 of 100 GB/s is less than 4 cores of 20 GB/s each; attention runs on 2 heads' worth of threads.
    assert parts["weights"] == pytest.approx(1e9 / 5e10)
    assert parts["kernels"] == pytest.approx(1e9 / (4 * 1e9 * 2))
    assert parts["attention"] == pytest.approx(3 * 4e9 / (1e9 * 2))
    assert parts["kv_cache"] == pytest.approx(5e8 / 5e10)
    assert parts["synchronisation"] == pytest.approx(10 * 4 * 1e-3 + 3 * 1e-2)


def test_one_thread_reads_what_one_core_has_under_way():
    parts = step_parts(work(), MACHINE, scalar(1), CONSTANTS, scalar(1))
    assert parts["weights"] == pytest.approx(1e9 / 2e10)


@given(st.floats(0, 10), st.floats(0, 10), st.floats(0, 1))
def test_overlap_hides_the_shorter(reading, arithmetic, overlap):
    left = sum(overlapped(scalar(reading), scalar(arithmetic), scalar(overlap)))
    longer, shorter = max(reading, arithmetic), min(reading, arithmetic)
    assert left == pytest.approx(longer + (1 - overlap) * shorter)


def test_parts_sum_to_the_step_and_the_band_holds_the_prediction():
    result = cpu_tokens_per_s(GRAVITON2, LLAMA, Q4, 48, 4, 200)
    assert sum(result.parts.values()) == pytest.approx(result.step_s)
    assert result.tokens_per_s == pytest.approx(4 / result.step_s)
    assert result.low < result.tokens_per_s < result.high
    assert result.as_dict()["tokens_per_s"] == result.tokens_per_s


@examples(25)
@given(st.integers(1, 63), st.integers(1, 31), st.integers(1, 2000))
def test_more_threads_never_slow_the_products_and_more_context_never_helps(threads, batch, context):
    few = cpu_tokens_per_s(GRAVITON2, LLAMA, Q4, threads, batch, context)
    more = cpu_tokens_per_s(GRAVITON2, LLAMA, Q4, threads + 1, batch, context)
    assert (
        more.parts["weights"] + more.parts["kernels"] <= few.parts["weights"] + few.parts["kernels"] + 1e-12
    )
    longer = cpu_tokens_per_s(GRAVITON2, LLAMA, Q4, threads, batch, context + 1)
    assert longer.tokens_per_s < few.tokens_per_s


def test_shared_cache_is_slower_with_a_batch_only_and_inside_the_band():
    for batch in (1, 16):
        own = cpu_tokens_per_s(GRAVITON2, LLAMA, Q4, 64, batch, 512)
        shared = cpu_tokens_per_s(GRAVITON2, LLAMA, Q4, 64, batch, 512, cache="unified")
        assert (shared.tokens_per_s < own.tokens_per_s) == (batch > 1)
        assert own.low <= shared.tokens_per_s


def test_prompt_is_bound_by_the_kernel_rate():
    result = prompt_tokens_per_s(GRAVITON2, LLAMA, Q4, 32, 512)
    assert result.parts["kernels"] > 0.9 * result.step_s
    assert prompt_tokens_per_s(GRAVITON2, LLAMA, Q4, 64, 512).tokens_per_s > 1.8 * result.tokens_per_s


def test_the_forks_prompts_say_where_they_were_measured():
    ours, forks = (
        prompt_tokens_per_s(GRAVITON2, LLAMA, Q4, 32, 64, software=s) for s in ("llama.cpp", "ampere")
    )
    assert not ours.notes
    assert any("measured on an Altra" in note for note in forks.notes)


def test_carries_over_by_clock_bandwidth_and_shapes():
    altra = load_system("altra")
    slow = prompt_tokens_per_s(GRAVITON2, LLAMA, Q4, 48, 128)
    fast = prompt_tokens_per_s(altra, LLAMA, Q4, 48, 128)
    assert fast.parts["kernels"] / slow.parts["kernels"] == pytest.approx(2.5 / 3.0)


@pytest.mark.parametrize("name", format_names())
def test_every_format_has_a_kernel_rate_with_its_range_and_a_note_where_it_is_assumed(name):
    result = cpu_tokens_per_s(GRAVITON2, LLAMA, weight_format(name), 16)
    rate = kernel_rates()[format_key(weight_format(name).base)]
    assert rate.low <= rate.relative <= rate.high
    assert (rate.kind == "assumed") == any("assumed" in note for note in result.notes)
    assert bool(rate.how) == any("of the measured four-bit rate, the ratio" in note for note in result.notes)


@pytest.mark.parametrize("wbits", range(1, 9))
def test_uniform_widths_were_not_measured_and_say_so(wbits):
    result = cpu_tokens_per_s(GRAVITON2, LLAMA, uniform_format(wbits, 128), 16)
    assert any("No measurement" in note for note in result.notes)
    fewer_bits = cpu_tokens_per_s(GRAVITON2, LLAMA, uniform_format(max(1, wbits - 1), 128), 16)
    assert fewer_bits.parts["weights"] <= result.parts["weights"]


@pytest.mark.parametrize("card", card_names())
def test_every_card_answers_and_says_what_it_lacks(card):
    result = gpu_tokens_per_s(load_card(card), LLAMA, Q4, 8, 256)
    assert sum(result.parts.values()) == pytest.approx(result.step_s)
    assert result.low < result.tokens_per_s < result.high
    assert any("No measurement" in note for note in result.notes) == (card in ("l40s", "h100"))
    assert any("weak baseline for a batch" in note for note in result.notes)
    half = gpu_tokens_per_s(load_card(card), load_model("gemma-2b"), weight_format("f16"))
    assert bool(half.notes) == (card not in ("a10g", "l4", "a100"))


def test_unmeasured_cards_have_wider_bands():
    own, borrowed = (gpu_tokens_per_s(load_card(card), LLAMA, Q4) for card in ("l4", "l40s"))
    assert borrowed.high / borrowed.low > own.high / own.low


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"threads": 65}, ["threads", "65", "1..64"]),
        ({"threads": 0}, ["threads", "0", "1..64"]),
        ({"batch": 0}, ["batch", "0"]),
        ({"context": 0}, ["context", "0"]),
        ({"batch": 10**29}, ["batch", "1" + 29 * "0", "1..16777216"]),
        ({"context": 10**29}, ["context", "1..16777216"]),
        ({"prompt": 10**29}, ["prompt", "1..16777216"]),
        ({"machine": "l4", "threads": None, "batch": 10**400}, ["batch", "1..16777216"]),
        ({"machine": "l4", "threads": None, "context": 10**400}, ["context", "1..16777216"]),
        ({"machine": "l4", "threads": None, "prompt": 10**400}, ["prompt", "1..16777216"]),
        ({"machine": "v100", "threads": None, "software": "ampere"}, ["software", "ampere", "v100"]),
        ({"machine": "v100", "threads": None, "cache": "unified"}, ["cache", "unified", "v100"]),
        ({"software": "serving"}, ["software", "serving", "graviton2", "ampere"]),
        ({"machine": "v100", "threads": 4}, ["threads", "4", "v100"]),
        ({"machine": "h100", "prompt": 4, "threads": None}, ["prompt", "h100", "a100, a10g, l4, t4, v100"]),
        ({"machine": "nothing"}, ["nothing", "graviton2"]),
        ({"software": "other"}, ["software", "other", "llama.cpp"]),
        ({"cache": "other"}, ["cache", "other", "unified"]),
    ],
)
def test_bad_input_is_one_sentence(change, words):
    arguments = {"machine": "graviton2", "model": LLAMA, "fmt": Q4, "threads": 4} | change
    with pytest.raises(SailsimError) as error:
        baseline(**arguments)
    assert all(word in str(error.value) for word in words)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("card", card_names())
@pytest.mark.parametrize("batch", [1, 8, 32])
def test_serving_kernels_stay_below_the_roofline_and_beat_llama_cpp_in_a_batch(card, batch):
    sheet = load_card(card)
    roof = gpu_roofline(sheet, LLAMA, Q4, batch, 256)
    serving = gpu_tokens_per_s(sheet, LLAMA, Q4, batch, 256, software="serving")
    assert serving.low < serving.tokens_per_s < serving.high
    assert serving.tokens_per_s < roof
    assert gpu_tokens_per_s(sheet, LLAMA, Q4, batch, 256).tokens_per_s < roof
    if batch > 1:
        assert serving.tokens_per_s > gpu_tokens_per_s(sheet, LLAMA, Q4, batch, 256).tokens_per_s
    # Where it was not measured the band reaches to the roofline and says so.
    assert bool(serving.notes) == (card != "a100")
    if card != "a100":
        assert serving.high >= roof * 0.999


def test_roofline_is_every_byte_once_or_the_peak():
    card = load_card("a100")
    work = Work.of(LLAMA, decode_step(LLAMA, Q4, 1, 64), 1)
    reading = float(work.weight_bytes + work.kv_bytes) / card.memory_bandwidth.si
    assert gpu_roofline(card, LLAMA, Q4) == pytest.approx(1 / reading)
    big = Work.of(LLAMA, decode_step(LLAMA, Q4, 2048, 1), 2048)
    macs = float(big.gemv_macs + big.attention_macs)
    assert gpu_roofline(card, LLAMA, Q4, 2048, 1) == pytest.approx(2048 / (macs / (card.fp16_flops.si / 2)))


def test_gpu_step_is_the_sum_of_its_closed_forms():
    one = scalar(1)
    sheet = GpuSheet(scalar(1e11), scalar(1e13), scalar(1e12), scalar(1e11))
    c = GpuConstants(*(scalar(v) for v in (0.5, 0.4, 0.1, 20, np.inf, 1e-5, 2e-5, 0)))
    few = gpu_step_parts(work(rows=4, gemv_macs=4e9, kv_bytes=1e8), sheet, c)
    assert few["weights"] == pytest.approx(1e9 / 5e10)
    assert few["kernels"] == pytest.approx(3e9 / 1e11)  # the first row hides behind the reading
    assert few["kv_cache"] == pytest.approx(1e8 / 5e10)
    assert few["launches"] == pytest.approx(1e-5 + 4 * 2e-5)
    # Few rows in a matrix kernel of 16: 16e9 MACs at 20 a cycle and multiprocessor.
    tiled = gpu_step_parts(work(rows=4, gemv_macs=4e9), sheet, replace(c, tile_rows=scalar(16)))
    assert tiled["kernels"] == pytest.approx(16e9 / 2e12)
    many = gpu_step_parts(work(rows=16, gemv_macs=16e9), sheet, c)
    assert many["kernels"] == pytest.approx(16e9 / 2e12)
    # A matrix kernel never runs faster than full tiles do.
    fast = gpu_step_parts(work(rows=16, gemv_macs=16e9), sheet, replace(c, batch_rate=one * 1e9))
    assert fast["kernels"] == pytest.approx(16e9 / 4e12)


def test_serving_has_no_kernel_for_other_widths():
    with pytest.raises(SailsimError, match=r"q8_0.*serving.*4-bit"):
        gpu_tokens_per_s(load_card("a100"), LLAMA, weight_format("q8_0"), software="serving")
    with pytest.raises(SailsimError, match=r"software is 'other'"):
        gpu_tokens_per_s(load_card("a100"), LLAMA, Q4, software="other")


def test_rates_from_gem5_follow_varied_fits():
    _, shipped = constants("llama.cpp", weight_format("q8_0"))
    varied = fitted_constants().varied({"cpu.llama.cpp.kernel_rate_q8_0": 5.0})
    changed, rate = constants("llama.cpp", weight_format("q8_0"), varied)
    assert float(changed.kernel_rate) == pytest.approx(5.0)
    assert rate.relative != shipped.relative


def test_a_card_by_name_takes_its_software():
    ours, theirs = (
        baseline("v100", LLAMA, Q4, batch=32, context=128, software=s) for s in ("llama.cpp", "serving")
    )
    assert theirs.tokens_per_s > ours.tokens_per_s


def test_models_larger_than_any_fitted_have_a_higher_end_and_say_so():
    small, large = (
        cpu_tokens_per_s(GRAVITON2, load_model(name), Q4, 48) for name in ("phi-4", "llama-3.3-70b")
    )
    assert large.high / large.tokens_per_s > 1.08 * small.high / small.tokens_per_s
    assert large.low / large.tokens_per_s == pytest.approx(small.low / small.tokens_per_s)
    assert [any("70B" in note for note in p.notes) for p in (small, large)] == [False, True]


def test_what_does_not_fit_a_card_is_refused():
    with pytest.raises(SailsimError, match=r"v100.*26.1 GB.*allowed"):
        gpu_tokens_per_s(load_card("v100"), load_model("llama-2-13b"), weight_format("f16"))


def test_work_adds_up_over_the_operations():
    ops = decode_step(LLAMA, Q4, 3, 100)
    sums = Work.of(LLAMA, ops, 3)
    assert float(sums.gemv_macs) == sum(op.macs for op in ops if op.kind == "gemv")
    assert float(sums.weight_bytes) == sum(op.weight_bytes for op in ops)
    assert float(sums.attention_width) == 3 * LLAMA.n_heads
    assert float(sums.products) == 7 * LLAMA.n_layers + 1


def test_every_fitted_constant_says_where_it_comes_from():
    constants = fitted_constants().quantities()
    assert len(constants) > 20
    for name, quantity in constants.items():
        assert quantity.source, name
        assert quantity.kind in ("fitted", "assumed"), name
        assert quantity.low is not None, name
        assert quantity.low <= quantity.value <= quantity.high, name


def test_tables_on_the_cores_take_a_step_a_bit_whatever_the_batch():
    """T-MAC: twice the bits are twice the steps, and a batch shares none of them."""
    one, two, four = (
        cpu_tokens_per_s(GRAVITON2, LLAMA, uniform_format(w, 128), 16, 1, 64, software="t-mac")
        for w in (1, 2, 4)
    )
    rate = fitted_constants().software("t-mac").value("lut_rate")
    macs = Work.of(LLAMA, decode_step(LLAMA, uniform_format(2, 128), 1, 64), 1).gemv_macs
    whole = float(macs) * 2 / (rate * 2.5e9 * 16)
    assert two.parts["kernels"] == pytest.approx(whole)  # the longer of the two stays whole
    assert four.parts["kernels"] == pytest.approx(2 * two.parts["kernels"])
    assert one.tokens_per_s > two.tokens_per_s > four.tokens_per_s
    batch = cpu_tokens_per_s(GRAVITON2, LLAMA, uniform_format(2, 128), 16, 8, 64, software="t-mac")
    assert batch.parts["kernels"] == pytest.approx(8 * whole)
    assert any("Cortex-A76" in note for note in two.notes)


def test_tables_that_take_none_of_a_formats_types_are_refused():
    with pytest.raises(
        SailsimError, match=r"weights are w8g128; allowed for T-MAC's tables are some of q4_0"
    ):
        cpu_tokens_per_s(GRAVITON2, LLAMA, uniform_format(8, 128), 16, software="t-mac")
    assert set(lut_bits().values()) == {1, 2, 3, 4}


def test_the_two_bit_kernel_is_what_was_measured_beside_the_four_bit_one():
    """llama.cpp on a Cortex-A76 (tmac.csv): 0.66 over 0.85 and 1.31 over 1.63 tokens/s."""
    rates = fitted_constants().software("llama.cpp")
    ratio = rates.value("kernel_rate_q2_k") / rates.value("kernel_rate_q4_0")
    assert ratio == pytest.approx((0.66 / 0.85 * 1.31 / 1.63) ** 0.5, rel=1e-4)
