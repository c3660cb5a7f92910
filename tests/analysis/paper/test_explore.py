"""The search: the front is what none beats, found machines give their numbers, a stopped search goes on."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

pytest.importorskip("optuna")

from sailsim.analysis.costs.area import area
from sailsim.analysis.paper.explore import Search, explore, on_front, try_machine
from sailsim.analysis.results.compare import compare
from sailsim.analysis.results.sweep import run_sweep
from sailsim.base.errors import SailsimError
from sailsim.sim.files import load_system
from sailsim.sim.point import Point

POINT = Point(model="smollm2-135m", context=64, batch=2, threads=8)
SEARCH = Search(POINT, threads=(8, 16), seed=3)


@given(arrays(float, st.tuples(st.integers(1, 12), st.just(3)), elements=st.integers(0, 4).map(float)))
def test_the_front_is_what_no_other_beats(values: np.ndarray) -> None:
    front = on_front(values)
    assert front.any()
    signs = np.array([1, 1, -1])
    for i, row in enumerate(values * signs):
        beaten = any((other >= row).all() and (other > row).any() for other in values * signs)
        assert not (front[i] and beaten)
        # What is left out is beaten, or equal to an earlier one that is on the front.
        if not front[i] and not beaten:
            assert any(front[j] and (values[j] == values[i]).all() for j in range(i))
    assert on_front(np.array([[1.0, 1, 1], [np.nan, 9, 0]])).tolist() == [True, False]  # no machine


@pytest.mark.slow
def test_points_of_the_front_give_their_numbers_by_their_files(tmp_path: Path) -> None:
    frame = explore(SEARCH, tmp_path, samples=8, progress=False)
    front = pd.read_csv(tmp_path / "pareto.csv")
    assert len(front) == frame["pareto"].sum() == len(list(tmp_path.glob("front/point-*.toml")))
    assert (tmp_path / "trials.csv").is_file()
    for row in front.to_dict("records"):
        path = tmp_path / "front" / f"{row['point']}.toml"
        answer = compare(replace(POINT, system=str(path), threads=int(row["threads"])))
        assert answer["runs"]["sail"]["tokens_per_s"] == pytest.approx(row["tokens_per_s"], rel=1e-12)
        assert answer["runs"]["sail"]["tokens_per_usd_used"] == pytest.approx(
            row["tokens_per_usd"], rel=1e-12
        )
        assert area(load_system(path)).added_mm2() == pytest.approx(row["area_mm2"], rel=1e-12)


@pytest.mark.slow
def test_a_search_goes_on_and_jobs_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sailsim.analysis.paper.explore.GENERATION", 3)
    explore(SEARCH, tmp_path / "a", samples=6, progress=False)
    resumed = explore(SEARCH, tmp_path / "a", samples=9, jobs=2, progress=False)
    whole = explore(SEARCH, tmp_path / "b", samples=9, progress=False)
    pd.testing.assert_frame_equal(resumed, whole)
    for name in ("trials.csv", "pareto.csv", "front/point-01.toml"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    other = explore(replace(SEARCH, seed=4), tmp_path / "a", samples=9, progress=False)
    alone = explore(replace(SEARCH, seed=4), tmp_path / "c", samples=9, progress=False)
    pd.testing.assert_frame_equal(other, alone)


def test_a_machine_whose_tiles_do_not_fit_says_why() -> None:
    values = {f.name: f.nominal for f in SEARCH.factors} | {"threads": 8, "pim.rows": 4}
    found = try_machine(SEARCH, values)
    assert set(found) == {"reason"}
    assert "rows" in found["reason"]


def test_bad_samples_jobs_and_folders(tmp_path: Path) -> None:
    run_sweep([Point()], Point.as_dict, tmp_path / "sweep", progress=False)
    (tmp_path / "file").write_text("x")
    other = r"holds results of `sailsim sweep`; allowed for `sailsim claims explore`"
    for folder, samples, jobs, words in (
        *(("new", n, 1, "samples is") for n in (0, -1, 10**9)),
        ("new", 1, 0, "jobs is 0"),
        ("file", 1, 1, "cannot be written"),
        ("sweep", 1, 1, other),
    ):
        with pytest.raises(SailsimError, match=words):
            explore(SEARCH, tmp_path / folder, samples, jobs)
