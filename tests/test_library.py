"""The front door: what it offers, that it is lazy, and that its page is true."""

import ast
import doctest
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import sailsim
from sailsim.base.errors import SailsimError

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "library.md"
LOADED = "import sailsim, sys; {}; print(*sorted({{name.partition('.')[0] for name in sys.modules}}))"


def loaded(statement: str) -> set[str]:
    """The top-level modules that a new interpreter has after a statement."""
    command = [sys.executable, "-c", LOADED.format(statement)]
    return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())


def test_importing_it_loads_no_library() -> None:
    heavy = {
        "numpy",
        "scipy",
        "pandas",
        "matplotlib",
        "pydantic",
        "pyarrow",
        "click",
        "rich",
        "joblib",
        "gguf",
    }
    assert not loaded("dir(sailsim)") & heavy


@pytest.mark.slow
def test_matplotlib_waits_until_something_is_drawn() -> None:
    used = loaded("sailsim.Point; sailsim.simulate; sailsim.time_tile; sailsim.load_model")
    assert {"numpy", "pydantic"} <= used
    assert "matplotlib" not in used


@pytest.mark.parametrize("name", sailsim.__all__)
def test_every_name_is_there_and_is_documented(name: str) -> None:
    assert name in dir(sailsim)
    assert getattr(sailsim, name).__doc__


def test_the_page_has_a_row_and_an_example_of_every_name() -> None:
    page = PAGE.read_text("utf-8")
    examples = doctest.DocTestParser().get_examples(page)
    nodes = [node for example in examples for node in ast.walk(ast.parse(example.source))]
    used = {node.id for node in nodes if isinstance(node, ast.Name)}
    assert set(sailsim.__all__) <= used
    rows = [line for line in page.splitlines() if line.startswith("|")]
    assert not [name for name in sailsim.__all__ if not any(f"`{name}" in row for row in rows)]


def test_type_checkers_are_told_of_the_same_names() -> None:
    tree = ast.parse((ROOT / "sailsim" / "__init__.py").read_text("utf-8"))
    (hidden,) = (node for node in tree.body if isinstance(node, ast.If))
    told = {
        alias.asname or alias.name: (node.module, alias.name)
        for node in hidden.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    homes = {name: (*home.split(":"), name)[:2] for name, home in sailsim._HOMES.items()}
    assert told == homes
    assert sorted(told) == sailsim.__all__


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        sailsim.nothing  # noqa: B018
    assert sailsim.__version__


def test_the_examples_of_the_page(tmp_path: Path) -> None:
    results = doctest.testfile(str(PAGE), module_relative=False, globs={"FOLDER": tmp_path / "sweep"})
    assert results.attempted >= 15
    assert results.failed == 0


def test_a_point_that_does_not_fit_the_memory_has_no_number_and_a_reason() -> None:
    fits = sailsim.Point(model="llama-2-13b", wbits=4, batch=8)
    assert sailsim.simulate(fits).tokens_per_s > 0
    with pytest.raises(SailsimError, match=r"^system sail-n1: llama-2-13b .* needs .* GB, allowed is .* GB$"):
        sailsim.simulate(replace(fits, batch=512, context=4096))
