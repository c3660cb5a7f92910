"""Whether weights and KV cache fit a machine's memory, and the sentence where they do not."""

from __future__ import annotations

from dataclasses import dataclass

from sailsim.base.errors import SailsimError
from sailsim.sim.point import Point
from sailsim.sim.system import Gpu, System
from sailsim.workloads.formats import WeightFormat
from sailsim.workloads.model import ModelSpec

RESERVED_SHARE = 0.05
"""Share of a card's memory that the driver, the context and the working buffers take (assumed, 0.03..0.1)."""


@dataclass(frozen=True)
class Room:
    """Bytes that a step needs of a memory, and what that has; None: not known."""

    needed: float
    limit: float | None
    where: str
    """Whose memory, in words."""

    @property
    def fits(self) -> bool:
        """Whether it does; so too where the memory's size is not known."""
        return self.limit is None or self.needed <= self.limit

    def problem(self, model: ModelSpec, fmt: WeightFormat, batch: int, context: int) -> str:
        """Why a step of so many sequences and tokens does not fit."""
        assert self.limit is not None
        return (
            f"{self.where}: {model.name} in {fmt.name} with batch {batch} and context {context} needs "
            f"{self.needed / 1e9:.1f} GB, allowed is {self.limit / 1e9:.1f} GB"
        )


def check_context(model: ModelSpec, point: Point) -> None:
    """Raise SailsimError for more tokens than a model was made for, unless the point asks for them."""
    if point.beyond_limit or not 0 < model.max_context < point.context:
        return
    name = "context" if point.phase == "decode" else "prompt"
    raise SailsimError(
        f"{name} is {point.context}; allowed for {model.name} is at most {model.max_context}, which it was "
        "made for, unless beyond_limit asks for more (--beyond-limit; of a sweep --set beyond_limit=on)."
    )


def memory_needed(model: ModelSpec, fmt: WeightFormat, batch: int, context: int) -> float:
    """Bytes of weights and KV cache."""
    return fmt.model_bytes(model) + model.kv_bytes(context) * batch


def room_of(machine: System | Gpu, model: ModelSpec, fmt: WeightFormat, batch: int, context: int) -> Room:
    """A server's memory as its file says; a card's, but what the software keeps of it."""
    needed = memory_needed(model, fmt, batch, context)
    if isinstance(machine, Gpu):
        return Room(needed, float(machine.memory_size.si * (1 - RESERVED_SHARE)), f"card {machine.name}")
    size = machine.memory.size
    return Room(needed, None if size is None else size.si, f"system {machine.name}")
