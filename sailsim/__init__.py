"""sailsim: what if the last-level cache could run the quantized LLM?

A simulator of SAIL-style processing in memory: compute-capable SRAM beside every LLC slice builds
lookup tables from quantized weights, looks them up with activation bits and reuses repeated patterns.

The floors, from the ground: ``sailsim._core`` (C++, shared with gem5), ``sailsim.lut_gemv`` (arithmetic),
``sailsim.workloads`` (models and real inputs), ``sailsim.sim`` (systems, engines, sweeps, results),
``sailsim.analysis`` (runs, cost, claims, figures, report) and ``sailsim.cli`` (the commands).

Public names are imported at their first use, so that ``import sailsim`` costs nothing. docs/start.md has
examples. `gemv` is ``sailsim.lut_gemv.fast.lut_gemv``; ``sailsim.lut_gemv.reference`` has the reference.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sailsim.analysis.costs.dollars import prices
    from sailsim.analysis.runs.compare import compare
    from sailsim.analysis.runs.runs import runners
    from sailsim.analysis.serving.serve_requests import serve
    from sailsim.analysis.serving.service import Deployment, ServiceLevel
    from sailsim.analysis.studies.result_folder import ResultFolder
    from sailsim.analysis.studies.sweep_study import sweep
    from sailsim.base.errors import SailsimError
    from sailsim.lut_gemv.codes import WeightCode
    from sailsim.lut_gemv.fast import lut_gemv as gemv
    from sailsim.lut_gemv.tile import Tile
    from sailsim.sim.machine.system_files import load_system
    from sailsim.sim.point import Point
    from sailsim.sim.step.engine import simulate
    from sailsim.sim.step.tile_time import TileTime, time_tile
    from sailsim.sim.study.plan import expand
    from sailsim.workloads.model_files.load import load_model
    from sailsim.workloads.requests import read_requests

    __version__: str

_HOMES = {
    "Deployment": "sailsim.analysis.serving.service",
    "Point": "sailsim.sim.point",
    "ResultFolder": "sailsim.analysis.studies.result_folder",
    "SailsimError": "sailsim.base.errors",
    "ServiceLevel": "sailsim.analysis.serving.service",
    "Tile": "sailsim.lut_gemv.tile",
    "TileTime": "sailsim.sim.step.tile_time",
    "WeightCode": "sailsim.lut_gemv.codes",
    "compare": "sailsim.analysis.runs.compare",
    "expand": "sailsim.sim.study.plan",
    "gemv": "sailsim.lut_gemv.fast:lut_gemv",
    "load_model": "sailsim.workloads.model_files.load",
    "load_system": "sailsim.sim.machine.system_files",
    "prices": "sailsim.analysis.costs.dollars",
    "read_requests": "sailsim.workloads.requests",
    "runners": "sailsim.analysis.runs.runs",
    "serve": "sailsim.analysis.serving.serve_requests",
    "simulate": "sailsim.sim.step.engine",
    "sweep": "sailsim.analysis.studies.sweep_study",
    "time_tile": "sailsim.sim.step.tile_time",
}
"""Module that defines each public name, with the name used there if it differs."""
_PACKAGES = ("analysis", "lut_gemv", "sim", "workloads")

__all__ = [
    "Deployment", "Point", "ResultFolder", "SailsimError", "ServiceLevel", "Tile", "TileTime",
    "WeightCode", "compare", "expand", "gemv", "load_model", "load_system", "prices", "read_requests",
    "runners", "serve", "simulate", "sweep", "time_tile",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Import a public name or a package at its first use."""
    if name == "__version__":
        from importlib.metadata import version  # a third of a small command's start

        return version("sailsim")
    if name in _PACKAGES:
        return importlib.import_module(f"sailsim.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'sailsim' has no attribute {name!r}")
    module, _, other = _HOMES[name].partition(":")
    found = getattr(importlib.import_module(module), other or name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    """List the public names, imported or not."""
    return sorted(["__version__", *__all__, *_PACKAGES])
