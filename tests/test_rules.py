"""The checker of rules that no other tool has: each of them can fail."""

from pathlib import Path
from types import ModuleType

import pytest

from .by_path import tool

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def rules() -> ModuleType:
    return tool("rules")


def test_a_file_of_more_than_700_lines_is_named_unless_its_head_says_why(rules: ModuleType) -> None:
    assert list(rules.too_long("a.py", "x\n" * 700)) == []
    (found,) = rules.too_long("a.cc", "x\n" * 701)
    assert found.startswith("a.cc: 701 lines")
    why = "# Longer than 700 lines: one table of instructions that is read from top to bottom.\n"
    assert list(rules.too_long("a.py", why + "x\n" * 701)) == []
    assert list(rules.too_long("a.cc", "x\n" + why.replace("#", "//") + "x\n" * 701)) == []
    for wrong in ("# Longer than 700 lines:\n", why.removeprefix("# "), "x\n" * 30 + why):
        assert len(list(rules.too_long("a.py", wrong + "x\n" * 701))) == 1, wrong


@pytest.mark.parametrize(
    ("code", "count"),
    [
        ("from sailsim.sim.store import _hash\n", 1),
        ("from sailsim.sim import store\nstore._hash()\n", 1),
        ("import sailsim.sim.store as kept\nkept._hash()\n", 1),
        ("def f():\n    from .store import _hash\n", 1),
        ("from sailsim.sim import _private\n", 1),
        ("from sailsim import __version__, _core\n_core.gemv()\n", 0),
        ("from os import _exit\n", 0),
        ("from sailsim.sim import Store\nStore._rows\n", 0),
        ("def f(self):\n    return self._rows\n", 0),
        ("from sailsim.sim import store\nstore.hash()\n", 0),
    ],
)
def test_private_names_of_other_modules_are_named_and_no_others(
    rules: ModuleType, code: str, count: int
) -> None:
    assert ["is private to" in found for found in rules.private_names("a.py", code)] == [True] * count


def test_the_checker_ends_with_1_where_a_rule_is_broken(
    rules: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("right.py").write_text("x = 1\n" * 700)
    assert rules.main(["right.py"]) == 0
    Path("wrong.py").write_text("from sailsim.sim.store import _hash\n" + "x = 1\n" * 700)
    assert rules.main(["right.py", "wrong.py"]) == 1
    said = capsys.readouterr().out
    assert "wrong.py: 701 lines" in said
    assert "wrong.py:1: _hash is private to sailsim.sim.store" in said
