"""Prompts of the baselines: closed forms, what was measured, and who says that nothing was."""

from dataclasses import replace

import numpy as np
import pytest

from calibration import prompt_problem
from calibration.measurements import read_table
from sailsim.analysis.baselines import gpu_prompts
from sailsim.analysis.baselines.card_kernels import measured_on
from sailsim.analysis.baselines.cpu import (
    UBATCH,
    constants,
    cpu_tokens_per_s,
    prompt_tokens_per_s,
    prompt_work,
)
from sailsim.analysis.baselines.cpu_software import SOFTWARE
from sailsim.analysis.baselines.fitted import fitted_constants
from sailsim.analysis.baselines.gpu_prompts import gpu_prompt_tokens_per_s, unmeasured
from sailsim.analysis.baselines.predict import baseline
from sailsim.base.errors import SailsimError
from sailsim.sim.files import card_names, load_card, load_system
from sailsim.workloads.formats import uniform_format, weight_format
from sailsim.workloads.load import load_model

ALTRA = load_system("altra")
LLAMA = load_model("llama-7b")
Q4, F16 = weight_format("q4_k_m"), weight_format("f16")


def test_the_fork_has_rates_of_its_own_for_prompts() -> None:
    fitted = fitted_constants().software("ampere")
    decoding, prompts = (constants("ampere", Q4, prompts=of)[0] for of in (False, True))
    assert prompts.kernel_rate == fitted.value("prompt_rate_q4_k_4") > decoding.kernel_rate
    assert (decoding.row_s, prompts.row_s) == (0.0, fitted.value("prompt_row_overhead") * 1e-9)
    assert constants("llama.cpp", Q4, prompts=True) == constants("llama.cpp", Q4)
    one = prompt_tokens_per_s(ALTRA, LLAMA, Q4, 64, 512, software="ampere")
    work = prompt_work(LLAMA, Q4, 512)
    lost = 512 * LLAMA.n_layers * fitted.value("prompt_row_overhead") * 1e-9
    assert one.parts["synchronisation"] == pytest.approx(
        float(work.operations) * 64 * fitted.value("barrier") * 1e-9 + lost
    )
    assert one.parts["kernels"] == pytest.approx(
        float(work.gemv_macs) / (64 * ALTRA.cores.clock.si * fitted.value("prompt_rate_q4_k_4"))
    )
    assert any("measured on an Altra" in note for note in one.notes)


def test_the_fork_is_as_fast_as_was_measured() -> None:
    """Within the band that its own folds gave."""
    band = fitted_constants().software("ampere").band("prompt")
    for row in read_table("prompts.csv"):
        if row["software"] != "ampere":
            continue
        model = load_model(f"analysis/data/models/{row['model']}.toml")
        fmt = weight_format("q8_0" if row["format"] == "q8r16" else "q4_k_m")
        found = prompt_tokens_per_s(ALTRA, model, fmt, int(row["threads"]), 512, software="ampere")
        assert band.low < float(row["value"]) / found.tokens_per_s < band.high


