"""Fitted constants, the demand of a step on a machine, and intervals, shared by the fitted backends.

`research/fits/fit.py` writes `fits/fits.json` and the constants of the records (`records`). The formulas
are in `backends.cores` and `backends.roofline`.
"""

from __future__ import annotations

import csv
import difflib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, cached_property, lru_cache, reduce
from importlib.resources import files
from importlib.resources.abc import Traversable
from math import exp, hypot, isfinite, log
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sailsim.base.errors import SailsimError
from sailsim.base.quantity import Quantity
from sailsim.sim.backend import StepResult
from sailsim.sim.machine.system import System
from sailsim.sim.machine.system_files import load_system, vary
from sailsim.sim.software.records import CORES, N1, load_software, shipped_records
from sailsim.sim.step.schedule import AttentionModel
from sailsim.workloads.models.experts import touched_experts
from sailsim.workloads.models.formats import WeightFormat
from sailsim.workloads.models.graph import Chunk, Op, check_sizes, mixed_step, step_notes
from sailsim.workloads.models.model import MAX_DIMENSION, ModelSpec

Floats = NDArray[np.float64]

_WIDE_PIPES = 4
"""Fewest vector pipes of a core with SVE2 that is taken for Neoverse V2; N2 has two."""
UNMEASURED = "No measurement of"
"""Beginning of notes on kernels or models without measurements."""


def core_of(system: System) -> str:
    """Core whose kernels a machine runs, by its instruction set and, with SVE2, its vector pipes."""
    match str(system.cores.isa.value):
        case "armv8.4-a+sve+i8mm":
            return "neoverse-v1"
        case "armv9-a+sve2+i8mm":
            return "neoverse-v2" if system.cores.simd_pipes.value >= _WIDE_PIPES else "neoverse-n2"
    return N1


def predicted_step(
    tokens: int,
    parts: Mapping[str, Floats | float],
    factors: tuple[float, float],
    read: tuple[float, float],
    notes: Iterable[str],
    instances: int | None = None,
) -> StepResult:
    """Predicted step with the interval of its rate.

    Args:
        tokens: of the whole batch.
        parts: seconds, which add up to the step.
        factors: from the rate to the ends of its 90 % interval of measurements, widened by assumptions.
        read: bytes from memory: weights by every instance, the cache once.
        notes: sentences on everything that is not fitted.
        instances: processes side by side on cores.
    """
    seconds = {name: float(each) for name, each in parts.items()}
    step_s, (weights, cache) = sum(seconds.values()), read
    low, high = (tokens / step_s * factor for factor in factors)
    return StepResult(
        tokens=tokens,
        step_s=step_s,
        breakdown=seconds,
        dram_bytes=weights + cache,
        bytes_by_kind={"weights": weights, "read": cache},
        low=low,
        high=high,
        instances=instances,
        notes=tuple(notes),
    )


def fits_file(name: str) -> Traversable:
    """File of the ``fits`` folder."""
    return files("sailsim.sim") / "data" / "fits" / name


def read_csv(text: str) -> list[dict[str, str]]:
    """Rows of a comma-separated table whose comment lines start with ``#``."""
    lines = (line for line in text.splitlines() if line.strip() and not line.startswith("#"))
    return list(csv.DictReader(lines, restval=""))


RATE_ROWS = read_csv(fits_file("kernel_rates.csv").read_text("utf-8"))
"""Rates of llama.cpp's kernels, a row a format."""


@dataclass(frozen=True)
class KernelRate:
    """Speed of a format's kernel relative to its software's anchor, with its origin.

    The anchor is the fitted four-bit kernel; that of T-MAC is a look-up a weight. ``kind`` is "fitted" for a
    measured rate, or one times a ratio of kernels (``how`` names the ratio), and "assumed" otherwise.
    """

    relative: float
    low: float
    high: float
    kind: str
    note: str
    source: str
    how: str = ""
    in_common: float = 1.0
    """Share of its time that rows of a pass may have in common: that of weights, not of a row's own sums."""

    def times(self, factor: float) -> KernelRate:
        """Rate relative to an anchor that is slower by a factor."""
        return replace(self, relative=self.relative * factor, low=self.low * factor, high=self.high * factor)


