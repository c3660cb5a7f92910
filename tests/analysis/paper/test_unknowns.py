"""The space of unknowns: ranges are the files', draws stay inside, equal constants on both sides."""

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sailsim.analysis.paper.evaluator import Memo, SampledOutcomes, judged
from sailsim.analysis.paper.reproduce import screen
from sailsim.analysis.paper.unknowns import Factor, Levels, machine_factors, space
from sailsim.analysis.results.compare import compare
from sailsim.base.errors import ImpossibleMachineError, SailsimError
from sailsim.base.quantity import Quantity
from sailsim.sim.backends.cores import kernel_rates, predict_cores
from sailsim.sim.backends.roofline import predict_card
from sailsim.sim.engine import simulate_step
from sailsim.sim.files import load_card, load_system
from sailsim.sim.fitted import fitted_constants
from sailsim.sim.vary import leaves
from sailsim.workloads.formats import uniform_format
from sailsim.workloads.load import load_model

from ...examples import examples

SPACE = space()
DATA = Path(__file__).parents[3] / "analysis" / "data"
ROWS = st.lists(st.floats(0, 1), min_size=len(SPACE.factors), max_size=len(SPACE.factors))


def test_every_ranged_value_of_the_machine_is_a_factor_or_follows_the_software() -> None:
    ranged = {
        path
        for path, leaf in leaves(load_system("sail-n1")).items()
        if isinstance(leaf, Quantity) and leaf.low is not None and leaf.low != leaf.high
    }
    follow = {"host.attention_rate", "host.barrier", "host.product_overhead", "memory.core_share"}
    of_other_weights = {"host.float_rate", "host.grid_rate"}
    held = {*SPACE.held, *(each.name for each in SPACE.apart)}
    assert ranged - follow - of_other_weights - held <= set(SPACE.names)
    assert not (follow | of_other_weights | held) & set(SPACE.names)
    assert not [name for name in SPACE.names if "neoverse" in name]  # a core that no host has


def test_every_factor_and_every_workload_has_a_reason_and_a_nominal_value_inside() -> None:
    for factor in SPACE.factors:
        assert factor.reason.strip(), factor.name
        if factor.values:
            assert factor.nominal in factor.values, factor.name
        elif not factor.normal:
            assert factor.low <= float(factor.nominal) <= factor.high, factor.name
    assert all(w.reason for w in SPACE.workloads)
    assert sum(w.fixed for w in SPACE.workloads) == 1
    assert SPACE.workloads[SPACE.fixed].decides
    assert min(w.threads for w in SPACE.workloads) >= fitted_constants().fewest_threads


@given(
    u=st.floats(0, 1), low=st.integers(1, 9), more=st.integers(1, 60), log=st.booleans(), whole=st.booleans()
)
def test_a_factor_stays_in_its_range_and_reaches_both_ends(
    u: float, low: int, more: int, log: bool, whole: bool
) -> None:
    factor = Factor("x", "machine", "why", low=low, high=low + more, whole=whole, log=log)
    value = factor.at(u)
    assert isinstance(value, int) == whole
    assert low * (1 - 1e-9) <= value <= (low + more) * (1 + 1e-9)
    assert (factor.at(0.0), factor.at(1.0)) == pytest.approx((low, low + more))


@given(u=st.floats(0, 1), low=st.floats(0.1, 0.9), high=st.floats(1.1, 5))
def test_a_centred_factor_is_as_often_below_the_nominal_value_as_above(
    u: float, low: float, high: float
) -> None:
    factor = Factor("x", "software", "why", low=low, high=high, centred=True, nominal=1.0)
    value = float(factor.at(u))
    assert (value < 1) == (u < 0.5) or value == pytest.approx(1)
    assert [factor.at(e) for e in (0.0, 0.5, 1.0)] == pytest.approx([low, 1.0, high])


def test_two_and_three_bits_are_fast_or_slow_together() -> None:
    factor = SPACE.factor("rate.few_bits")
    assert not {"rate.w2", "rate.w3"} & {each.name for each in SPACE.factors}
    assert all(kernel_rates()[f"w{n}"].high >= kernel_rates()[f"w{n}"].relative * factor.high for n in (2, 3))
    hosts = [
        SampledOutcomes(SPACE, SPACE.nominal.with_values(values), SPACE.workloads).host(SPACE.software)
        for values in ({}, {factor.name: factor.high})
    ]
    for wbits, moved in ((2, factor.high), (3, factor.high), (4, 1.0)):
        nominal, fast = (float(host.constants(wbits).kernel_rate) for host in hosts if host is not None)
        assert fast == pytest.approx(nominal * moved)


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
    with pytest.raises(SailsimError, match=r"pim\.clok"):
        SPACE.factor("pim.clok")


def test_levels_outside_the_files_range_are_refused() -> None:
    system = load_system("sail-n1")
    for path, levels in (
        ("pim.arrays", (16, 64)),
        ("pim.arrays", ()),
        ("pim.arrays", (8,)),
        ("pim.colour", (1,)),
    ):
        with pytest.raises(SailsimError, match=re.escape(path)):
            machine_factors(system, {path: Levels(values=levels, reason="x")})


def test_drawn_constants_have_the_covariance_of_their_fit() -> None:
    names, matrix = fitted_constants().covariance("cpu")
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
    card = predict_card(load_card("v100"), model, fmt, workload.batch, workload.context)
    assert outcomes.of("sail", "tokens_per_s")[0] == sail.tokens_per_s
    assert outcomes.of("cores", "tokens_per_s")[0] == pytest.approx(cpu.tokens_per_s)
    assert outcomes.of("v100", "tokens_per_s")[0] == pytest.approx(card.tokens_per_s)
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


