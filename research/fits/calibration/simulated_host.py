"""The cores as the program `decode` uses them in gem5, beside units or alone: what `sail-n1-neon-host` says.

The engine's steps with PIM units, and the parts of all steps that are the cores' own (attention; norms,
rounding and rotation), are held against gem5's runs with attention on the cores. The constants of `FREE` are
fitted together: of attention, what share of memory's peak many cores reach and how many lines one has under
way, the share of its peak that a core reaches in the rest, a barrier, what handing over a tile takes and what
copying a result does. All else of that machine is `sail-n1`'s, but that nothing is lost around a product and
no tensor's weights run ahead: so the program and gem5's units work.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import cache, reduce
from pathlib import Path

import numpy as np
from scipy.optimize import least_squares

from calibration.errors import digits
from calibration.simulated_problem import part_of_model
from calibration.solver import LOSS_SCALE
from sailsim.analysis.render.gem5_figures import whole_step
from sailsim.analysis.studies.gem5_steps import (
    CACHE_BITS,
    HOST,
    Row,
    bits_and_group,
    engine_query,
    fitted_rows,
    shape,
)
from sailsim.sim.machine.system import System
from sailsim.sim.machine.system_files import load_system, vary
from sailsim.sim.point import Point
from sailsim.sim.software.fitted import Floats
from sailsim.sim.step.engine import time_step
from sailsim.sim.step.schedule import HostCores
from sailsim.workloads.models.graph import decode_step
from sailsim.workloads.models.model import ModelSpec

FITTED = {
    "attention": ("attention",),
    "norms": ("norm", "quantise", "rope"),
    "hand-over": ("qkv", "o"),
}
"""The program's regions that are fitted together; of the products those without other work."""
PART_OF = {
    "attn_norm": "norms",
    "ffn_norm": "norms",
    "output_norm": "norms",
    "rope": "norms",
    "attention": "attention",
    **dict.fromkeys(("attn_q", "attn_k", "attn_v", "attn_output"), "hand-over"),
}
"""Of the engine's operations."""
FILE = Path(__file__).parents[3] / "sailsim" / "sim" / "data" / "systems" / f"{HOST}.toml"
SMALL = "smollm2-135m"
"""The model whose steps say what hand-over and barriers take."""
FREE = {
    "host.lines_share": (0.05, 0.5, 1.0),
    "host.attention_rate": (0.1, 3.0, 16.0),
    "host.program.widening": (0.001, 0.5, 4.0),
    "host.program.head": (0.1, 1000.0, 50000.0),
    "host.program.codes_start": (1.0, 60.0, 5000.0),
    "host.program.codes_score": (0.1, 3.0, 50.0),
    "host.program.codes_head": (0.1, 500.0, 50000.0),
    "memory.core_share": (0.05, 0.5, 1.0),
    "host.simd_share": (0.005, 0.05, 1.0),
    "host.barrier": (1.0, 60.0, 2000.0),
    "host.submit": (1.0, 60.0, 1000.0),
    "host.result_copy": (0.01, 1.0, 20.0),
}
"""Of a system file, in its units: the least, where the search begins, the most."""
HELD = 0.02
"""How much less than an error of a run a constant's way from where the search begins counts, in logarithms.
Assumed: little enough to move no constant that the runs tell by more than a percent, and enough that without
the one run of shared keys there is one answer and not a valley."""


def host_rows() -> list[Row]:
    """The runs that the constants are fitted to: with attention on the cores. Of runs that attend alike, but
    without units, the first one."""
    chosen, known = [], set()
    for row in sorted(
        (row for row in fitted_rows() if row["attention"] == "cores"),
        key=lambda row: row["linears"] != "lutmm",
    ):
        attends = tuple(str(row[name]) for name in ("blocks", "threads", "batch", "context", "cache"))
        if row["linears"] == "lutmm" or (shape(row), *attends) not in known:
            chosen.append(row)
        known.add((shape(row), *attends))
    return chosen


def host_constants() -> dict[str, dict[str, float]]:
    """Of `FREE`, in their units, as a system file has them: the value, and the ends of what comes out
    when one run after another is left out."""
    values, without = host_fits()
    return {
        name: {
            "value": digits(values[i]),
            "low": digits(min(values[i], without[:, i].min())),
            "high": digits(max(values[i], without[:, i].max())),
        }
        for i, name in enumerate(FREE)
    }


def file_with(found: Mapping[str, Mapping[str, float]]) -> str:
    """The text of `HOST`'s file with what `host_constants` found."""
    text = FILE.read_text("utf-8")
    for name, entry in found.items():
        section, field = name.rsplit(".", 1)
        at = text.index(f"\n{field} = {{", text.index(f"\n[{section}]"))
        end = text.index("\n", at + 1)
        line = text[at:end]
        for key in ("value", "low", "high"):
            line, times = re.subn(rf"\b{key} = [^,}}]+(?=[,}} ])", f"{key} = {entry[key]:g}", line, count=1)
            assert times == 1, (name, key)
        text = text[:at] + line + text[end:]
    return text


