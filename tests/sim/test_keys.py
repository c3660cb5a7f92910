"""Keys of results: every input counts, what a file is called does not."""

from pathlib import Path
from typing import Any

import pytest

from sailsim.base.errors import SailsimError
from sailsim.sim.keys import Keys, point_key, result_key
from sailsim.sim.point import Point


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


def test_a_worker_that_sees_another_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    ordinary = 'extends = "sail-n1"\nname = "mine"\n'
    path.write_text(ordinary)
    point = Point(system=str(path))
    keys = Keys("f")
    keys.result(point)
    guarded = keys.guard(lambda what: what)
    assert guarded(3) == 3
    path.write_text(ordinary + "pim.enabled = false\n")
    with pytest.raises(
        SailsimError, match=r"mine\.toml has other content on .* than where the study was started"
    ):
        guarded(3)
    path.write_text(ordinary)
    assert guarded(3) == 3  # a worker lives through many studies, and reads what changed again
