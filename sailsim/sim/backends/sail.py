"""SAIL backend: PIM units with look-up tables at every LLC slice (`[pim]` of a system file).

The C++ core times tiles (`sailsim.sim.step.tiles`) by the patterns of a step's activations.
"""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from math import ceil
from typing import Any

from sailsim.base.errors import SailsimError
from sailsim.base.input_file import stamp
from sailsim.lut_gemv.counts import TILE_PHASES
from sailsim.sim.backend import ACTIVITY, EnergyShape, StepQuery, StepResult
from sailsim.sim.backends.cores import cpu_fit, prompt_problem, ubatches
from sailsim.sim.machine.dram import MemorySystem
from sailsim.sim.machine.pim import AUTO, NBWS, PER_TENSOR
from sailsim.sim.machine.substrate import load_substrate, substrate_path
from sailsim.sim.machine.system import System, memory_system
from sailsim.sim.point import Point
from sailsim.sim.software.fitted import core_of
from sailsim.sim.software.records import load_software
from sailsim.sim.step.engine import Accelerator, simulate_step
from sailsim.sim.step.gemv_times import GemvTimer, GemvTimes, Units, parallel_times, share_slices
from sailsim.sim.step.parts import StepParts, chunks_of, has_codes
from sailsim.sim.step.patterns import PROFILES, PatternProfile
from sailsim.sim.step.schedule import CoreTask, HostCores, Segments, play
from sailsim.sim.step.tiles import COUNTS, PimUnits, TileRequest, TileShape, fastest_times
from sailsim.workloads.inference.activation_file import Activations
from sailsim.workloads.models.graph import Chunk, Op, mixed_step, split_chunks, step_notes
from sailsim.workloads.models.model import ModelSpec

NOT_MODELLED = (
    "not modelled: switching C-SRAM between storage and computing, and what the cores' data in the LLC loses "
    "to waiting weights"
)

SHARED_K = [
    "DFMs that share out K leave each other fewer lanes and less room for sums, and add their sums up at the "
    "end of every block: more DFMs can take longer"
]
FAIR = [
    "Weights ahead of need take their share of DRAM from the cores (pim.prefetch_priority = fair): more "
    "lines under way, more slices or more room for weights can take longer"
]


def tile_request(op: Op, point: Point) -> TileRequest:
    """Request of a GEMV in the units' format: codes, their scales and minima, and a codebook."""
    fmt = op.format
    assert fmt is not None
    assert fmt.code is not None
    assert isinstance(point.nbw, int)
    code = fmt.code
    widths = (code.wbits, code.value_bits, point.abits, point.nbw)
    shape = TileShape(op.k, op.n, op.batch, *widths, fmt.group_size)
    # Codes packed below whole bits in a file (TQ1_0) come to the units unpacked.
    stored = max(op.weight_bytes, op.k * ceil(op.n * code.wbits / 8))
    codebook = 2 << code.wbits if code.kind == "book" else 0
    return TileRequest(shape, stored, minimum=fmt.minimum, codebook=codebook)


