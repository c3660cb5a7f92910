"""A sweep answers with its inputs as they are: never with those of an earlier moment."""

from pathlib import Path
from typing import Any

import pytest

from sailsim.base.errors import SailsimError
from sailsim.sim.files import load_system
from sailsim.sim.keys import Keys
from sailsim.sim.point import Point
from sailsim.sim.study.folder import Store
from sailsim.sim.sweep import run_sweep


def test_what_was_asked_is_what_is_answered(tmp_path: Path) -> None:
    """An input that is edited and edited back: the answer is that of the input as it is, never an old one."""
    path, out = tmp_path / "mine.toml", tmp_path / "out"
    point = Point(system=str(path))

    def arrays(count: int) -> int:
        path.write_text(
            'extends = "sail-n1"\nname = "mine"\n[sources]\n[pim]\narrays = { value = '
            + str(count)
            + ', unit = "arrays", source = "a test", kind = "assumed", low = 1, high = 64, note = "x" }\n'
        )
        frame = run_sweep([point], arrays_of, out, progress=False).frame()
        assert len(frame) == 1
        return int(frame["arrays"].iloc[0])

    assert [arrays(16), arrays(2), arrays(16)] == [16, 2, 16]
    assert len(Store(out).keys()) == 2
    assert Store(out).manifest["held_before"] == 1
    assert Store(out).drop_unasked()[0] == 1
    assert list(Store(out).frame()["arrays"]) == [16]
    assert len(Store(out).keys()) == 1


def edits_its_system(point: Point) -> dict[str, Any]:
    path = Path(point.system)
    found = arrays_of(point)
    if point.batch == 3:
        path.write_text(path.read_text() + "\n# another comment, perhaps another number\n")
    return found


def test_a_file_that_changes_meanwhile_ends_the_study_before_a_wrong_answer_is_kept(tmp_path: Path) -> None:
    base, path = tmp_path / "base.toml", tmp_path / "mine.toml"
    base.write_text('extends = "sail-n1"\nname = "base"\n')
    path.write_text('extends = "base.toml"\nname = "mine"\n')
    points = [Point(system=str(path), batch=batch) for batch in (1, 2, 3, 4)]
    with pytest.raises(SailsimError, match=r"mine\.toml changed while the study ran; .* is kept"):
        run_sweep(points, edits_its_system, tmp_path / "out", progress=False)
    assert len(Store(tmp_path / "out").keys()) < 3
    keys = Keys("f")
    keys.result(points[0])
    assert keys.changed() is None
    base.write_text('extends = "sail-n1"\nname = "base"\n# a change\n')
    assert keys.changed() == base


def arrays_of(point: Point) -> dict[str, Any]:
    pim = load_system(point.system).pim
    assert pim is not None
    return {"arrays": pim.arrays.whole}
