"""Run a static checker over the package as it will be installed.

The source folders map to ``sailsim.*`` only in the wheel. Checkers that read files want one tree, so this
stages a tree of links in build/staged and runs the checker there, with that tree first on the path. An
editable install makes the tree too and names it to the checkers of whoever imports sailsim.

Usage: staged.py mypy | imports | link STUB, the compiled core's as it was just built
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
STAGED = ROOT / "build" / "staged"

# The editable install's finder would answer before the path does, with the folders' own names.
LINT_IMPORTS = f"""
import sys
sys.meta_path = [f for f in sys.meta_path if "Scikit" not in type(f).__name__]
from importlinter.cli import lint_imports
sys.exit(lint_imports(config_filename={str(ROOT / "pyproject.toml")!r}, no_cache=True))
"""
COMMANDS = {
    "mypy": [
        sys.executable,
        *("-m", "mypy", "-p", "sailsim"),
        *("--config-file", str(ROOT / "pyproject.toml"), "--cache-dir", str(ROOT / ".mypy_cache")),
    ],
    "imports": [sys.executable, "-c", LINT_IMPORTS],
}


def stage(stub: Path | None = None) -> None:
    """Link every package folder to its import name, and have the stub of the compiled core beside them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = project["tool"]["scikit-build"]["wheel"]["packages"]
    top = STAGED / "sailsim"
    top.mkdir(parents=True, exist_ok=True)
    links = {top / p.name: p for p in (ROOT / "sailsim").iterdir() if p.name != "__pycache__"}
    links |= {STAGED / name: ROOT / folder for name, folder in packages.items() if "/" in name}
    if stub is not None:  # a copy: the folder of a build of its own goes
        (top / "_core.pyi").unlink(missing_ok=True)
        shutil.copy(stub, top / "_core.pyi")
    for old in top.iterdir():
        if old.name != "_core.pyi":
            old.unlink()
    for link, target in links.items():
        link.symlink_to(target)


if __name__ == "__main__":
    if sys.argv[1] == "link":
        stage(Path(sys.argv[2]))
        sys.exit()
    # Another environment of this checkout may have built its core since, with a nanobind of other stubs.
    own = Path(sysconfig.get_path("platlib")) / "sailsim" / "_core.pyi"
    stage(own if own.is_file() else None)
    env = os.environ | {"PYTHONPATH": str(STAGED), "MYPYPATH": str(STAGED)}
    checker = sys.argv[1]
    sys.exit(subprocess.run(COMMANDS[checker], cwd=STAGED, env=env, check=False).returncode)
