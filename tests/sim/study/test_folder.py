"""Sweeps on disk: keyed, resumable after kill -9, one at a time, whole on a full disk."""

import errno
import fcntl
import json
import os
import re
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from math import inf
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from sailsim.base import progress
from sailsim.base.errors import SailsimError
from sailsim.sim.keys import point_key, result_key
from sailsim.sim.point import Point
from sailsim.sim.study import folder
from sailsim.sim.study.chunks import RESERVED
from sailsim.sim.study.collect import unasked_records
from sailsim.sim.study.folder import Store
from sailsim.sim.study.run import TRIES, run_study
from sailsim.sim.study.tasks import Task
from sailsim.sim.sweep import run_sweep

from ...examples import examples

POINTS = [Point(wbits=w, batch=b) for w in (2, 4, 8) for b in (1, 8)]
evaluated: list[Point] = []


def double(point: Point) -> dict[str, Any]:
    evaluated.append(point)
    return point.as_dict() | {"twice": 2.0 * point.wbits, "notes": ["a note"]}


def refuse_wide(point: Point) -> dict[str, Any]:
    if point.wbits == 8:
        raise SailsimError("wbits is 8; allowed is less.")
    return double(point)


def crash_at_four(point: Point, mended: bool = False) -> dict[str, Any]:
    record = double(point)
    if point == POINTS[3] and not mended:
        raise ZeroDivisionError("a bug")
    return record


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
    assert (manifest["kind"], manifest["state"]) == ("sweep", "complete")
    assert manifest["points"] == len(POINTS)
    assert store.asked() == [result_key(p, double.__module__ + ".double") for p in POINTS]
    assert manifest["versions"]["numpy"]
    assert manifest["wall_s"] >= 0
    assert manifest["held_before"] == len(POINTS)
    assert len(manifest["code_version"]) == 16
    [earlier] = manifest["runs"]
    assert earlier["config"] == {"preset": "small"}
    assert earlier["points"] == len(POINTS)


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
    assert list(frame) == [*Point.__dataclass_fields__, "who", "parts", *RESERVED]


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
    assert unasked_records(Store(tmp_path)) == len(POINTS)


def test_refused_points_are_named_after_the_others_are_stored(tmp_path: Path) -> None:
    words = r"2 of 6 points were refused.*wbits is 8; allowed is less\); the others are stored"
    with pytest.raises(SailsimError, match=words):
        run_sweep(POINTS, refuse_wide, tmp_path, progress=False)
    assert len((store := Store(tmp_path)).frame()) == 4
    assert store.manifest["state"] == "points without a result"
    assert set(store.manifest["refused"]) == {point_key(p) for p in POINTS if p.wbits == 8}


def test_where_all_are_refused_there_are_no_others_to_speak_of(tmp_path: Path) -> None:
    wide = [point for point in POINTS if point.wbits == 8]
    with pytest.raises(SailsimError) as refused:
        run_sweep(wide, refuse_wide, tmp_path, progress=False)
    assert str(refused.value) == (
        "2 of 2 points were refused (the first: wbits is 8; allowed is less); the manifest in "
        f"{tmp_path} names all."
    )


def test_a_bug_is_tried_three_times_recorded_and_does_not_stop_the_others(tmp_path: Path) -> None:
    with pytest.raises(SailsimError, match=r"1 of 6 points failed \(the first: ZeroDivisionError: a bug\)"):
        run_sweep(POINTS, crash_at_four, tmp_path, progress=False)
    assert len(Store(tmp_path).frame()) == 5
    assert evaluated.count(POINTS[3]) == TRIES
    [(question, error)] = Store(tmp_path).manifest["failed"].items()
    assert question == point_key(POINTS[3])
    assert "crash_at_four" in error
    run_sweep(POINTS, partial(crash_at_four, mended=True), tmp_path, progress=False)
    assert len(Store(tmp_path).frame()) == len(POINTS)


