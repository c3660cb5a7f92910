"""Sweeps on disk: keyed, resumable after kill -9, one at a time, whole on a full disk."""

import errno
import json
import os
import signal
import subprocess
import sys
import textwrap
from functools import partial
from math import inf
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sailsim.base.errors import SailsimError
from sailsim.sim import Point, Store, point_key, result_key, run_sweep
from sailsim.sim.study import progress

POINTS = [Point(wbits=w, batch=b) for w in (2, 4, 8) for b in (1, 8)]
evaluated: list[Point] = []


def double(point: Point) -> dict[str, Any]:
    evaluated.append(point)
    return point.as_dict() | {"twice": 2.0 * point.wbits, "notes": ["a note"]}


def refuse_wide(point: Point) -> dict[str, Any]:
    if point.wbits == 8:
        raise SailsimError("wbits is 8; allowed is less.")
    return double(point)


def crash_late(point: Point) -> dict[str, Any]:
    if len(evaluated) == 4:
        raise ZeroDivisionError("a bug")
    return double(point)


@pytest.fixture(autouse=True)
def _forget() -> None:
    evaluated.clear()


def test_results_come_back_as_a_frame(tmp_path: Path) -> None:
    frame = run_sweep(POINTS, double, tmp_path, progress=False).frame()
    assert len(frame) == len(POINTS)
    assert {Point.from_dict(r) for r in json.loads(frame.to_json(orient="records"))} == set(POINTS)
    assert (frame["twice"] == 2 * frame["wbits"]).all()
    assert list(frame["notes"].iloc[0]) == ["a note"]
    assert frame["key"].is_unique


def test_what_is_stored_is_not_run_again(tmp_path: Path) -> None:
    run_sweep(POINTS[:4], double, tmp_path, progress=False)
    first = Store(tmp_path).frame()
    run_sweep([*POINTS, *POINTS], double, tmp_path, progress=False)
    assert len(evaluated) == len(POINTS)
    both = Store(tmp_path).frame()
    assert len(both) == len(POINTS)
    assert set(first["finished_at"]) <= set(both["finished_at"])


def test_the_manifest_says_what_was_run(tmp_path: Path) -> None:
    store = run_sweep(POINTS, double, tmp_path, progress=False, config={"preset": "small"})
    run_sweep(POINTS, double, tmp_path, progress=False)
    manifest = store.manifest
    assert manifest["state"] == "complete"
    assert [Point.from_dict(p) for p in manifest["points"]] == POINTS
    assert manifest["seeds"] == [0]
    assert manifest["versions"]["numpy"]
    assert manifest["wall_s"] >= 0
    assert manifest["held_before"] == len(POINTS)
    assert len(manifest["code_version"]) == 16
    [earlier] = manifest["runs"]
    assert earlier["config"] == {"preset": "small"}
    assert earlier["points"] == len(POINTS)


def test_a_key_depends_on_every_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('extends = "sail-n1"\nname = "mine"\n')
    base = Point(system=str(path))
    key = result_key(base, "f")
    assert result_key(Point(system=str(path)), "f") == key
    changes: list[dict[str, Any]] = [
        {"wbits": 3},
        {"nbw": 2},
        {"prt": False},
        {"seed": 1},
        {"model": "gemma-2b"},
    ]
    others = {result_key(Point(**(base.as_dict() | change)), "f") for change in changes}
    assert len(others | {key}) == 1 + len(changes)
    assert result_key(base, "g") != key
    path.write_text('extends = "sail-n1"\nname = "mine"\npim.enabled = false\n')
    assert result_key(base, "f") != key
    assert point_key(base) == point_key(Point(system=str(path)))
    monkeypatch.setattr("sailsim.sim.keys.code_version", lambda: "other code")
    path.write_text('extends = "sail-n1"\nname = "mine"\n')
    assert result_key(base, "f") != key


def rows_of(point: Point) -> list[dict[str, Any]]:
    """Two records of a point, with a column of maps that differ in their names."""
    return [
        point.as_dict() | {"who": "b", "parts": {"x": 1, "y": 2.5}},
        point.as_dict() | {"who": "a", "parts": {}},
    ]