def test_several_prompts_are_so_many_rows_and_read_the_weights_once_for_512() -> None:
    one, four = (prompt_work(LLAMA, Q4, 512, batch) for batch in (1, 4))
    assert four.weight_bytes == pytest.approx(4 * one.weight_bytes, rel=1e-3)
    assert prompt_work(LLAMA, Q4, UBATCH // 4, 4).weight_bytes == pytest.approx(one.weight_bytes, rel=1e-3)
    assert four.attention_macs == 4 * one.attention_macs
    assert four.rows == 2048
    # The head has a row of each prompt.
    head = LLAMA.head.params
    assert float(four.gemv_macs) - 4 * head == 4 * (float(one.gemv_macs) - head)
    single, several = (prompt_tokens_per_s(ALTRA, LLAMA, Q4, 64, 512, batch) for batch in (1, 4))
    assert several.step_s == pytest.approx(4 * single.step_s, rel=0.02)
    assert several.tokens_per_s == pytest.approx(2048 / several.step_s)
    assert not any("Single prompts" in note for note in single.notes)
    assert any("Single prompts" in note for note in several.notes)


def test_tables_on_the_cores_have_no_prompt_and_say_so() -> None:
    with pytest.raises(SailsimError, match="T-MAC's prompts were measured on a Snapdragon X Elite alone"):
        prompt_tokens_per_s(ALTRA, LLAMA, uniform_format(4, 128), 64, 512, software="t-mac")
    assert cpu_tokens_per_s(ALTRA, LLAMA, uniform_format(4, 128), 64, software="t-mac").tokens_per_s > 0
    assert set(SOFTWARE) == {"llama.cpp", "ampere", "t-mac", "neon", "neon-lut"}


@pytest.mark.parametrize("card", measured_on("prompt_share"))
def test_a_cards_prompt_is_its_share_of_the_peak(card: str) -> None:
    sheet, fitted = load_card(card), fitted_constants().gpu
    found = gpu_prompt_tokens_per_s(sheet, LLAMA, Q4, 1024)
    work = gpu_prompts.prompt_work(LLAMA, Q4, 1024, reads=2)
    macs = float(work.gemv_macs + work.attention_macs)
    rate = fitted.value(f"prompt_share_{card}") * sheet.fp16_flops.si / 2
    assert found.parts["kernels"] == pytest.approx(macs / rate)
    read = 2 * float(gpu_prompts.prompt_work(LLAMA, Q4, 1024).weight_bytes)
    assert found.parts["weights"] == pytest.approx(
        read / (fitted.value(f"read_share_{card}") * sheet.memory_bandwidth.si)
    )
    assert sum(found.parts.values()) == pytest.approx(found.step_s)
    assert found.tokens_per_s == pytest.approx(1024 / found.step_s)
    assert found.low < found.tokens_per_s < found.high


@pytest.mark.parametrize("card", measured_on("prompt_share_f16"))
def test_sixteen_bit_prompts_are_without_what_a_request_takes(card: str) -> None:
    """Measured times are longer than predicted by that, within the band."""
    fitted = fitted_constants().gpu
    band = fitted.band("prompt f16")
    for row in read_table("prompts.csv"):
        if row["software"] != "vllm" or row["machine"] != card or row["model"] != "llama-3-8b":
            continue
        tokens = int(row["prompt"])
        found = gpu_prompt_tokens_per_s(load_card(card), load_model("llama-3-8b"), F16, tokens)
        beside = (fitted.value("request") + tokens * fitted.value("request_token")) * 1e-6
        measured = float(row["value"]) * 1e-3
        assert band.low < (found.step_s + beside) / measured < band.high


def test_a_prompt_that_nobody_measured_has_no_number() -> None:
    for name, card in ((name, load_card(name)) for name in card_names()):
        assert (unmeasured(card, Q4, "llama.cpp") is None) == (name in ("v100", "t4", "a10g", "l4", "a100"))
        assert (unmeasured(card, F16, "llama.cpp") is None) == (name in ("a10g", "l4", "a100"))
        assert "four-bit kernels was measured" in str(unmeasured(card, Q4, "serving"))
    with pytest.raises(SailsimError, match="No prompt in q4_k_m was measured on card h100; allowed"):
        gpu_prompt_tokens_per_s(load_card("h100"), LLAMA, Q4, 512)
    with pytest.raises(SailsimError, match="No prompt in f16 was measured on card v100"):
        gpu_prompt_tokens_per_s(load_card("v100"), load_model("gemma-2b"), F16, 512)
    with pytest.raises(SailsimError, match="software is 'x'"):
        gpu_prompt_tokens_per_s(load_card("v100"), LLAMA, Q4, 512, software="x")  # type: ignore[arg-type]
    with pytest.raises(SailsimError, match=r"card v100: .*needs .* GB, allowed is"):
        gpu_prompt_tokens_per_s(load_card("v100"), load_model("llama-2-70b"), Q4, 512)


def test_short_prompts_and_other_formats_have_wider_bands() -> None:
    v100 = load_card("v100")
    plain = gpu_prompt_tokens_per_s(v100, LLAMA, Q4, 512)
    short = gpu_prompt_tokens_per_s(v100, LLAMA, Q4, 128)
    two = gpu_prompt_tokens_per_s(v100, LLAMA, weight_format("q2_k"), 512)
    assert not plain.notes
    assert "no full tiles" in short.notes[0]
    assert "Only prompts in q4_k_m" in two.notes[0]
    low, high = plain.low / plain.tokens_per_s, plain.high / plain.tokens_per_s
    assert short.low / short.tokens_per_s < low
    assert short.high / short.tokens_per_s == pytest.approx(high)
    assert two.low / two.tokens_per_s < low
    assert two.high / two.tokens_per_s > high
    several = gpu_prompt_tokens_per_s(v100, LLAMA, Q4, 128, 4)
    assert several.parts["weights"] == pytest.approx(plain.parts["weights"], rel=1e-3)


def test_a_baseline_by_name_processes_prompts_on_cards_too() -> None:
    found = baseline("t4", LLAMA, Q4, prompt=512)
    assert found == gpu_prompt_tokens_per_s(load_card("t4"), LLAMA, Q4, 512)
    assert baseline("altra", LLAMA, Q4, batch=2, prompt=64) == prompt_tokens_per_s(
        ALTRA, LLAMA, Q4, 80, 64, 2
    )


def test_fits_find_constants_that_are_known() -> None:
    """Rows made from constants give the constants again."""
    shipped = fitted_constants().table
    for problem, known in (
        (prompt_problem.fork_problem(shipped["cpu"]["ampere"]["constants"]), [9.0, 20.0, 2e4]),
        (prompt_problem.card_problem(shipped["gpu"]["constants"]), [0.5, 0.4, 0.6, 8e3, 12.0, 0.3]),
    ):
        values = np.array(known)
        made = replace(problem.rows, measured=problem.predict(values, problem.rows))
        found = prompt_problem.solve(problem, made, starts=1)
        assert found.values == pytest.approx(values, rel=1e-4)
