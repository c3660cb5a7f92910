"""GPUs: a step, its interval and its prompts in numbers that were worked by hand; whose constants a GPU
has."""

from dataclasses import replace
from math import exp, hypot, log

import numpy as np
import pytest

from calibration.gpu_problem import GPUS, OWN_LAUNCHES
from calibration.prompt_problem import SIXTEEN_BIT_GPUS
from sailsim.analysis.runs.runs import runners
from sailsim.base.errors import SailsimError
from sailsim.sim.backends import roofline
from sailsim.sim.backends.cores import SEVERAL_PROMPTS_NOTE
from sailsim.sim.backends.roofline import (
    FIT_SOURCE,
    SERVING_CONSTANTS,
    GpuFit,
    GpuSheet,
    gpu_roofline,
    inherited_note,
    is_four_bit,
    mixed_breakdown,
    predict_gpu,
    prompt_problem,
    serving_fit,
    step_breakdown,
)
from sailsim.sim.machine.system_files import gpu_names, load_gpu, load_machine, vary
from sailsim.sim.software.fitted import StepDemand, fitted_constants, prompt_demand
from sailsim.sim.software.gpu_software import GpuSoftware, gpu_software, kind_of
from sailsim.workloads.model_files.load import load_model
from sailsim.workloads.models.experts import distinct_experts
from sailsim.workloads.models.formats import uniform_format, weight_format
from sailsim.workloads.models.graph import decode_step

from ...refusals import extending, refusal
from .predictions import predict

MODEL, LLAMA, QWEN = (load_model(name) for name in ("gemma-2b", "llama-7b", "qwen3-30b-a3b"))
Q4, Q2, F16 = (weight_format(name) for name in ("q4_k_m", "q2_k", "f16"))
BANDS = fitted_constants().gpu
FORMATS = (Q4, Q2, uniform_format(3, 128), F16)
WORKLOADS = [
    *({"batch": batch, "context": 512} for batch in (1, 8, 16)),
    {"batch": 16, "context": 512, "software": "serving"},
    *({"prompt": prompt, "batch": batch} for prompt, batch in ((128, 1), (1024, 1), (512, 4))),
]


def at(value):
    return np.asarray(float(value))


WORK = StepDemand(
    rows=at(4), weight_bytes=at(8e9), kv_bytes=at(4e8), gemv_macs=at(1e12), attention_macs=at(6.4e9),
    attention_width=at(128), operations=at(99), layers=at(10), products=at(77), expert_macs=at(2e11),
    expert_rows=at(1), key_heads=at(8), vocabulary=at(1000), windowed=at(0.5),
)  # fmt: skip
SHEET = GpuSheet(bandwidth=at(1e12), peak_macs=at(1e14), vector_macs=at(4e13), sm_clock=at(1e11))
SERVING = GpuFit(
    read_share=at(0.5), compute_share=at(0.25), vector_share=at(np.inf), batch_rate=at(np.inf),
    tile_rows=at(np.inf), layer_s=at(1e-4), row_s=at(2e-4), overlap=at(0.5), lone_heads=at(0.3),
    window_s=at(1e-10), entry_s=at(3e-6), host_row_s=at(4e-3), host_overlap=at(0.75),
)  # fmt: skip


def test_a_step_of_a_serving_stack_by_hand():
    found = step_breakdown(WORK, SHEET, SERVING)
    # Weights: 8e9 B at 0.5e12 B/s, 16 ms. MACs: 1e12 + 6.4e9 at 0.25e14, 40.256 ms. Half of the shorter
    # hides.
    assert float(found["weights"]) == pytest.approx(8e-3)
    assert float(found["kernels"]) == pytest.approx(40.256e-3)
    # 4e8 B, 0.8 ms; in the half of the layers with a window 0.5 * 6.4e9 / (2 * 128) links of 0.1 ns, 1.25 ms.
    assert float(found["kv_cache"]) == pytest.approx(0.8e-3 + 1.25e-3)
    # 10 layers of 0.1 ms, 4 rows of 0.2 ms: 1.8 ms; the GPU works for 52.106 ms. The processor works for
    # 1000 * 0.003 + 4 * sqrt(4) = 11 ms, of which a quarter shows: 2.75 ms.
    assert float(found["launches"]) == pytest.approx(1.8e-3 + 2.75e-3)
    # A processor that is the longer, 100 + 8 ms, hides three quarters of the GPU.
    slow = step_breakdown(WORK, SHEET, replace(SERVING, entry_s=at(1e-4)))
    assert sum(map(float, slow.values())) == pytest.approx(108e-3 + 52.106e-3 / 4)


