"""Software on a server's cores: closed forms, limits, intervals, rates of kernels, packings, bad input."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibration.measurements import fitting_model
from sailsim.analysis.runs.runs import evaluate
from sailsim.base.errors import SailsimError
from sailsim.sim.backend import StepQuery
from sailsim.sim.backends.cores import (
    BACKEND,
    UBATCH,
    CpuFit,
    cpu_fit,
    instance_counts,
    packed_breakdown,
    predict_cores,
    step_breakdown,
    ubatches,
)
from sailsim.sim.machine.system_files import load_system
from sailsim.sim.point import Point
from sailsim.sim.software.fitted import StepDemand, fitted_constants, overlapped, prompt_demand
from sailsim.sim.software.kernel_rates import format_key, simulated_rate
from sailsim.sim.software.records import N1, load_software
from sailsim.sim.step.schedule import CpuSheet
from sailsim.workloads.model_files.load import load_model
from sailsim.workloads.models.formats import TENSOR_FORMATS, format_names, uniform_format, weight_format
from sailsim.workloads.models.graph import decode_step

from ...examples import examples
from ...refusals import refusal
from .predictions import predict

GRAVITON2, ALTRA = load_system("graviton2"), load_system("altra")
LLAMA = load_model("llama-7b")
MODEL = load_model("llama-2-7b")
SAIL = load_system("sail-n1")
Q4, FOUR = weight_format("q4_k_m"), uniform_format(4, 128)


def scalar(value):
    return np.asarray(float(value))


def work(**changes):
    base = StepDemand(*(scalar(v) for v in (1, 1e9, 0, 1e9, 0, 32, 0, 1, 0)))
    return replace(base, **{k: scalar(v) for k, v in changes.items()})


MACHINE = CpuSheet(scalar(1e9), scalar(1e11), scalar(2e10))
CONSTANTS = CpuFit(scalar(0.5), scalar(2), scalar(1), 0.0, scalar(0))


def test_step_is_the_sum_of_its_closed_forms():
    parts = step_breakdown(
        work(kv_bytes=5e8, attention_macs=4e9, attention_width=2, operations=10),
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
    assert parts["synchronisation"] == pytest.approx(10 * 4 * 1e-3 + 8 * 1e-2)


@pytest.mark.parametrize(("head", "rows", "threads"), [(64, 8, 12), (64, 32, 96), (128, 32, 8)])
def test_attention_goes_by_tiles_from_eight_rows_of_one_cache(head, rows, threads):
    def attention(shared_by, **rates):
        asked = work(attention_macs=4e9, attention_width=32 * rows, rows=rows, head=head, layers=3)
        by = replace(CONSTANTS, **rates)
        return step_breakdown(asked, MACHINE, scalar(threads), by, scalar(shared_by))["attention"]

    tiled = {"tiled_rate": 2.0, "score_cycles": 30.0, "head_s": 2e-7}
    cycles = rows * 4e9 / 2 + rows * 4e9 / (2 * head) * 30
    assert attention(rows, **tiled) == pytest.approx(cycles / (threads * 1e9) + 3 * 32 * threads * 2e-7)
    for few in (1, 7):
        assert attention(few, **tiled) == attention(few)


@given(st.floats(0, 10), st.floats(0, 10), st.floats(0, 1))
def test_overlap_hides_the_shorter(reading, arithmetic, overlap):
    left = sum(overlapped(scalar(reading), scalar(arithmetic), scalar(overlap)))
    longer, shorter = max(reading, arithmetic), min(reading, arithmetic)
    assert left == pytest.approx(longer + (1 - overlap) * shorter)


@examples(25)
@given(st.integers(1, 63), st.integers(1, 31), st.integers(1, 2000))
def test_more_threads_never_slow_the_products_and_more_context_never_helps(threads, batch, context):
    few = predict_cores(GRAVITON2, LLAMA, Q4, threads, batch, context)
    more = predict_cores(GRAVITON2, LLAMA, Q4, threads + 1, batch, context)
    few_s, more_s = (step.breakdown["weights"] + step.breakdown["kernels"] for step in (few, more))
    assert more_s <= few_s + 1e-12
    longer = predict_cores(GRAVITON2, LLAMA, Q4, threads, batch, context + 1)
    assert longer.tokens_per_s < few.tokens_per_s


@pytest.mark.parametrize("name", format_names())
def test_every_format_has_a_kernel_rate_with_its_range_and_a_note_where_it_is_assumed(name):
    result = predict_cores(GRAVITON2, LLAMA, weight_format(name), 16)
    rate = fitted_constants().kernel_rates[format_key(weight_format(name).base)]
    assert rate.low <= rate.relative <= rate.high
    assert (rate.kind == "assumed") == any("assumed" in note for note in result.notes)
    assert bool(rate.how) == any("of the measured four-bit rate, the ratio" in note for note in result.notes)


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
        ({"machine": "v100", "threads": None, "software": "ampere"}, ["software", "ampere", "serving"]),
        ({"software": "serving"}, ["software", "serving", "ampere"]),
        ({"batch": 8, "instances": 9}, ["instances", "9", "1..4"]),
        ({"batch": 8, "instances": 0}, ["instances", "0", "1..4"]),
        ({"instances": None, "prompt": 8}, ["instances", "best", "prompt"]),
        (
            {"machine": "h100", "prompt": 4, "threads": None, "fmt": weight_format("f16")},
            ["prompt", "h100", "a100, a10g, l4"],
        ),
        ({"machine": "nothing"}, ["nothing", "graviton2"]),
        *(
            (
                {"machine": machine, "software": "ampere"},
                ["ampere", "allowed on neoverse-", "t-mac"],
            )
            for machine in ("graviton3", "graviton4", "axion", "cobalt100")
        ),
        ({"software": "t-mac", "fmt": uniform_format(8, 128)}, ["w8g128", "T-MAC's tables", "some of q4_0"]),
        ({"software": "t-mac", "fmt": FOUR, "prompt": 512}, ["T-MAC's prompts", "Snapdragon X Elite alone"]),
        ({"software": "other"}, ["software", "other", "llama.cpp"]),
        ({"cache": "other"}, ["cache", "other", "unified"]),
    ],
)
def test_bad_input_is_one_sentence(change, words):
    arguments = {"machine": "graviton2", "model": LLAMA, "fmt": Q4, "threads": 4} | change
    sentence = refusal(predict, **arguments)
    assert all(word in sentence for word in words), sentence


PACKED = StepDemand(*(scalar(v) for v in (2, 1e9, 1e8, 4e9, 0, 64, 100, 32, 70)))
SERVER = CpuSheet(scalar(2e9), scalar(1e11), scalar(1e10))
SLOW = CpuFit(scalar(0.5), scalar(2.0), scalar(1.0), 0.0, scalar(0.0))


def test_many_instances_take_what_they_read_together():
    few, many = (packed_breakdown(PACKED, SERVER, scalar(4), SLOW, scalar(1), scalar(n)) for n in (2, 40))
    alone = 1e9 / 4e10 + 1e8 / 4e10 + 4e9 / 1.6e10
    assert float(sum(few.values())) == pytest.approx(alone)  # 44 ms of reading hide within 277.5
    assert float(sum(many.values())) == pytest.approx(40 * 1.1e9 / 5e10)
    assert many["kernels"] == few["kernels"]


def test_the_choice_is_the_fastest_of_those_that_are_tried():
    system = load_system("graviton2")
    best = predict_cores(system, MODEL, FOUR, 64, 8, 512, instances=None)
    assert [instance_counts(*asked) for asked in ((64, 3), (16, 9), (4, 2))] == [(1, 2, 3), (1, 2), (1,)]
    each = {n: predict_cores(system, MODEL, FOUR, 64, 8, 512, instances=n) for n in instance_counts(64, 8)}
    assert best.tokens_per_s == max(found.tokens_per_s for found in each.values())
    assert each[best.instances] == best
    assert best.instances > 1
    assert any(f"{best.instances} instances side by side" in note for note in best.notes)
    assert sum(best.breakdown.values()) == pytest.approx(best.step_s)


NOTES = {
    "fork": "The fork's prompts were measured on an Altra",
    "tables": "T-MAC was measured on one and two threads",
    "few": "Fewer threads than the 8 of the smallest",
    "gem5": load_software("neon-lut").notes.always[0],
    "one model": load_software("neon-lut").notes.always[1],
    "prompts": "Single prompts were measured",
    "large": "The interval has that of weights of more than 12 GB",
    "batched": "The interval has that of several sequences in one process",
    "many": "The interval has that of 64 threads or more",
    "small": "The interval has that of fewer than 1e9 parameters",
    "rows": "The interval has that of prompts of fewer than 64 tokens",
    "unified": "Every sequence scans the cache of all",
    "separate": "Batches were measured with one cache for all sequences",
    "between": "Of llama.cpp on neoverse-n2 only the kernels were measured",
    "look-ups": "T-MAC was not measured on neoverse-n2: its look-ups are those of neoverse-n1",
}


@pytest.mark.parametrize(
    ("software", "asked", "said"),
    [
        ("llama.cpp", {"threads": 8}, set()),
        ("llama.cpp", {"threads": 7}, {"few"}),
        ("llama.cpp", {"threads": 16, "instances": 2, "batch": 2, "cache": "unified"}, set()),
        ("llama.cpp", {"threads": 14, "instances": 2, "batch": 2, "cache": "separate"}, {"few"}),
        ("llama.cpp", {"threads": 8, "batch": 2, "cache": "separate"}, {"batched", "separate"}),
        ("llama.cpp", {"threads": 8, "batch": 2}, {"batched", "separate"}),
        ("llama.cpp", {"threads": 64, "batch": 2, "machine": "altra"}, {"batched", "many", "unified"}),
        ("llama.cpp", {"threads": 8, "model": load_model("smollm2-135m")}, {"small"}),
        ("llama.cpp", {"threads": 8, "prompt": 63}, {"rows"}),
        ("llama.cpp", {"threads": 8, "prompt": 64}, set()),
        ("llama.cpp", {"threads": 8, "prompt": 64, "batch": 2}, {"prompts"}),
        ("llama.cpp", {"threads": 8, "fmt": weight_format("f16")}, {"large"}),
        ("llama.cpp", {"threads": 8, "fmt": weight_format("f16"), "prompt": 64}, set()),
        ("llama.cpp", {"threads": 8, "fmt": weight_format("f16"), "machine": "graviton3"}, {"large"}),
        ("ampere", {"threads": 8}, set()),
        ("ampere", {"threads": 8, "prompt": 64}, {"fork"}),
        ("t-mac", {"threads": 8}, {"tables"}),
        ("llama.cpp", {"threads": 8, "machine": "cobalt100"}, {"between"}),
        ("t-mac", {"threads": 8, "machine": "cobalt100"}, {"tables", "look-ups", "between"}),
        ("neon", {"threads": 7, "batch": 2}, {"gem5"}),
        ("neon-lut", {"threads": 8}, {"gem5", "one model"}),
    ],
)
def test_notes_are_those_of_the_software_and_what_it_does(software, asked, said):
    notes = "\n".join(
        predict(**{"machine": "sail-n1", "model": LLAMA, "fmt": FOUR, "software": software} | asked).notes
    )
    assert {name for name, words in NOTES.items() if words in notes} == said


def test_a_cache_of_all_sequences_is_attended_to_by_each_of_them():
    def both(**asked):
        return [predict_cores(GRAVITON2, LLAMA, Q4, 16, 8, cache=c, **asked) for c in ("separate", "unified")]

    own, shared = both()
    assert shared.breakdown["attention"] == pytest.approx(8 * own.breakdown["attention"])
    assert shared.breakdown["kernels"] == own.breakdown["kernels"]
    prompts = [
        predict_cores(GRAVITON2, LLAMA, Q4, 16, 8, prompt=64, cache=c) for c in ("separate", "unified")
    ]
    assert prompts[0] == prompts[1]


def test_the_fork_has_rates_of_its_own_for_prompts():
    fitted = fitted_constants().software("ampere")
    decoding, prompts = (cpu_fit("ampere", Q4, prompts=of)[0] for of in (False, True))
    assert prompts.kernel_rate == fitted.value("prompt_rate_q4_k_4") > decoding.kernel_rate
    assert (decoding.row_s, prompts.row_s) == (0.0, fitted.value("prompt_row_overhead") * 1e-9)
    whole, rate = cpu_fit("llama.cpp", Q4, prompts=True)
    assert (replace(whole, hand_over=0.27), rate) == cpu_fit("llama.cpp", Q4)
    one = predict_cores(ALTRA, LLAMA, Q4, 64, prompt=512, software="ampere")
    work = prompt_demand(LLAMA, Q4, 512)
    lost = 512 * LLAMA.n_layers * fitted.value("prompt_row_overhead") * 1e-9
    assert one.breakdown["synchronisation"] == pytest.approx(
        float(work.operations) * 64 * fitted.value("barrier") * 1e-9 + lost
    )
    assert one.breakdown["kernels"] == pytest.approx(
        float(work.gemv_macs) / (64 * ALTRA.cores.clock.si * fitted.value("prompt_rate_q4_k_4"))
    )


def test_a_prompt_reads_the_weights_once_for_every_512_tokens():
    steps = [predict_cores(GRAVITON2, LLAMA, Q4, 16, prompt=tokens) for tokens in (1, 512, 513, 1025)]
    reads = [step.bytes_by_kind["weights"] for step in steps]
    assert [each / reads[0] for each in reads] == pytest.approx([1, 1, 2, 3], rel=0.002)


def test_a_band_holds_the_whole_range_of_an_assumed_kernel():
    """Where the kernel decides, the ends are those of its range beside the scatter of measurements."""
    fmt = uniform_format(5, 128)
    prediction = predict_cores(GRAVITON2, LLAMA, fmt, 1, prompt=512)
    _, rate = cpu_fit("llama.cpp", fmt)
    assert rate.kind == "assumed"
    assert rate.low < rate.relative < rate.high
    share = prediction.breakdown["kernels"] / prediction.step_s
    slow, fast = (1 - share + share * rate.relative / end for end in (rate.low, rate.high))
    assert prediction.low == pytest.approx(prediction.tokens_per_s / slow, rel=0.02)
    assert prediction.high == pytest.approx(prediction.tokens_per_s / fast, rel=0.02)


def test_rates_of_tables_have_the_range_of_what_was_measured():
    """A step a bit: the ends are those of the look-up rate; types without tables keep llama.cpp's kernel."""
    lut = fitted_constants().software("t-mac").constants["lut_rate"]
    for bits, kind in ((2, "fitted"), (3, "assumed"), (4, "fitted")):
        _, rate = cpu_fit("t-mac", uniform_format(bits, 128))
        assert rate.kind == kind
        assert rate.low == pytest.approx(lut.low / lut.value / bits)
        assert rate.high == pytest.approx(lut.high / lut.value / bits)
    types = ((TENSOR_FORMATS["q4_0"], 0.6), (TENSOR_FORMATS["q8_0"], 0.4))
    _, joined = cpu_fit("t-mac", replace(uniform_format(4, 128), shares=types))
    llama = fitted_constants().software("llama.cpp").value("kernel_rate_q4_k_m")
    eight = fitted_constants().kernel_rates["q8_0"].relative * llama / lut.value
    assert joined.relative == pytest.approx(1 / (0.6 * 4 + 0.4 / eight))
    assert joined.note == "products by type: q4_0 60%, q8_0 40%"


