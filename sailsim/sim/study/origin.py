"""Versions of the code and the libraries that made a result."""

import hashlib
import platform
import subprocess
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sailsim import _core

# The packages whose code and data can change a number; the commands only print, and rendering only shows.
_PACKAGES = ("sailsim.base", "sailsim.lut_gemv", "sailsim.workloads", "sailsim.sim", "sailsim.analysis")
_SHOWS = {"sailsim.analysis": ("render/", "data/columns.toml")}
# Not .jsonl: those files are results for pages; nothing is computed from them.
_SUFFIXES = (".py", ".toml", ".csv", ".json")
_LIBRARIES = ("numpy", "scipy", "pandas", "pydantic", "joblib", "gguf")


@cache  # every stored record has it, and reading the sources takes 10 ms
def code_version() -> str:
    """Hash of the package's sources, its data and the compiled core, without code that only renders."""
    roots = {}
    for name in _PACKAGES:
        spec = find_spec(name)  # looked up, not imported: this floor does not use those above
        assert spec is not None
        roots[name] = sorted(Path(p) for p in spec.submodule_search_locations or ())
    return hash_of(roots, Path(str(_core.__file__)))


def hash_of(roots: Mapping[str, Iterable[Path]], core: Path) -> str:
    """Hash of the relevant files below the folders of each package, and of a compiled core."""
    digest = hashlib.sha256()
    for name, folders in roots.items():
        for root in folders:
            for path in sorted(root.rglob("*")):
                below = path.relative_to(root)
                shows = below.as_posix().startswith(_SHOWS.get(name, ()))
                if path.suffix in _SUFFIXES and not shows and path.is_file():
                    digest.update(f"{name}/{below.as_posix()}\0".encode())
                    digest.update(path.read_bytes())
    digest.update(core.read_bytes())
    return digest.hexdigest()[:16]


def commit() -> dict[str, Any] | None:
    """Commit of this checkout, and whether tracked files differ from it; None outside a checkout."""
    here = Path(__file__).resolve().parent

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(here), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    try:
        # An environment may lie inside another project's checkout: only our own counts.
        if not (Path(git("rev-parse", "--show-toplevel")) / "sim_ext" / "abi" / "lutmm.h").is_file():
            return None
        changed = bool(git("status", "--porcelain", "--untracked-files=no"))
        return {"id": git("rev-parse", "HEAD"), "changed": changed}
    except (OSError, subprocess.SubprocessError):
        return None


def versions() -> dict[str, str]:
    """Versions of Python, sailsim and the libraries that results depend on."""
    return {
        "python": platform.python_version(),
        "sailsim": version("sailsim"),
        **{name: version(name) for name in _LIBRARIES if find_spec(name) is not None},  # scipy may be missing
    }
