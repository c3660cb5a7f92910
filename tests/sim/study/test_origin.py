"""What makes a stored result old: a model or its data, and nothing that only shows results."""

import shutil
from pathlib import Path

import pytest

from sailsim.sim.study.origin import hash_of

ROOT = Path(__file__).parents[3]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the analysis, with a core beside it."""
    shutil.copytree(ROOT / "analysis", tmp_path / "analysis", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "core").write_bytes(b"core")
    return tmp_path


def hashed(tree: Path) -> str:
    return hash_of({"sailsim.analysis": [tree / "analysis"]}, tree / "core")


SHOWS = ("render/figure.py", "render/new.py", "data/reproduction.jsonl", "data/x.txt", "data/columns.toml")
COUNTS = ("costs/energy.py", "data/prices.csv", "data/fits.json", "costs/render/x.py", "../core")


@pytest.mark.parametrize("path", [*SHOWS, *COUNTS])
def test_models_their_data_and_the_core_make_results_old_and_what_shows_them_does_not(tree, path):
    before = hashed(tree)
    (tree / "analysis" / path).parent.mkdir(exist_ok=True)
    with (tree / "analysis" / path).open("a") as file:
        file.write("# another number\n")
    assert (hashed(tree) != before) == (path in COUNTS)
