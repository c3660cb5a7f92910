"""The modules, arrows and circles that docs/architecture.md counts."""

from pathlib import Path

import pytest

from sailsim.analysis.render.architecture_figures import FLOORS, WAYS, Stop
from sailsim.analysis.render.architecture_page import before, layers
from sailsim.analysis.render.module_graph import (
    checkout_graph,
    circles,
    depths,
    folders_of,
    module_graph,
    room_of,
)

ROOT = Path(__file__).parents[3]
FOLDERS = {"us": "src", "us.low": "deep/low"}
TEXTS = {
    "src/__init__.py": "import numpy",
    "src/a.py": "from us.low import thing, b\nfrom us import c\nimport us.c",
    "src/c.py": "def later():\n    from us.a import x",
    "deep/low/__init__.py": "",
    "deep/low/b.py": "if TYPE_CHECKING:\n    import us.a\nelse:\n    import us",
    "src/scripts/build.py": "import us.a",
    "elsewhere/d.py": "import us.a",
    "src/e.toml": "x = 1",
}


def test_arrows_go_to_the_module_that_an_import_names() -> None:
    graph = module_graph(TEXTS, FOLDERS)
    assert graph.lines == {"us": 1, "us.a": 3, "us.c": 2, "us.low": 0, "us.low.b": 4}
    assert graph.arrows == {
        ("us.a", "us.low"),
        ("us.a", "us.low.b"),
        ("us.a", "us.c"),
        ("us.c", "us.a"),
        ("us.low.b", "us"),
    }
    assert circles(graph.arrows) == [["us.a", "us.c"]]
    assert graph.within("us.low").arrows == frozenset()
    assert graph.between(["us", "us.low"]) == {("us", "us.low"), ("us.low", "us")}


@pytest.mark.parametrize(
    "text",
    [
        "try:\n    pass\nexcept OSError:\n    import us.c",
        "with a as b:\n    import us.c",
        "match a:\n    case 1:\n        import us.c",
        "class A:\n    async def b(self):\n        while c:\n            import us.c",
    ],
)
def test_an_import_counts_wherever_it_stands(text: str) -> None:
    assert module_graph({**TEXTS, "src/a.py": text}, FOLDERS).within("us").arrows >= {("us.a", "us.c")}


def test_a_relative_import_is_refused() -> None:
    with pytest.raises(ValueError, match=r"us\.a imports by a relative name, line 1"):
        module_graph({**TEXTS, "src/a.py": "from . import c"}, FOLDERS)


def test_a_room_is_the_innermost_package() -> None:
    assert room_of("us.low.b", ["us", "us.low"]) == "us.low"
    assert room_of("us.lower", ["us.low"]) == ""


def test_circles_are_largest_and_apart() -> None:
    arrows = {("a", "b"), ("b", "c"), ("c", "a"), ("c", "d"), ("d", "e"), ("e", "d"), ("e", "f")}
    assert circles(arrows) == [["a", "b", "c"], ["d", "e"]]


def test_a_module_is_deeper_than_all_that_import_it() -> None:
    graph = module_graph(TEXTS, FOLDERS)
    assert depths(graph) == {"us.a": 0, "us.c": 0, "us.low": 1, "us.low.b": 1, "us": 2}


def test_folders_are_those_of_the_wheel() -> None:
    text = '[tool.scikit-build.wheel]\npackages = {"us/low" = "low"}\nforce-include = {"src" = "us/top"}'
    assert folders_of(text) == {"us.low": "low", "us.top": "src"}


def test_the_recorded_commit_has_the_circles_that_the_rooms_were_to_break() -> None:
    analysis = before()[1].within("sailsim.analysis")
    assert (len(analysis.lines), len(analysis.arrows), len(circles(analysis.arrows))) == (31, 112, 2)


@pytest.mark.slow
def test_the_checkout_has_no_circle_and_no_arrow_up() -> None:
    graph = checkout_graph(ROOT)
    assert circles(graph.arrows) == []
    for rooms in layers(ROOT):
        arrows = graph.between(rooms)
        assert arrows
        assert [(a, b) for a, b in arrows if rooms.index(a) > rooms.index(b)] == []


@pytest.mark.parametrize("stop", [stop for way in WAYS for stop in way.stops], ids=lambda stop: stop.path)
def test_a_stop_of_the_picture_is_a_file_on_its_floor(stop: Stop) -> None:
    assert (ROOT / stop.path).is_file()
    bottom = 0
    for _, folders, rows in FLOORS:
        bottom += rows
        if stop.row < bottom:
            assert stop.path.startswith(tuple(folders.split()))
            return
    raise AssertionError(f"{stop} is below all floors")
