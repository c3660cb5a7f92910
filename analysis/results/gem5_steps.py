"""Whole steps that gem5 ran, as they are committed (`data/gem5/decode.jsonl`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from sailsim.analysis.costs.constants import data_file
from sailsim.base.atomic import read_records
from sailsim.base.errors import SailsimError
from sailsim.lut_gemv.counts import TILE_PHASES
from sailsim.sim.backend import StepResult
from sailsim.sim.engine import simulate_step
from sailsim.sim.files import load_system, vary
from sailsim.sim.point import Point
from sailsim.sim.schedule import HostCores
from sailsim.sim.system import System
from sailsim.workloads.graph import decode_step
from sailsim.workloads.load import load_model, uniform_choice
from sailsim.workloads.model import ModelSpec

HOST = "sail-n1-neon-host"
"""The machine of these runs whose cores work around the units as the program does that gem5 ran."""
CORE_PARTS = {
    "embed": ("embed",),
    "norms and rounding": ("norm", "quantise"),
    "rotation": ("rope",),
    "attention": ("attention",),
    "products of the blocks, activation": ("qkv", "o", "ffn"),
    "head": ("head",),
    "sampling": ("sample",),
}
"""Parts of a step that gem5 and the engine both have, and the program's regions in each."""
_CORE_OPS = {
    "token_embd": "embed",
    "attn_norm": "norms and rounding",
    "ffn_norm": "norms and rounding",
    "output_norm": "norms and rounding",
    "rope": "rotation",
    "attention": "attention",
    "ffn_act": "products of the blocks, activation",
    "sample": "sampling",
}
CACHE_BITS = {"fp16": 0, "int8": 8}
"""Bits of keys and values by the program's word for its cache; 0: what the model has."""
_UNIT_PHASES = (*TILE_PHASES, "dram")


@dataclass(frozen=True)
class Predicted:
    """The engine's step in cycles of the cores: whole, by `CORE_PARTS`, and what the units are at work."""

    step: float
    parts: dict[str, float]
    units: float


Changes = tuple[tuple[str, float], ...]
"""Fields of a system and their values, as `vary` takes them."""


def predicted(row: Row, machine: str = "", changes: Changes = ()) -> Predicted:
    """The engine's step of a run with units: same machine, or the one named, perhaps with ``changes``,
    weights, threads, batch, context and cache."""
    machine = machine or row["system"]
    system, spec = vary(load_system(machine), dict(changes)), load_model(shape(row))
    spec = replace(spec, n_layers=row["blocks"] or spec.n_layers, extra_params=0)
    point = Point(
        system=machine,
        model=shape(row),
        weights=row["weights"],
        nbw=row["nbw"],
        batch=row["batch"],
        threads=row["threads"],
        context=row["context"],
        kv_bits=CACHE_BITS[row["cache"]],
    )
    clock = system.cores.clock.si

    def step(of: ModelSpec) -> StepResult:
        return simulate_step(system, of, point)

    result = step(spec)
    parts = core_seconds(system, spec.cached(point.kv_bits), point)
    # A step of twice as many blocks says what the blocks take, tables and conversion of their products with
    # them, and what is left for the head.
    twice = replace(spec, n_layers=2 * spec.n_layers)
    more = core_seconds(system, twice.cached(point.kv_bits), point)
    of_cores = sum(more[name] - parts[name] for name in parts)
    parts["products of the blocks, activation"] += step(twice).step_s - result.step_s - of_cores
    parts["head"] = result.step_s - sum(parts.values())
    units = sum(result.breakdown[phase] for phase in _UNIT_PHASES)
    return Predicted(
        result.step_s * clock, {name: seconds * clock for name, seconds in parts.items()}, units * clock
    )


def core_seconds(system: System, spec: ModelSpec, point: Point) -> dict[str, float]:
    """Seconds that the cores of a machine work alone in each of `CORE_PARTS`, their reading at its longest;
    nothing of products."""
    parts = dict.fromkeys(CORE_PARTS, 0.0)
    host = HostCores(system, point.threads)
    for op in decode_step(spec, point.formats(spec), point.batch, point.context):
        if op.kind != "gemv":
            tasks = host.work(op, spec, 0)
            alone = sum(max(task.seconds, (task.read + task.written) / task.rate) for task in tasks)
            parts[_CORE_OPS[op.name.rpartition(".")[2]]] += alone
    return parts


Row = Mapping[str, Any]
TABLE = "gem5/decode.jsonl"
SHAPES = {"SmolLM2-135M-Instruct.Q4_1.gguf": "smollm2-135m"}
"""The shape that ships of a file whose tokens were measured: pages are made without the file."""


def decode_rows(table: str = TABLE) -> list[Row]:
    """The runs of a table that came to their end."""
    rows = read_records(data_file(table))["rows"]
    return [row for row in rows if row.get("step_cycles") is not None]


def shape(row: Row) -> str:
    """The name of the shape that a run's model has."""
    return SHAPES.get(row["model"], str(row["model"]))


def bits_and_group(row: Row) -> tuple[int, int]:
    """Bits of a run's weights and weights of a scale.

    Raises:
        SailsimError: the run's weights are no uniform codes.
    """
    uniform = uniform_choice(row["weights"])
    if uniform is None:
        raise SailsimError(f"weights is {row['weights']!r}; allowed here are bits, as 4g128.")
    return uniform[0], uniform[1]
