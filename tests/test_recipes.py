"""Recipes of CONTRIBUTING: a patch each, which is short, applies to this tree, and does what it is for."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from sailsim import _core

ROOT = Path(__file__).parents[1]
FOLDER = Path(__file__).parent / "recipes"
MOST_FILES, MOST_LINES = 3, 25
SMALL = ("--model", "smollm2-135m")
SHOWN = """
import json, sys
from sailsim.analysis.costs.dollars import prices
from sailsim.analysis.render.sweep_figures import FIGURES, SweepStudy
from sailsim.analysis.studies.stored_runs import RunTable, stored_runs
from sailsim.sim.study.store import Store
study = SweepStudy(RunTable.of(stored_runs(Store(sys.argv[1])), prices()))
panels = FIGURES[sys.argv[2]][1](study).panels
rows = [panel.rows.dropna(subset=[panel.y.column]) for panel in panels]
along = [panel.x.column for panel in panels]
print(json.dumps([[x, sorted({*own[x].tolist()})] for x, own in zip(along, rows)]))
"""

NO_EDITABLE = """
import sys
sys.meta_path[:] = [each for each in sys.meta_path if "Redirect" not in type(each).__name__]
"""
"""An editable install's finder would find the modules of this tree first."""
Run = Callable[..., str]


@pytest.fixture
def patched(request: pytest.FixtureRequest, tmp_path: Path) -> Run:
    """Runs Python in a copy of this tree with a patch."""
    tree = tmp_path / "tree"
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).exists() and not name.startswith(("docs/", "tests/", "rtl/", "research/")):
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tree / name, follow_symlinks=False)
    shutil.copy2(Path(str(_core.__file__)), tree / "sailsim")
    hook = tmp_path / "hook"
    hook.mkdir()
    (hook / "sitecustomize.py").write_text(NO_EDITABLE)
    patch = FOLDER / f"{request.param}.patch"
    subprocess.run(["git", "apply", str(patch)], cwd=tree, check=True, env=os.environ | {"GIT_DIR": "/none"})

    def run(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, *words],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": f"{hook}{os.pathsep}{tree}"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert run("-c", "import sailsim; print(sailsim.__file__)").startswith(str(tree))
    return run


def drawn(run: Run, words: Sequence[str], figure: str) -> list[Any]:
    """Column along x of each panel of a figure, and its values, after a sweep."""
    run("-m", "sailsim", "sweep", *words, "--out", "out", "--jobs", "1")
    panels: list[Any] = json.loads(run("-c", SHOWN, "out", figure))
    return panels


@pytest.mark.parametrize("patch", sorted(FOLDER.glob("*.patch")), ids=lambda path: path.stem)
def test_a_recipe_is_short_and_in_contributing(patch: Path) -> None:
    text = patch.read_text()
    lines = [line for line in text.splitlines() if re.match(r"\+(?!\+\+)\s*\S", line)]
    assert len(re.findall(r"^\+\+\+ ", text, re.MULTILINE)) <= MOST_FILES
    assert 0 < len(lines) <= MOST_LINES
    assert f"tests/recipes/{patch.name}" in (ROOT / "CONTRIBUTING.md").read_text()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("patched", "words", "figure", "column", "values"),
    [
        ("axis", (*SMALL, "--blocks", "5,10,20"), "speedup", "blocks", [5, 10, 20]),
        ("field", ("--plan", "clock"), "speedup", "pim.clock", [1, 2, 3]),
        ("figure", (*SMALL, "--context", "64,128"), "traffic", "context", [64, 128]),
    ],
    indirect=["patched"],
)
def test_an_axis_and_a_figure_are_drawn(
    patched: Run, words: Sequence[str], figure: str, column: str, values: list[float]
) -> None:
    panels = drawn(patched, words, figure)
    assert panels
    assert all(panel == [column, values] for panel in panels)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("patched", "words", "name", "provenance"),
    [
        ("kernel", (), "cores-vnni", "measured"),
        ("accelerator", ("--against", "systolic-n1"), "systolic-n1", "simulated"),
    ],
    indirect=["patched"],
)
def test_a_kernel_and_an_accelerator_are_rows(
    patched: Run, words: Sequence[str], name: str, provenance: str
) -> None:
    row = json.loads(patched("-m", "sailsim", "run", *SMALL, *words, "--json"))["runs"][name]
    assert row["low"] < row["tokens_per_s"]
    assert (row["reason"], row["provenance"]) == ("", provenance)
    assert row["rests_on"]