@dataclass(frozen=True)
class FitInterval:
    """Factors on a prediction that hold 90 % of cross-validated measurements."""

    low: float
    high: float

    def joined(self, other: FitInterval) -> FitInterval:
        """Smallest interval that holds both."""
        return FitInterval(low=min(self.low, other.low), high=max(self.high, other.high))

    def widened(self, slower: float, faster: float) -> tuple[float, float]:
        """Factors on a prediction: the interval joined with two known ratios (each at least 1)."""
        low = exp(-hypot(log(self.low), log(max(slower, 1.0))))
        high = exp(hypot(log(self.high), log(max(faster, 1.0))))
        return low, high


@dataclass(frozen=True)
class FitSet:
    """Constants that were fitted together, and the intervals of their predictions."""

    constants: Mapping[str, Quantity]
    intervals: Mapping[str, FitInterval]

    def value(self, name: str) -> float:
        """Value of one constant in its unit."""
        return float(self.constants[name].value)

    def interval(self, test: str) -> FitInterval:
        """Interval of one kind of prediction ("decode", "prompt")."""
        return self.intervals[test]


@dataclass(frozen=True)
class Fits:
    """Contents of `fits.json`, with the constants of software on cores from its records."""

    table: Mapping[str, Any]
    sets: Mapping[str, FitSet]
    """Fits by name: "cpu.<software>" on Neoverse N1, "cpu.<software>.<core>" and "gpu"."""
    _roots: dict[tuple[str, tuple[str, ...]], Floats] = field(
        default_factory=dict, init=False, compare=False, repr=False
    )

    @classmethod
    def of(cls, table: Mapping[str, Any]) -> Fits:
        """Fits in a table with the sets of software on Neoverse N1 (`cpu`) and on other cores (`cores`)."""
        tables = {f"cpu.{name}": each for name, each in table["cpu"].items()} | {"gpu": table["gpu"]}
        for core, sets in table["cores"].items():
            tables |= {f"cpu.{name}.{core}": each for name, each in sets.items()}
        return cls(table, {name: _fit_set(each) for name, each in tables.items()})

    def software(self, name: str, core: str = N1) -> FitSet:
        """Constants of a software on a core, its own or those of the software that it is based on.

        Raises SailsimError where there are none.
        """
        if name not in self.known_on(core):
            if base := load_software(name).based_on:
                return self.software(base, core)
            raise SailsimError(
                f"software is {name}, allowed on {core} is one of {', '.join(self.known_on(core))}"
            )
        return self.sets[f"cpu.{name}" if core == N1 else f"cpu.{name}.{core}"]

    def known_on(self, core: str) -> tuple[str, ...]:
        """Software stacks with constants on a core."""
        return tuple(self.table["cpu"] if core == N1 else self.table["cores"][core])

    @property
    def gpu(self) -> FitSet:
        """Constants of the GPU baseline, all GPUs."""
        return self.sets["gpu"]

    @property
    def fewest_threads(self) -> int:
        """Threads of the smallest measured machine."""
        return int(self.table["fewest_threads"])

    @property
    def errors(self) -> list[dict[str, Any]]:
        """Rows of the error table, one a set of measurements and a way of holding them out."""
        return list(self.table["errors"])

    def quantities(self) -> dict[str, Quantity]:
        """Every fitted constant by its dotted name."""
        return {f"{prefix}.{name}": q for prefix, s in self.sets.items() for name, q in s.constants.items()}

    @cached_property
    def kernel_rates(self) -> Mapping[str, KernelRate]:
        """Rates of llama.cpp's kernels by format (`kernel_rates.csv`), fitted ones from these fits."""
        llama = self.software("llama.cpp").constants
        anchor = float(llama["kernel_rate_q4_k_m"].value)
        rates = {}
        for row in RATE_ROWS:
            how = ""
            if row["gem5"]:
                how = f"the ratio of {row['gem5']} to q4_1 in gem5"
            elif row["over"]:
                how = f"the ratio of q2_k to {row['over']} on a Cortex-A76"
            if how:
                own = llama[f"kernel_rate_{row['format']}"]
                relative, low, high = (float(v or 0.0) / anchor for v in (own.value, own.low, own.high))
            else:
                relative, low, high = (float(row[key]) for key in ("relative_rate", "low", "high"))
            rates[row["format"]] = KernelRate(
                relative, low, high, row["kind"], row["note"], row["source"], how
            )
        return rates

    def varied(self, changes: Mapping[str, float]) -> Fits:
        """Fits with other values, by the names of `quantities`.

        Raises SailsimError for an unknown name or a value that is not finite.
        """
        known, moved = self.quantities(), dict[str, dict[str, Quantity]]()
        for name, value in changes.items():
            if name not in known:
                near = difflib.get_close_matches(name, known, n=3, cutoff=0.3) or list(known)[:3]
                raise SailsimError(f"{name} is no fitted constant, allowed are such as {', '.join(near)}")
            if not isfinite(value):
                raise SailsimError(f"{name} is {value!r}, allowed is a finite number")
            group, _, constant = name.rpartition(".")
            old = known[name]
            ends = [old.value if end is None else end for end in (old.low, old.high)]
            new = {"value": value, "low": min(*ends, value), "high": max(*ends, value)}
            moved.setdefault(group, {})[constant] = old.model_copy(update=new)
        sets = {
            group: FitSet({**self.sets[group].constants, **own}, self.sets[group].intervals)
            for group, own in moved.items()
        }
        return replace(self, sets={**self.sets, **sets})

    @cached_property
    def covariances(self) -> Mapping[str, tuple[list[str], Floats]]:
        """Names of the fitted constants, as in `quantities`, and their covariance (n, n), by "cpu" and "gpu".

        A constant that both stacks share has the first one's name. Constants of different fits are
        uncorrelated; constants held at a bound have zeros.
        """
        return {group: self._covariance(group) for group in ("cpu", "gpu")}

    def root(self, group: str, names: tuple[str, ...]) -> Floats:
        """Cholesky factor (n, n) of the covariance of some constants, cached for the next sample.

        Correlations are factored, whose scales are alike.
        """
        if (group, names) not in self._roots:
            order, whole = self.covariances[group]
            at = [order.index(name) for name in names]
            matrix = whole[np.ix_(at, at)]
            sigma = np.sqrt(np.diag(matrix))
            root = np.linalg.cholesky(matrix / np.outer(sigma, sigma) + 1e-9 * np.eye(len(at)))
            self._roots[group, names] = np.asarray(sigma[:, None] * root)
        return self._roots[group, names]

    def _covariance(self, group: str) -> tuple[list[str], Floats]:
        table = self.table[f"{group}_covariance"]
        known = [name for name in self.quantities() if name.startswith(f"{group}.")]
        names: list[str] = []
        blocks = []
        for listed in [table] if "order" in table else table.values():
            # A fit of both software stacks lists the first one's constants before the other's.
            for name in listed["order"]:
                names.append(next(k for k in known if k.endswith(f".{name}") and k not in names))
            blocks.append(np.asarray(listed["matrix"], dtype=float))
        whole = np.zeros((len(names), len(names)))
        ends = np.cumsum([len(block) for block in blocks])
        for block, end in zip(blocks, ends, strict=True):
            whole[end - len(block) : end, end - len(block) : end] = block
        return names, whole


