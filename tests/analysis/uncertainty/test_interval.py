"""SAIL's interval: what is drawn and what is held, where its ends come from, and ratios of two intervals."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from sailsim.analysis.runs.compare import compare, comparisons, ratio_interval
from sailsim.analysis.runs.runs import runners, runners_by_name, runs
from sailsim.analysis.uncertainty import interval as interval
from sailsim.analysis.uncertainty.interval import DRAWS, drawn_systems, interval_of, rate_interval
from sailsim.cli import main
from sailsim.sim.machine.system import System
from sailsim.sim.machine.system_files import leaves, load_system, save_system, vary
from sailsim.sim.point import Point
from sailsim.sim.software.fitted import with_host_software
from sailsim.sim.step.parts import EVERY
from sailsim.workloads.inference.activation_file import Activations
from sailsim.workloads.model_files.load import load_model

from ...refusals import extending, quantity, refusal

POINT = Point(model="smollm2-135m", context=64, batch=2, threads=8)
SAIL_N1 = load_system("sail-n1")


def drawn(system: System, **point: Any) -> dict[str, set[Any]]:
    """The values that each drawn value of a machine has, by its path."""
    machines, _ = drawn_systems(system, replace(POINT, **point), "sail")
    found: dict[str, set[Any]] = {}
    for machine in machines:
        for path, leaf in leaves(machine).items():
            found.setdefault(path, set()).add(leaf.value)
    return {path: values for path, values in found.items() if len(values) > 1}


def rate_of(point: Point) -> Any:
    (run,) = runs(point, runners=runners_by_name("sail"))
    return run


@pytest.mark.parametrize("system", ["sail-n1-nbw5", "sail-v2", "aim-n1"])
def test_a_band_holds_the_nominal_rate_or_its_percentile_says_where_it_lies(system: str) -> None:
    run: Any = runs(POINT, runners=runners([system]))[-1]
    assert run.low < run.median < run.high
    assert (run.low <= run.tokens_per_s <= run.high) == (5 <= run.percentile <= 95)
    assert any(f"{DRAWS} machines of prior sail" in note for note in run.notes)


def test_a_band_is_the_same_whenever_it_is_drawn() -> None:
    first = rate_of(POINT)
    interval.POPULATIONS.clear()
    assert rate_of(POINT) == first


RATES = st.floats(1, 1e4)


@given(rates=st.lists(RATES, min_size=1, max_size=64), slow=RATES, fast=RATES)
def test_a_faster_machine_has_no_lower_percentile(rates: list[float], slow: float, fast: float) -> None:
    slow, fast = sorted((slow, fast))
    (low, high, median, below), above = interval_of(slow, rates), interval_of(fast, rates).percentile
    assert min(rates) <= low <= median <= high <= max(rates)
    assert 0 <= below <= above <= 100
    if len(rates) > 1:
        assert interval_of(max(rates), rates).percentile == 100


def test_one_layers_activations_stand_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    few = rate_of(POINT)
    monkeypatch.setattr(interval, "LAYERS", EVERY)
    every = rate_of(POINT)
    assert few.tokens_per_s == every.tokens_per_s
    ends = ("low", "median", "high")
    assert [getattr(few, end) for end in ends] == pytest.approx(
        [getattr(every, end) for end in ends], rel=2e-3
    )


def test_what_a_point_or_its_machine_decides_is_held_and_moves_nothing_else(tmp_path: Path) -> None:
    every = drawn(SAIL_N1)
    assert {"pim.nbw", "pim.arrays", "pim.clock", "host.attention_rate", "memory.core_share"} <= every.keys()
    assert "pim.convert" not in every  # the paper says it, and so do the prior's levels
    by_point = drawn(SAIL_N1, nbw=4)
    assert every.keys() - by_point.keys() == {"pim.nbw"}
    assert every["pim.clock"] == by_point["pim.clock"]
    set_again = load_system("sail-n1:pim.arrays=16:host.attention_rate=1")
    assert every.keys() - drawn(set_again).keys() == {"pim.arrays", "host.attention_rate"}
    saved = save_system(vary(SAIL_N1, {"pim.clock": 1.5}, name="other"), tmp_path / "other.toml")
    assert every.keys() - drawn(load_system(saved)).keys() == {"pim.clock"}
    known = extending(tmp_path, "sail-n1", f"[pim]\nclock = {quantity(1.8, 'GHz')}")
    assert every.keys() - drawn(load_system(known)).keys() == {"pim.clock"}


def test_a_range_of_the_users_file_is_drawn(tmp_path: Path) -> None:
    own = quantity(9, "arrays", kind="assumed", low=8, high=12, note="a guess")
    arrays = drawn(load_system(extending(tmp_path, "sail-n1", f"[pim]\narrays = {own}")))["pim.arrays"]
    assert arrays == {8, 9, 10, 11, 12}


def test_attention_is_drawn_along_the_fit_of_the_software_that_it_is() -> None:
    of_llama, of_fork = (
        drawn(with_host_software(SAIL_N1, name))["host.attention_rate"] for name in ("llama.cpp", "ampere")
    )
    assert max(of_llama) < 1 < 1.5 < min(of_fork)


def test_a_machine_of_which_all_is_decided_has_no_band() -> None:
    decided = vary(SAIL_N1, {path: leaf.value for path, leaf in leaves(SAIL_N1).items()}, name="decided")
    (run,) = runs(POINT, decided, runners_by_name("sail"))
    assert (run.low, run.high, run.median, run.percentile) == (None,) * 4
    assert [note for note in run.notes if note.startswith("no interval: of decided nothing is drawn")]


def test_machines_that_cannot_run_the_point_are_left_out_and_counted() -> None:
    (note,) = (
        note for note in rate_of(replace(POINT, substrate="bit_serial")).notes if "others cannot" in note
    )
    machines, others, _ = (int(word) for word in note.split() if word.isdigit())
    assert machines + others == DRAWS > machines


def test_few_machines_that_can_run_the_point_give_no_band(tmp_path: Path) -> None:
    """Most of them have fewer cores than the point has threads."""
    own = quantity(64, "cores", kind="assumed", low=16, high=64, note="a guess")
    system = load_system(extending(tmp_path, "sail-n1", f"[cores]\ncount = {own}"))
    (run,) = runs(replace(POINT, threads=64), system, runners_by_name("sail"))
    assert (run.low, run.high, run.median, run.percentile) == (None,) * 4
    (note,) = (note for note in run.notes if note.startswith("no interval: "))
    assert int(note.split()[2]) < DRAWS // 2
    assert note.endswith(f"allowed is {DRAWS // 2} or more")


@pytest.mark.parametrize(
    "what", ['ranges."pim.clock"]\nlow = 0.4\nhigh = 0.5', 'levels."pim.rows"]\nvalues = [64, 128]']
)
def test_a_prior_without_its_own_machine_is_refused(tmp_path: Path, what: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(f'extends = "sail"\n[{what}\nreason = "a test"\n')
    sentence = refusal(compare, POINT, prior=path)
    assert what.split('"')[1] in sentence
    assert "allowed is" in sentence


# ---- Ratios -----------------------------------------------------------------------------------------------

SIDES = st.tuples(st.floats(0.1, 1e4), st.floats(1, 10), st.floats(1, 10))


def record(runner: str, side: tuple[float, float, float], median: bool = False) -> dict[str, Any]:
    rate, slower, faster = side
    intervals = {"low": rate / slower, "high": rate * faster}
    return {"runner": runner, "tokens_per_s": rate, "median": rate if median else None, **intervals}


@given(sail=SIDES, other=SIDES)
def test_ends_of_a_ratio_are_both_bands_in_quadrature(sail: Any, other: Any) -> None:
    found = ratio_interval(record("sail", sail, median=True), record("cores", other))
    low, median, high = (math.log(found[end] or math.nan) for end in ("low", "median", "high"))
    assert median == pytest.approx(math.log(sail[0] / other[0]), abs=1e-9)
    slower = math.hypot(math.log(sail[1]), math.log(other[2]))
    faster = math.hypot(math.log(sail[2]), math.log(other[1]))
    assert (median - low, high - median) == pytest.approx((slower, faster), abs=1e-9)
    exact = ratio_interval(record("sail", sail, median=True), record("gpu", (other[0], 1, 1)))
    assert exact["low"] == pytest.approx(sail[0] / sail[1] / other[0])
    assert exact["high"] == pytest.approx(sail[0] * sail[2] / other[0])


def test_a_comparison_has_the_spread_of_rates_and_of_dollars_at_the_nominal_price() -> None:
    found = compare(POINT)["runs"]
    sail, cores = found["sail"], found["cores"]
    assert (sail["speedup_low"], sail["speedup_median"], sail["speedup_high"]) == (1, 1, 1)
    assert cores["median"] is None is cores["percentile"]
    assert cores["speedup"] == pytest.approx(sail["tokens_per_s"] / cores["tokens_per_s"])
    assert cores["speedup_median"] == pytest.approx(sail["median"] / cores["tokens_per_s"])
    assert cores["speedup_low"] < sail["low"] / cores["tokens_per_s"]
    assert cores["speedup_high"] > sail["high"] / cores["tokens_per_s"]
    for end in ("low", "median", "high"):
        prices = cores["usd_ratio_bandwidth"] / cores["speedup"]
        assert cores[f"usd_ratio_bandwidth_{end}"] == pytest.approx(cores[f"speedup_{end}"] * prices)
    assert sail["tokens_per_usd_low"] < sail["tokens_per_usd"] * sail["low"] / sail["tokens_per_s"]


def test_without_sail_nothing_has_a_ratio() -> None:
    found = compare(replace(POINT, system="graviton2"))["runs"]
    assert {run["speedup_median"] for run in found.values()} == {None}
    assert comparisons([], None, {}) == []  # type: ignore[arg-type]


def test_run_tells_the_band_its_median_and_the_percentile() -> None:
    asked = ["run", "--model", POINT.model, "--context", "64", "--batch", "2", "--threads", "8"]
    result = CliRunner().invoke(main, [*asked, "--json"])
    sail = json.loads(result.output)["runs"]["sail"]
    assert sail["low"] < sail["median"] < sail["high"]
    text = CliRunner().invoke(main, asked).output
    words = " ".join(text.split())
    assert f"Their median is {sail['median']:.1f} tokens/s" in words
    assert f"{sail['percentile']:.0f} % of them" in words


def test_a_capture_of_the_users_is_read_once_for_all_machines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Activations.load().save(tmp_path / "own.safetensors")
    point = replace(POINT, activations=str(tmp_path / "own.safetensors"))
    reads: list[Any] = []
    load = Activations.load
    monkeypatch.setattr(Activations, "load", staticmethod(lambda path=None: reads.append(path) or load(path)))
    rate_interval(point, SAIL_N1, load_model(point.model), 1.0)
    assert reads == [point.activations]
