"""Rules of the house that no other checker has: lengths of files and private names.

Usage: rules.py [FILE]...   (default: every file that git tracks; run in the root of the checkout)

A file has at most 700 lines (Python, C and C++), or a comment in its head that says why it is longer: a line
``# Longer than 700 lines: <why>``. Outside the tests no module imports another's name that starts with one
underscore, nor reaches it through the module (``module._name``).
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

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


def main(paths: list[str]) -> int:
    """Print what is wrong, a line each; exit status 1 if anything is."""
    if not paths:
        listed = subprocess.run(["git", "ls-files", "-z"], capture_output=True, text=True, check=True)
        paths = [path for path in listed.stdout.split("\0") if Path(path).is_file()]
    wrong: list[str] = []
    for path in paths:
        if Path(path).suffix not in SOURCES:
            continue
        text = Path(path).read_text("utf-8")
        wrong += too_long(path, text)
        if path.endswith(".py") and not path.startswith("tests/"):
            wrong += private_names(path, text)
    print("\n".join(wrong) if wrong else f"{len(paths)} files keep the rules of the house")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
