"""The set-up says in one sentence what a machine lacks, and leaves nothing half done."""

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from .by_path import tool

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "tools" / "set_up.py"


@pytest.fixture
def set_up() -> ModuleType:
    return tool("set_up")


def test_this_machine_lacks_nothing(set_up: ModuleType) -> None:
    assert [why() for why in (set_up.too_old, set_up.no_venv, set_up.no_headers, set_up.no_compiler)] == [
        ""
    ] * 4


def test_a_python_that_is_too_old(set_up: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 9, 2))
    assert set_up.too_old().startswith("Python is 3.9, allowed is 3.11 or newer")
    assert "make PYTHON=" in set_up.too_old()


@pytest.mark.parametrize("missing", ["venv", "ensurepip"])
def test_a_python_without_the_venv_module(
    set_up: ModuleType, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == missing else find(name))
    assert "has no venv module" in set_up.no_venv()
    assert "python3-venv" in set_up.no_venv()


def test_a_machine_without_a_compiler(
    set_up: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert set_up.no_compiler().startswith("No C++ compiler (c++, g++ or clang++) is on the path")
    monkeypatch.setenv("CXX", "no-such-compiler -O2")
    assert "The C++ compiler no-such-compiler does not run" in set_up.no_compiler()


@pytest.mark.parametrize(
    ("output", "sentence"),
    [
        ("WARNING: Retrying\\nERROR: No matching distribution found for numpy", "cannot be downloaded"),
        ("ERROR: something else", "something else"),
    ],
)
def test_a_download_that_fails_ends_with_its_reason(set_up: ModuleType, output: str, sentence: str) -> None:
    with pytest.raises(SystemExit) as ended:
        set_up.run([sys.executable, "-c", f'print("{output}"); raise SystemExit(1)'])
    assert sentence in str(ended.value)
    assert "\n" not in str(ended.value)


WITHOUT = """
import importlib, sys
class Missing:
    def find_spec(self, name, *_):
        if name.partition(".")[0] in missing:
            raise ModuleNotFoundError(f"No module named {name!r}")
missing = {word.replace("-", "_") for word in sys.argv[1:]}
sys.meta_path.insert(0, Missing())
commands = ("cli.units.activations", "cli.studies.sweep", "cli.studies.report")
for name in (*commands, "analysis.render.sweep_figures", "analysis.render.report_page"):
    importlib.import_module(f"sailsim.{name}")
"""
"""Imports what `make sim` runs where the packages of the arguments are missing."""


def test_what_only_tests_need_comes_with_dev(set_up: ModuleType) -> None:
    required = tool("requirements").requirements
    run, developed, lowest = (
        {requirement.partition(">=")[0] for requirement in required(set_up.groups_of(words))}
        for words in (["venv"], ["--dev", "venv"], ["--dev", "--lowest", "venv"])
    )
    ended = subprocess.run(
        [sys.executable, "-c", WITHOUT, *(developed - run)], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert not run & {"pytest", "mypy", "duckdb", "scipy", "cmake", "playwright"}
    assert {"numpy", "scikit-build-core"} <= run
    assert run < developed
    assert {"pytest", "scipy"} <= developed & lowest


def test_the_oldest_versions_are_the_lower_bounds() -> None:
    command = [sys.executable, SCRIPT.with_name("requirements.py"), "--lowest", "build", "test"]
    pins = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    ranges = tool("requirements").requirements(["build", "test"])
    assert [each.split(",")[0].replace(">=", "==") for each in ranges] == pins


def test_a_disk_that_is_too_small_is_told_with_what_is_needed(
    set_up: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    venv = tmp_path / "not yet" / "venv"
    free = 400 * 10**6
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    why = set_up.no_room(str(venv), [])
    assert re.search(r"needs about 5\d\d MB of disk in .*, and 400 MB are free", why)
    assert set_up.no_room(str(venv), ["--dev"]) != ""
    free = 900 * 10**6
    assert set_up.no_room(str(venv), []) == ""
    assert set_up.no_room(str(venv), ["--dev"]) != ""
    # What is there needs no room again.
    venv.mkdir(parents=True)
    with (venv / "packages").open("wb") as file:
        file.truncate(1190 * 10**6)
    free = 0
    assert set_up.no_room(str(venv), ["--dev"]) == ""


@pytest.mark.parametrize(
    ("existing", "step"),
    [(False, "--without-pip"), (False, "ensurepip"), (False, "install"), (True, "install")],
)
def test_what_a_set_up_began_is_taken_away_where_the_disk_becomes_full(
    set_up: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, existing: bool, step: str
) -> None:
    """An environment that was there keeps what it had."""
    venv = tmp_path / "venv"
    packages = venv / "lib" / "python3.11" / "site-packages"
    if existing:
        (packages / "pip").mkdir(parents=True)
        (venv / ".deps").touch()

    def fails(command: list[str]) -> None:
        if step in command:
            (packages / "half").mkdir(parents=True)
            (packages / "half" / "there.py").touch()
            print_it = "print('ERROR: [Errno 28] No space left on device'); raise SystemExit(1)"
            run([sys.executable, "-c", print_it])

    run = set_up.run
    monkeypatch.setattr(set_up, "run", fails)
    monkeypatch.setattr(set_up, "has_pip", lambda _: existing)
    monkeypatch.setattr(sys, "argv", ["set_up.py", str(venv)])
    with pytest.raises(SystemExit) as ended:
        set_up.main()
    assert f"disk is full, and what was begun is removed: {venv} takes about 375 MB" in str(ended.value.code)
    assert len(str(ended.value.code).splitlines()) == 1
    assert venv.exists() == existing
    if existing:
        assert [path.name for path in packages.iterdir()] == ["pip"]
        assert (venv / ".deps").exists()