def _fit_set(table: Mapping[str, Any]) -> FitSet:
    return FitSet(
        constants={
            name: Quantity.model_validate({k: v for k, v in entry.items() if k != "standard_error"})
            for name, entry in table["constants"].items()
        },
        intervals={test: FitInterval(**interval) for test, interval in table["intervals"].items()},
    )


def host_constants(fitted: Fits, software: str, reads: float) -> dict[str, float]:
    """Values of a system's fields for cores that run a fitted software.

    ``reads`` is the share of the DRAM peak that reading threads reach; the software reaches a share of it.
    """
    fit = fitted.software(software)
    # The fork's rows have one thread count: what its products lose is in its share of the barrier.
    has_overhead = "product_overhead" in fit.constants
    return {
        "host.attention_rate": fit.value("attention_rate"),
        "host.barrier": fit.value("barrier"),
        "host.product_overhead": fit.value("product_overhead") if has_overhead else 0.0,
        "memory.core_share": min(fit.value("read_share") * reads, 1.0),
    }


def with_host_software(system: System, software: str) -> System:
    """The machine with another host software on its cores: attention, norms, barriers.

    Software with a `program` has the fields of cores that its file sets itself, other software its fitted
    constants. Raises SailsimError for software without constants on these cores.
    """
    return _with_host_software(system, software)


@lru_cache(
    maxsize=64
)  # the same object for the same machine keeps its units, with all times they have cached
def _with_host_software(system: System, software: str) -> System:
    fitted_constants().software(software, core_of(system))  # raises where there are none
    if not (program := load_software(software).program):
        changes = host_constants(fitted_constants(), software, float(system.memory.read_share.value))
        return vary(system, changes, source="fits.json", note=f"as fitted for {software}")
    own = load_system(program)
    base = load_system(own.extends[0])
    host = {name: value for name, value in own.host if value != getattr(base.host, name)}
    if system.host.submit != base.host.submit:  # set by the caller
        host.pop("submit", None)
    share = {"core_share": own.memory.core_share}
    parts = {"host": system.host.model_copy(update=host), "memory": system.memory.model_copy(update=share)}
    return system.model_copy(update=parts)