def test_every_metric_has_a_number_on_the_nominal_machine() -> None:
    for metric, values in judged(SPACE, SPACE.nominal, on=[SPACE.fixed]).items():
        words = SPACE.paper.sampled[metric].words
        assert np.isfinite(values[SPACE.fixed]) or words.startswith("16 bits"), words


def test_dfms_are_the_most_that_share_the_arrays_evenly() -> None:
    for arrays, asked, found in ((16, 4, 4), (6, 4, 3), (7, 4, 1), (2, 4, 2)):
        machine = SPACE.nominal.with_values({"pim.arrays": arrays, "pim.dfms": asked}).system()
        assert machine.pim is not None
        assert (machine.pim.arrays.whole, machine.pim.dfms.whole) == (arrays, found)


def test_what_one_design_alone_depends_on_is_drawn_for_it_from_the_seed() -> None:
    design = next(a for a in SPACE.alternatives if a.drawn)
    names = {"pim.convert_units", "pim.convert_latency", "pim.convert_interval"}
    assert set(design.drawn) == names == {f.name for f in SPACE.apart}
    assert names.isdisjoint(SPACE.names)
    one, same, other = (SPACE.design(design, SPACE.nominal, (0, 3, at)) for at in (1, 1, 2))
    assert one == same != other
    drawn = [SPACE.design(design, SPACE.nominal, (5, at)).values for at in range(200)]
    for factor in SPACE.apart:
        values = [float(each[factor.name]) for each in drawn]
        assert factor.low <= min(values) < max(values) <= factor.high
    slow = {"pim.convert": "unit", "pim.convert_latency": 5, "pim.convert_interval": 12}
    machine = SPACE.nominal.with_values(slow).system()
    assert machine.pim is not None
    assert machine.pim.convert_interval.whole == 5
    others = [a for a in SPACE.alternatives if not a.drawn]
    assert all(set(SPACE.design(a, SPACE.nominal, (0,)).values) == set(a.values) for a in others)


@pytest.mark.slow
def test_how_dfms_share_work_is_found_to_matter() -> None:
    untimed, inert = screen(SPACE)
    assert {"pim.dfms", "pim.dfm_split"}.isdisjoint(untimed | inert)


WIDE = space(prior="sail-wide")


def test_a_prior_extends_another_and_draws_what_that_holds() -> None:
    own, wide = set(SPACE.names), set(WIDE.names)
    assert own <= wide
    assert wide - own >= {"pim.substrate.read", "pim.substrate.add", "pim.convert", "area.fp_unit_um2"}
    assert "area.fp_unit_um2" in SPACE.held
    assert "area.fp_unit_um2" not in WIDE.held
    clock = WIDE.factor("pim.clock")
    assert (clock.low, clock.high, clock.log) == (0.4, 2.5, True)
    assert all(factor.reason.strip() for factor in WIDE.factors)


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
    '[levels."pim.nbw"]\nvalues = [4, "most"]\nreason = "x"': "include 'most'",
    # What no machine can have is seen when the file is read, not once a machine is drawn that has it.
    '[ranges."pim.clock"]\nlow = -1\nhigh = 2\nreason = "x"': (
        "mine.toml: ranges of pim.clock has -1: pim.clock is -1; allowed is a number at least 0.001 and"
    ),
    '[ranges."memory.read_share"]\nlow = 0.5\nhigh = 1.5\nreason = "x"': (
        "mine.toml: ranges of memory.read_share has 1.5: memory.read_share is 1.5; allowed is a number above "
    ),
    '[ranges."pim.mshrs"]\nlow = 0.5\nhigh = 64\nreason = "x"': "mine.toml: ranges of pim.mshrs has 0.5: ",
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


def test_what_a_machine_may_have_beside_other_values_is_no_error_of_a_prior(tmp_path: Path) -> None:
    """A sum of 32 bits needs four bytes; whether a drawn machine's are so wide, no file says."""
    path = tmp_path / "mine.toml"
    text = 'extends = "sail"\n[ranges."pim.accumulator_buffer"]\nlow = 0.001\nhigh = 84\nreason = "x"\n'
    path.write_text(text, "utf-8")
    mine = space(prior=str(path))
    assert mine.factor("pim.accumulator_buffer").low == 0.001
    with pytest.raises(ImpossibleMachineError, match="accumulator_buffer_bits is 8"):
        mine.nominal.with_values({"pim.accumulator_buffer": 0.001}).system()


@pytest.mark.parametrize(("text", "words"), BAD_PRIORS.items())
def test_bad_priors_are_one_sentence(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(f'extends = "sail"\n{text}\n', "utf-8")
    with pytest.raises(SailsimError) as error:
        space(prior=str(path))
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_the_prior_of_the_page_can_be_read(tmp_path: Path) -> None:
    page = (DATA.parents[1] / "docs" / "systems.md").read_text("utf-8")
    path = tmp_path / "mine.toml"
    path.write_text(re.findall(r"```toml\n(extends = \"sail\".*?)```", page, re.DOTALL)[-1], "utf-8")
    mine = space(prior=str(path))
    assert (mine.factor("pim.clock").low, mine.factor("pim.clock").high) == (0.4, 1.8)
    assert mine.factor("pim.substrate.read").values == (1, 2)