def stale() -> list[str]:
    """What of `HOST` is not what the fit finds, within a thousandth."""
    machine, found = load_system(HOST), host_constants()
    wrong = []
    for name, entry in found.items():
        said = reduce(getattr, name.split("."), machine)
        if abs(said.value / entry["value"] - 1) > 1e-3:
            wrong.append(f"{name} of {HOST} is {said.value:g}, the fit's is {entry['value']:g}")
    return wrong


def measured(row: Row) -> dict[str, float]:
    """Cycles of a run that are fitted: of its busiest thread in the parts of `FITTED`, without waiting.

    Norms and products only with units, norms of one thread alone: a piece of many threads is mostly first
    misses, which go with the barrier, and so is one of a small model's blocks from empty caches. Of a small
    model also the whole step.
    """
    lines = [json.loads(line) for line in row["program_output"]]
    threads = [line for line in lines if "thread" in line]
    found = {
        part: max(sum(line[f"{name}_cycles"] for name in regions) for line in threads)
        for part, regions in FITTED.items()
    }
    if row["linears"] != "lutmm":
        del found["hand-over"]
    if row["linears"] != "lutmm" or row["threads"] > 1 or (_of_small(row) and row["blocks"]):
        del found["norms"]
    return found | ({"step": sum(whole_step(row).values())} if _of_small(row) else {})


def predicted(machine: System, row: Row, spec: ModelSpec, point: Point) -> dict[str, float]:
    """The engine's seconds of what may be `measured`; spec, point: of the part of the model that ran."""
    seconds = core_seconds(machine, spec, point)
    if _of_small(row):
        seconds["step"] = time_step(*engine_query(row, machine, same_dram=True)).step_s
    return seconds


def _of_small(row: Row) -> bool:
    """Whether it has units, and hand-over and barriers are much of its step, and not memory."""
    return shape(row) == SMALL and row["linears"] == "lutmm"


def core_seconds(system: System, spec: ModelSpec, point: Point) -> dict[str, float]:
    """Seconds that the cores of a machine work alone in each part of `PART_OF`, their reading at its longest,
    and what they do of products of one tile a slice."""
    parts = dict.fromkeys(PART_OF.values(), 0.0)
    host, slices = HostCores(system, point.threads), system.llc.slices.whole
    for op in decode_step(spec, point.formats(spec), point.batch, point.context):
        name = op.name.rpartition(".")[2]
        if name not in PART_OF:
            continue
        if op.kind == "gemv":
            # Records are looked at while it waits.
            collected = host.collecting(op, slices, 1, 1.0, last=False)
            tasks = [host.submission(name, slices), *(task for task in collected if not task.sync)]
        else:
            tasks = [task for task in host.work(op, spec, 0) if not task.sync]
        parts[PART_OF[name]] += sum(
            max(each.seconds, (each.read + each.written) / each.rate) for each in tasks
        )
    return parts


def asked(rows: Sequence[Row]) -> list[tuple[ModelSpec, Point]]:
    """What the engine is asked of runs: the model's part that ran, and the point."""
    questions = []
    for row in rows:
        spec, (bits, group) = part_of_model(row), bits_and_group(row)
        point = Point(
            model=shape(row), weights=f"{bits}g{group}", batch=row["batch"], threads=row["threads"],
            context=row["context"], kv_bits=CACHE_BITS[row["cache"]], nbw=row["nbw"],
        )  # fmt: skip
        questions.append((spec.with_kv_bits(point.kv_bits), point))
    return questions


@cache
def host_fits() -> tuple[Floats, Floats]:
    """Of `FREE`: fitted to all of `host_rows`, and a row of as many each left out."""
    rows, machine = host_rows(), load_system(HOST)
    questions = asked(rows)
    least, start, most = np.log(np.array(list(FREE.values()))).T

    def fit(kept: list[int]) -> Floats:
        found = [measured(rows[i]) for i in kept]
        cycles = np.log(np.array([each for of_run in found for each in of_run.values()]))

        def off(x: Floats) -> Floats:
            moved = vary(machine, dict(zip(FREE, map(float, np.exp(x)), strict=True)))
            told = [predicted(moved, rows[i], *questions[i]) for i in kept]
            seconds = np.array([told[at][part] for at, of_run in enumerate(found) for part in of_run])
            return np.concatenate([np.log(machine.cores.clock.si * seconds) - cycles, HELD * (x - start)])

        answer = least_squares(
            off, start, bounds=(least, most), loss="soft_l1", f_scale=LOSS_SCALE, xtol=1e-10, ftol=1e-10
        )
        return np.asarray(np.exp(answer.x))

    every = list(range(len(rows)))
    return fit(every), np.array([fit([i for i in every if i != out]) for out in every])
