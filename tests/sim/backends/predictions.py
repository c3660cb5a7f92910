"""A machine's prediction by its name: of cores or of a card."""

from pathlib import Path
from typing import Any

from sailsim.sim.backend import StepResult
from sailsim.sim.backends.cores import predict_cores
from sailsim.sim.backends.roofline import predict_card
from sailsim.sim.files import load_machine
from sailsim.sim.system import Gpu
from sailsim.workloads.formats import WeightFormat
from sailsim.workloads.model import ModelSpec


def predict(
    machine: str | Path, model: ModelSpec, fmt: WeightFormat, threads: int | None = None, **asked: Any
) -> StepResult:
    """`threads`: None uses all cores of a server; a card takes none."""
    found = load_machine(machine)
    if not isinstance(found, Gpu):
        return predict_cores(
            found, model, fmt, found.cores.count.whole if threads is None else threads, **asked
        )
    return predict_card(found, model, fmt, **asked)
