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
    "code",
    [
        "from sailsim.sim.store import _hash\n",
        "from sailsim.sim import store\nstore._hash()\n",
        "import sailsim.sim.store as kept\nkept._hash()\n",
        "def f():\n    from .store import _hash\n",
        "from sailsim.sim import _private\n",
    ],
)
def test_a_private_name_of_another_module_is_named(rules: ModuleType, code: str) -> None:
    (found,) = rules.private_names("a.py", code)
    assert "is private to" in found


@pytest.mark.parametrize(
    "code",
    [
        "from sailsim import __version__, _core\n_core.gemv()\n",
        "from os import _exit\n",
        "from sailsim.sim import Store\nStore._rows\n",
        "def f(self):\n    return self._rows\n",
        "from sailsim.sim import store\nstore.hash()\n",
    ],
)
def test_what_is_one_s_own_or_public_is_not(rules: ModuleType, code: str) -> None:
    assert list(rules.private_names("a.py", code)) == []


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