def test_query_heads_read_alone_beside_prompts():
    """128 heads of 4 rows share 8 key heads by 4: three of them read 0.3 of 4e8 B again."""
    prompt = replace(WORK, kv_bytes=at(0), windowed=at(0))
    both = mixed_breakdown(WORK, WORK, prompt, SHEET, SERVING, SERVING)
    assert float(both["kv_cache"]) == pytest.approx(2.05e-3 + 0.72e-3)
    plain = replace(WORK, attention_width=at(32))  # share nothing: four times as long a chain
    both = mixed_breakdown(plain, plain, prompt, SHEET, SERVING, SERVING)
    assert float(both["kv_cache"]) == pytest.approx(0.8e-3 + 5e-3)
    # Of two shares of the peak all products have the smaller one.
    faster = replace(SERVING, compute_share=at(0.9))
    assert mixed_breakdown(plain, plain, prompt, SHEET, SERVING, faster) == both
    assert mixed_breakdown(plain, plain, prompt, SHEET, faster, SERVING) == both


def test_few_rows_of_experts_and_of_all_else_by_hand():
    c = replace(SERVING, vector_share=at(0.1), batch_rate=at(20), overlap=at(0), compute_share=at(0.5))
    # Rows behind the first: 3 of 4 of 806.4e9 MACs at 0.1 * 4e13, 151.2 ms; an expert's one row is free.
    assert float(step_breakdown(WORK, SHEET, c)["kernels"]) == pytest.approx(151.2e-3)
    # Eight rows are few, nine are many: 20 * 1e11 MACs/s is less than half of the peak.
    for rows, seconds in ((8, 7 / 8 * 806.4e9 / 4e12), (9, 806.4e9 / 2e12)):
        work = replace(WORK, rows=at(rows))
        assert float(step_breakdown(work, SHEET, c)["kernels"]) == pytest.approx(seconds)
    # Four rows may take what 16 do in the matrix kernel, 4 * 806.4e9 MACs: at 20 a cycle (2e12/s) that is
    # longer than 151.2 ms, at 400 (4e13/s) shorter, 80.64 ms.
    tiled = replace(c, tile_rows=at(16))
    assert float(step_breakdown(WORK, SHEET, tiled)["kernels"]) == pytest.approx(151.2e-3)
    fast = replace(tiled, batch_rate=at(400))
    assert float(step_breakdown(WORK, SHEET, fast)["kernels"]) == pytest.approx(80.64e-3)


def test_constants_of_serving_are_in_seconds():
    c = serving_fit(
        {name: float(i) for i, name in enumerate(SERVING_CONSTANTS, 1)}, at(2e9), at(4e3), at(0.5)
    )
    shares = (c.read_share, c.compute_share, c.lone_heads, c.host_overlap)
    assert [float(v) for v in shares] == [1, 2, 0.5, 7]
    # Cycles of a clock of 2 GHz, the chain half as long; nanoseconds of a processor four times as fast.
    times = (c.layer_s, c.window_s, c.entry_s, c.host_row_s, c.row_s)
    assert [float(v) for v in times] == pytest.approx([1.5e-9, 1e-9, 1.25e-9, 1.5e-9, 0])
    assert (float(c.overlap), *map(float, (c.vector_share, c.batch_rate, c.tile_rows))) == (1, *(np.inf,) * 3)