@cache  # 1,300 lines of JSON, needed by every prediction
def fitted_constants() -> Fits:
    """The shipped fits."""
    sets: dict[str, dict[str, Any]] = {core: {} for core in CORES}
    for record in shipped_records():
        for core, own in record.cores.items():
            sets[core][record.name] = own
    table = json.loads(fits_file("fits.json").read_text("utf-8"))
    return Fits.of(table | {"cpu": sets.pop(N1), "cores": sets})


def held_out_results() -> dict[str, Any]:
    """Errors of the shipped constants on measurements outside the repository, at their last check.

    Written by ``python research/fits/fit.py --held-out FILE`` (its `held_out_check`).
    """
    return dict(json.loads(fits_file("held_out_errors.json").read_text("utf-8")))


@dataclass(frozen=True)
class StepDemand:
    """Demand of steps on a machine; each field a scalar or an array of the same shape (one entry a step)."""

    rows: Floats
    weight_bytes: Floats
    kv_bytes: Floats
    gemv_macs: Floats
    attention_macs: Floats
    attention_width: Floats
    """Attention heads over the batch: the most threads that attention can use."""
    operations: Floats
    layers: Floats
    products: Floats
    """Matrix products; the experts of a block count as one for each of their matrices."""
    cache_flops: Floats = field(default_factory=lambda: np.asarray(0.0))
    """Operations that round and unpack keys and values of few bits."""
    expert_macs: Floats = field(default_factory=lambda: np.asarray(0.0))
    """Part of ``gemv_macs``."""
    expert_rows: Floats = field(default_factory=lambda: np.asarray(1.0))
    """Mean rows of an expert that any row chose; 1 without experts."""
    key_heads: Floats = field(default_factory=lambda: np.asarray(1.0))
    vocabulary: Floats = field(default_factory=lambda: np.asarray(0.0))
    windowed: Floats = field(default_factory=lambda: np.asarray(0.0))
    """Share of layers with a window."""
    head: Floats = field(default_factory=lambda: np.asarray(1.0))
    """Numbers of a value in a head."""
    gemv_outputs: Floats = field(default_factory=lambda: np.asarray(0.0))
    """Outputs of the matrix products, over the rows."""

    @classmethod
    def of(cls, model: ModelSpec, ops: list[Op], rows: int) -> StepDemand:
        """Demand of one step's operations on ``rows`` rows."""
        attention = [op for op in ops if op.kind == "attention"]
        products = [op for op in ops if op.kind == "gemv"]
        experts = [op for op in ops if op.spread]
        read = sum(touched_experts(op.spread) * op.k * op.n for op in experts)
        expert_macs = sum(op.macs for op in experts)
        sums = {
            "rows": rows,
            "weight_bytes": sum(op.weight_bytes for op in ops),
            "kv_bytes": sum(op.kv_bytes for op in ops),
            "gemv_macs": sum(op.macs for op in products),
            "attention_macs": sum(op.macs for op in attention),
            "attention_width": model.n_heads * rows,
            "operations": len(ops),
            "layers": model.n_layers,
            "products": len(products),
            "cache_flops": sum(op.cache_flops for op in ops),
            "expert_macs": expert_macs,
            "expert_rows": expert_macs / read if read else 1.0,
            "key_heads": model.n_kv_heads,
            "vocabulary": model.vocab,
            "windowed": 1 - len(model.full_layers) / model.n_layers if model.sliding_window else 0.0,
            "head": model.value_dim or model.head_dim,
            "gemv_outputs": sum(op.macs / op.k for op in products),
        }
        return cls(**{name: np.asarray(float(value)) for name, value in sums.items()})

    @classmethod
    def stack(cls, steps: list[StepDemand]) -> StepDemand:
        """Several steps as one object of arrays."""
        names = cls.__dataclass_fields__
        return cls(**{name: np.array([float(getattr(step, name)) for step in steps]) for name in names})


def decode_demand(model: ModelSpec, fmt: WeightFormat, batch: int, context: int) -> StepDemand:
    """Demand of a decoding step of one process with ``batch`` sequences."""
    check_sizes(batch=batch, context=context)
    return step_demand(model, fmt, (Chunk(1, context - 1, batch),))


