"""The space of unknowns: ranges are the files', draws stay inside, equal constants on both sides."""

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sailsim.analysis.costs.area import AreaConstants
from sailsim.analysis.paper.evaluator import Memo, SampledOutcomes, judged
from sailsim.analysis.paper.parameter_space import space
from sailsim.analysis.runs.compare import compare
from sailsim.analysis.uncertainty.prior import Parameter
from sailsim.base.errors import SailsimError
from sailsim.base.quantity import Quantity
from sailsim.sim.backends.cores import predict_cores
from sailsim.sim.backends.roofline import predict_gpu
from sailsim.sim.machine.system_files import leaves, load_gpu, load_system
from sailsim.sim.software.fitted import fitted_constants
from sailsim.sim.step.engine import simulate_step
from sailsim.workloads.model_files.load import load_model
from sailsim.workloads.models.formats import uniform_format

from ...examples import examples
from ...refusals import refusal

SPACE = space()
ROWS = st.lists(st.floats(0, 1), min_size=len(SPACE.factors), max_size=len(SPACE.factors))


def test_every_ranged_value_of_the_machine_is_a_factor_or_follows_the_software() -> None:
    ranged = {
        path
        for path, leaf in leaves(load_system("sail-n1")).items()
        if isinstance(leaf, Quantity) and leaf.low is not None and leaf.low != leaf.high
    }
    follow = {"host.attention_rate", "host.barrier", "host.product_overhead", "memory.core_share"}
    of_other_weights = {"host.float_rate", "host.grid_rate"}
    held = {*SPACE.fixed, *(each.name for each in SPACE.conditional)}
    assert ranged - follow - of_other_weights - held <= set(SPACE.names)
    assert not (follow | of_other_weights | held) & set(SPACE.names)
    assert not [name for name in SPACE.names if "neoverse" in name]  # a core that no host has


@given(
    u=st.floats(0, 1), low=st.integers(1, 9), more=st.integers(1, 60), log=st.booleans(), whole=st.booleans()
)
def test_a_factor_stays_in_its_range_and_reaches_both_ends(
    u: float, low: int, more: int, log: bool, whole: bool
) -> None:
    factor = Parameter("x", "machine", "why", low=low, high=low + more, whole=whole, log=log)
    value = factor.at(u)
    assert isinstance(value, int) == whole
    assert low * (1 - 1e-9) <= value <= (low + more) * (1 + 1e-9)
    assert (factor.at(0.0), factor.at(1.0)) == pytest.approx((low, low + more))


@given(u=st.floats(0, 1), low=st.floats(0.1, 0.9), high=st.floats(1.1, 5))
def test_a_centred_factor_is_as_often_below_the_nominal_value_as_above(
    u: float, low: float, high: float
) -> None:
    factor = Parameter("x", "software", "why", low=low, high=high, centred=True, nominal=1.0)
    value = float(factor.at(u))
    assert (value < 1) == (u < 0.5) or value == pytest.approx(1)
    assert [factor.at(e) for e in (0.0, 0.5, 1.0)] == pytest.approx([low, 1.0, high])


@examples(25)
@given(ROWS)
def test_a_drawn_machine_is_valid_and_fair(row: list[float]) -> None:
    """SAIL's cores have the constants of the baseline that they are compared with, whatever is drawn."""
    draw = SPACE.draw(row)
    for software in SPACE.hosts:
        machine, fitted = draw.system(software), draw.fitted.software(software)
        reads = (
            fitted.value("read_share") * machine.memory.read_bandwidth.si / machine.memory.peak_bandwidth.si
        )
        assert machine.host.attention_rate.value == fitted.value("attention_rate")
        assert machine.host.barrier.value == fitted.value("barrier")
        assert machine.memory.core_share.value == pytest.approx(min(reads, 1.0))
        assert machine.llc.size == load_system("sail-n1").llc.size
        assert machine.extends[-1] == "graviton2"
    known = leaves(draw.system())
    for factor in SPACE.factors:
        if factor.group == "machine" and factor.name not in ("pim.nbw", "pim.dfms"):  # the most that fit
            assert known[factor.name].value == draw.values[factor.name], factor.name