def test_a_second_sweep_in_the_folder_is_refused(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with (
        store.locked("sweep"),
        pytest.raises(SailsimError, match=rf"in use by another study \(process {os.getpid()}\)"),
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


@pytest.mark.parametrize("at", ["before", "after"])
@pytest.mark.parametrize("holds", [0, 2])
def test_a_stop_while_the_question_is_written_loses_no_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, holds: int, at: str
) -> None:
    """Ctrl-C at each side of each file that is written before the first point."""
    write_whole = folder.write_whole
    for stop in range(2):
        out = tmp_path / f"{stop}"
        if holds:
            run_sweep(POINTS[:holds], double, out, progress=False)
        written = iter(range(100))

        def write(path: Path, content: bytes, stop: int = stop, written: Iterator[int] = written) -> None:
            now = next(written) == stop
            if now and at == "before":
                raise KeyboardInterrupt
            write_whole(path, content)
            if now:
                raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(folder, "write_whole", write)
            with pytest.raises(KeyboardInterrupt):
                run_sweep(POINTS, double, out, progress=False)
        assert (Store(out).asked() is None) == (not holds and stop == 0)
        assert len(Store(out).keys()) == holds
        if holds:
            assert len(Store(out).frame()) == holds
        run_sweep(POINTS, double, out, progress=False)
        assert len(Store(out).frame()) == len(POINTS)


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
        SailsimError,
        match=rf"{victim.name} is damaged .*not what its name says.*; remove it to run its points",
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
    with pytest.raises(SailsimError, match=r"other\.parquet is damaged or another program's .*; remove it"):
        Store(tmp_path).frame()


def test_a_point_that_cannot_be_read_leaves_the_folder_alone(tmp_path: Path) -> None:
    for bad in (Point(system="nope"), Point(activations="nope")):
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
    assert len(lines) == 1
    assert re.fullmatch(r"points 6/6, about 0 s left, [0-9.e+]+/s", lines[0])


def test_a_clock_that_goes_back_changes_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter(f"2026-01-{day:02d}" for day in range(28, 0, -1))
    monkeypatch.setattr("sailsim.sim.study.tasks.now", lambda: next(times))
    run_sweep(POINTS[:2], double, tmp_path, progress=False)
    monkeypatch.setattr("sailsim.sim.keys.code_version", lambda: "mended")
    run_sweep(POINTS[:2], refuse_wide, tmp_path, progress=False)
    frame = Store(tmp_path).frame()
    assert list(frame["finished_at"]) == sorted(frame["finished_at"], reverse=True)
    assert set(frame["key"]) == set(Store(tmp_path).asked() or ())


def test_foreign_files_are_never_touched(tmp_path: Path) -> None:
    run_sweep(POINTS[:1], double, tmp_path, progress=False)
    name = next((tmp_path / "chunks").iterdir()).name
    foreign = ["a.partial", "deep/b.partial", "chunks/c.partial", "chunks/.mine.1.partial", "point-01.toml"]
    foreign += ["asked-by-me.parquet", ".manifest.json.partial"]
    for each in foreign:
        (tmp_path / each).parent.mkdir(exist_ok=True)
        (tmp_path / each).write_text("mine")
    halves = [tmp_path / f"chunks/.{name}.12.partial", tmp_path / ".manifest.json.12.partial"]
    for half in halves:
        half.write_text("half")
    run_sweep(POINTS, double, tmp_path, progress=False)
    assert [(tmp_path / each).read_text() for each in foreign] == ["mine"] * len(foreign)
    assert not any(half.exists() for half in halves)
    assert len(list(tmp_path.glob("asked-*.parquet"))) == 2  # ours of now, and the foreign one


@examples(60, but=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_flipped_bit_is_noticed(tmp_path: Path, data: st.DataObject) -> None:
    if not (tmp_path / "manifest.json").exists():
        run_sweep(POINTS, double, tmp_path, progress=False)
    store = Store(tmp_path)
    right = store.frame()
    kind = data.draw(st.sampled_from(["chunks/*.parquet", "asked-*.parquet", "manifest.json"]))
    victim = sorted(tmp_path.glob(kind))[0]
    content = victim.read_bytes()
    at = data.draw(st.integers(0, 8 * len(content) - 1))
    flipped = bytearray(content)
    flipped[at // 8] ^= 1 << at % 8
    victim.write_bytes(bytes(flipped))
    try:
        found = store.frame()
    except SailsimError:
        found = right  # it was noticed
    finally:
        victim.write_bytes(content)
    pd.testing.assert_frame_equal(found, right)


def test_many_chunks_become_one_and_nothing_changes(tmp_path: Path) -> None:
    store = run_sweep(POINTS, double, tmp_path, progress=False)
    before, files = store.frame(), len(list(tmp_path.glob("chunks/*")))
    with store.locked("sweep"):
        store.compact(small=1)
    assert len(list(tmp_path.glob("chunks/*"))) == 1 < files
    pd.testing.assert_frame_equal(store.frame(), before)


def test_chunks_are_put_together_up_to_so_many_rows(tmp_path: Path) -> None:
    store = run_sweep(POINTS, rows_of, tmp_path, progress=False)
    for points in (POINTS[:2], POINTS):  # each question anew: the same records, in the order asked
        store = run_sweep(points, rows_of, tmp_path, progress=False)
    before = store.frame()
    assert len(before) == 12
    with store.locked("sweep"):
        store.compact(small=1, rows=5)
    sizes = [pq.read_metadata(path).num_rows for path in store.chunks()]
    assert max(sizes) <= 5
    assert len(sizes) >= 3
    pd.testing.assert_frame_equal(store.frame(), before)


def test_a_compaction_that_was_killed_doubles_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = run_sweep(POINTS, rows_of, tmp_path, progress=False)
    before = store.frame()
    with monkeypatch.context() as patch, store.locked("sweep"):
        patch.setattr(Path, "unlink", lambda self, missing_ok=False: None)
        store.compact(small=1)
    assert len(list(tmp_path.glob("chunks/*"))) > 1
    pd.testing.assert_frame_equal(store.frame(), before)
    with store.locked("sweep"):
        store.compact(small=1)
    pd.testing.assert_frame_equal(store.frame(), before)


def test_a_folder_has_results_of_one_command(tmp_path: Path) -> None:
    run_study([Task("k", "q", 1)], lambda what: {"x": what}, tmp_path, kind="gem5", progress=False)
    with pytest.raises(SailsimError, match="holds results of `sailsim gem5`; allowed for `sailsim sweep`"):
        run_sweep(POINTS, double, tmp_path, progress=False)


def test_groups_of_questions_stand_beside_each_other(tmp_path: Path) -> None:
    def ask(group: str, *keys: str) -> Store:
        tasks = [Task(key, key, key) for key in keys]
        return run_study(
            tasks, lambda what: {"who": what}, tmp_path, kind="gem5", progress=False, group=group
        )

    ask("tiles", "a", "b")
    store = ask("memory", "m")
    assert list(store.frame()["who"]) == ["a", "b", "m"]
    store = ask("tiles", "c", "a")
    assert list(store.frame()["who"]) == ["m", "c", "a"]
    assert list(store.frame("tiles")["who"]) == ["c", "a"]


def test_an_older_folder_says_which_command_makes_it_anew(tmp_path: Path) -> None:
    old = {"schema": 1, "config": {"preset": None, "batch": "1,8", "beside": ["my card.toml"]}}
    (tmp_path / "manifest.json").write_text(json.dumps(old))
    command = "`sailsim sweep --batch 1,8 --beside 'my card.toml' --out NEW` makes it anew"
    for use in (Store(tmp_path).frame, partial(run_sweep, POINTS, double, tmp_path, progress=False)):
        with pytest.raises(SailsimError) as caught:
            use()
        assert command in str(caught.value)
    (tmp_path / "manifest.json").write_text("[1]")
    with pytest.raises(SailsimError, match="is not one of a study"):
        Store(tmp_path).frame()


def test_a_reader_does_not_keep_a_study_from_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who looks at a manifest holds the lock for an instant: a study waits for that alone."""
    monkeypatch.setattr("sailsim.sim.study.folder.PATIENCE_S", 3600)
    store = Store(tmp_path)
    with store.locked("sweep"):
        pass
    reader = (tmp_path / ".lock").open()
    fcntl.flock(reader, fcntl.LOCK_SH)
    release = threading.Timer(0.1, reader.close)
    release.start()
    with store.locked("sweep"):
        assert reader.closed
    release.join()
    monkeypatch.setattr("sailsim.sim.study.folder.PATIENCE_S", 0)
    with (tmp_path / ".lock").open() as other:
        fcntl.flock(other, fcntl.LOCK_SH)
        with pytest.raises(SailsimError, match="is in use by another study"), store.locked("sweep"):
            pass