@pytest.mark.parametrize(
    ("gpu", "fmt", "asked", "test", "slower", "faster"),
    [
        ("l4", Q4, {}, "decode", 1, 1),
        ("h100", Q4, {}, "decode", 1, 1),
        ("l4", Q2, {}, "decode", 1.2, 1.4),
        ("h100", Q2, {"batch": 4}, "batched", 1.5, 1.5),
        ("v100", Q4, {"batch": 2}, "batched", 1.5, 1.5),
        ("l4", F16, {"batch": 4, "software": "serving"}, "f16", 1, 1),
        ("l4", F16, {"batch": 4}, "f16 llama", 1.5, 1.5),
        ("a100", F16, {}, "f16 llama", 1, 1),
        ("v100", F16, {"software": "serving"}, "f16", 1.3, 1.1),
        ("a100", Q4, {"software": "serving"}, "w4", 1, 1),
        ("l4", Q4, {"prompt": 512}, "prompt", 1, 1),
        ("l4", Q4, {"prompt": 256, "batch": 2}, "prompt", 1, 1),
        ("l4", Q4, {"prompt": 511}, "prompt", 1.8, 1),
        ("l4", Q2, {"prompt": 512}, "prompt", 1.4, 1.4),
        ("l4", Q2, {"prompt": 128}, "prompt", 1.8, 1.4),
        ("l4", F16, {"prompt": 128}, "prompt f16", 1, 1),
    ],
)  # fmt: skip
def test_a_band_is_wider_by_what_nobody_measured(gpu, fmt, asked, test, slower, faster):
    """Both are independent: their logarithms add up as the sides of a right angle do."""
    found, interval = predict_gpu(load_gpu(gpu), MODEL, fmt, **asked), BANDS.interval(test)
    low, high = exp(-hypot(log(interval.low), log(slower))), exp(hypot(log(interval.high), log(faster)))
    ends = (found.low / found.tokens_per_s, found.high / found.tokens_per_s)
    assert ends == pytest.approx((low, high), rel=1e-12)


def test_a_serving_stack_says_that_it_takes_a_named_mix_as_one_type():
    found = predict_gpu(load_gpu("a100"), LLAMA, Q4, 4, software="serving")
    assert [note for note in found.notes if "no kernels for mixed types: q6_k" in note]


def test_a_serving_stack_elsewhere_may_be_half_as_fast_or_reach_the_roofline():
    gpu = load_gpu("v100")
    found, interval = predict_gpu(gpu, MODEL, Q4, 4, software="serving"), BANDS.interval("w4")
    assert found.low == pytest.approx(found.tokens_per_s * exp(-hypot(log(interval.low), log(2))), rel=1e-12)
    assert found.high == pytest.approx(gpu_roofline(gpu, MODEL, Q4, 4), rel=1e-12)
    # Where the roofline lies within the interval, the interval's end stays.
    slow = gpu.model_copy(update={"fp16_flops": load_gpu("l4").fp16_flops.model_copy(update={"value": 0.5})})
    found = predict_gpu(slow, MODEL, Q4, 64, software="serving")
    assert found.high == pytest.approx(
        max(found.tokens_per_s * interval.high, gpu_roofline(slow, MODEL, Q4, 64))
    )


def test_a_prompt_of_sixteen_bits_reads_once_and_hides_in_part():
    gpu, value = load_gpu("l4"), BANDS.value
    found = predict_gpu(gpu, MODEL, F16, 2, prompt=1024)
    work = prompt_demand(MODEL, F16, 1024, 2)
    # Two prompts are 2048 rows at once.
    assert (float(work.rows), float(work.attention_width)) == (2048, MODEL.n_heads * 2048)
    again = prompt_demand(MODEL, F16, 1024, 2, 3)
    assert float(again.weight_bytes) == 3 * float(work.weight_bytes)
    # Of L4: 300 GB/s, 121 TFLOP/s.
    reading = float(work.weight_bytes) / (value("read_share_f16") * 300e9)
    macs = float(work.gemv_macs + work.attention_macs) / (value("prompt_share_f16_l4") * 60.5e12)
    hidden = value("prompt_overlap_f16") * min(reading, macs)
    kept = float(work.kv_bytes) / (value("read_share_f16") * 300e9)
    launches = MODEL.n_layers * value("layer_overhead_f16") * 1e-9
    assert found.step_s == pytest.approx(reading + macs - hidden + kept + launches, rel=1e-9)
    assert found.tokens_per_s == pytest.approx(2048 / found.step_s)
    assert SEVERAL_PROMPTS_NOTE in found.notes
    (said,) = (note for note in found.notes if "times to the first token" in note)
    assert "(11 ms and 11 us a token)" in said


