"""The front door: what it offers, that it is lazy, and that its page is true."""

import ast
import doctest
import gc
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sailsim
from sailsim.base.errors import SailsimError
from sailsim.sim.machine.substrate import load_substrate
from sailsim.sim.machine.system_files import load_gpu
from sailsim.sim.study.store import RESERVED

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "start.md"
POINT = sailsim.Point(model="smollm2-135m", context=64)
FOUR = sailsim.WeightCode.twos(4)
LOADED = "import sailsim, sys; {}; print(*sorted({{name.partition('.')[0] for name in sys.modules}}))"


def loaded(statement: str) -> set[str]:
    """The top-level modules that a new interpreter has after a statement."""
    command = [sys.executable, "-c", LOADED.format(statement)]
    return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())


HEAVY = {"numpy", "scipy", "pandas", "matplotlib", "pydantic", "click", "rich", "joblib", "gguf"}
COMMANDS = (
    "import sailsim.cli.units.gem5, sailsim.cli.listing, sailsim.cli.units.trace, sailsim.cli.studies.claims"
)
DRAWN = {"matplotlib", "pandas"}
"""Wait until something is drawn or tabulated: they take longer to load than the rest of a small command."""


@pytest.mark.parametrize(
    ("statement", "used", "unused"),
    [
        ("dir(sailsim)", {"sailsim"}, HEAVY),
        pytest.param(
            "sailsim.Point; sailsim.simulate; sailsim.time_tile; sailsim.load_model",
            {"numpy", "pydantic"},
            DRAWN,
            marks=pytest.mark.slow,
        ),
        pytest.param(COMMANDS, {"numpy", "click"}, DRAWN, marks=pytest.mark.slow),
    ],
)
def test_no_library_is_loaded_before_it_is_needed(statement: str, used: set[str], unused: set[str]) -> None:
    found = loaded(statement)
    assert used <= found
    assert not unused & found


@pytest.mark.parametrize("name", sailsim.__all__)
def test_every_name_is_there_and_is_documented(name: str) -> None:
    assert name in dir(sailsim)
    assert getattr(sailsim, name).__doc__


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


def test_a_session_lists_what_is_offered_and_no_more() -> None:
    assert set(dir(sailsim)) == {*sailsim.__all__, "__version__", "analysis", "lut_gemv", "sim", "workloads"}


LARGE: dict[str, Callable[[], object]] = {
    "system": lambda: sailsim.load_system("sail-n1"),
    "section": lambda: sailsim.load_system("sail-n1").pim,
    "gpu": lambda: load_gpu("l4"),
    "substrate": lambda: load_substrate("row_dfm"),
    "model": lambda: sailsim.load_model("gpt-oss-20b"),
    "step": lambda: sailsim.simulate(POINT),
    "comparison": lambda: sailsim.compare(POINT),
    "results": lambda: sailsim.sweep([POINT]),
    "runs": lambda: sailsim.sweep([POINT]).runs(),
    "runners": lambda: sailsim.runners(),
    "prices": lambda: sailsim.prices(),
    "format": lambda: POINT.formats(sailsim.load_model(POINT.model)),
    "tile": lambda: sailsim.Tile(np.ones((9, 512), np.int8), np.ones((512, 99), np.uint8), FOUR, 8),
}


