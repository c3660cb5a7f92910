"""A machine's prediction by its name: of cores or of a GPU; an accelerator's section with other values."""

from pathlib import Path
from typing import Any, TypeVar

from sailsim.sim.backend import StepResult
from sailsim.sim.backends.cores import predict_cores
from sailsim.sim.backends.roofline import predict_gpu
from sailsim.sim.machine.system import AcceleratorSpec, Gpu
from sailsim.sim.machine.system_files import load_machine
from sailsim.workloads.models.formats import WeightFormat
from sailsim.workloads.models.model import ModelSpec

S = TypeVar("S", bound=AcceleratorSpec)


def varied(section: S, **values: float | str) -> S:
    """The section with other values of some fields, which nobody checks."""
    changed = {name: getattr(section, name).model_copy(update={"value": v}) for name, v in values.items()}
    return section.model_copy(update=changed)


def predict(
    machine: str | Path, model: ModelSpec, fmt: WeightFormat, threads: int | None = None, **asked: Any
) -> StepResult:
    """`threads`: None uses all cores of a server; a GPU takes none."""
    found = load_machine(machine)
    if not isinstance(found, Gpu):
        return predict_cores(
            found, model, fmt, found.cores.count.whole if threads is None else threads, **asked
        )
    return predict_gpu(found, model, fmt, **asked)