@pytest.mark.parametrize("tables", [False, True])
@pytest.mark.parametrize("group", [32, 64, 128])
@pytest.mark.parametrize("bits", [1, 2, 3, 4, 6, 8])
def test_a_rate_is_that_of_the_fit_or_between_and_every_group_costs_a_scale(bits, group, tables):
    """Tables take a step a bit up to four."""
    own = fitted_constants().software("neon-lut" if tables else "neon")
    fitted = {width: 1 / own.value(f"kernel_rate_w{width}") for width in (2, 4, 8)}
    between = {1: fitted[2], 3: (fitted[2] + fitted[4]) / 2, 6: (fitted[4] + fitted[8]) / 2}
    cycles, scale = (fitted | between)[bits], own.value("group_cycles")
    if tables and bits <= 4:
        cycles, scale = bits / own.value("lut_rate"), own.value("lut_group_cycles")
    rate, common, _ = simulated_rate(own, uniform_format(bits, group).base, tables)
    assert 1 / rate == pytest.approx(cycles + scale * (1 / group - 1 / 128))
    of_tables = own.value("lut_shared") / own.value("shared") if tables and bits <= 4 else 1
    assert common / rate == pytest.approx(of_tables * (cycles - scale / 128))  # without a row's own sums
    assert scale > 0