@pytest.mark.parametrize("name", LARGE)
def test_what_a_session_shows_of_a_value_is_at_most_ten_lines(name: str) -> None:
    shown = repr(LARGE[name]())
    assert 0 < sum(-(-len(line) // 80) for line in shown.splitlines()) <= 10, shown


def test_a_repr_has_values_with_their_units() -> None:
    assert "arrays=16 arrays, rows=256 rows" in repr(sailsim.load_system("sail-n1").pim)
    assert "pim=Pim(...)" in repr(sailsim.load_system("sail-n1"))


def test_a_sweep_is_named_by_its_fields_alone() -> None:
    results = sailsim.sweep(model="smollm2-135m", wbits=range(2, 5), context=64)
    folder = results.store.path
    assert list(results.frame("runner = 'sail'")["wbits"]) == [2, 3, 4]
    html = results._repr_html_()
    assert html is not None
    assert html.count("<tr") <= 13
    assert "<th>wbits</th>" in html
    assert "<th>context</th>" not in html  # the same in all rows
    del results
    gc.collect()
    assert not folder.exists()


@pytest.mark.parametrize(
    ("axes", "said"),
    [
        ({"wbit": 4}, "wbit is neither a field of a point nor .*; the nearest are wbits"),
        ({"wbits": []}, "wbits is an empty list; allowed is at least one value"),
        ({"points": [POINT], "wbits": 4}, "points is given with wbits; allowed is one of the two"),
    ],
)
def test_axes_that_are_none_are_refused(axes: dict[str, Any], said: str) -> None:
    with pytest.raises(SailsimError, match=said):
        sailsim.sweep(**axes)


def test_an_empty_folder_is_shown_by_its_path(tmp_path: Path) -> None:
    results = sailsim.ResultFolder(tmp_path)
    assert results._repr_html_() is None
    assert repr(results) == f"ResultFolder({str(tmp_path)!r})"


def test_a_comparison_is_a_mapping_and_a_table() -> None:
    answer = sailsim.compare(POINT)
    assert json.loads(json.dumps(answer)) == answer
    frame = answer.frame()
    assert list(frame["runner"]) == list(answer["runs"])
    stored = set(sailsim.sweep([POINT]).frame()) - {*RESERVED}
    assert stored <= set(frame)
    for name in ("batch", "tokens_per_s", "speedup", "usd_per_hour"):
        assert name in frame
    assert "SAIL" in answer._repr_html_()


def test_names_in_html_stay_text(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(
        '[[runner]]\nname = "x"\ntitle = "<b>&x"\nkind = "cores"\nhardware = "point"\n'
        'software = "llama.cpp"\nsource = "a test"\n'
    )
    html = sailsim.compare(POINT, runners=sailsim.runners([file])[-1:])._repr_html_()
    assert "&lt;b&gt;&amp;x" in html
    assert "<b>" not in html


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        sailsim.nothing  # noqa: B018
    assert sailsim.__version__


def test_the_examples_of_the_page(tmp_path: Path) -> None:
    results = doctest.testfile(str(PAGE), module_relative=False, globs={"FOLDER": tmp_path / "sweep"})
    assert results.attempted >= 21
    assert results.failed == 0


WRONG: dict[str, tuple[Callable[[Path], object], str]] = {
    "simulate": (lambda folder: sailsim.simulate("sail-n1"), "point is 'sail-n1'; allowed is a Point."),
    "compare": (lambda folder: sailsim.compare({"wbits": 4}), "point is {'wbits': 4}; allowed is a Point."),
    "compare beside": (
        lambda folder: sailsim.compare(POINT, runners=["l4"]),
        "runners has 'l4'; allowed are Runners, as sailsim.runners makes them of names and files.",
    ),
    "compare at prices": (
        lambda folder: sailsim.compare(POINT, price_list="mine.csv"),
        "price_list is 'mine.csv'; allowed is a PriceList, as sailsim.prices reads it from a file.",
    ),
    "sweep": (
        lambda folder: sailsim.sweep([POINT, {"wbits": 4}], folder),
        "points has {'wbits': 4}; allowed are Points, as sailsim.expand makes them of lists of values.",
    ),
    "sweep a point": (
        lambda folder: sailsim.sweep(POINT, folder),
        "points is of the type Point; allowed are Points, as sailsim.expand makes them of lists of values.",
    ),
    "sweep nowhere": (lambda folder: sailsim.sweep([POINT], 3), "out is 3; allowed is the path of a folder."),
    "sweep beside": (
        lambda folder: sailsim.sweep([POINT], folder, runners="l4"),
        "runners is 'l4'; allowed are Runners, as sailsim.runners makes them of names and files.",
    ),
    "sweep by": (
        lambda folder: sailsim.sweep([POINT], folder, jobs="2"),
        "jobs is '2'; allowed is a whole number of processes, or workers.",
    ),
    "results": (
        lambda folder: sailsim.ResultFolder(None),
        "folder is None; allowed is the path of a folder.",
    ),
    "results at prices": (
        lambda folder: sailsim.ResultFolder(folder, {}),
        "price_list is {}; allowed is a PriceList, as sailsim.prices reads it from a file.",
    ),
    "frame": (
        lambda folder: sailsim.ResultFolder(folder).frame(None),
        "where is None; allowed is an SQL condition as a text, empty for all records.",
    ),
    "frame of letters": (
        lambda folder: sailsim.ResultFolder(folder).frame("", "wbits"),
        "columns is 'wbits'; allowed is a list of names.",
    ),
    "load_model": (
        lambda folder: sailsim.load_model(None),
        "name_or_path is None; allowed is a name or a path.",
    ),
    "load_system": (
        lambda folder: sailsim.load_system(POINT),
        "name_or_path is of the type Point; allowed is a name or a path.",
    ),
    "time_tile": (
        lambda folder: sailsim.time_tile("sail-n1", None),
        "system is 'sail-n1'; allowed is a System, as load_system reads it.",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_an_argument_of_another_type_is_one_sentence_that_names_it(name: str, tmp_path: Path) -> None:
    call, words = WRONG[name]
    with pytest.raises(TypeError) as refused:
        call(tmp_path)
    assert str(refused.value) == words
    assert isinstance(refused.value, SailsimError)
    assert not list(tmp_path.iterdir())