def test_what_a_card_does_with_formats_by_their_kind():
    """Of four bits: read at the GPU's share, few rows no slower than 16; others at less and row by row."""
    gpu = load_gpu("l4")
    kernels = {fmt.name: predict_gpu(gpu, MODEL, fmt, 8).breakdown["kernels"] for fmt in (Q4, Q2)}
    step = StepDemand.of(MODEL, decode_step(MODEL, Q4, 8, 64), 8)
    macs = float(step.gemv_macs + step.attention_macs)
    # L4: 30.3 / 2 * 4 TMAC/s of dot products; 103.5 MACs a cycle of 58 SMs at 2.04 GHz.
    by_row = macs * 7 / 8 / (BANDS.value("vector_share") * 60.6e12)
    tile = macs / 8 * 16 / (103.5 * 58 * 2.04e9)
    assert kernels["q4_k_m"] == pytest.approx(min(by_row, tile))
    assert kernels["q2_k"] == pytest.approx(by_row)
    for fmt, share in ((Q4, 0.846812), (Q2, 0.846812 * BANDS.value("other_formats"))):
        found = predict_gpu(gpu, MODEL, fmt)
        read = float(StepDemand.of(MODEL, decode_step(MODEL, fmt, 1, 64), 1).weight_bytes)
        assert found.breakdown["weights"] == pytest.approx(read / (share * 300e9))
        assert found.tokens_per_s == pytest.approx(1 / found.step_s)
    assert is_four_bit(Q4)
    assert not is_four_bit(weight_format("iq4_nl"))  # four bits that stand for places of a book
    uniform = predict_gpu(gpu, MODEL, uniform_format(4, 128), 8)
    assert uniform.breakdown["kernels"] == pytest.approx(kernels["q4_k_m"], rel=0.01)


def test_roofline_is_every_byte_once_or_the_peak():
    gpu = load_gpu("a100")
    work = StepDemand.of(LLAMA, decode_step(LLAMA, Q4, 1, 64), 1)
    reading = float(work.weight_bytes + work.kv_bytes) / gpu.memory_bandwidth.si
    assert gpu_roofline(gpu, LLAMA, Q4) == pytest.approx(1 / reading)
    big = StepDemand.of(LLAMA, decode_step(LLAMA, Q4, 2048, 1), 2048)
    macs = float(big.gemv_macs + big.attention_macs)
    assert gpu_roofline(gpu, LLAMA, Q4, 2048, 1) == pytest.approx(2048 / (macs / (gpu.fp16_flops.si / 2)))


def test_launches_are_of_every_layer_in_nanoseconds():
    layers, fitted = LLAMA.n_layers, fitted_constants().gpu
    for gpu, fmt, software, name in (
        ("a100", Q4, "llama.cpp", "layer_overhead"),
        ("h100", Q4, "llama.cpp", "layer_overhead_h100"),
        ("a100", uniform_format(4, 128), "serving", "layer_overhead_w4"),
    ):
        found = predict_gpu(load_gpu(gpu), LLAMA, fmt, software=software)
        row = 0.0 if software == "llama.cpp" else fitted.value(name.replace("layer", "row"))
        assert found.breakdown["launches"] == pytest.approx((layers * fitted.value(name) + row) * 1e-9)
        assert 1e-4 < found.step_s < 1