class SailUnits(Units):
    """PIM units of a machine under a point's choices."""

    phases = TILE_PHASES
    counts = COUNTS
    events = ACTIVITY
    shares_slices = True  # a slice has descriptors and operands of its own

    def __init__(self, system: System, substrate: str | None, convert: str | None, prt: bool) -> None:
        self._make = partial(PimUnits, system, substrate=substrate, convert=convert, prt=prt)
        self._pim = self._make()
        self._sharing_units = cache(partial(self._make, sharing=self._pim.config.slices))
        """Units in groups of some slices that share a matrix, while all of them work."""
        self._memory = cache(partial(memory_system, system))
        self.cores_convert = self._pim.config.convert == "cores"
        self._key = (self._pim.key, memory_system(system))

    def __eq__(self, other: object) -> bool:
        """Whether both take equal times in every step, as on machines that differ only in their cores."""
        return isinstance(other, SailUnits) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def step(
        self, point: Point, parts: StepParts, activations: Activations
    ) -> tuple[Sequence[Hashable], GemvTimer]:
        """Tiles of a step, timed once for equal patterns of inputs; the fastest NBWs with `PER_TENSOR`."""
        assert isinstance(point.nbw, int)
        inputs = parts.inputs(point.seed)
        profiles = {
            (size, nbw): PROFILES.of_step(activations, inputs, self._pim.scan(point.abits, True, nbw, size))
            for size in parts.block_sizes
            for nbw in (NBWS if point.nbw == PER_TENSOR else [point.nbw])
        }
        keys: Sequence[Hashable]
        if len(profiles) == 1:
            keys = [profile.key for each in profiles.values() for profile in each]
        else:
            keys = list(zip(*([profile.key for profile in each] for each in profiles.values()), strict=True))

        def times(units: PimUnits, op: Op, some: Sequence[int]) -> GemvTimes:
            def profiles_of(shape: TileShape) -> list[PatternProfile]:
                of_step = profiles[shape.group_size, shape.nbw]
                return [of_step[at] for at in some]

            request = tile_request(op, point)
            if request.shape.nbw == PER_TENSOR:
                return fastest_times(units.every_nbw(request, profiles_of), units.weights_rate)
            return units.product(request, profiles_of(request.shape))

        def timer(op: Op, some: Sequence[int]) -> GemvTimes:
            if not op.side_by_side:
                return times(self._pim, op, some)
            ((one, matrices),) = op.products
            cut, at_once = share_slices(int(matrices), self._pim.config.slices)
            head = times(self._sharing_units(slices=cut), one, some)
            return parallel_times(head, int(matrices), at_once, len(TILE_PHASES))

        return keys, timer

    def memory(self, threads: int) -> MemorySystem:
        """DRAM with the units' outstanding misses and the prefetch buffer in the LLC."""
        return self._memory(threads)

    def notes(self, model: ModelSpec, activations: Activations) -> list[str]:
        """Notes on borrowed patterns, on effects that make larger machines slower, and on omissions."""
        borrowed, config, machine = activations.note(model), self._pim.config, self.memory(1)
        return [
            *([borrowed] if borrowed else []),
            *(SHARED_K if config.dfms > 1 and config.dfm_split == "k" else []),
            *(FAIR if machine.depth and machine.buffer and not machine.background else []),
            NOT_MODELLED,
        ]


def prompt_tasks(query: StepQuery, host: HostCores, prompts: tuple[Chunk, ...]) -> Iterator[CoreTask]:
    """Tasks of the cores for chunks of prompts.

    Products run at the fitted rate of the software's prompts (`backends.cores`), all else as with units.
    Raises SailsimError for software whose prompts were not measured, except this project's kernels, whose
    prompts ran in gem5 (`research/experiments/mixed_steps.csv`).
    """
    assert isinstance(query.machine, System)
    software, core = query.host_software, core_of(query.machine)
    if not load_software(software).program and (problem := prompt_problem(software)):
        raise SailsimError(problem)
    c, _ = cpu_fit(software, query.fmt, prompts=True, core=core)
    ops, rows = mixed_step(query.model, query.fmt, prompts), sum(p.new * p.times for p in prompts)
    products = sum(op.kind == "gemv" for op in ops)
    row = float(c.product_s) + rows * query.model.n_layers * float(c.row_s) / products
    for op in ops:
        if op.kind == "gemv":
            read = op.weight_bytes * ubatches(rows)
            seconds = float(c.kernels(host.sheet, op.macs, op.macs / op.k, op.batch, host.threads))
            hidden = float(c.overlap) * min(read / host.dram, seconds)
            tasks = [
                CoreTask(f"{op.name} weights", 0, hidden, read, 0.0, host.dram),
                CoreTask(op.name, 0, seconds - hidden + row),
                CoreTask(f"{op.name} barrier", 0, host.barrier, sync=True),
            ]
        else:
            tasks = host.work(op, query.model, 0)
        yield from tasks