def prompt_demand(
    model: ModelSpec, fmt: WeightFormat, prompt: int, batch: int = 1, reads: int = 1
) -> StepDemand:
    """Demand of some prompts at once, which read the weights ``reads`` times."""
    check_sizes(prompt=prompt, batch=batch)
    return with_weight_reads(step_demand(model, fmt, (Chunk(prompt, 0, batch),)), reads)


def with_weight_reads(work: StepDemand, reads: int) -> StepDemand:
    """Demand of a step that reads the weights so many times."""
    return replace(work, weight_bytes=work.weight_bytes * reads)


@lru_cache(maxsize=4096)  # a sweep needs the same demand for every software, GPU and thread count
def step_demand(model: ModelSpec, fmt: WeightFormat, chunks: tuple[Chunk, ...]) -> StepDemand:
    """Demand of a step, counted by operations. Raises SailsimError as `mixed_step`."""
    rows = sum(chunk.new * chunk.times for chunk in chunks)
    return StepDemand.of(model, mixed_step(model, fmt, chunks), rows)


DemandOf = Callable[[tuple[Chunk, ...]], StepDemand]


@lru_cache(maxsize=64)
def mixed_demand(model: ModelSpec, fmt: WeightFormat) -> MixedStepDemand:
    """Demand of mixed steps of a model in a format."""
    return MixedStepDemand(model, fmt)


class MixedStepDemand:
    """Demand of any mixed step of a model, equal to `step_demand` but derived from steps of few tokens.

    Demand is linear in rows, in sequences, and in keys and pairs of attention; that of experts is not linear
    in rows.
    """

    def __init__(self, model: ModelSpec, fmt: WeightFormat) -> None:
        self._model, self._fmt = model, fmt
        every = Counter(model.attended(layer, MAX_DIMENSION) for layer in range(model.n_layers))
        self._windows = [(window, times / model.n_layers) for window, times in every.items()]
        self._tokens: dict[int, Floats] = {}
        one, two = self._of(Chunk(1)), self._of(Chunk(1, 0, 2))
        whole = replace(model, sliding_window=0, full_layers=())
        first, prompt = self._of(Chunk(1), whole), self._of(Chunk(2), whole)
        key_and_pair = self._of(Chunk(1, 1), whole) - first
        pair = self._of(Chunk(2, 1), whole) - prompt - key_and_pair
        sequence = self._of(Chunk(1, 0, 2), whole) - prompt + pair
        self._first, self._row = one, two - one
        self._slopes = sequence, key_and_pair - pair, pair

    def __call__(self, chunks: tuple[Chunk, ...]) -> StepDemand:
        """Demand of a step. Raises SailsimError as `mixed_step`."""
        rows, sequences, keys, pairs = self.sums(chunks)
        own = (
            slope * (many - rows) for slope, many in zip(self._slopes, (sequences, keys, pairs), strict=True)
        )
        return StepDemand(*sum(own, self._rows(rows)))

    def sums(self, chunks: tuple[Chunk, ...]) -> tuple[int, int, float, float]:
        """New tokens, sequences, and a block's mean keys and pairs of attention.

        Raises SailsimError as `mixed_step`.
        """
        most = MAX_DIMENSION
        if not chunks or any(not (0 < p.new <= most - p.before <= most >= p.times > 0) for p in chunks):
            mixed_step(self._model, self._fmt, chunks)  # raises with the reason
        keys = pairs = 0.0
        for window, share in self._windows:
            keys += share * sum([chunk.keys(window) for chunk in chunks])
            pairs += share * sum([chunk.pairs(window) for chunk in chunks])
        return sum([p.new * p.times for p in chunks]), sum([p.times for p in chunks]), keys, pairs

    def _rows(self, rows: int) -> Floats:
        """Demand of the first tokens of ``rows`` sequences, which see only themselves."""
        if self._model.experts is None:
            return self._first + (rows - 1) * self._row
        if rows not in self._tokens:
            self._tokens[rows] = self._of(Chunk(1, 0, rows))
        return self._tokens[rows]

    def _of(self, chunk: Chunk, model: ModelSpec | None = None) -> Floats:
        """Demand of a chunk as an array of its fields."""
        work = step_demand(model or self._model, self._fmt, (chunk,))
        return np.array([float(getattr(work, name)) for name in StepDemand.__dataclass_fields__])


