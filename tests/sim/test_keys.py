"""Keys of results: every input counts, what a file is called does not."""

from pathlib import Path
from typing import Any

import pytest

from sailsim.sim import Point, point_key, result_key


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