def test_rows_of_another_length_or_outside_are_refused() -> None:
    for row in ([0.5], [1.5] * len(SPACE.factors), [float("nan")] * len(SPACE.factors)):
        with pytest.raises(SailsimError, match="between 0 and 1"):
            SPACE.draw(row)


def test_drawn_constants_have_the_covariance_of_their_fit() -> None:
    names, matrix = fitted_constants().covariances["cpu"]
    pair = ["cpu.llama.cpp.kernel_rate_q4_k_m", "cpu.llama.cpp.attention_rate"]
    at = [names.index(name) for name in pair]
    rng = np.random.default_rng(3)
    own = [f.name for f in SPACE.factors if f.normal and f.name.startswith("cpu.llama")]
    draws = [
        SPACE.nominal.with_values(dict(zip(own, rng.standard_normal(len(own)), strict=True)))
        for _ in range(400)
    ]
    seen = np.array([[d.fitted.quantities()[name].value for name in pair] for d in draws], dtype=float)
    expected = matrix[at[0], at[1]] / np.sqrt(matrix[at[0], at[0]] * matrix[at[1], at[1]])
    assert np.corrcoef(seen.T)[0, 1] == pytest.approx(expected, abs=0.15)
    assert seen[:, 0].std() == pytest.approx(np.sqrt(matrix[at[0], at[0]]), rel=0.15)


@pytest.mark.parametrize("index", [0, 3, 5])
def test_the_nominal_machine_is_what_the_commands_give(index: int) -> None:
    """Nothing is lost between a sampled machine and `sailsim run`: rates, baselines and who pays what."""
    workload, machine = SPACE.workloads[index], SPACE.nominal
    outcomes = SampledOutcomes(SPACE, machine, [workload])
    system, model = load_system("sail-n1"), load_model(workload.model)
    point, fmt = workload.point("sail-n1", 128), uniform_format(workload.wbits, 128)
    sail = simulate_step(system, model, point)
    cpu = predict_cores(system, model, fmt, workload.threads, workload.batch, workload.context)
    gpu = predict_gpu(load_gpu("v100"), model, fmt, workload.batch, workload.context)
    assert outcomes.of("sail", "tokens_per_s")[0] == sail.tokens_per_s
    assert outcomes.of("cores", "tokens_per_s")[0] == pytest.approx(cpu.tokens_per_s)
    assert outcomes.of("v100", "tokens_per_s")[0] == pytest.approx(gpu.tokens_per_s)
    answer = compare(point)["runs"]
    for who, payments in (
        ("sail", ("used", "bandwidth", "whole")),
        ("cores", ("used", "whole")),
        ("v100", ("used",)),
    ):
        for payment in payments:
            own = outcomes.of(who, f"tokens_per_usd_{payment}")[0]
            assert own == pytest.approx(answer[who][f"tokens_per_usd_{payment}"])


def test_workloads_together_have_the_numbers_that_each_has_alone() -> None:
    machine, memo = SPACE.draw(np.random.default_rng(8).random(len(SPACE.factors))), Memo()
    together = judged(SPACE, machine, memo=memo)
    for at in range(len(SPACE.workloads)):
        for metric, alone in judged(SPACE, machine, on=[at], memo=memo).items():
            np.testing.assert_array_equal(alone[at], together[metric][at])
            assert np.isnan(np.delete(alone, at)).all()


WIDE = space(prior="sail-wide")


@examples(15)
@given(st.lists(st.floats(0, 1), min_size=len(WIDE.factors), max_size=len(WIDE.factors)))
def test_a_machine_of_the_wide_prior_has_what_was_drawn(row: list[float]) -> None:
    draw = WIDE.draw(row)
    for software in WIDE.hosts:
        machine = draw.system(software)
        assert machine.pim is not None
        costs = machine.pim.load_substrate().costs
        assert next(iter(costs["read"].coefficients)) == draw.values["pim.substrate.read"]
        assert machine.pim.convert.value == draw.values["pim.convert"]
        asked = draw.values["pim.nbw"]
        assert (machine.pim.nbw == "auto") == (asked == "auto")
        whose = draw.values["host.attention_software"]
        fitted = draw.fitted.software(software if whose == "as the baseline" else "ampere")
        assert machine.host.attention_rate.value == fitted.value("attention_rate")


