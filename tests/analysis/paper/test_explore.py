"""The search: the front is what none beats, found machines give their numbers, a stopped search goes on."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

pytest.importorskip("optuna")

from sailsim.analysis.costs.area import area
from sailsim.analysis.paper.explore import OBJECTIVES, Search, explore, try_machine
from sailsim.analysis.results.compare import compare
from sailsim.analysis.results.sweep import run_sweep
from sailsim.base.errors import SailsimError
from sailsim.sim.files import load_system
from sailsim.sim.point import Point

POINT = Point(model="smollm2-135m", context=64, batch=2, threads=8)
SEARCH = Search(POINT, threads=(8, 16), seed=3)


@pytest.mark.slow
def test_points_of_the_front_give_their_numbers_by_their_files(tmp_path: Path) -> None:
    frame = explore(SEARCH, tmp_path, samples=40, progress=False)
    values = frame[list(OBJECTIVES)].to_numpy(dtype=float) * [1, 1, -1]
    assert frame["pareto"].any()
    assert frame["reason"][frame["pareto"]].eq("").all()
    for i, row in enumerate(values):
        beaten = any((other >= row).all() and (other > row).any() for other in values)
        equal = any((other == row).all() for other in values[:i])
        assert frame["pareto"][i] == (frame["reason"][i] == "" and not beaten and not equal)
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
        assert area(load_system(path)).added_mm2 == pytest.approx(row["area_mm2"], rel=1e-12)


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
