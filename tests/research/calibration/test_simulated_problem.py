"""The fit of this project's kernels in gem5: its rows are the runs, and it finds what rows were made with."""

import re
from dataclasses import replace
from operator import attrgetter
from pathlib import Path

import numpy as np
import pytest

from calibration.simulated_host import _copying, host_constants, host_rows
from calibration.simulated_problem import PARTS, neon_problem, simulated_rows, tables_problem
from calibration.solver import Problem, solve
from sailsim.analysis.results.gem5_steps import (
    HOST,
    PIECE,
    REPLACED,
    SAME_STEP,
    SEARCHING,
    bits_and_group,
    comparison_cycles,
    comparisons,
    decode_rows,
    needless_cycles,
    part_of_model,
    shape,
)
from sailsim.base.errors import SailsimError
from sailsim.sim.files import load_system


@pytest.mark.parametrize("kind", ["neon", "lut"])
def test_every_run_is_three_rows_of_its_cycles(kind: str) -> None:
    rows, runs = simulated_rows(kind), [row for row in decode_rows() if row["linears"] == kind]
    assert len(rows.measured) == 3 * len(runs)
    cycles = (rows.tokens / rows.measured * 2.5e9).reshape(-1, 3)
    for run, (products, attention, step) in zip(runs, cycles, strict=True):
        assert step == pytest.approx(run["step_cycles"] - needless_cycles(run))
        assert attention == pytest.approx(run["attention_cycles"])
        assert products == pytest.approx(sum(run[f"{name}_cycles"] for name in ("qkv", "o", "ffn", "head")))
        assert products + attention < step
    assert list(rows.labels["part"][:3]) == list(PARTS)


def test_the_fit_finds_the_constants_that_rows_were_made_with() -> None:
    problem = neon_problem()
    names = [p.name for p in problem.parameters]
    true = solve(problem).values.copy()
    for name, factor in (("kernel_rate_w4", 0.8), ("attention_rate", 1.3), ("group_cycles", 1.2)):
        true[names.index(name)] *= factor
    made = replace(problem.rows, measured=problem.predict(true, problem.rows))
    found = solve(Problem(problem.parameters, made, problem.predict, loss=problem.loss)).values
    for name in ("kernel_rate_w4", "attention_rate", "group_cycles"):
        assert found[names.index(name)] == pytest.approx(true[names.index(name)], rel=0.02)


def test_tables_are_fitted_on_the_widths_that_they_multiply() -> None:
    neon = {p.name: {"value": p.start} for p in neon_problem().parameters}
    problem = tables_problem(neon)
    assert problem.rows.labels["bits"].astype(int).max() <= 4
    slow, fast = (problem.predict(np.array([rate, 3.0, 0.0]), problem.rows) for rate in (10.0, 20.0))
    attention = problem.rows.labels["part"] == "attention"
    assert (slow[attention] == fast[attention]).all()
    assert (slow[~attention] < fast[~attention]).all()


def test_what_rows_of_a_pass_share_is_the_tables_own() -> None:
    """It was that of dot products, while the constants that came out said that tables share nothing."""
    neon = {p.name: {"value": p.start} for p in neon_problem().parameters}
    problem = tables_problem(neon)
    many = problem.rows.labels["batch"].astype(int) > 1
    assert many.any()
    nothing = np.array([18.0, 3.0, 0.0])
    at = problem.predict(nothing, problem.rows)
    other = tables_problem(neon | {"shared": {"value": 0.9}}).predict(nothing, problem.rows)
    assert (at == other).all()
    shared = problem.predict(np.array([18.0, 3.0, 0.5]), problem.rows)
    products = problem.rows.labels["part"] == "products"
    assert (shared[many & products] > at[many & products]).all()
    assert (shared[~many] == at[~many]).all()


def test_a_run_is_of_a_shape_that_ships() -> None:
    for row in decode_rows():
        spec = part_of_model(row)
        assert spec.n_layers == (row["blocks"] or spec.n_layers)
        assert bits_and_group(row)[1] in (32, 128)
        assert shape(row) in ("smollm2-135m", "llama-2-7b", "llama-3-8b")
    with pytest.raises(SailsimError, match="weights is 'q4_k_m'; allowed here are bits"):
        bits_and_group({"weights": "q4_k_m"})