def test_the_synthesised_prior_draws_the_readings_of_gates() -> None:
    of_gates, of_paper = ({f.name: f for f in space(prior=p).factors} for p in ("sail-synthesised", "sail"))
    clock = load_system("sail-n1").require_pim().clock
    assert clock.synthesised is not None
    assert (of_gates["pim.clock"].low, of_gates["pim.clock"].high) == (
        clock.synthesised.low,
        clock.synthesised.high,
    )
    assert of_paper["pim.clock"].high == clock.high
    known = AreaConstants.quantities()
    read = {f"area.{name}": q.synthesised for name, q in known.items() if q.synthesised is not None}
    held = set(space(prior="sail-synthesised").fixed)
    assert {name for name, q in read.items() if q.low != q.high} - held <= set(of_gates)
    for name, q in read.items():
        assert name not in of_gates or (of_gates[name].low, of_gates[name].high) == (q.low, q.high)
    others = set(of_gates) - {"pim.clock", *read}
    assert all(of_gates[name] == of_paper[name] for name in others)
    assert space(prior="sail-synthesised").nominal.system() == space().nominal.system()


DESIGN = '[[alternative]]\nname = "a"\nvalues = {{}}\nreason = "x"\ndrawn = ["{}"]'
BAD_PRIORS = {
    **{
        DESIGN.format(name): f"draws {name!r}, allowed is a value of the machine"
        for name in ("pim.convert", "pim.colour", "area.fp_unit_um2")
    },
    'drawn = ["area.nothing"]': "drawn has 'area.nothing'",
    '[ranges."pim.colour"]\nlow = 1\nhigh = 2\nreason = "x"': "ranges has 'pim.colour'",
    '[ranges."pim.clock"]\nlow = 2\nhigh = 3\nreason = "x"': "ranges of pim.clock is 2 .. 3",
    '[levels."host.attention_software"]\nvalues = ["ampere"]\nreason = "x"': "nominal is None",
    # What no machine can have is seen when the file is read, not once a machine is drawn that has it.
    '[ranges."pim.clock"]\nlow = -1\nhigh = 2\nreason = "x"': (
        "mine.toml: ranges of pim.clock has -1: pim.clock is -1; allowed is a number at least 0.001 and"
    ),
    '[levels."pim.convert"]\nvalues = ["memory", "magic"]\nreason = "x"': (
        "levels of pim.convert has 'magic'"
    ),
    '[levels."pim.substrate.read"]\nvalues = [1, "n+"]\nnominal = 1\nreason = "x"': (
        "levels of pim.substrate.read has 'n+'"
    ),
    '[levels."host.attention_software"]\nvalues = ["as the baseline", "vim"]\nnominal = "as the baseline"\n'
    'reason = "x"': "levels of host.attention_software has 'vim'",
    '[levels."weights.group_size"]\nvalues = [-32, 128]\nnominal = 128\nreason = "x"': (
        "levels of weights.group_size has -32: group_size is -32; allowed is a whole number 0..65535."
    ),
}


@pytest.mark.parametrize(("text", "words"), BAD_PRIORS.items())
def test_bad_priors_are_one_sentence(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(f'extends = "sail"\n{text}\n', "utf-8")
    assert words in refusal(space, prior=str(path))


DATA = Path(__file__).parents[3] / "analysis" / "data"


def test_the_prior_of_the_page_can_be_read(tmp_path: Path) -> None:
    page = (DATA.parents[1] / "docs" / "systems.md").read_text("utf-8")
    path = tmp_path / "mine.toml"
    path.write_text(re.findall(r"```toml\n(extends = \"sail\".*?)```", page, re.DOTALL)[-1], "utf-8")
    mine = space(prior=str(path))
    factors = {factor.name: factor for factor in mine.factors}
    assert (factors["pim.clock"].low, factors["pim.clock"].high) == (0.4, 1.8)
    assert factors["pim.substrate.read"].values == (1, 2)
