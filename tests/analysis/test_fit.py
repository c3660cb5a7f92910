"""The fit runs again to the shipped numbers, and finds constants that are known."""

import copy
import json
from dataclasses import replace

import numpy as np
import pytest

from sailsim.analysis import fit, fits
from sailsim.analysis.prediction import data_file


@pytest.fixture(scope="module")
def result():
    return fit.run()


def test_fit_gives_the_shipped_constants_again(result):
    assert fit.differences(fits().table, result) == []


def test_a_changed_constant_is_seen(result):
    changed = copy.deepcopy(result)
    changed["cpu"]["llama.cpp"]["constants"]["barrier"]["value"] *= 1.01
    assert fit.differences(result, changed) == ["cpu.llama.cpp.constants.barrier.value"]
    del changed["cpu"]["llama.cpp"]["bands"]
    assert len(fit.differences(result, changed)) == 2


def test_known_constants_are_found_from_rows_that_they_made():
    problem = fit.cpu_problem()
    truth = np.array([p.start for p in problem.parameters])
    made = replace(problem, rows=replace(problem.rows, measured=problem.predict(truth, problem.rows)))
    start = tuple(replace(p, start=p.start * 0.7) for p in problem.parameters)
    found = fit.solve(replace(made, parameters=start))
    assert found.values == pytest.approx(truth, rel=1e-3, abs=1e-3)


def test_errors_stay_where_they_were(result):
    errors = {(e["measurements"], e["held_out"]): e for e in result["errors"]}
    assert errors["N1 decode, llama.cpp", "machine"]["median_error"] < 0.15
    assert errors["N1 decode, llama.cpp", "model"]["median_error"] < 0.15
    assert errors["N1 prompt, llama.cpp", "machine"]["median_error"] < 0.05
    assert errors["Altra batched decode, Ampere's fork", "batch size"]["worst_error"] < 0.2
    # The reason for an overlap below 1: the textbook maximum is twice as far off.
    textbook = errors["N1 decode, llama.cpp", "machine, with overlap fixed at 1 (maximum)"]
    assert textbook["median_error"] > 2 * errors["N1 decode, llama.cpp", "machine"]["median_error"]


def test_band_holds_most_of_the_measurements():
    problem = fit.cpu_problem()
    rows = problem.rows
    decode = (rows.labels["software"] == "llama.cpp") & (rows.labels["test"] == "tg")
    ratio = rows.measured[decode] / problem.predict(fit.solve(problem).values, rows)[decode]
    band = fits().software("llama.cpp").band("decode")
    assert np.mean((ratio >= band.low * 0.999) & (ratio <= band.high)) >= 0.8


def test_every_measurement_file_states_its_licence_and_a_source_a_row():
    for name in fit.DATA:
        text = data_file(name).read_text("utf-8")
        head = " ".join(line for line in text.splitlines() if line.startswith("#"))
        assert "icence" in head or "facts" in head, name
        assert all(row["source"] for row in fit._table(name)), name


def test_written_file_is_what_was_fitted(tmp_path, result):
    path, written = fit.write(tmp_path / "fits.json")
    assert json.loads(path.read_text()) == written
    assert fit.differences(written, result) == []


def test_docs_show_the_current_error_table(result):
    import pathlib

    page = pathlib.Path(__file__).parents[2] / "docs" / "baselines.md"
    assert fit.error_table(result["errors"]) in page.read_text("utf-8")
