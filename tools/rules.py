"""Rules of the house that no other checker has: lengths of files, private names, and the doors of the floors.

Usage: rules.py [FILE]...   (default: every file that git tracks; run in the root of the checkout)

A file has at most 700 lines (Python, C and C++), or a comment in its head that says why it is longer: a line
``# Longer than 700 lines: <why>``. Outside the tests no module imports another's name that starts with one
underscore, nor reaches it through the module (``module._name``). Inside a floor a name is imported from the
module that defines it; a name that another floor offers in its ``__init__``, from there.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

FLOORS = {
    "lut_gemv": "sailsim.lut_gemv",
    "workloads": "sailsim.workloads",
    "sim_ext/sim": "sailsim.sim",
    "analysis": "sailsim.analysis",
    "sailsim/cli": "sailsim.cli",
}
"""Folder of each floor that has a list of what it offers, and its package."""
DIRECT = {"sailsim.analysis"}
"""Floors whose modules those above may name: its list is for users, and loads matplotlib."""
MOST_LINES = 700
HEAD = 20
"""Lines in which a longer file says why."""
REASON = re.compile(rf"\s*(#|//|\*|/\*)\s*Longer than {MOST_LINES} lines: \w")
SOURCES = {".py", ".cc", ".hh", ".c", ".h"}
PUBLIC = {"_core"}
"""The compiled module: the underscore says that it is ours, and every floor may use it."""


def too_long(path: str, text: str) -> Iterator[str]:
    """What is wrong with a file's length."""
    lines = text.splitlines()
    if len(lines) > MOST_LINES and not any(map(REASON.match, lines[:HEAD])):
        yield (
            f"{path}: {len(lines)} lines, allowed are {MOST_LINES}, "
            f"or a comment in the first {HEAD}: Longer than {MOST_LINES} lines: <why>"
        )


def private_names(path: str, text: str) -> Iterator[str]:
    """Where a Python file takes the private name of another module."""
    modules = set()
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            ours = node.level > 0 or (node.module or "").partition(".")[0] == "sailsim"
            for name in node.names if ours else ():
                if _private(name.name):
                    yield f"{path}:{node.lineno}: {name.name} is private to {node.module or '.'}"
                modules.add(name.asname or name.name)
        elif isinstance(node, ast.Import):
            modules |= {name.asname or name.name for name in node.names if name.name.startswith("sailsim")}
    for node in ast.walk(tree):
        reached = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
        # A name with a capital is a class: what it keeps to itself is its own affair.
        if reached and node.value.id in modules and node.value.id.islower() and _private(node.attr):
            yield f"{path}:{node.lineno}: {node.value.id}.{node.attr} is private to its module"


def _private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name not in PUBLIC


def offers(root: Path) -> dict[str, dict[str, str]]:
    """What each floor offers: by package the names that its ``__init__`` takes from inside, with where."""
    found: dict[str, dict[str, str]] = {}
    for folder, package in FLOORS.items():
        file = root / folder / "__init__.py"
        tree = ast.parse(file.read_text("utf-8") if file.is_file() else "")
        found[package] = {
            alias.name: str(node.module)
            for node in tree.body
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith(f"{package}.")
            for alias in node.names
        }
    return found


def wrong_doors(path: str, text: str, offered: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    """Where a file of a floor takes its own floor's name from the list, or another floor's past the list."""
    own = next((package for folder, package in FLOORS.items() if path.startswith(f"{folder}/")), None)
    if own is None or path.endswith("__init__.py"):
        return
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.ImportFrom):
            continue
        for name in (alias.name for alias in node.names):
            if node.module == own and name in offered[own]:
                yield f"{path}:{node.lineno}: {name} is of this floor: import it from {offered[own][name]}"
            for package, names in offered.items():
                if package not in {own, *DIRECT} and names.get(name) == node.module:
                    yield f"{path}:{node.lineno}: {name} is offered by {package}: import it from there"


def main(paths: list[str]) -> int:
    """Print what is wrong, a line each; exit status 1 if anything is."""
    if not paths:
        listed = subprocess.run(["git", "ls-files", "-z"], capture_output=True, text=True, check=True)
        paths = [path for path in listed.stdout.split("\0") if Path(path).is_file()]
    wrong: list[str] = []
    offered = offers(Path())
    for path in paths:
        if Path(path).suffix not in SOURCES:
            continue
        text = Path(path).read_text("utf-8")
        wrong += too_long(path, text)
        if path.endswith(".py") and not path.startswith("tests/"):
            wrong += private_names(path, text)
            wrong += wrong_doors(path, text, offered)
    print("\n".join(wrong) if wrong else f"{len(paths)} files keep the rules of the house")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