def test_a_point_may_have_several_records_and_columns_of_maps(tmp_path: Path) -> None:
    store = run_sweep(POINTS, rows_of, tmp_path, progress=False)
    frame = store.frame()
    assert len(frame) == 2 * len(POINTS)
    assert list(frame["who"]) == ["b", "a"] * len(POINTS)
    assert list(frame["parts"]) == [{"x": 1.0, "y": 2.5}, {}] * len(POINTS)
    assert len(store.keys()) == len(POINTS)
    assert list(frame["point_key"][::2]) == list(frame["point_key"][1::2])


def test_what_else_records_rest_on_is_in_their_key(tmp_path: Path) -> None:
    run_sweep(POINTS[:1], rows_of, tmp_path, progress=False)
    run_sweep(POINTS[:1], partial(double), tmp_path, progress=False, inputs="of one more")
    assert len(Store(tmp_path).keys()) == 2
    newest = Store(tmp_path).frame()
    assert len(newest) == 1  # the newest records of the point, all of them and no others
    held = run_sweep(POINTS[:1], partial(double), tmp_path, progress=False, inputs="of one more")
    assert held.manifest["held_before"] == 1


def test_results_of_other_code_are_kept_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_sweep(POINTS, double, tmp_path, progress=False)
    for module in ("keys", "study.run"):
        monkeypatch.setattr(f"sailsim.sim.{module}.code_version", lambda: "next version 16")
    run_sweep(POINTS[:2], double, tmp_path, progress=False)
    assert len(evaluated) == len(POINTS) + 2
    frame = Store(tmp_path).frame()
    assert set(frame["code_version"]) == {"next version 16"}
    assert len(frame) == 2
    assert len(Store(tmp_path).keys()) == len(POINTS) + 2


def test_refused_points_are_named_after_the_others_are_stored(tmp_path: Path) -> None:
    with pytest.raises(SailsimError, match=r"2 of 6 points were refused.*wbits is 8; allowed is less\."):
        run_sweep(POINTS, refuse_wide, tmp_path, progress=False)
    store = Store(tmp_path)
    assert len(store.frame()) == 4
    assert store.manifest["state"] == "points refused"
    assert set(store.manifest["refused"]) == {point_key(p) for p in POINTS if p.wbits == 8}


def test_a_bug_stops_the_sweep_and_loses_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"(?s)crash_late failed at Point\(.*ZeroDivisionError: a bug"):
        run_sweep(POINTS, crash_late, tmp_path, progress=False)
    assert len(Store(tmp_path).frame()) == 4
    assert Store(tmp_path).manifest["state"] == "stopped"
    run_sweep(POINTS, double, tmp_path, progress=False)
    assert len(Store(tmp_path).frame()) == len(POINTS)


def test_a_second_sweep_in_the_folder_is_refused(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with (
        store.locked(),
        pytest.raises(SailsimError, match=rf"in use by another sweep \(process {os.getpid()}\)"),
    ):
        run_sweep(POINTS, double, tmp_path, progress=False)
    run_sweep(POINTS, double, tmp_path, progress=False)


def test_a_full_disk_ends_in_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_sweep(POINTS[:3], double, tmp_path, progress=False)
    before = Store(tmp_path).frame()

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(
            SailsimError, match=r"cannot be written: No space left on device; .* is kept"
        ) as caught:
            run_sweep(POINTS, double, tmp_path, progress=False)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.rglob("*.partial"))
    assert set(Store(tmp_path).keys()) == set(before["key"])
    run_sweep(POINTS, double, tmp_path, progress=False)
    assert len(Store(tmp_path).frame()) == len(POINTS)