def test_codes_that_no_table_looks_up_run_as_dot_products_in_a_batch_too():
    for weights in (uniform_format(5, 128), uniform_format(8, 32)):
        assert cpu_fit("neon-lut", weights) == cpu_fit("neon", weights)
    tables, _ = cpu_fit("neon-lut", uniform_format(4, 128))
    own = fitted_constants().software("neon-lut")
    assert tables.shared <= own.value("lut_shared") < cpu_fit("neon", uniform_format(4, 128))[0].shared


@pytest.mark.parametrize("model", ["llama-2-7b", "mixtral-8x7b"])
def test_gem5s_kernels_multiply_each_type_of_a_named_mix_at_its_own_rate(model):
    """As of a file. Routers stay floats and refuse nothing."""
    spec = load_model(model)
    mix = Q4.of_model(spec)
    assert sum(share for _, share in mix.shares) == pytest.approx(1)
    times = [s / cpu_fit("neon", replace(Q4, base=t, is_mix=False))[1].relative for t, s in mix.shares]
    assert len(times) > 1
    assert cpu_fit("neon", mix)[1].relative == pytest.approx(1 / sum(times))

    def rate(fmt):
        return predict_cores(SAIL, spec, fmt, 16, 8, 512, software="neon").tokens_per_s

    assert rate(Q4) == rate(mix) < rate(replace(Q4, shares=((Q4.base, 1.0),)))


