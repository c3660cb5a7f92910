"""This project's kernels as gem5 runs them: rates by bits and group, rows of a pass, what they refuse."""

from dataclasses import replace

import numpy as np
import pytest

from sailsim.analysis.baselines.cpu import CpuSheet, constants, cpu_tokens_per_s, step_parts
from sailsim.analysis.baselines.cpu_software import MEASURED, SIMULATED, SIMULATION, SOFTWARE
from sailsim.analysis.baselines.fitted import fitted_constants
from sailsim.analysis.baselines.predict import baseline
from sailsim.analysis.baselines.prediction import Work
from sailsim.analysis.baselines.simulated_kernels import DOUBT, simulated_rate
from sailsim.analysis.results.runs import evaluate
from sailsim.base.errors import SailsimError
from sailsim.sim.files import load_system
from sailsim.sim.point import Point
from sailsim.workloads.formats import TENSOR_FORMATS, uniform_format, weight_format
from sailsim.workloads.graph import decode_step
from sailsim.workloads.load import load_model

MACHINE = load_system("sail-n1")
MODEL = load_model("llama-2-7b")


def rate(bits: int, group: int = 128, tables: bool = False) -> float:
    own = fitted_constants().software("neon-lut" if tables else "neon")
    return simulated_rate(own, uniform_format(bits, group).base, tables)[0]


def test_a_rate_is_that_of_the_fit_and_of_others_between() -> None:
    own = fitted_constants().software("neon")
    for bits in (2, 4, 8):
        assert rate(bits) == pytest.approx(own.value(f"kernel_rate_w{bits}"))
    assert 1 / rate(6) == pytest.approx((1 / rate(4) + 1 / rate(8)) / 2)
    assert rate(1) == rate(2)


@pytest.mark.parametrize("tables", [False, True])
def test_smaller_groups_cost_a_scale_more_each(tables: bool) -> None:
    own = fitted_constants().software("neon-lut" if tables else "neon")
    cost = own.value("lut_group_cycles" if tables else "group_cycles")
    assert cost > 0
    assert 1 / rate(4, 32, tables) - 1 / rate(4, 64, tables) == pytest.approx(cost * (1 / 32 - 1 / 64))


def test_tables_take_a_step_a_bit_up_to_four() -> None:
    steps = [1 / rate(bits, 128, tables=True) for bits in (1, 2, 3, 4)]
    assert steps == pytest.approx([steps[0] * bits for bits in (1, 2, 3, 4)])
    assert rate(8, 128, tables=True) == rate(8)


def test_a_rate_that_was_not_run_says_so() -> None:
    own = fitted_constants().software("neon")
    found = {bits: simulated_rate(own, uniform_format(bits, 128).base, False) for bits in range(1, 9)}
    assert [bits for bits, each in found.items() if each[3]] == [2, 4, 8]
    value, low, high, _ = found[4]
    assert (low, high) == pytest.approx((value * np.exp(-DOUBT), value * np.exp(DOUBT)))


def test_four_rows_share_what_a_pass_has_in_common() -> None:
    one, _ = constants("neon", uniform_format(4, 128))
    fast = replace(one, overlap=np.asarray(0.0))

    def kernels(batch: int) -> float:
        work = Work.of(MODEL, decode_step(MODEL, uniform_format(4, 128), batch, 64), batch)
        return float(
            step_parts(work, CpuSheet.of(MACHINE), np.asarray(4.0), fast, np.asarray(1.0))["kernels"]
        )

    assert 0 < one.shared < 1
    alone = kernels(1)
    for batch, passes in ((2, 1), (4, 1), (5, 2), (8, 2)):
        assert kernels(batch) == pytest.approx(alone * (batch * (1 - one.shared) + passes * one.shared))


def test_rows_of_tables_have_less_in_common_than_those_of_dot_products() -> None:
    """A pass unpacks a weight once for its rows; of look-ups each row has its own: the fit is at its bound.
    The band has no more than that."""
    fmt = uniform_format(4, 128)
    assert 0 == constants("neon-lut", fmt)[0].shared < constants("neon", fmt)[0].shared / 2
    one, eight = (
        cpu_tokens_per_s(MACHINE, MODEL, fmt, 16, rows, 512, software="neon-lut") for rows in (1, 8)
    )
    assert fitted_constants().software("neon-lut").constants["shared"].high == 0
    # So eight rows have the band of one, at both ends.
    assert eight.high / eight.tokens_per_s == pytest.approx(one.high / one.tokens_per_s, rel=0.003)
    assert eight.low / eight.tokens_per_s == pytest.approx(one.low / one.tokens_per_s, rel=0.003)


def test_the_fastest_software_is_a_measured_one() -> None:
    assert set(MEASURED) | set(SIMULATED) == set(SOFTWARE)
    band = fitted_constants().software("neon").band("decode")
    for batch in (1, 8):
        runs = {run["runner"]: run for run in evaluate(Point(model="llama-2-7b", wbits=4, batch=batch))}
        measured = [runs[name]["tokens_per_s"] for name in ("cores", "cores-ampere", "cores-lut")]
        assert runs["cores-best"]["tokens_per_s"] == max(measured)
        assert SIMULATION in runs["cores-neon"]["notes"]
        found, low, high = (runs["cores-neon"][name] for name in ("tokens_per_s", "low", "high"))
        # No narrower than the errors of steps that the fit did not see.
        assert low / found <= band.low * 1.001 < 1 < 1.1 < band.high / 1.001 <= high / found


def test_what_it_does_not_know_is_refused_in_a_sentence() -> None:
    runs = {run["runner"]: run for run in evaluate(Point(model="llama-2-7b", weights="f16"))}
    assert "allowed for this project's kernels are codes of 1 to 8 bits" in runs["cores-neon"]["reason"]
    prompts = {run["runner"]: run for run in evaluate(Point(model="llama-2-7b", phase="prefill", prompt=32))}
    assert "decode alone; allowed for phase prefill" in prompts["cores-neon"]["reason"]
    with pytest.raises(SailsimError, match="cache is 'unified', allowed for NEON kernels"):
        cpu_tokens_per_s(MACHINE, MODEL, uniform_format(4, 128), 16, 8, software="neon", cache="unified")
    with pytest.raises(SailsimError, match=r"weights are f16; allowed .* are codes of 1 to 8 bits"):
        baseline("sail-n1", MODEL, weight_format("f16"), 16, software="neon")
    elsewhere = {run["runner"]: run for run in evaluate(Point(system="sail-v2", model="llama-2-7b"))}
    assert "was not measured on neoverse-v2" in elsewhere["cores-neon"]["reason"]


@pytest.mark.parametrize("name", ["q4_k_m", "q8_0", "q4_0"])
def test_files_types_have_a_rate(name: str) -> None:
    assert baseline("sail-n1", MODEL, weight_format(name), 16, software="neon").tokens_per_s > 0
    assert any(fmt.wbits is None for fmt in TENSOR_FORMATS.values())
