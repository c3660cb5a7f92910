"""Rows of the space of unknowns, evaluated in blocks, in parallel, stored as they finish.

A block is what Saltelli's scheme needs for one base sample: two independent machines A and B, and for every
factor a row that is A with that factor of B. The store keeps one Parquet file a block, whole or not at all,
so a run that was killed goes on where it stopped. Within a block equal steps are simulated once.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from joblib import Parallel, delayed, parallel_config
from joblib.externals.loky.process_executor import TerminatedWorkerError
from SALib.sample import sobol as saltelli

from sailsim.analysis.baselines import cpu, gpu
from sailsim.analysis.baselines.cpu import Software
from sailsim.analysis.baselines.prediction import Work
from sailsim.analysis.costs.area import COUNTED, AreaConstants, AreaNotModelledError, area
from sailsim.analysis.paper.uncertainty import Draw, Space, Workload
from sailsim.base.errors import SailsimError
from sailsim.sim import Store, System, code_version, leaves, load_card, simulate_step
from sailsim.sim.store import RESERVED, now
from sailsim.sim.sweep import reporter
from sailsim.workloads import WeightFormat, decode_step, load_model, weight_format

CARD = "v100"
AREAS = tuple((counted, base) for counted in COUNTED for base in ("LLC", "LLC and cores", "die"))
"""Readings of the overhead: what is counted, and of what it is a share."""
MOST_SAMPLES = 4096
LAST = 1 << 30
"""The row of B, behind all others of its block."""
OUTCOMES = (
    "sail",
    "cpu",
    "cpu_all",
    "v100",
    "v100_f16",
    "v100_serving",
    "step",
    "step_off",
    "pim",
    "pim_off",
    "sail_dram",
    "cpu_dram",
    "memory",
    "read_bandwidth",
)
"""Lists over the workloads: tokens/s of SAIL, of the cores at the same threads and of all cores, of the card
(same bits, 16 bits, same bits with a serving stack's kernels); seconds of a step and cycles of its PIM units,
with and without the PRT; DRAM bytes of a step; bytes of memory needed; bytes/s of DRAM that reading cores
reach. NaN where a machine cannot run it or nobody asked."""

OF_SAIL = ("sail", "step", "step_off", "pim", "pim_off", "sail_dram")
"""Those of them that another design changes."""


@dataclass(frozen=True)
class Step:
    """What is kept of a simulated step; NaN where a tile does not fit."""

    seconds: float = math.nan
    tokens_per_s: float = math.nan
    cycles: float = math.nan
    dram_bytes: float = math.nan
    why: str = ""


@dataclass
class Memo:
    """What has been computed already, within a block or a search."""

    steps: dict[Any, Step] = field(default_factory=dict)
    cores: dict[Any, float] = field(default_factory=dict)
    cards: dict[Any, float] = field(default_factory=dict)


class Evaluated:
    """A draw's machine beside its baselines, workload by workload; what was computed is kept in `memo`."""

    def __init__(
        self,
        draw: Draw,
        software: Software = "llama.cpp",
        memo: Memo | None = None,
        untimed: frozenset[str] = frozenset(),
    ) -> None:
        """``untimed``: fields of the machine that no step's time depends on, as `screen` finds them."""
        self.draw, self.software, self.memo = draw, software, memo if memo is not None else Memo()
        self.system: System = draw.system(software)
        self._machine = cpu.CpuSheet.of(self.system)
        self._constants: dict[int, cpu.Constants] = {}
        self._values = tuple(leaf.value for path, leaf in leaves(self.system).items() if path not in untimed)

    def outcomes(self, workload: Workload) -> dict[str, float]:
        """Every outcome on one workload; those that it cannot have are left out."""
        fmt = self.draw.format(workload.wbits)
        step = self.step(workload)
        work = _work(workload.model, fmt, workload.batch, workload.context)
        found = {
            "sail": step.tokens_per_s,
            "step": step.seconds,
            "pim": step.cycles,
            "sail_dram": step.dram_bytes,
            "cpu": self.cores(workload, workload.threads),
            "cpu_all": self.cores(workload, self.system.cores.count.whole),
            "cpu_dram": float(work.weight_bytes + work.kv_bytes),
            "memory": _memory(workload.model, fmt, workload.batch, workload.context),
            "read_bandwidth": self.system.memory.read_bandwidth.si,
        }
        if workload.prt:
            off = self.step(workload, prt=False)
            found |= {"step_off": off.seconds, "pim_off": off.cycles}
        cards: tuple[tuple[str, WeightFormat, gpu.GpuSoftware], ...] = (
            (CARD, fmt, "llama.cpp"),
            (f"{CARD}_f16", weight_format("f16"), "llama.cpp"),
            (f"{CARD}_serving", fmt, "serving"),
        )
        for name, weights, software in cards:
            rate = self.card(workload, weights, software)
            if rate is not None:
                found[name] = rate
        return found

    def step(self, workload: Workload, prt: bool = True) -> Step:
        """One simulated step."""
        key = (workload.name, prt, self.draw.group_size, self._values)
        if key not in self.memo.steps:
            point = workload.point(self.system.name, self.draw.group_size, prt)
            try:
                result = simulate_step(self.system, load_model(workload.model), point)
            except SailsimError as error:
                self.memo.steps[key] = Step(why=str(error))
            else:
                self.memo.steps[key] = Step(
                    result.step_s, result.tokens_per_s, float(result.pim_cycles), result.dram_bytes
                )
        return self.memo.steps[key]

    def cores(self, workload: Workload, threads: int) -> float:
        """Tokens/s of the same server's cores at the draw's constants; scatter of measurements left out."""
        constants = self._constants_of(workload.wbits)
        fmt = self.draw.format(workload.wbits)
        work = _work(workload.model, fmt, workload.batch, workload.context)
        machine = self._machine
        key = (
            workload.name,
            threads,
            fmt,
            *(float(v) for v in vars(machine).values()),
            *(float(v) for v in vars(constants).values()),
        )
        if key not in self.memo.cores:
            parts = cpu.step_parts(work, machine, np.asarray(float(threads)), constants, np.asarray(1.0))
            self.memo.cores[key] = workload.batch / float(sum(parts.values()))
        return self.memo.cores[key]

    def _constants_of(self, wbits: int) -> cpu.Constants:
        if wbits not in self._constants:
            constants, rate = cpu.constants(self.software, self.draw.format(wbits), self.draw.fits)
            if self.software == "llama.cpp":
                moved = self.draw.relative_rate(rate, wbits) / rate.relative
                constants = replace(constants, kernel_rate=constants.kernel_rate * moved)
            self._constants[wbits] = constants
        return self._constants[wbits]

    def card(
        self, workload: Workload, fmt: WeightFormat, software: gpu.GpuSoftware = "llama.cpp"
    ) -> float | None:
        """Tokens/s of the card; None where its memory is too small or the software has no such kernel."""
        if software == "serving" and not gpu.is_four_bit(fmt):
            return None
        card = load_card(CARD)
        need = _memory(workload.model, fmt, workload.batch, workload.context)
        if need > card.memory_size.si * (1 - gpu.RESERVED_SHARE):
            return None
        key = (workload.name, fmt, software, *self.draw.card_values)
        if key not in self.memo.cards:
            work = _work(workload.model, fmt, workload.batch, workload.context)
            constants = gpu.constants(CARD, fmt, self.draw.fits, software)
            parts = gpu.step_parts(work, gpu.GpuSheet.of(card), constants)
            self.memo.cards[key] = workload.batch / float(sum(parts.values()))
        return self.memo.cards[key]


@lru_cache(maxsize=512)
def _work(model: str, fmt: WeightFormat, batch: int, context: int) -> Work:
    spec = load_model(model)
    return Work.of(spec, decode_step(spec, fmt, batch, context), batch)


@lru_cache(maxsize=512)
def _memory(model: str, fmt: WeightFormat, batch: int, context: int) -> float:
    return gpu.memory_needed(load_model(model), fmt, batch, context)


def evaluate_draw(
    space: Space,
    draw: Draw,
    software: Software = "llama.cpp",
    memo: Memo | None = None,
    untimed: frozenset[str] = frozenset(),
    only: Sequence[int] | None = None,
) -> dict[str, Any]:
    """`OUTCOMES` of a draw, each a list over the workloads, with values on those of ``only`` if given.

    `area` has the overhead in every reading of `AREAS`; `why` says why there is no machine, if so.
    """
    found: dict[str, Any] = {name: [math.nan] * len(space.workloads) for name in OUTCOMES}
    found |= {"area": [math.nan] * len(AREAS), "why": ""}
    try:
        evaluated = Evaluated(draw, software, memo, untimed)
    except SailsimError as error:
        return found | {"why": str(error)}
    for i, workload in enumerate(space.workloads):
        if only is None or i in only:
            for name, value in evaluated.outcomes(workload).items():
                found[name][i] = value
    found["area"] = areas(evaluated.system, draw)
    return found


def areas(system: System, draw: Draw) -> list[float]:
    """Percent of hardware that SAIL adds, in every reading of `AREAS`; NaN where it is not modelled."""
    try:
        of = area(system, draw.constants("area", AreaConstants))
    except AreaNotModelledError:
        return [math.nan] * len(AREAS)
    parts = of.parts.as_dict()
    bases = of.bases
    return [
        100 * of.slices * sum(parts[name] for name in COUNTED[counted]) / bases[base]
        for counted, base in AREAS
    ]


def screen(space: Space, seed: int = 0) -> tuple[frozenset[str], frozenset[str]]:
    """Machine factors that no step's time depends on, and those of them that no area depends on either.

    Each is moved over its levels on the nominal machine and on two drawn ones, with the first two workloads.
    """
    rng = np.random.default_rng(seed)
    memo = Memo()
    bases = [Draw({}), *(space.draw(row) for row in rng.random((2, len(space.factors))))]

    def outcome(draw: Draw) -> tuple[tuple[Any, ...], tuple[float, ...]]:
        evaluated = Evaluated(draw, memo=memo)
        timed = [evaluated.outcomes(workload) for workload in space.workloads[:2]]
        return tuple(tuple(t.items()) for t in timed), tuple(areas(evaluated.system, draw))

    untimed, inert = set(), set()
    for factor in space.factors:
        if factor.group != "machine":
            continue
        timed = sized = False
        for base in bases:
            levels = dict.fromkeys(factor.values or (factor.at(0.0), factor.at(1.0)))
            found = [outcome(base.with_values({factor.name: v})) for v in levels]
            timed |= len({str(f[0]) for f in found}) > 1
            sized |= len({f[1] for f in found}) > 1
            if timed:
                break
        if not timed:
            untimed.add(factor.name)
            if not sized:
                inert.add(factor.name)
    return frozenset(untimed), frozenset(inert)


# --- Blocks ---


Rows = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Study:
    """What is sampled: `samples` base samples (a power of two) of a space, from a seed.

    Every base sample gives two machines; the first half of them, itself a Sobol sample, also the rows between
    that sensitivity indices need.
    """

    space: Space
    samples: int
    seed: int
    untimed: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        n = self.samples
        if not 4 <= n <= MOST_SAMPLES or n & (n - 1):
            raise SailsimError(
                f"samples is {n}, allowed is a power of two from 4 to {MOST_SAMPLES}, for Sobol's sequence"
            )
        if not 0 <= self.seed < 1 << 32:
            raise SailsimError(f"seed is {self.seed}, allowed is 0..{(1 << 32) - 1}")
        if not self.space.factors:
            raise SailsimError("the space has no factor, allowed is at least one")

    @property
    def problem(self) -> dict[str, Any]:
        """The space as SALib wants it."""
        count = len(self.space.factors)
        return {"num_vars": count, "names": list(self.space.names), "bounds": [[0.0, 1.0]] * count}

    @property
    def full(self) -> int:
        """Blocks that have all rows."""
        return self.samples // 2

    def rows(self) -> list[Rows]:
        """Rows of every block, each (rows, factors): A, A with one factor of B each, B; or only A and B."""
        count = len(self.space.factors)
        flat = saltelli.sample(self.problem, self.samples, calc_second_order=False, seed=self.seed)
        every = np.clip(np.asarray(flat, dtype=float), 0, 1).reshape(self.samples, count + 2, count)
        return [block if i < self.full else block[[0, -1]] for i, block in enumerate(every)]

    @property
    def id(self) -> str:
        """Hash of the space, the samples, the seed and the code."""
        content = json.dumps(
            [asdict(self.space), sorted(self.untimed), self.samples, self.seed, code_version()],
            sort_keys=True,
            default=str,
        )
        return hashlib.sha256(content.encode()).hexdigest()[:24]


def evaluate_block(
    space: Space, block: int, rows: Rows, untimed: frozenset[str] = frozenset()
) -> list[dict[str, Any]]:
    """The records of one block.

    A and B, its first and last row, are the free machines: evaluated on all workloads, with Ampere's software
    too, and A with every other design. The rows between are evaluated on the workloads that decide.
    """
    memo, found = Memo(), []
    for i, row in enumerate(rows):
        draw = space.draw(row)
        free = i in (0, len(rows) - 1)
        only = None if free else space.deciding
        record = {"block": block, "row": i if i == 0 or not free else LAST}
        record |= evaluate_draw(space, draw, "llama.cpp", memo, untimed, only)
        other = evaluate_draw(space, draw, "ampere", memo, untimed) if free else {}
        record |= {f"ampere_{name}": other.get(name, []) for name in OUTCOMES}
        for k, alternative in enumerate(space.alternatives):
            tried: dict[str, Any] = {}
            if i == 0:
                varied = draw.with_values(alternative.values)
                tried = evaluate_draw(space, varied, "llama.cpp", memo, untimed, space.deciding)
            record |= {f"alt{k}_{name}": tried.get(name, []) for name in OF_SAIL}
        found.append(record)
    return found


def run_study(study: Study, out_dir: str | Path, jobs: int = 1, progress: bool = True) -> pd.DataFrame:
    """Evaluate every block that the folder does not hold yet and return all records, by block and row.

    Raises SailsimError for fewer than one job, a folder that another run holds, a full disk, or a worker that
    was killed; what was finished is stored and the same call goes on.
    """
    if jobs < 1:
        raise SailsimError(f"jobs is {jobs!r}, allowed is a whole number from 1 on")
    store = Store(out_dir)
    rows = study.rows()
    keys = [_key(study.id, block, 0) for block in range(study.samples)]
    with store.locked():
        held = store.keys()
        missing = [block for block in range(study.samples) if keys[block] not in held]
        manifest = {
            "state": "running",
            "study": study.id,
            "code_version": code_version(),
            "samples": study.samples,
            "seed": study.seed,
            "factors": list(study.space.names),
            "started_at": now(),
        }
        store.write_manifest(manifest)
        began = time.monotonic()
        try:
            with reporter(study.samples, study.samples - len(missing), progress, "blocks") as advance:
                for records in _evaluated(study, missing, rows, jobs):
                    store.append([_stored(study.id, record) for record in records])
                    advance(1)
        except TerminatedWorkerError:
            raise SailsimError(
                "a worker process was killed, perhaps for want of memory; finished blocks are stored, and "
                "the same command with fewer jobs goes on from there"
            ) from None
        seconds = time.monotonic() - began
        store.write_manifest(manifest | {"state": "complete", "finished_at": now(), "wall_s": seconds})
    frame = store.frame()
    frame = frame[frame["study"] == study.id]
    return frame.sort_values(["block", "row"], kind="stable").reset_index(drop=True)


def _evaluated(
    study: Study, missing: Sequence[int], rows: Sequence[Rows], jobs: int
) -> Iterator[list[dict[str, Any]]]:
    space, untimed = study.space, study.untimed
    if jobs == 1 or len(missing) < 2:
        yield from (evaluate_block(space, block, rows[block], untimed) for block in missing)
        return
    with parallel_config(backend="loky", inner_max_num_threads=1):
        workers = Parallel(
            n_jobs=jobs, return_as="generator_unordered", batch_size=1, pre_dispatch="2*n_jobs"
        )
        yield from workers(delayed(evaluate_block)(space, b, rows[b], untimed) for b in missing)


def _key(study: str, block: int, row: int) -> str:
    return hashlib.sha256(f"{study}/{block}/{row}".encode()).hexdigest()[:32]


def _stored(study: str, record: dict[str, Any]) -> dict[str, Any]:
    key = _key(study, record["block"], record["row"])
    own = (key, key, code_version(), now(), 0.0)
    return record | {"study": study} | dict(zip(RESERVED, own, strict=True))