def test_rows_that_fit_no_block_refuse_gem5s_row_and_no_other():
    asked = StepQuery(Point(), SAIL, replace(MODEL, d_model=4112), Q4, "neon")
    assert "weights are f16" in BACKEND.refusal(asked)
    assert BACKEND.refusal(replace(asked, software="llama.cpp")) is None


def test_four_rows_share_what_a_pass_has_in_common():
    one, rate = cpu_fit("neon", uniform_format(4, 128))
    assert one.shared == fitted_constants().software("neon").value("shared") * rate.in_common
    fast = replace(one, overlap=np.asarray(0.0), attention_rate=np.asarray(1.0))

    def kernels(batch: int) -> float:
        work = StepDemand.of(MODEL, decode_step(MODEL, uniform_format(4, 128), batch, 64), batch)
        return float(
            step_breakdown(work, CpuSheet.of(SAIL), np.asarray(4.0), fast, np.asarray(1.0))["kernels"]
        )

    assert 0 < one.shared < 1
    outputs = sum(op.n for op in decode_step(MODEL, uniform_format(4, 128), 1, 64) if op.kind == "gemv")
    begun = outputs * one.output_cycles / (4 * CpuSheet.of(SAIL).clock)
    alone = kernels(1) - begun
    assert begun > 0
    for batch, passes in ((2, 1), (4, 1), (5, 2), (8, 2)):
        of_rows = alone * (batch * (1 - one.shared) + passes * one.shared)
        assert kernels(batch) == pytest.approx(of_rows + passes * begun)


