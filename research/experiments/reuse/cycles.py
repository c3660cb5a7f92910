"""Cycles and row reads of a step under several designs of the unit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import pandas as pd

from reuse import settings
from reuse.patterns import entries_needed
from reuse.settings import ABITS, GROUP_SIZE, OWN, SYSTEM
from sailsim import _core
from sailsim.base.errors import SailsimError
from sailsim.sim.machine.substrate import load_substrate
from sailsim.sim.machine.system import System
from sailsim.sim.machine.system_files import load_system
from sailsim.sim.point import Point
from sailsim.sim.step.engine import simulate_step
from sailsim.workloads.inference.activation_file import Activations
from sailsim.workloads.model_files.load import load_model
from sailsim.workloads.models.model import Linear, ModelSpec, Role

SUBSTRATES = ("row_dfm", "bit_serial", "bit_parallel")
"""What the page compares, the machine's own first."""


class Design(NamedTuple):
    """What a look-up costs, cycles: of a zero pattern, and of a PRT hit (None: no PRT)."""

    substrate: str
    zero: int
    hit: int | None


def plain_cycles(substrate: str, accumulator_bits: int) -> int:
    """Cycles of a look-up that reads the table: the read and, in the array, the sum."""
    return load_substrate(substrate).phase_cycles("lookup", accumulator=accumulator_bits)


def designs(system: System) -> list[Design]:
    """Every machine that is simulated. Where sums are made in the array a PRT cannot help and has no row."""
    assert system.pim is not None
    found = []
    for substrate in SUBSTRATES:
        plain = plain_cycles(substrate, system.pim.accumulator.whole)
        hits: tuple[int | None, ...] = (None, 0, 1) if load_substrate(substrate).prt_helps else (None,)
        found += [Design(substrate, zero, hit) for zero in sorted({0, 1, plain}) for hit in hits]
    return found


def machine(system: System, design: Design) -> System:
    """The system with a design's costs."""
    assert system.pim is not None
    pim = system.pim
    changed = {"t_zero": pim.t_zero.model_copy(update={"value": design.zero})}
    if design.hit is not None:
        changed["t_prt"] = pim.t_prt.model_copy(update={"value": design.hit})
    return system.model_copy(update={"pim": pim.model_copy(update=changed)})


PHASES = ("build", "lookup", "convert")
"""Computing phases of a tile; the rest of its cycles load weights and write results."""


def steps(activations: Activations, model_name: str, batch: int) -> pd.DataFrame:
    """A decode step of a model on every design at every NBW of `CLAIM_NBWS`.

    Columns: model, batch, nbw, the design's, the PIM units' cycles by phase and in total (pim), step
    (seconds) and the step's counts of one slice. NBWs whose table does not fit the arrays have no row.
    """
    system = load_system(SYSTEM)
    found = []
    for nbw in settings.CLAIM_NBWS:
        for design in designs(system):
            try:
                found.append(step(activations, model_name, batch, nbw, design))
            except SailsimError:
                continue
    return pd.DataFrame(found).astype({"hit": "Int64"})


def step(activations: Activations, model_name: str, batch: int, nbw: int, design: Design) -> dict[str, Any]:
    """One decode step on one design, as a row of `steps`.

    Raises SailsimError where the table does not fit the arrays.
    """
    system = load_system(SYSTEM)
    assert system.pim is not None
    point = Point(
        system=SYSTEM,
        model=model_name,
        abits=ABITS,
        nbw=nbw,
        batch=batch,
        substrate=design.substrate,
        prt=design.hit is not None,
    )
    result = simulate_step(machine(system, design), load_model(model_name), point, activations)
    clock = system.pim.clock.si
    return (
        {"model": model_name, "batch": batch, "nbw": nbw}
        | design._asdict()
        | {name: round(result.breakdown[name] * clock) for name in PHASES}
        | {"pim": result.pim_cycles, "step": result.step_s}
        | result.counts
    )


def partial_tables(activations: Activations) -> pd.DataFrame:
    """Additions of whole and of partial tables (`entries_needed`) in a step of the captured model.

    Columns: model, batch, nbw, table_adds, needed: of one slice, all passes included.
    """
    model = load_model(OWN)
    config = load_system(SYSTEM).slice_config()
    wbits = Point().wbits
    found = []
    for batch in settings.BATCHES:
        for nbw in settings.CLAIM_NBWS:
            adds = needed = 0
            known: dict[tuple[Role, int], int] = {}
            for linear in _linears(model):
                place = (linear.role, linear.layer)
                if place not in known:
                    x = activations.quantized(*place, model.n_layers, linear.k, batch, abits=ABITS)
                    known[place] = entries_needed(x, nbw)
                plan = _core.plan_tile(
                    config, (linear.k, linear.n, batch, wbits, wbits, ABITS, nbw, GROUP_SIZE), scaled=True
                )
                adds += plan.passes * plan.groups * ((1 << nbw) - nbw - 1)
                needed += plan.passes * known[place]
            found.append({"model": OWN, "batch": batch, "nbw": nbw, "table_adds": adds, "needed": needed})
    return pd.DataFrame(found)


def _linears(model: ModelSpec) -> Iterator[Linear]:
    for layer in range(model.n_layers):
        yield from model.layer_linears(layer)
    yield model.head
