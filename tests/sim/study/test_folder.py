"""Studies on disk: keyed, in the order asked, one at a time, whole on a full disk and after a stop."""

import fcntl
import json
import os
import sqlite3
import subprocess
import threading
import zlib
from contextlib import closing
from functools import partial
from math import nan
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from sailsim.analysis.studies.sweep_study import run_sweep
from sailsim.base.errors import SailsimError
from sailsim.sim.point import Point
from sailsim.sim.study.keys import point_key
from sailsim.sim.study.open_study import TRIES, Task, run_study
from sailsim.sim.study.store import RESERVED, Store

from ...examples import examples
from ...small_disk import small_disk_of

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


def test_what_is_stored_is_not_run_again(tmp_path):
    run_sweep(POINTS[:4], double, tmp_path, progress=False)
    first = Store(tmp_path).frame()
    frame = run_sweep([*POINTS, *POINTS], double, tmp_path, progress=False).frame()
    assert len(evaluated) == len(POINTS) == len(frame)
    assert {Point(**asked) for asked in frame[list(Point().as_dict())].to_dict("records")} == set(POINTS)
    assert (frame["twice"] == 2 * frame["wbits"]).all()
    assert frame["notes"].iloc[0] == ["a note"]
    assert set(first["finished_at"]) <= set(frame["finished_at"])
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "study.sqlite"]


def test_records_have_the_columns_of_all_and_values_of_json(tmp_path):
    answers = [{"v": None}, {"v": 1, "w": "a", "m": {"x": [1e-9, True]}}, {"v": 2.5, "w": nan}]
    tasks = [Task(f"{n}", f"{n}", n) for n in range(3)]
    records = run_study(tasks, lambda n: answers[n], tmp_path, progress=False).records()
    assert [(r["v"], repr(r["w"]), r["m"]) for r in records] == [
        (None, "None", None), (1, "'a'", {"x": [1e-9, True]}), (2.5, "nan", None)
    ]  # fmt: skip
    assert list(records[0]) == ["v", *RESERVED, "w", "m"]
    with pytest.raises(SailsimError, match=r"record has <object object at .*>; allowed are numbers, texts"):
        run_study([Task("o", "o", 0)], lambda _: {"v": object()}, tmp_path, progress=False)


def test_results_of_other_code_and_inputs_are_kept_apart(tmp_path, monkeypatch):
    run_sweep(POINTS, double, tmp_path, progress=False)
    run_sweep(POINTS[:1], partial(double), tmp_path, progress=False, inputs="of one more")
    assert len(Store(tmp_path).frame()) == 1
    for module in ("keys", "open_study"):
        monkeypatch.setattr(f"sailsim.sim.study.{module}.code_version", lambda: "next version 16")
    store = run_sweep(POINTS[:2], double, tmp_path, progress=False)
    assert len(evaluated) == len(POINTS) + 3
    assert list(store.frame()["code_version"]) == ["next version 16"] * 2
    assert len(store.keys()) == len(POINTS) + 3


def test_refused_points_are_named_after_the_others_are_stored(tmp_path):
    words = r"2 of 6 points were refused \(the first: wbits is 8; allowed is less\); the others are stored"
    with pytest.raises(SailsimError, match=words):
        run_sweep(POINTS, refuse_wide, tmp_path, progress=False)
    assert len((store := Store(tmp_path)).frame()) == 4
    assert store.manifest["state"] == "points without a result"
    assert set(store.manifest["refused"]) == {point_key(p) for p in POINTS if p.wbits == 8}
    wide = [point for point in POINTS if point.wbits == 8]
    words = rf"allowed is less\); `sailsim results ls {tmp_path}/all --json` names all\.$"
    with pytest.raises(SailsimError, match=words):
        run_sweep(wide, refuse_wide, tmp_path / "all", progress=False)