def test_a_prompt_that_nobody_measured_has_no_number():
    llama, serving = gpu_software().values()
    for name, gpu in ((name, load_gpu(name)) for name in gpu_names()):
        assert prompt_problem(gpu, Q4, llama) is None
        assert (prompt_problem(gpu, F16, llama) is None) == (name in ("a10g", "l4", "a100"))
        assert "four-bit kernels was measured" in str(prompt_problem(gpu, Q4, serving))
    with pytest.raises(SailsimError, match="No prompt in f16 was measured on GPU v100"):
        predict_gpu(load_gpu("v100"), load_model("gemma-2b"), F16, prompt=512)
    with pytest.raises(SailsimError, match="software is 'x'"):
        predict_gpu(load_gpu("v100"), LLAMA, Q4, prompt=512, software="x")  # type: ignore[arg-type]
    with pytest.raises(SailsimError, match=r"GPU v100: .*needs .* GB, allowed is"):
        predict_gpu(load_gpu("v100"), load_model("llama-2-70b"), Q4, prompt=512)


def answers(machine, workloads, formats):
    """Every number of every workload in every format, or the sentence that refuses it without the name."""
    name = load_machine(machine).name
    found = []
    for asked in workloads:
        for fmt in formats:
            try:
                found.append(replace(predict(machine, MODEL, fmt, **asked), notes=()))
            except SailsimError as error:
                found.append(str(error).replace(name, "it"))
    return found


@pytest.mark.parametrize("name", gpu_names())
def test_a_card_under_another_name_has_the_same_numbers(tmp_path, name):
    shipped = answers(name, WORKLOADS, FORMATS)
    assert sum(not isinstance(each, str) for each in shipped) >= 12
    assert answers(extending(tmp_path, name, name="other"), WORKLOADS, FORMATS) == shipped
    (runner,) = (r for r in runners([extending(tmp_path, name, name="other")]) if r.name == "other")
    assert runner.machine.kernels == load_gpu(name).kernels
    # Nor does it matter how a value of no consequence is set.
    watts = load_gpu(name).tdp.value
    assert answers(f"{name}:tdp={watts}", WORKLOADS, FORMATS) == shipped


def test_a_card_without_constants_has_those_of_the_measured_ones():
    bare = load_gpu("l4").model_copy(update={"name": "bare", "kernels": type(load_gpu("l4").kernels)()})
    found = roofline.gpu_fit(bare, FORMATS[0])
    # The seventh root of 0.861881 * 0.596853 * 0.868279 * 0.846812 * 0.706283 * 0.758713 * 0.83738.
    assert float(found.read_share) == pytest.approx(0.776181, rel=1e-5)
    # The seventh root of 0.337446 * 0.271678 * 0.759266 * 0.293937 * 0.222423 * 0.140091 * 0.402049.
    assert float(found.compute_share) == pytest.approx(0.306880, rel=1e-5)
    assert float(found.batch_rate) == 103.5
    notes = predict_gpu(bare, MODEL, FORMATS[0]).notes
    assert any("its read share is the measured GPUs' mean" in note for note in notes)
    with pytest.raises(SailsimError, match=r"on GPU bare; allowed .* a100, a10g, h100, l4, l40s, t4, v100"):
        predict_gpu(bare, MODEL, FORMATS[0], prompt=512)


def test_a_users_own_constant_is_no_fits_to_move():
    """Other fits (a paper's sample) move what is theirs, by the name of the GPU or of what it extends."""
    moved = fitted_constants().varied({"gpu.read_share_l4": 0.7, "gpu.batch_rate_elsewhere": 60.0})
    l4 = load_gpu("l4")
    mine = vary(l4, {"kernels.read_share": 0.5}, name="mine")
    assert mine.extends == ("l4",)
    for gpu, read in (
        (l4, 0.7),
        (l4.model_copy(update={"name": "x", "extends": ("l4",)}), 0.7),
        (mine, 0.5),
    ):
        found = roofline.gpu_fit(gpu, FORMATS[0], moved)
        assert float(found.read_share) == pytest.approx(read)
        assert float(found.batch_rate) == 60
    # A value that somebody sets is no measurement: its interval is wider.
    shipped, changed = (predict_gpu(gpu, MODEL, FORMATS[0]) for gpu in (l4, mine))
    assert changed.low / changed.tokens_per_s < shipped.low / shipped.tokens_per_s
    assert any("its read share is a variation" in note for note in changed.notes)