def test_the_machine_of_these_cores_has_the_fitted_constants() -> None:
    machine = load_system(HOST)
    for name, found in host_constants().items():
        quantity = attrgetter(name)(machine)
        assert quantity.value == pytest.approx(found["value"], rel=2e-3)
        assert (quantity.low, quantity.high) == pytest.approx((found["low"], found["high"]), rel=2e-3)
        assert quantity.kind == "fitted"


def test_copying_is_found_in_heads_that_were_made_with_it() -> None:
    """Of 32 tiles a thread of 16 has two; what it hands over, looks at and waits for is none of it."""
    host = load_system(HOST).host
    made = []
    for row in host_rows():
        if row["model"].startswith("SmolLM2") and not row["blocks"]:
            tiles = 32 / row["threads"]
            around = tiles * (host.submit.si + host.poll.si) + row["threads"] * host.barrier.si
            copied = 3.0 * row["batch"] * part_of_model(row).vocab / row["threads"]
            made.append({**row, "head_cycles": 200_000 + copied + around * 2.5e9})
    assert _copying(made) == pytest.approx(3.0)


def test_comparisons_grow_with_the_square_of_a_row() -> None:
    """A block of Llama-2-7B: 64 pieces of 32 heads, 172 pieces of as many; the first comparison of each piece
    is between two."""
    rows = {(row["model"], row["batch"], row["threads"]): row for row in decode_rows() if row["blocks"] == 1}
    assert comparisons(rows["llama-2-7b", 1, 1]) == 64 * 31 + 172 * 171
    assert comparisons(rows["llama-2-7b", 8, 16]) == (64 * 31 + 172 * 171) / 2


def test_a_comparison_costs_what_runs_without_them_spare() -> None:
    names = (*SAME_STEP, "linears")
    rows = {tuple(row[name] for name in names): row for row in decode_rows()}
    found: dict[str, list[tuple[float, float]]] = {}
    for row in decode_rows(REPLACED):
        mended = rows[tuple(row[name] for name in names)]
        assert row["content"] == SEARCHING != mended["content"]
        assert (row["tokens"], row["logits"]) == (mended["tokens"], mended["logits"])
        spared = row["quantise_cycles"] - mended["quantise_cycles"]
        assert spared > 0
        found.setdefault(shape(row), []).append((spared, comparisons(row)))
    for model, pairs in found.items():
        spared, compared = map(sum, zip(*pairs, strict=True))
        assert comparison_cycles(model) == pytest.approx(spared / compared)
        # A load, a comparison that waits for it, and a branch, on a core that does several at once.
        assert 3 < comparison_cycles(model) < 6
    with pytest.raises(SailsimError, match="no step of it was run with both programs"):
        comparison_cycles("llama-2-13b")


def test_a_program_without_them_spends_nothing_on_them() -> None:
    for row in decode_rows():
        assert (needless_cycles(row) > 0) == (row["content"] == SEARCHING)


def test_all_kinds_of_a_step_are_of_one_program() -> None:
    programs: dict[tuple[object, ...], set[bool]] = {}
    for row in decode_rows():
        step = tuple(row[name] for name in SAME_STEP if name != "blocks")
        programs.setdefault(step, set()).add(row["content"] == SEARCHING)
    assert {len(of) for of in programs.values()} == {1}


def test_pieces_are_those_of_the_program() -> None:
    header = Path(__file__).parents[3] / "workloads" / "kernels" / "decode" / "rounding.hh"
    assert re.findall(r"kPiece = (\d+);", header.read_text()) == [str(PIECE)]


def test_the_fit_is_the_lowest_valley_with_a_batch_left_out() -> None:
    """There are two; from the declared start alone the higher one is found with some versions of SciPy."""
    problem = neon_problem()
    labels = problem.rows.labels
    fold = problem.rows.where(~((labels["batch"] == "8") & (labels["threads"] == "1")))
    assert len(fold.measured) < len(problem.rows.measured)
    found, many = solve(problem, fold), solve(problem, fold, starts=24)
    assert found.values == pytest.approx(many.values, rel=1e-3)