def test_a_bug_is_tried_three_times_recorded_and_does_not_stop_the_others(tmp_path):
    with pytest.raises(SailsimError, match=r"1 of 6 points failed \(the first: ZeroDivisionError: a bug\)"):
        run_sweep(POINTS, crash_at_four, tmp_path, progress=False)
    assert len(Store(tmp_path).frame()) == 5
    assert evaluated.count(POINTS[3]) == TRIES
    [(question, error)] = Store(tmp_path).manifest["failed"].items()
    assert question == point_key(POINTS[3])
    assert "crash_at_four" in error
    run_sweep(POINTS, partial(crash_at_four, mended=True), tmp_path, progress=False)
    assert len(Store(tmp_path).frame()) == len(POINTS)


def test_one_study_at_a_time_and_of_one_command(tmp_path):
    held = rf"in use by another study \(process {os.getpid()}\)"
    with Store(tmp_path).locked("sweep"), pytest.raises(SailsimError, match=held):
        run_sweep(POINTS, double, tmp_path, progress=False)
    run_study([Task("k", "q", 1)], lambda what: {"x": what}, tmp_path, kind="gem5", progress=False)
    with pytest.raises(SailsimError, match="holds results of `sailsim gem5`; allowed for `sailsim sweep`"):
        run_sweep(POINTS, double, tmp_path, progress=False)


def test_a_reader_does_not_keep_a_study_from_its_folder(tmp_path, monkeypatch):
    """Who looks at a manifest holds the lock for an instant: a study waits for that alone."""
    monkeypatch.setattr("sailsim.sim.study.store.PATIENCE_S", 3600)
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
    monkeypatch.setattr("sailsim.sim.study.store.PATIENCE_S", 0)
    with (tmp_path / ".lock").open() as other:
        fcntl.flock(other, fcntl.LOCK_SH)
        with pytest.raises(SailsimError, match="is in use by another study"), store.locked("sweep"):
            pass


def test_who_reads_while_a_study_writes_sees_what_is_stored(tmp_path):
    run_sweep(POINTS[:2], double, tmp_path, progress=False)
    writer, reader = Store(tmp_path), Store(tmp_path)
    record = dict.fromkeys(RESERVED, "x")
    with closing(reader._connected("rw")) as other, writer.locked("sweep"):
        other.execute("BEGIN")
        assert other.execute("SELECT count(*) FROM records").fetchone() == (2,)
        writer.append([record])
        assert len(reader.keys()) == 3
        assert other.execute("SELECT count(*) FROM records").fetchone() == (2,)
        assert reader.manifest["state"] == "complete"
    assert len(reader.keys()) == 3
    assert len(run_sweep(POINTS[:2], double, tmp_path, progress=False).frame()) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "study.sqlite"]


@pytest.mark.parametrize("holds", [0, 2])
@pytest.mark.parametrize("at", ["before", "after"])
def test_a_stop_while_the_question_is_written_loses_no_answer(tmp_path, monkeypatch, holds, at):
    if holds:
        run_sweep(POINTS[:holds], double, tmp_path, progress=False)
    set_answer = Store.set_answer

    def stopped(*arguments: Any) -> None:
        if at == "after":
            set_answer(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Store, "set_answer", stopped)
        with pytest.raises(KeyboardInterrupt):
            run_sweep(POINTS, double, tmp_path, progress=False)
    assert (Store(tmp_path).answer() is None) == (not holds and at == "before")
    assert len(Store(tmp_path).keys()) == holds
    if holds:
        assert len(Store(tmp_path).frame()) == holds
    run_sweep(POINTS, double, tmp_path, progress=False)
    assert len(Store(tmp_path).frame()) == len(POINTS)


def test_a_full_disk_ends_in_one_sentence_and_the_same_call_goes_on(tmp_path):
    points = [Point(seed=s) for s in range(300)]  # the first is one of POINTS
    with small_disk_of("96k", tmp_path) as disk:
        out = disk / "out"
        run_sweep(POINTS[:1], double, out, progress=False)
        with pytest.raises(SailsimError, match=r"cannot be written: .*full; what was stored before is kept"):
            run_sweep([*POINTS, *points], double, out, progress=False)
        assert len(Store(out).keys()) >= 1
        assert Store(out).manifest
        subprocess.run(["mount", "-o", "remount,size=8m", str(disk)], check=True)
        assert len(run_sweep([*POINTS, *points], double, out, progress=False).frame()) == 305
        assert sorted(path.name for path in out.iterdir()) == [".lock", "study.sqlite"]


