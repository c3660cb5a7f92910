"""Which module imports which: the modules of a checkout, the arrows between them, and their circles.

An arrow goes from a module to one that it names in an import, wherever in the file; what stands under
``if TYPE_CHECKING`` is never imported and does not count. A package's ``__init__`` is a module like others.
"""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

Arrow = tuple[str, str]


@dataclass(frozen=True)
class ModuleGraph:
    """Modules by their full name, and who imports whom.

    Attributes:
        lines: lines of each module's file.
        arrows: pairs of importer and imported; each once.
    """

    lines: Mapping[str, int]
    arrows: frozenset[Arrow]

    def within(self, package: str) -> ModuleGraph:
        """The modules of a package, those of its packages too, and the arrows between them."""
        return self.only(name for name in self.lines if room_of(name, [package]))

    def only(self, names: Iterable[str]) -> ModuleGraph:
        """Some modules, and the arrows between them."""
        lines = {name: self.lines[name] for name in names}
        return ModuleGraph(lines, frozenset(arrow for arrow in self.arrows if set(arrow) <= lines.keys()))

    def between(self, rooms: Iterable[str]) -> frozenset[Arrow]:
        """The arrows between rooms: of each pair of modules in two of them; each pair of rooms once."""
        names = tuple(rooms)
        found = {(room_of(a, names), room_of(b, names)) for a, b in self.arrows}
        return frozenset((a, b) for a, b in found if a and b and a != b)


def room_of(module: str, rooms: Iterable[str]) -> str:
    """The innermost of some packages that a module is in; empty where it is in none."""
    return max((room for room in rooms if f"{module}.".startswith(f"{room}.")), key=len, default="")


def module_graph(texts: Mapping[str, str], folders: Mapping[str, str]) -> ModuleGraph:
    """The graph of some sources.

    Args:
        texts: Python sources by their path in the checkout. Those outside all ``folders`` are left out, and
            scripts, which lie where no ``__init__`` is.
        folders: folder by the package that it is imported as (``sim_ext/sim`` by ``sailsim.sim``).
    """
    packages = {path.rpartition("/")[0] for path in texts if path.endswith("/__init__.py")}
    inside = {path: text for path, text in texts.items() if path.rpartition("/")[0] in packages}
    named = {name: text for path, text in inside.items() if (name := _module(path, folders))}
    arrows = {
        (name, target)
        for name, text in named.items()
        for target in _imported(text, name, named)
        if target != name
    }
    return ModuleGraph({name: len(text.splitlines()) for name, text in named.items()}, frozenset(arrows))


def folders_of(pyproject: str) -> dict[str, str]:
    """Folder by the package that it is imported as, from the text of a pyproject.toml."""
    wheel = tomllib.loads(pyproject)["tool"]["scikit-build"]["wheel"]
    # An older layout had a folder of another name, which the build maps the other way round.
    mapped = {
        **wheel["packages"],
        **{name: folder for folder, name in wheel.get("force-include", {}).items()},
    }
    return {name.replace("/", "."): folder for name, folder in mapped.items()}


def checkout_graph(root: Path) -> ModuleGraph:
    """The graph of a checkout as it lies there."""
    folders = folders_of((root / "pyproject.toml").read_text("utf-8"))
    paths = {path for folder in folders.values() for path in (root / folder).rglob("*.py")}
    texts = {path.relative_to(root).as_posix(): path.read_text("utf-8") for path in paths}
    return module_graph(texts, folders)


def recorded_graph(modules: Mapping[str, Any]) -> ModuleGraph:
    """The graph of the modules that tools/module_graph.py has recorded of a commit."""
    arrows = frozenset((name, other) for name, module in modules.items() for other in module["imports"])
    return ModuleGraph({name: module["lines"] for name, module in modules.items()}, arrows)


def circles(arrows: Iterable[Arrow]) -> list[list[str]]:
    """The circles: each is a largest set of names that all reach each other, in alphabetical order."""
    after: dict[str, set[str]] = {}
    for a, b in arrows:
        after.setdefault(a, set()).add(b)
    reached = {name: _reached(name, after) for name in after}
    found = {
        frozenset(other for other in reached[name] if name in reached.get(other, ()))
        for name in after
        if name in reached[name]
    }
    return sorted(sorted(each) for each in found)


def depths(graph: ModuleGraph) -> dict[str, int]:
    """Each module's level below those that import it: 0 where none does; those of a circle share one."""
    ring = {name: each[0] for each in circles(graph.arrows) for name in each}
    heads = {name: ring.get(name, name) for name in graph.lines}
    above: dict[str, set[str]] = {head: set() for head in heads.values()}
    for a, b in graph.arrows:
        if heads[a] != heads[b]:
            above[heads[b]].add(heads[a])
    found: dict[str, int] = {}
    for head in TopologicalSorter(above).static_order():
        found[head] = max((found[other] + 1 for other in above[head]), default=0)
    return {name: found[head] for name, head in heads.items()}


def _reached(start: str, after: Mapping[str, set[str]]) -> set[str]:
    seen: set[str] = set()
    open_ends = [start]
    while open_ends:
        for name in after.get(open_ends.pop(), set()) - seen:
            seen.add(name)
            open_ends.append(name)
    return seen


def _module(path: str, folders: Mapping[str, str]) -> str:
    """The name a source is imported by; empty outside the packages."""
    package, folder = max(
        ((package, folder) for package, folder in folders.items() if path.startswith(f"{folder}/")),
        key=lambda pair: len(pair[1]),
        default=("", ""),
    )
    if not package or not path.endswith(".py"):
        return ""
    inner = path[len(folder) + 1 : -len(".py")].split("/")
    return ".".join([package, *(inner[:-1] if inner[-1] == "__init__" else inner)])


def _imported(text: str, module: str, known: Mapping[str, str]) -> Iterator[str]:
    """The known modules that a source imports; a name of a package's list is the package's module."""
    for node in _run(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                raise ValueError(f"{module} imports by a relative name, line {node.lineno}")
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                if full in known:
                    yield full
                elif node.module in known:
                    yield str(node.module)


def _run(node: ast.AST) -> Iterator[ast.AST]:
    """A tree's statements, where imports are, without those that only type checkers look at."""
    yield node
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.expr):
            continue
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            yield from (inner for other in child.orelse for inner in _run(other))
        else:
            yield from _run(child)