def test_what_it_does_not_know_is_refused_in_a_sentence():
    runs = {run["runner"]: run for run in evaluate(Point(model="llama-2-7b", weights="f16"))}
    assert "allowed for this project's kernels are codes of 1 to 8 bits" in runs["cores-neon"]["reason"]
    prompts = {run["runner"]: run for run in evaluate(Point(model="llama-2-7b", phase="prefill", prompt=32))}
    assert "decode alone; allowed for phase prefill" in prompts["cores-neon"]["reason"]
    with pytest.raises(SailsimError, match="cache is 'unified', allowed for NEON kernels"):
        predict_cores(SAIL, MODEL, uniform_format(4, 128), 16, 8, software="neon", cache="unified")
    with pytest.raises(SailsimError, match=r"weights are f16; allowed .* are codes of 1 to 8 bits"):
        predict("sail-n1", MODEL, weight_format("f16"), 16, software="neon")
    elsewhere = {run["runner"]: run for run in evaluate(Point(system="sail-v2", model="llama-2-7b"))}
    assert "was not measured on neoverse-v2" in elsewhere["cores-neon"]["reason"]


def test_a_format_keeps_its_ratio_and_says_where_it_was_measured():
    q8 = weight_format("q8_0")
    ratio = [float(cpu_fit("llama.cpp", q8, core=core)[1].relative) for core in (N1, "neoverse-v1")]
    assert ratio[0] == ratio[1]
    notes = predict_cores(load_system("graviton3"), LLAMA, q8, 16).notes
    assert any("that on neoverse-n1" in note for note in notes)
    near, far = (cpu_fit("llama.cpp", weight_format("q5_1"), core=core)[1] for core in (N1, "neoverse-n2"))
    assert (near.low, near.high) == (far.low, far.high)