def model_notes(model: ModelSpec, rows: int) -> list[str]:
    """Notes on a fitted step of a model: experts, windows and omissions."""
    notes = step_notes(model, rows)
    if model.kv_scale_bits:
        notes.append(
            f"No measurement has keys and values of {model.kv_bits} bits: cores round and unpack them on "
            "their vector units, in addition to attention at the rate of fp16; GPUs read fewer bytes and "
            "unpack at no cost."
        )
    if model.experts is not None:
        notes.append(
            f"{UNMEASURED} a mixture of experts: it is taken to read the weights of the experts that "
            "were chosen and to multiply them as fast as other matrices, each with the rows that chose it."
        )
    return notes


def overlapped(reading: Floats, arithmetic: Floats, overlap: Floats) -> tuple[Floats, Floats]:
    """Exposed times of reading and arithmetic: ``overlap`` of the shorter hides behind the longer."""
    hidden = overlap * np.minimum(reading, arithmetic)
    reading_longer = reading >= arithmetic
    return (
        np.asarray(reading - np.where(reading_longer, 0.0, hidden)),
        np.asarray(arithmetic - np.where(reading_longer, hidden, 0.0)),
    )


def attention_times(
    program: AttentionModel, cache: Floats, work: StepDemand, threads: Floats, clock: Floats
) -> tuple[Floats, Floats]:
    """Exposed seconds of reading the cache, from ``cache`` in all, and of computing.

    The shorter hides behind the longer from barrier to barrier.
    """
    heads = work.key_heads * work.rows, work.attention_width
    phases = [
        overlapped(cache * share, work.layers * cycles / clock, np.asarray(1.0))
        for cycles, share in program.phases(work.attention_macs / work.layers, *heads, work.head, threads)
    ]
    reading, computing = (np.asarray(sum(part)) for part in zip(*phases, strict=True))
    return reading, computing


# ---- Kinds of predictions ---------------------------------------------------------------------------------
MANY_THREADS = 64
"""Fewest threads of a process that counts as one on a whole server."""
LARGE_BYTES = 12e9
"""Weights above which a model counts as large: three times the largest of N1's fit."""
FEW_PARAMETERS = 1e9
"""Parameters below which a model counts as small: none was measured with llama.cpp here."""
SMALL_INTERVAL = FitInterval(1 / 3, 1.6)
"""Interval of small models (assumed, slower 2..3, faster 1.3..2): published runs overlap with downloads."""
FEW_ROWS = 64
"""Tokens below which a prompt counts as one of few rows: prompts of 16 were measured."""
KINDS: Mapping[str, str] = {
    "many": "64 threads or more, where bare metal was measured 16 to 53 % slower than predicted",
    "virtual": "64 threads or more of a virtual machine",
    "metal": "bare metal, which was measured with 64 and 96 threads",
    "large": "weights of more than 12 GB: 70B models were measured up to 25 % faster than predicted",
    "small": "fewer than 1e9 parameters, of which no undisturbed run is at hand: it is assumed",
    "batched": "several sequences in one process, whose rates fall from eight sequences on",
    "rows": "prompts of fewer than 64 tokens",
}
"""Kinds of predictions with an interval of their own, and their descriptions."""


def prediction_kinds(
    work: StepDemand, prompt: bool, parameters: int, threads: int, instances: int, metal: bool | None = None
) -> list[str]:
    """Kinds of a prediction for measured software, by the names of its intervals.

    ``threads`` and ``work`` are those of one process; ``metal`` is None where it is not known.
    """
    if prompt:
        return ["rows" if float(work.rows) < FEW_ROWS else "prompt"]
    kinds = {
        "small": parameters < FEW_PARAMETERS,
        "large": float(work.weight_bytes) > LARGE_BYTES,
        "many": threads >= MANY_THREADS and metal is None,
        "virtual": threads >= MANY_THREADS and metal is False,
        "metal": bool(metal),
        "batched": float(work.rows) > 1,
        "packed": instances > 1,
    }
    return [name for name, applies in kinds.items() if applies] or ["decode"]


def joined_interval(fit: FitSet, kinds: Iterable[str]) -> FitInterval:
    """Smallest interval that holds those of all kinds of a prediction; a missing one is that of decoding."""
    intervals = {"small": SMALL_INTERVAL, **fit.intervals}
    return reduce(FitInterval.joined, [intervals.get(kind, intervals["decode"]) for kind in kinds])