@pytest.mark.parametrize("batch", [1, 8, 32])
def test_the_work_of_a_step(batch):
    ops = decode_step(QWEN, uniform_format(4, 128), batch, 512)
    work = StepDemand.of(QWEN, ops, batch)
    one = 2048 * 768
    assert work.expert_macs == 48 * 3 * 8 * batch * one
    touched = distinct_experts(128, 8, batch)
    assert work.expert_rows == pytest.approx(8 * batch / touched)
    assert 1 <= work.expert_rows < batch or batch == 1
    assert work.gemv_macs == batch * sum(linear.active for linear in QWEN.linears())
    assert work.products == 48 * 8 + 1
    of_experts = 48 * 3 * touched * (one / 2 + one / 128 * 2)
    others = sum(op.weight_bytes for op in ops if not op.spread)
    assert work.weight_bytes == pytest.approx(of_experts + others)


def test_an_answer_says_whose_constants_a_card_took_over(tmp_path):
    path = extending(tmp_path, "l4", name="other")
    same = "prompt_share, prompt_share_f16, host_points."
    said = f"The kernels of other are taken over from l4: read_share, {same}"
    for fmt, asked in (
        (FORMATS[0], {}),
        (F16, {}),
        (FORMATS[0], {"prompt": 512}),
        (FORMATS[0], {"software": "serving"}),
    ):
        other, shipped = (predict(machine, MODEL, fmt, **asked).notes for machine in (path, "l4"))
        assert [note for note in other if note not in shipped] == [said]
    own = '[kernels]\nread_share = { value = 0.5, unit = "ratio", source = "a test", kind = "measured" }\n'
    (said,) = inherited_note(load_gpu(extending(tmp_path, "l4", own, "other")))
    assert said == f"The kernels of other are taken over from l4: {same}"


def test_the_files_have_what_the_fit_found():
    fit = fitted_constants().gpu.constants
    of_gpu = {"read_share": GPUS, "prompt_share": GPUS, "prompt_share_f16": SIXTEEN_BIT_GPUS}
    of_gpu["layer_overhead"] = OWN_LAUNCHES
    expected = {(gpu, name): fit[f"{name}_{gpu}"] for name, gpus in of_gpu.items() for gpu in gpus}
    expected["v100", "batch_rate"] = fit["batch_rate_v100"]
    expected |= {("a100", name): fit[name] for name in fit if name.endswith("_w4")}
    measured = {}
    for gpu in gpu_names():
        for name, own in load_gpu(gpu).kernels:
            if own is not None and own.kind == "fitted":
                measured[gpu, name] = own
                assert own.source == FIT_SOURCE
    assert measured.keys() == expected.keys()
    for key, own in measured.items():
        assert (own.value, own.unit, own.low, own.high) == (
            expected[key].value, expected[key].unit, expected[key].low, expected[key].high)  # fmt: skip


@pytest.mark.parametrize("software", gpu_software().values(), ids=str)
def test_software_on_gpus_says_who_ran_it_and_refuses_what_it_lacks(software: GpuSoftware) -> None:
    assert software.provenance in ("measured", "simulated", "claimed")
    assert not software.stronger or software.stronger in gpu_software()
    for fmt in FORMATS:
        problem = software.decode_problem(fmt)
        assert (problem is None) == (kind_of(fmt) in software.kernels)
        if problem:
            assert problem.startswith(f"format is {fmt.name}, allowed with software {software.name!r} is")
            assert problem in refusal(
                lambda fmt=fmt: predict_gpu(load_gpu("l4"), MODEL, fmt, software=software.name)
            )
    assert software.no_prompts or {kind_of(fmt) for fmt in FORMATS} <= set(software.prompts)


def test_software_that_no_record_names_is_refused() -> None:
    found = refusal(lambda: predict_gpu(load_gpu("l4"), MODEL, Q4, software="mine"))
    assert found == "software is 'mine', allowed is one of llama.cpp, serving"