def test_small_matrices_lose_a_hand_over_and_the_rest_by_their_size():
    lost = replace(CONSTANTS, product_s=1e-2, hand_over=0.25, whole_product=1e7)
    for weights, share in ((1e12, 1.0), (1e7, 1.0), (5e6, 0.625), (1e-9, 0.25)):
        for rows, joined in ((1, 8), (4, 5)):  # of one layer: joined or not, it loses as much
            asked = work(gemv_macs=rows * 8 * weights, rows=rows, products=joined)
            parts = step_breakdown(asked, MACHINE, scalar(4), lost, scalar(1))
            assert parts["synchronisation"] == pytest.approx(8 * 1e-2 * share)


def test_tables_read_as_a_power_of_the_threads():
    c = replace(CONSTANTS, read_rate=2.0, read_power=0.5, overlap=scalar(1))
    one, nine = (
        step_breakdown(work(gemv_macs=1), MACHINE, scalar(n), c, scalar(1))["weights"] for n in (1, 9)
    )
    assert (one, nine) == pytest.approx((1e9 / 2e9, 1e9 / 6e9))
    few = predict_cores(ALTRA, MODEL, FOUR, 1, software="t-mac")
    many = predict_cores(ALTRA, MODEL, FOUR, 12, software="t-mac")
    power = fitted_constants().software("t-mac").constants["read_power"]
    assert many.breakdown["weights"] == pytest.approx(few.breakdown["weights"] / 12**power.value, rel=0.1)
    assert many.low < many.tokens_per_s * 12 ** (power.low - power.value) * 1.2


