"""Record the modules of a commit and what each imports: analysis/data/modules_before.jsonl.

Usage: module_graph.py COMMIT   (in the root of a checkout with its history; writes to standard output)

docs/architecture.md shows the recorded commit beside the checkout as it is.
"""

from __future__ import annotations

import subprocess
import sys

from sailsim.analysis.render.module_graph import folders_of, module_graph
from sailsim.base.records import to_lines


def git(*words: str) -> str:
    """What git says."""
    return subprocess.run(["git", *words], capture_output=True, text=True, check=True).stdout


def main(commit: str) -> None:
    """Print the records of a commit."""
    folders = folders_of(git("show", f"{commit}:pyproject.toml"))
    paths = [path for path in git("ls-tree", "-r", "--name-only", commit).split() if path.endswith(".py")]
    graph = module_graph({path: git("show", f"{commit}:{path}") for path in paths}, folders)
    modules = {
        name: {"lines": lines, "imports": sorted(b for a, b in graph.arrows if a == name)}
        for name, lines in sorted(graph.lines.items())
    }
    full, date = git("log", "-1", "--format=%H %cs", commit).split()
    sys.stdout.write(to_lines({"commit": full[:7], "date": date, "modules": modules}))


if __name__ == "__main__":
    main(*sys.argv[1:])
