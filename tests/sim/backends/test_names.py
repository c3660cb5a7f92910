"""An accelerator is one module and its data: nothing else in the package knows that it is there."""

import re
from functools import lru_cache
from pathlib import Path

import pytest

from sailsim.sim.backend import load_backend
from sailsim.sim.machine.system import spec_models
from sailsim.sim.machine.system_files import load_system, system_names

ROOT = Path(__file__).parents[3]
FOLDERS = ("sailsim", "analysis", "sim_ext", "workloads", "lut_gemv", "gem5-configs", "tools")
DATA = ("sailsim/sim/data/systems", "analysis/data/validation", "analysis/data/claims")
"""Where machines and what is published of them may be named, beside docs and tests."""
OTHERS = list(spec_models())


@lru_cache(maxsize=1)
def texts() -> dict[str, str]:
    """The files of the package, but data, with what they hold."""
    files = (path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*")))
    found = {str(path.relative_to(ROOT)): path for path in files if path.suffix != ".pyc" and path.is_file()}
    return {
        place: path.read_bytes().decode(errors="replace")
        for place, path in found.items()
        if not place.startswith(DATA)
    }


def named(words: list[str], own: Path) -> list[str]:
    """The files of the package, but `own` and data, that hold one of some words."""
    pattern = re.compile("|".join(rf"(?<![\w-]){re.escape(word)}(?![\w-])" for word in words))
    return [
        place
        for place, text in texts().items()
        # The pattern is slow on what has no such word at all.
        if ROOT / place != own and any(word in text for word in words) and pattern.search(text)
    ]


def words_of(name: str) -> list[str]:
    machines = [machine for machine in system_names() if load_system(machine).backend == name]
    assert machines, f"no system ships with backend {name}"
    return [name, *load_backend(name).software, *machines]


@pytest.mark.parametrize("name", OTHERS)
def test_an_accelerator_is_named_in_its_module_and_its_data_alone(name):
    own = ROOT / "sailsim" / "sim" / "backends" / f"{name}.py"
    assert own.is_file()
    assert not named(words_of(name), own)