def test_a_folder_that_is_read_only_is_read(tmp_path):
    """Also where a study was killed, and who read it last has put its log into the database."""
    with small_disk_of("1m", tmp_path) as disk:
        store = Store(disk / "out")
        frame = run_sweep(POINTS, double, store.path, progress=False).frame()
        for killed in (False, True):
            if killed:
                with closing(store._connected("rw")) as database:
                    database.execute("PRAGMA journal_mode = WAL")
            subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
            pd.testing.assert_frame_equal(store.frame(), frame)
            with pytest.raises(SailsimError, match="cannot be written: Read-only file system"):
                run_sweep(POINTS, double, store.path, progress=False)
            subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)


def put(store: Store, table: str, name: str, content: Any) -> None:
    """A row of a table, as another program writes it."""
    packed = content if isinstance(content, bytes) else zlib.compress(json.dumps(content).encode())
    with sqlite3.connect(store.file) as database:
        database.execute(f"INSERT OR REPLACE INTO {table} VALUES (?, ?)", (name, packed))
    database.close()


def test_damaged_results_and_those_of_other_programs_are_named(tmp_path):
    store = run_sweep(POINTS, double, tmp_path, progress=False)
    right = store.file.read_bytes()

    def damaged(words: str) -> None:
        for use in (store.frame, partial(run_sweep, POINTS[:1], double, tmp_path, progress=False)):
            with pytest.raises(
                SailsimError, match=rf"study\.sqlite is damaged or another program's \({words}"
            ):
                use()
        store.file.write_bytes(right)

    store.file.write_bytes(b"no database" * 1000)
    damaged("file is not a database")
    store.file.write_bytes(right[:5000])
    damaged(".*malformed")
    with sqlite3.connect(store.file) as database:
        database.execute("CREATE TABLE other (a)")
    database.close()
    damaged("its tables are not a study's")
    put(store, "study", "manifest", [1])
    damaged("its manifest is not a study's")
    put(store, "study", "asked", {"": None})
    damaged("its answer is not a study's")
    put(store, "study", "asked", b"not compressed")
    damaged("Error -3 while decompressing")
    key = (store.answer() or [""])[0]
    for content, words in [
        ([{"key": key}], "a record is another key's, or no study's"),
        ([dict.fromkeys(RESERVED, "x")], "a record is another key's, or no study's"),
        (3, "'int' object is not iterable"),
    ]:
        put(store, "records", key, content)
        with pytest.raises(SailsimError, match=words):
            store.frame()
    store.file.write_bytes(right)
    put(store, "records", "more", [])
    with pytest.raises(SailsimError, match="it has 7 keys of 6"):
        store.frame()


@examples(60, but=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_flipped_bit_is_noticed(tmp_path, data):
    store = Store(tmp_path)
    if not store.file.exists():
        run_sweep(POINTS, double, tmp_path, progress=False)
    right, content = store.frame(), store.file.read_bytes()
    at = data.draw(st.integers(0, 8 * len(content) - 1))
    flipped = bytearray(content)
    flipped[at // 8] ^= 1 << at % 8
    store.file.write_bytes(bytes(flipped))
    try:
        found = store.frame()
    except SailsimError:
        found = right  # it was noticed
    finally:
        store.file.write_bytes(content)
    pd.testing.assert_frame_equal(found, right)


def test_a_point_that_cannot_be_read_leaves_the_folder_alone(tmp_path):
    for bad in (Point(system="nope.toml"), Point(activations="nope")):
        with pytest.raises(SailsimError, match="nope"):
            run_sweep([*POINTS, bad], double, tmp_path / "out", progress=False)
    assert list(tmp_path.iterdir()) == []
