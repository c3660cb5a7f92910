"""Modules that lie in no package: scripts of tools/ and of tests/oracles."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType


def module_at(path: Path) -> ModuleType:
    """The module of a file, under the file's name."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def tool(name: str) -> ModuleType:
    """A script of tools/."""
    return module_at(Path(__file__).parents[1] / "tools" / f"{name}.py")
