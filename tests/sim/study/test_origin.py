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


@pytest.mark.parametrize(
    "path",
    ["render/figure.py", "render/new.py", "data/reproduction.jsonl", "data/x.txt", "data/columns.toml"],
)
def test_what_only_shows_results_leaves_them_valid(tree, path):
    before = hashed(tree)
    with (tree / "analysis" / path).open("a") as file:
        file.write("# another colour\n")
    assert hashed(tree) == before


@pytest.mark.parametrize(
    "path", ["costs/energy.py", "data/prices.csv", "data/fits.json", "costs/render/x.py"]
)
def test_a_model_or_its_data_makes_them_old(tree, path):
    before = hashed(tree)
    (tree / "analysis" / path).parent.mkdir(exist_ok=True)
    with (tree / "analysis" / path).open("a") as file:
        file.write("# another number\n")
    assert hashed(tree) != before


def test_the_core_counts(tree):
    before = hashed(tree)
    (tree / "core").write_bytes(b"another")
    assert hashed(tree) != before