class SailBackend(Accelerator):
    """Backend of `[pim]`: a data feeding module and arrays at each slice."""

    software = ("lut-gemv",)
    choices = ("nbw", "substrate", "convert", "prt", "attention", "overlap")
    prefills = ("units", "cores", "auto")
    piecewise_linear = True

    def step(self, query: StepQuery) -> StepResult:
        """Simulate by the engine, with prompts on the units, on the cores while units decode, or the faster
        of both."""
        self.check_prefill(query)
        units = replace(query, prefill="units")
        if query.prefill == "units" or not query.prompts:
            return super().step(units)
        results = [self._prompts_on_cores(query)]
        if query.prefill == "auto":
            results.append(super().step(units))
        return min(results, key=lambda result: result.step_s)

    def _prompts_on_cores(self, query: StepQuery) -> StepResult:
        """Simulate with prompts on the cores while units decode."""
        system, point = query.machine, self.point_of(query)
        assert isinstance(system, System)
        decoding, prompts = split_chunks(query.chunks or chunks_of(point))
        tasks = list(prompt_tasks(query, HostCores(system, point.threads), prompts))
        tokens = sum(chunk.new * chunk.times for chunk in decoding + prompts)
        note = f"The cores multiply the prompts, as {query.host_software} does"
        if decoding:
            result = simulate_step(system, query.model, point, chunks=decoding, background=tasks)
            note += ", while the units decode; what decodes goes first, and memory is shared by demand"
            return replace(result, tokens=tokens, notes=(*result.notes, f"{note}."))
        line = play(memory_system(system, point.threads), [Segments.one(tasks)])
        return StepResult(
            tokens=tokens,
            step_s=line.end,
            breakdown={"cores": line.cores, "sync": line.sync},
            dram_bytes=line.read + line.written,
            bytes_by_kind={"weights": 0.0, "read": line.read, "written": line.written},
            events=line.events,
            point=point,
            notes=(f"{note}.", *step_notes(query.model, tokens)),
        )

    def make_units(self, system: System, *choices: Any) -> SailUnits:
        """PIM units under a point's choices."""
        substrate, convert, prt, _ = choices
        return SailUnits(system, substrate, convert, prt)

    def unit_choices(self, system: System, point: Point) -> tuple[Hashable, ...]:
        """Choices of the point, and a stamp of the substrate's file, which may have changed."""
        own = None if system.pim is None else str(system.pim.substrate.value)
        return point.substrate, point.convert, point.prt, stamp(substrate_path(point.substrate or own or ""))

    def alternatives(self, system: System, point: Point) -> tuple[Point, ...]:
        """Points to try where NBW or the place of conversion is open.

        An NBW of each tensor's own is tried with every NBW for all of them, as the fastest tiles need not
        make the fastest step. Conversion is tried first in the file's own place. Only a file that converts in
        floating-point units has them.
        """
        own = system.require_pim().convert.value
        places = dict.fromkeys((own, "memory", "cores")) if point.convert == AUTO else (point.convert,)
        nbws = (PER_TENSOR, *NBWS) if point.nbw == PER_TENSOR else (point.nbw,)
        return tuple(point.having(convert=place, nbw=nbw) for place in places for nbw in nbws)

    def takes(self, op: Op) -> bool:
        """Accept operations with scalar codes: tables are built of whole numbers."""
        return has_codes(op)

    def llc_share(self, machine: System) -> float:
        """Share of the buffer for prefetched weights, full or not; C-SRAM is no part of the LLC."""
        pim = machine.require_pim()
        return float(pim.prefetch_share.value) if pim.prefetch_depth.whole else 0.0

    def energy(self, system: System, choices: Mapping[str, Any]) -> EnergyShape | None:
        """Energy by the substrate; None where its file declares none."""
        pim = system.require_pim()
        substrate = load_substrate(str(choices.get("substrate") or pim.substrate.value))
        if substrate.energy is None:
            return None
        cells = system.llc.slices.whole * pim.arrays.whole * pim.rows.whole * pim.cols.whole
        return EnergyShape(
            columns=pim.cols.whole,
            accumulator_bits=pim.accumulator.whole,
            operations=substrate.energy,
            csram_mib=cells / 8 / 2**20,
        )


BACKEND = SailBackend()