def test_a_full_file_system_ends_in_one_sentence(tmp_path: Path) -> None:
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(tmp_path)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("this user cannot mount a small file system")
    try:
        run_sweep(POINTS[:1], double, tmp_path, progress=False)
        points = [Point(seed=s) for s in range(100)]
        with pytest.raises(SailsimError, match="No space left on device"):
            run_sweep(points, double, tmp_path, progress=False)
        assert len(Store(tmp_path).keys()) >= 1
        assert Store(tmp_path).manifest
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_damaged_results_are_named(tmp_path: Path) -> None:
    run_sweep(POINTS, double, tmp_path, progress=False)
    victim = sorted((tmp_path / "chunks").glob("*.parquet"))[0]
    victim.write_bytes(victim.read_bytes()[:100])
    with pytest.raises(
        SailsimError, match=rf"{victim.name} is damaged .*; remove it to run its points again"
    ):
        Store(tmp_path).frame()
    victim.unlink()
    run_sweep(POINTS, double, tmp_path, progress=False)
    assert len(Store(tmp_path).frame()) == len(POINTS)
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(SailsimError, match=r"manifest .* cannot be read"):
        Store(tmp_path).frame()


def test_another_programs_results_are_named(tmp_path: Path) -> None:
    run_sweep(POINTS, double, tmp_path, progress=False)
    pq.write_table(pa.table({"key": ["1"]}), tmp_path / "chunks" / "other.parquet")
    with pytest.raises(SailsimError, match=r"other\.parquet is damaged \(.*point_key.*\); remove it"):
        Store(tmp_path).frame()


def test_a_point_that_cannot_be_read_leaves_the_folder_alone(tmp_path: Path) -> None:
    for bad in (Point(model="nope"), Point(system="nope"), Point(activations="nope")):
        with pytest.raises(SailsimError, match="nope"):
            run_sweep([*POINTS, bad], double, tmp_path / "out", progress=False)
    assert list(tmp_path.iterdir()) == []


def test_an_empty_folder_has_no_frame(tmp_path: Path) -> None:
    with pytest.raises(SailsimError, match="holds no results"):
        Store(tmp_path).frame()
    assert Store(tmp_path).manifest == {}
    with pytest.raises(SailsimError, match="points is empty"):
        run_sweep([], double, tmp_path, progress=False)


def test_progress_without_a_terminal_is_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "QUIET_SECONDS", inf)
    run_sweep(POINTS, double, tmp_path)
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["points 6/6, about 0 s left"]


SWEEP = """
    import sys, time
    from pathlib import Path
    from sailsim.sim import Point, keys, run_sweep
    from sailsim.sim.study import run

    def slow(point):
        with open(sys.argv[2], "a") as log:
            log.write(f"{point.seed}\\n")
        while point.seed >= 20 and not Path(sys.argv[2] + ".go").exists():
            time.sleep(0.01)  # the first run does not come to its end
        return point.as_dict()

    if __name__ == "__main__":
        # The sources may change between the two runs of this test; the code's version must not.
        keys.code_version = run.code_version = lambda: "fixed"
        run_sweep([Point(seed=s) for s in range(40)], slow, sys.argv[1], jobs=2, progress=False)
"""


@pytest.mark.slow
def test_kill_9_loses_and_doubles_nothing(tmp_path: Path, wait_until) -> None:
    script, out, log = tmp_path / "sweep.py", tmp_path / "out", tmp_path / "log"
    script.write_text(textwrap.dedent(SWEEP))
    command = [sys.executable, str(script), str(out), str(log)]
    process = subprocess.Popen(command, start_new_session=True)
    try:
        wait_until(process, lambda: len(list(out.glob("chunks/*.parquet"))) >= 2)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    kept = [row for path in out.glob("chunks/*.parquet") for row in pq.read_table(path).to_pylist()]
    assert 0 < len(kept) < 40
    assert Store(out).manifest["state"] == "running"
    at_kill = log.read_text().split()

    Path(f"{log}.go").touch()
    subprocess.run(command, check=True)
    frame = Store(out).frame()
    assert sorted(frame["seed"]) == list(range(40))
    stored = pq.ParquetDataset(out / "chunks").read(columns=["key"]).column("key").to_pylist()
    assert len(stored) == len(set(stored)) == 40
    # What was on disk is the same record still, and was not run again.
    assert {r["key"]: r["finished_at"] for r in kept}.items() <= dict(
        zip(frame["key"], frame["finished_at"], strict=True)
    ).items()
    again = log.read_text().split()[len(at_kill) :]
    assert not set(again) & {str(r["seed"]) for r in kept}
    assert Store(out).manifest["state"] == "complete"
    assert Store(out).manifest["held_before"] == len(kept)
