"""Whole steps that ran in gem5 (`data/gem5/decode.jsonl`), and the engine's times of the same steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sailsim.analysis.costs.constants import data_file
from sailsim.base.atomic import read_records
from sailsim.base.errors import SailsimError
from sailsim.sim.machine.system import System
from sailsim.sim.machine.system_files import load_system
from sailsim.sim.point import Point
from sailsim.sim.software.records import load_software
from sailsim.workloads.model_files.load import load_model, uniform_choice
from sailsim.workloads.models.model import ModelSpec

HOST = load_software("neon").program
"""System of these runs, whose host software is fitted to the program that gem5 ran."""
CORE_PARTS = {
    "embed": ("embed",),
    "norms and rounding": ("norm", "quantise"),
    "rotation": ("rope",),
    "attention": ("attention",),
    "products of the blocks, activation": ("qkv", "o", "ffn"),
    "head": ("head",),
    "sampling": ("sample",),
}
"""Regions of the program by the part of a step that gem5 and the engine both have."""
CACHE_BITS = {"fp16": 0, **{f"int{bits}": bits for bits in range(2, 9)}}
"""Bits of keys and values by the program's name of its cache; 0: as many as the model has."""
Row = Mapping[str, Any]
TABLE = "gem5/decode.jsonl"
ENGINE = "gem5/decode_engine.jsonl"
"""Engine's cycles of the steps of `TABLE` with units, in its order."""
ENGINES = ("engine_cycles", "same_dram_cycles")
"""Cycles with the machine's own DRAM, and with one that like gem5's loses only refreshes to long reads."""
SHAPES = {"SmolLM2-135M-Instruct.Q4_1.gguf": "smollm2-135m"}
"""Shipped shapes of model files that ran: pages are made without the files."""
HELD_OUT = "llama-3-8b"
"""Model whose runs are in no fit: they test the fits on an unseen model."""


def fitted_rows() -> list[Row]:
    """The runs of `TABLE` without those of `HELD_OUT`."""
    return [row for row in every_row() if shape(row) != HELD_OUT]


def every_row() -> list[Row]:
    """The finished runs of `TABLE`, with the engine's step (`with_engine`)."""
    rows = [row for row in read_records(data_file(TABLE))["rows"] if row.get("step_cycles") is not None]
    engine = read_records(data_file(ENGINE))
    on_units = [row for row in rows if row["linears"] == "lutmm"]
    for name in ENGINES:
        for row, cycles in zip(on_units, engine[name], strict=True):
            row[name] = cycles
    return rows


def shape(row: Row) -> str:
    """Name of the shape of a run's model."""
    return SHAPES.get(row["model"], str(row["model"]))


def bits_and_group(row: Row) -> tuple[int, int]:
    """Bits of a run's weights, and number of weights that share a scale.

    Raises:
        SailsimError: the run's weights are no uniform codes.
    """
    uniform = uniform_choice(row["weights"])
    if uniform is None:
        raise SailsimError(f"weights is {row['weights']!r}; allowed here are bits, as 4g128.")
    return uniform[0], uniform[1]


def engine_query(row: Row, host: System, same_dram: bool = False) -> tuple[System, ModelSpec, Point]:
    """Machine, model and point with which the engine repeats a run with units, on all blocks of the model.

    Args:
        row: the run.
        host: `HOST`, which gets the units of the run's machine with the settings of gem5's.
        same_dram: whether its DRAM loses as little to long reads as gem5's.
    """
    same = {name: row[name] for name in ("weights", "nbw", "batch", "threads", "context")}
    kv_bits, attention = CACHE_BITS[row["cache"]], row.get("attention", "cores")
    point = Point(system=HOST, model=shape(row), kv_bits=kv_bits, attention=attention, **same)
    own = {name: getattr(host.require_pim(), name) for name in ("prefetch_depth", "one_pass")}
    memory = host.memory
    if same_dram:
        line = host.llc.line.whole
        share = memory.reads(line, memory.lines_per_row(line))
        reads = memory.read_share.model_copy(update={"value": share})
        memory = memory.model_copy(update={"read_share": reads})
    pim = load_system(row["system"]).require_pim().model_copy(update=own)
    machine = host.model_copy(update={"pim": pim, "memory": memory})
    return machine, replace(load_model(point.model), extra_params=0), point


def with_engine(row: Row) -> Row:
    """A run; if it has units, with the engine's steps of it on `HOST` (`ENGINES`), in cycles of the cores."""
    from sailsim.sim.step.engine import simulate_step  # committed runs are shown without

    if row["linears"] != "lutmm":
        return row
    host = load_system(HOST)
    cycles = {
        name: float(simulate_step(*engine_query(row, host, same)).step_s * host.cores.clock.si)
        for name, same in zip(ENGINES, (False, True), strict=True)
    }
    return {**row, **cycles}