def test_several_prompts_are_so_many_rows_and_read_the_weights_once_for_512():
    one, four = (prompt_demand(LLAMA, Q4, 512, batch, ubatches(512 * batch)) for batch in (1, 4))
    assert four.weight_bytes == pytest.approx(4 * one.weight_bytes, rel=1e-3)
    assert prompt_demand(LLAMA, Q4, UBATCH // 4, 4).weight_bytes == pytest.approx(one.weight_bytes, rel=1e-3)
    assert four.attention_macs == 4 * one.attention_macs
    assert four.rows == 2048
    # The head has a row of each prompt.
    head = LLAMA.head.params
    assert float(four.gemv_macs) - 4 * head == 4 * (float(one.gemv_macs) - head)
    single, several = (predict_cores(ALTRA, LLAMA, Q4, 64, batch, prompt=512) for batch in (1, 4))
    assert several.step_s == pytest.approx(4 * single.step_s, rel=0.02)
    assert several.tokens_per_s == pytest.approx(2048 / several.step_s)


@pytest.mark.parametrize(("threads", "batch"), [(1, 1), (16, 8), (64, 32)])
def test_what_authors_claim_is_between_its_ends_and_no_faster_than_reading(threads: int, batch: int):
    two = uniform_format(2, 128)
    asked = {"threads": threads, "batch": batch, "context": 512}
    tables = predict("graviton2", MODEL, two, software="t-mac", **asked)
    claimed = predict("graviton2", MODEL, two, software="t-sar", **asked)
    _, rate = cpu_fit("t-sar", two)
    _, measured = cpu_fit("t-mac", two)
    ends = [each / measured.relative for each in (rate.low, rate.relative, rate.high)]
    assert ends == pytest.approx([1.1, 9.74, 86.2])
    products = tables.breakdown["weights"] + tables.breakdown["kernels"]
    faster = claimed.breakdown["weights"] + claimed.breakdown["kernels"]
    reading = claimed.bytes_by_kind["weights"] / GRAVITON2.memory.read_bandwidth.si
    assert max(products / ends[1], reading) <= faster * (1 + 1e-9) <= products * (1 + 2e-9)
    assert claimed.step_s - faster == pytest.approx(tables.step_s - products)
    assert any("not measured" in note for note in claimed.notes)


@pytest.mark.slow
def test_what_nobody_ran_is_never_the_fastest_and_takes_ternary_weights_alone():
    found = {record["runner"]: record for record in evaluate(Point(wbits=2, batch=8))}
    assert found["cores-tsar"]["tokens_per_s"] > found["cores-best"]["tokens_per_s"]
    assert found["cores-best"]["tokens_per_s"] == found["cores-lut"]["tokens_per_s"]
    for point, words in (
        (Point(wbits=4), "weights are w4g128; allowed for T-SAR are ternary ones alone: tq1_0, tq2_0, w2"),
        (Point(weights="q2_k"), "weights are q2_k; allowed for T-SAR"),
        (Point(wbits=2, phase="prefill"), "T-SAR's prompts are not modelled"),
    ):
        other = {record["runner"]: record for record in evaluate(point)}["cores-tsar"]
        assert other["tokens_per_s"] is None
        assert words in other["reason"]


def test_a_server_in_bf16_is_by_its_own_closed_forms_and_no_faster_on_more_threads_than_work():
    """vLLM on N2: a rate of prompts, a cache for each sequence, and rows that were measured."""
    found = fitted_constants().software("vllm", "neoverse-n2")
    bf16, gemma, cobalt = weight_format("bf16"), fitting_model("gemma-2-2b"), load_system("cobalt100")
    known, _ = cpu_fit("vllm", bf16, prompts=True, core="neoverse-n2")
    assert float(known.kernel_rate) == found.value("prompt_rate") > found.value("kernel_rate")
    step = predict_cores(cobalt, gemma, bf16, 32, 4, 512, software="vllm")
    work = StepDemand.of(gemma, decode_step(gemma, bf16, 4, 512), 4)
    rate = found.value("attention_rate") * 32 * cobalt.cores.clock.si
    assert step.breakdown["attention"] == pytest.approx(float(work.attention_macs) / rate)
    whole = [predict_cores(cobalt, gemma, bf16, n, prompt=256, software="vllm").step_s for n in (53, 64, 96)]
    assert whole[0] == pytest.approx(whole[1]) == pytest.approx(whole[2])
    # vllm_arm.csv, Standard_D32plds_v6: a prompt of 256 tokens took 375 ms, a token then 34.3 ms.
    measured = {256 / 0.3754: {"prompt": 256}, 1 / 0.0343: {"context": 320}}
    for tokens_s, asked in measured.items():
        run = predict_cores(cobalt, gemma, bf16, 32, software="vllm", **asked)
        assert run.low < tokens_s < run.high
        assert any("1,280 tokens" in note for note in run.notes)


@pytest.mark.parametrize(
    ("system", "weights", "words"),
    [
        (
            "cobalt100",
            "q4_k_m",
            "weights are q4_k_m; allowed for vLLM is bf16: no rows of its int4 are at hand.",
        ),
        ("graviton4", "bf16", "software is vllm, which was not measured on neoverse-v2; allowed is one of"),
    ],
)
def test_a_server_runs_where_and_as_it_was_measured(system: str, weights: str, words: str):
    asked = {"software": "vllm", "cores": 16, "model": MODEL, "fmt": weight_format(weights)}
    request = StepQuery(point=Point(), machine=load_system(system), **asked)
    assert str(BACKEND.refusal(request)).startswith(words)
