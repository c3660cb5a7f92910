"""Pattern reuse measured on captured activations: where it comes from, and which definition gives 13.8 %.

Exact counts, none sampled, and one comparison:

- `patterns`: what becomes of every pattern (zero, PRT hit, miss) by layer type, bit position, batch, NBW, PRT
  entries, replacement, key and quantizer of the activations.
- `structure`: the entropy of the patterns of a bit position, and how often one is that of the bit below.
- `steps`: cycles of a decode step on each substrate, with and without a PRT, with zero patterns and hits of 0
  or 1 cycle. `partial_tables`: tables of which only the entries that are used are built.
- `readings`: every definition of "computation cycles cut by the pattern-aware LUT" that we could think of, at
  every NBW and batch, beside the published value; `nearest_definition` names the nearest.

Nothing here is tuned to the published value. That the nearest of many definitions is near says little, so the
number that was tried goes with it. docs/reuse.md shows the results.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sailsim import _core
from sailsim.analysis.paper.claims import published
from sailsim.errors import SailsimError
from sailsim.files import write_whole
from sailsim.lut_gemv import (
    PRT_POLICIES,
    PrtConfig,
    PrtHash,
    PrtKey,
    bit_profile,
    block_slices,
    quantize_columns,
    quantize_rows,
    quantize_rows_unsigned,
    split_signs,
)
from sailsim.sim import Point, System, code_version, load_substrate, load_system, simulate_step
from sailsim.sim.sweep import reporter
from sailsim.workloads import ROLES, Activations, Linear, ModelSpec, Role, load_model

SCHEMA = 1
ABITS = 8
GROUP_SIZE = Point().group_size
"""Weights that share a scale, as in a point that says nothing else; a group of NBW never crosses them."""
BATCHES = (1, 8, 32)
NBWS = (1, 2, 3, 4, 5, 6)
ENTRIES = (4, 8, 16, 32, 64)
HASHED_ENTRIES = (8, 16, 32)
HASHES: tuple[PrtHash, ...] = ("modulo", "fold", "multiply")
CLAIM_NBWS = (2, 3, 4, 5)
"""NBW of which definitions are read: 1 has no table to build, 6 has one that outweighs every look-up."""
OWN = "smollm2-135m"
"""The model that activations are captured from."""
MODELS = ("llama-2-7b", OWN)
"""The paper's smaller model, on borrowed activations, and the captured one."""
SYSTEM = "sail-n1"
COUNTS = ("zero", "hits", "misses", "wrong")
Ints = NDArray[np.int64]


def layer_types() -> dict[Role, tuple[str, ...]]:
    """The matrices that each captured input feeds in a block, as q, k, v, o, gate, up, down; and the head."""
    names = {"attn_q": "q", "attn_k": "k", "attn_v": "v", "attn_output": "o"}
    model = load_model(OWN)
    found: dict[Role, list[str]] = {role: [] for role in ROLES}
    for linear in (*model.layer_linears(0), model.head):
        short = linear.name.removeprefix("blk.0.").removeprefix("ffn_")
        found[linear.role].append("head" if linear.role == "head" else names.get(short, short))
    return {role: tuple(types) for role, types in found.items()}


# --- Activations, rounded in several ways ---------------------------------------------------------------


class Rounded(NamedTuple):
    """Activations as integers: `ints` (rows * parts, K), and what they stand for, `values` (rows, K)."""

    ints: NDArray[Any]
    values: NDArray[np.float64]


@dataclass(frozen=True)
class Quantizer:
    """One way from floats to the integers that are scanned.

    Attributes:
        title: in words.
        planes: bit positions of an integer.
        signed: whether the top plane counts negative.
        parts: integer rows that one row of activations becomes.
        round: floats ``(tokens, K)`` of one layer, all tokens of the capture that are used.
        needs: what a machine would have to do for it that the simulated one does not.
    """

    title: str
    planes: int
    signed: bool
    parts: int
    round: Callable[[NDArray[np.float32]], Rounded]
    needs: str = ""


def _per_token(x: NDArray[np.float32]) -> Rounded:
    ints, scale = quantize_rows(x, ABITS)
    return Rounded(ints, ints * scale.astype(np.float64)[:, None])


def _per_tensor(x: NDArray[np.float32]) -> Rounded:
    ints, scale = quantize_rows(x.reshape(1, -1), ABITS)
    return Rounded(ints.reshape(x.shape), ints.reshape(x.shape) * np.float64(scale[0]))


def _per_channel(x: NDArray[np.float32]) -> Rounded:
    ints, scale = quantize_columns(x, ABITS)
    return Rounded(ints, ints * scale.astype(np.float64))


def _per_block(x: NDArray[np.float32]) -> Rounded:
    parts = [_per_token(x[:, block]) for block in block_slices(x.shape[1], 32)]
    return Rounded(np.hstack([part.ints for part in parts]), np.hstack([part.values for part in parts]))


def _unsigned(x: NDArray[np.float32]) -> Rounded:
    ints, scale, zero = quantize_rows_unsigned(x, ABITS)
    return Rounded(ints, (ints.astype(np.float64) - zero[:, None]) * scale.astype(np.float64)[:, None])


def _offset(x: NDArray[np.float32]) -> Rounded:
    ints, values = _per_token(x)
    return Rounded((ints.astype(np.int16) + (1 << (ABITS - 1))).astype(np.uint8), values)


def _sign_magnitude(rounded: Callable[[NDArray[np.float32]], Rounded]) -> Callable[..., Rounded]:
    def split(x: NDArray[np.float32]) -> Rounded:
        ints, values = rounded(x)
        return Rounded(split_signs(ints, ABITS), values)

    return split


QUANTIZERS: Mapping[str, Quantizer] = {
    "token": Quantizer("one scale a token, two's complement", ABITS, True, 1, _per_token),
    "tensor": Quantizer("one scale a layer", ABITS, True, 1, _per_tensor, "a scale known beforehand"),
    "block": Quantizer("one scale for 32 values", ABITS, True, 1, _per_block, "a scale at every block's end"),
    "channel": Quantizer(
        "one scale a channel",
        ABITS,
        True,
        1,
        _per_channel,
        "scales known beforehand and multiplied into the weights",
    ),
    "unsigned": Quantizer(
        "unsigned from least to greatest, one scale a token",
        ABITS,
        False,
        1,
        _unsigned,
        "a correction by the sum of each output's weights",
    ),
    "offset": Quantizer(
        "one scale a token, 128 added", ABITS, False, 1, _offset, "the same correction by 128"
    ),
    "sign_magnitude": Quantizer(
        "one scale a token, sign and magnitude",
        ABITS - 1,
        False,
        2,
        _sign_magnitude(_per_token),
        "positive and negative parts looked up apart, the negative subtracted",
    ),
    "channel_sign_magnitude": Quantizer(
        "one scale a channel, sign and magnitude",
        ABITS - 1,
        False,
        2,
        _sign_magnitude(_per_channel),
        "both of the above",
    ),
}
"""By name. `token` is the machine's own; a channel's scale is that of the captured tokens themselves."""


@dataclass(frozen=True)
class Rows:
    """The rounded rows of a role, layer after layer: `ints` (layers * tokens * parts, K), and the error."""

    ints: NDArray[Any]
    signal: float
    noise: float


def rounded_rows(activations: Activations, quantizer: str, role: Role, batch: int) -> Rows:
    """Every captured layer's tokens in the order in which the engine takes them at seed 0.

    As many whole batches as the capture has tokens for, at least one; the first batch of a layer holds the
    very integers that a step of the captured model is simulated with.
    """
    made = QUANTIZERS[quantizer]
    tokens = max(activations.tokens // batch, 1) * batch
    n_layers = int(activations.meta["n_layers"])
    width = activations.codes[role].shape[-1]
    ints, signal, noise = [], 0.0, 0.0
    for layer in activations.layers if role != "head" else (n_layers,):
        place = (role, layer, n_layers, width, tokens)
        x = activations.rows(*place)
        rounded = made.round(x)
        if quantizer == "token":
            # The engine rounds the captured codes, not the floats: the same but for ties of float rounding.
            rounded = rounded._replace(ints=activations.quantized(*place, abits=ABITS))
        ints.append(rounded.ints)
        signal += float(np.sum(np.square(x, dtype=np.float64)))
        noise += float(np.sum(np.square(x - rounded.values)))
    return Rows(np.concatenate(ints), signal, noise)


# --- Patterns -------------------------------------------------------------------------------------------


class Rule(NamedTuple):
    """A PRT and its key."""

    prt: PrtConfig
    key: PrtKey = PrtKey()

    def simplest(self, nbw: int) -> Rule:
        """A rule with the same outcomes, one for all in which every pattern has an entry to itself."""
        entries = self.prt.effective_entries
        key = self.key
        if self.prt.policy == "direct" and key.hash is None:
            key = PrtKey("modulo", key.tagged, key.flushed)
        places = key.places(entries, nbw)[1:]
        alone = len(set(places)) == len(places) if places else entries >= (1 << nbw) - 1
        return Rule(PrtConfig(1 << nbw)) if alone and key.flushed else self

    def as_dict(self) -> dict[str, Any]:
        """Columns of a table."""
        return {
            "entries": self.prt.effective_entries,
            "policy": self.prt.policy,
            "hash": self.key.hash or "",
            "tagged": self.key.tagged,
            "flushed": self.key.flushed,
        }


UNIT = Rule(PrtConfig())
"""The simulated unit's: 32 entries, LRU, exact key."""


def rules() -> list[Rule]:
    """Every PRT that is measured: none; sizes by replacement; hashes with and without tags; no flush."""
    found = [Rule(PrtConfig(enabled=False))]
    found += [Rule(PrtConfig(entries, policy)) for entries in ENTRIES for policy in PRT_POLICIES]
    for entries in HASHED_ENTRIES:
        found += [
            Rule(PrtConfig(entries, "direct"), PrtKey(name, tagged))
            for name in HASHES
            for tagged in (True, False)
        ]
        found.append(Rule(PrtConfig(entries), PrtKey(flushed=False)))
    return found


def tile_hits(activations: Activations, role: Role, nbw: int) -> NDArray[np.float64]:
    """The share of hits in all patterns of every captured row by itself: one value a block and token."""
    rows = rounded_rows(activations, "token", role, 1)
    counts = bit_profile(rows.ints, abits=ABITS, nbw=nbw, group_size=GROUP_SIZE, tile_rows=1).sum(axis=1)
    return np.asarray(counts[:, 1] / counts[:, :3].sum(axis=1))


def peak_over_rms(activations: Activations, role: Role) -> float:
    """How far the largest value of a row stands out over its root mean square: mean over rows."""
    codes = activations.codes[role].astype(np.float64)
    rms = np.sqrt(np.square(codes).mean(axis=-1))
    return float(np.mean(np.abs(codes).max(axis=-1)[rms > 0] / rms[rms > 0]))


def count(rows: Rows, quantizer: str, batch: int, nbw: int, rule: Rule, group_size: int = GROUP_SIZE) -> Ints:
    """Outcomes of the patterns of rows, int64 ``(planes, 4)`` in the order of `COUNTS`, over all tiles."""
    made = QUANTIZERS[quantizer]
    per_tile = bit_profile(
        rows.ints,
        abits=made.planes,
        signed=made.signed,
        nbw=nbw,
        group_size=group_size,
        tile_rows=batch * made.parts,
        prt=rule.prt,
        key=rule.key,
    )
    return np.asarray(per_tile.sum(axis=0), dtype=np.int64)


def patterns(
    activations: Activations, quantizer: str, batch: int, measured: Sequence[Rule] = (UNIT,)
) -> pd.DataFrame:
    """Outcomes by role and bit position at every NBW, under each of the rules.

    Columns: quantizer, batch, nbw, those of `Rule.as_dict`, role, bit (0 is the lowest), rows (of
    activations), groups (in all rows), signal and noise (sums of squares of all activations and of their
    rounding errors), zero, hits, misses, wrong (of the hits).
    """
    found = []
    for role in ROLES:
        rows = rounded_rows(activations, quantizer, role, batch)
        parts = QUANTIZERS[quantizer].parts
        for nbw in NBWS:
            known: dict[Rule, Ints] = {}
            for rule in measured:
                same = rule.simplest(nbw)
                if same not in known:
                    known[same] = count(rows, quantizer, batch, nbw, same)
                counts = known[same]
                for bit, outcomes in enumerate(counts.tolist()):
                    found.append(
                        {"quantizer": quantizer, "batch": batch, "nbw": nbw}
                        | rule.as_dict()
                        | {"role": role, "bit": bit, "rows": len(rows.ints) // parts}
                        | {"groups": sum(outcomes[:3]) // parts, "signal": rows.signal, "noise": rows.noise}
                        | dict(zip(COUNTS, outcomes, strict=True))
                    )
    return pd.DataFrame(found)


def shares(frame: pd.DataFrame, by: Sequence[str] = ()) -> pd.DataFrame:
    """Shares of all patterns by some columns: zero, hits, misses, wrong, and repeats among the rest.

    A role counts once for every matrix that it feeds, since each looks all its patterns up.
    """
    weight = frame["role"].map({role: len(types) for role, types in layer_types().items()})
    weighted = frame[list(COUNTS)].mul(weight, axis=0)
    keys = [frame[column] for column in by]
    summed = weighted.groupby(keys).sum() if by else weighted.sum().to_frame().T
    lookups = summed[["zero", "hits", "misses"]].sum(axis=1)
    result = summed.div(lookups, axis=0)
    result["lookups"] = lookups
    result["hit_rate"] = summed["hits"] / (summed["hits"] + summed["misses"]).where(lambda n: n > 0)
    return result.reset_index() if by else result


def group_patterns(x: NDArray[Any], nbw: int, group_size: int = GROUP_SIZE) -> NDArray[np.uint8]:
    """The patterns of integers ``(rows, K)`` of up to 8 bits: uint8 ``(8, rows, groups)``, bit 0 first."""
    planes = []
    for block in block_slices(x.shape[1], group_size):
        short = -(block.stop - block.start) % nbw
        part = np.pad(x[:, block].astype(np.uint8), ((0, 0), (0, short)))
        part = part.reshape(len(x), -1, nbw)
        bits = (part[None] >> np.arange(8, dtype=np.uint8)[:, None, None, None]) & 1
        planes.append((bits << np.arange(nbw, dtype=np.uint8)).sum(axis=-1, dtype=np.uint8))
    return np.concatenate(planes, axis=2)


def structure(activations: Activations) -> pd.DataFrame:
    """How the patterns of each bit position are spread, at batch 1, with the machine's own quantizer.

    Columns: role, nbw, bit; patterns (their number); entropy (bits of a pattern, of nbw possible); below (the
    share that is not zero and equals the pattern of the bit below); top (the same with that of the sign
    plane); independent (the share of hits that an unlimited PRT would have if the planes of a group were
    independent of each other, each with the frequencies that it has over the whole role).
    """
    found = []
    for role in ROLES:
        rows = rounded_rows(activations, "token", role, 1)
        for nbw in NBWS:
            planes = group_patterns(rows.ints, nbw)
            missed_so_far = np.ones(1 << nbw)
            for bit, plane in enumerate(planes):
                frequency = np.bincount(plane.reshape(-1), minlength=1 << nbw) / plane.size
                some = frequency[frequency > 0]
                nonzero = plane > 0
                found.append(
                    {
                        "role": role,
                        "nbw": nbw,
                        "bit": bit,
                        "patterns": plane.size,
                        "entropy": float(-(some * np.log2(some)).sum()),
                        "below": float((nonzero & (plane == planes[bit - 1])).mean()) if bit else 0.0,
                        "top": float((nonzero & (plane == planes[-1])).mean()),
                        "independent": float((frequency * (1 - missed_so_far))[1:].sum()),
                    }
                )
                missed_so_far = missed_so_far * (1 - frequency)
    return pd.DataFrame(found)


def entries_needed(x: NDArray[Any], nbw: int, group_size: int = GROUP_SIZE) -> int:
    """Additions of tables that hold only the entries that one batch ``(B, K)`` looks up, over all groups.

    An entry is an earlier entry plus the weight of its highest bit, as the whole table is built, so the
    entries below a used one are built too; single weights cost nothing.
    """
    planes = group_patterns(x, nbw, group_size)
    groups = planes.shape[2]
    used = np.zeros((groups, 1 << nbw), dtype=bool)
    used[np.broadcast_to(np.arange(groups), planes.shape).reshape(-1), planes.reshape(-1)] = True
    sums = [p for p in range(1 << nbw) if p.bit_count() > 1]
    for p in reversed(sums):
        used[:, p - (1 << (p.bit_length() - 1))] |= used[:, p]
    return int(used[:, sums].sum())


# --- Cycles ---------------------------------------------------------------------------------------------


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
    for nbw in CLAIM_NBWS:
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


def saving(activations: Activations, batch: int, nbw: int, of: str, worse: Design, better: Design) -> float:
    """Percent of `of` (a key of `CYCLES`) saved by one design over another, on the paper's model."""
    before, after = (
        sum(found[column] for column in CYCLES[of])
        for found in (step(activations, MODELS[0], batch, nbw, design) for design in (worse, better))
    )
    return _saved(before, after)


def plain_sense(activations: Activations, nbw: int) -> float:
    """Percent saved by the definition `LITERAL` on the paper's model at batch 1."""
    _, of, zero, hit = LITERAL
    return saving(activations, 1, nbw, of, Design("row_dfm", zero, None), Design("row_dfm", zero, hit))


def partial_tables(activations: Activations) -> pd.DataFrame:
    """Additions of whole and of partial tables (`entries_needed`) in a step of the captured model.

    Columns: model, batch, nbw, table_adds, needed: of one slice, all passes included.
    """
    model = load_model(OWN)
    config = load_system(SYSTEM).slice_config()
    wbits = Point().wbits
    found = []
    for batch in BATCHES:
        for nbw in CLAIM_NBWS:
            adds = needed = 0
            known: dict[tuple[Role, int], int] = {}
            for linear in _linears(model):
                place = (linear.role, linear.layer)
                if place not in known:
                    x = activations.quantized(*place, model.n_layers, linear.k, batch, abits=ABITS)
                    known[place] = entries_needed(x, nbw)
                plan = _core.plan_tile(
                    config, linear.k, linear.n, batch, wbits, wbits, ABITS, nbw, GROUP_SIZE
                )
                adds += plan.passes * plan.groups * ((1 << nbw) - nbw - 1)
                needed += plan.passes * known[place]
            found.append({"model": OWN, "batch": batch, "nbw": nbw, "table_adds": adds, "needed": needed})
    return pd.DataFrame(found)


def _linears(model: ModelSpec) -> Iterator[Linear]:
    for layer in range(model.n_layers):
        yield from model.layer_linears(layer)
    yield model.head


# --- Definitions of the published saving ----------------------------------------------------------------

CYCLES: Mapping[str, tuple[str, ...]] = {
    "look-up": ("lookup",),
    "build + look-up": ("build", "lookup"),
    "build + look-up + convert": ("build", "lookup", "convert"),
    "all PIM cycles": ("pim",),
    "time of the step": ("step",),
}
"""What a saving can be measured against, and the columns of `steps` that add up to it."""
READS = ("table reads of look-ups", "row reads with the build's", "row reads and writes")

ON_TOP = "PRT, zero patterns skipped with and without it"
ALONE = "PRT alone, zero patterns read like any other"
BOTH = "PRT and skipping of zero patterns together"
SKIP = "skipping of zero patterns alone"
PARTIAL = "only table entries that are looked up are built"
LITERAL = (ON_TOP, "build + look-up + convert", 0, 0)
"""The definition that we took for the plain sense before any value was known: change, of, t_zero, t_prt."""


@dataclass(frozen=True)
class Definition:
    """One reading of "computation cycles cut by the pattern-aware LUT".

    Attributes:
        change: what the better machine has that the other has not.
        of: what the saving is a share of.
        substrate, read, t_zero, t_prt: cycles of a read, a skipped zero pattern and a hit; None: not used.
    """

    change: str
    of: str
    substrate: str
    read: int
    t_zero: int | None
    t_prt: int | None

    @property
    def machine(self) -> str:
        """The costs in words."""
        parts = [self.substrate]
        if self.of not in READS:
            parts += [f"read {self.read}"] if self.read != 1 else []
            parts += [f"zero {self.t_zero}"] if self.t_zero is not None else []
            parts += [f"hit {self.t_prt}"] if self.t_prt is not None else []
        return ", ".join(parts)


def _saved(before: float, after: float) -> float:
    return 100 * (1 - after / before)


class _Machines:
    """The steps of one model, batch and NBW, by design."""

    def __init__(self, frame: pd.DataFrame) -> None:
        records = frame.to_dict("records")
        self._by_design = {
            Design(str(r["substrate"]), int(r["zero"]), None if pd.isna(r["hit"]) else int(r["hit"])): r
            for r in records
        }

    def cycles(self, design: Design, of: str) -> float | None:
        record = self._by_design.get(design)
        return None if record is None else float(sum(record[column] for column in CYCLES[of]))

    def counts(self) -> Mapping[Hashable, Any] | None:
        return self._by_design.get(Design("row_dfm", 0, 0))


def _simulated(machines: _Machines, system: System) -> Iterator[tuple[Definition, float]]:
    """Definitions whose machines the engine simulates: reads of one cycle."""
    assert system.pim is not None
    for substrate in SUBSTRATES:
        plain = plain_cycles(substrate, system.pim.accumulator.whole)
        has_prt = load_substrate(substrate).prt_helps
        for of in CYCLES:
            pairs: list[tuple[str, int | None, int | None, Design, Design]] = []
            for zero in (z for z in (0, 1) if z < plain):
                skipping = Design(substrate, zero, None)
                pairs.append((SKIP, zero, None, Design(substrate, plain, None), skipping))
                if has_prt:
                    for hit in (0, 1):
                        better = Design(substrate, zero, hit)
                        pairs.append((ON_TOP, zero, hit, skipping, better))
                        if hit < plain:  # else it is the skipping alone
                            pairs.append((BOTH, zero, hit, Design(substrate, plain, None), better))
            if has_prt:
                for hit in (0, 1):
                    reading = Design(substrate, plain, None), Design(substrate, plain, hit)
                    pairs.append((ALONE, None, hit, *reading))
            for change, zero_, hit_, worse, better in pairs:
                before, after = machines.cycles(worse, of), machines.cycles(better, of)
                if before is not None and after is not None:
                    yield Definition(change, of, substrate, 1, zero_, hit_), _saved(before, after)


def _slow_reads(counts: Mapping[Hashable, Any]) -> Iterator[tuple[Definition, float]]:
    """Reads of two cycles (activate, then sense), from counts. Loads and whole steps: not modelled."""
    read, write, add = 2, load_substrate("row_dfm").cycles("write"), load_substrate("row_dfm").cycles("add")
    zero, hits, misses = counts["zero_patterns"], counts["prt_hits"], counts["prt_misses"]
    build = counts["table_adds"] * (2 * read + write + add)
    rest = {"look-up": 0, "build + look-up": build, "build + look-up + convert": build + counts["convert"]}

    def lookup(t_zero: int, t_hit: int) -> int:
        return int(zero * t_zero + hits * t_hit + misses * read)

    for of, other in rest.items():
        # With nothing but look-ups and free hits the price of a read cancels out: the reading is that of 1.
        for t in (0, 1) if other else (1,):
            pairs = (
                (ALONE, None, t, lookup(read, read), lookup(read, t)),
                (ON_TOP, t, t, lookup(t, read), lookup(t, t)),
                (BOTH, t, t, lookup(read, read), lookup(t, t)),
                (SKIP, t, None, lookup(read, read), lookup(t, read)),
            )
            for change, t_zero, t_hit, before, after in pairs:
                definition = Definition(change, of, "row_dfm", read, t_zero, t_hit)
                yield definition, _saved(before + other, after + other)


def _reads(counts: Mapping[Hashable, Any]) -> Iterator[tuple[Definition, float]]:
    """Accesses of the arrays instead of cycles: what energy follows."""
    zero, hits, misses = counts["zero_patterns"], counts["prt_hits"], counts["prt_misses"]
    others = (0, 2 * counts["table_adds"], 2 * counts["table_adds"] + counts["row_writes"])
    for of, other in zip(READS, others, strict=True):
        every = zero + hits + misses
        pairs = (
            (ALONE, every, every - hits),
            (ON_TOP, hits + misses, misses),
            (BOTH, every, misses),
            (SKIP, every, every - zero),
        )
        for change, before, after in pairs:
            definition = Definition(change, of, "row_dfm", 1, None, None)
            yield definition, _saved(before + other, after + other)


def _partial(counts: Mapping[Hashable, Any], needed: float) -> Iterator[tuple[Definition, float]]:
    """Tables without the entries that nobody looks up; every other cycle is the same."""
    built = needed / counts["table_adds"]
    for of, columns in CYCLES.items():
        if "lookup" in columns and len(columns) > 1:
            before = sum(counts[column] for column in columns)
            after = before - counts["build"] * (1 - built)
            yield Definition(PARTIAL, of, "row_dfm", 1, 0, 0), _saved(before, after)


def readings(step_frame: pd.DataFrame, partial_frame: pd.DataFrame) -> pd.DataFrame:
    """Every definition at every model, batch and NBW: one row each, in a fixed order.

    Columns: those of `Definition`, machine, model, batch, nbw, value (percent saved).
    """
    system = load_system(SYSTEM)
    needed = partial_frame.set_index(["model", "batch", "nbw"])["needed"].to_dict()
    found = []
    for place, frame in step_frame.groupby(["model", "batch", "nbw"], sort=False):
        machines = _Machines(frame)
        values = [*_simulated(machines, system)]
        counts = machines.counts()
        if counts is not None:
            values += [*_slow_reads(counts), *_reads(counts)]
            if place in needed:
                values += _partial(counts, needed[place])
        model, batch, nbw = place
        for definition, value in values:
            found.append(
                asdict(definition)
                | {"machine": definition.machine, "model": model, "batch": batch, "nbw": nbw, "value": value}
            )
    return pd.DataFrame(found).astype({"t_zero": "Int64", "t_prt": "Int64"})


@dataclass(frozen=True)
class Reading:
    """One value of one definition: what was changed, of what the saving is a share, where, and the saving.

    `value` is percent, `distance` is `value` less the claim, in percentage points.
    """

    change: str
    of: str
    machine: str
    model: str
    batch: int
    nbw: int
    value: float
    distance: float

    @property
    def words(self) -> str:
        """The reading as a phrase."""
        return (
            f"{self.change}; saving of: {self.of}; {self.machine}; {self.model}, batch {self.batch}, "
            f"NBW {self.nbw}"
        )


@dataclass(frozen=True)
class NearestDefinition:
    """The claim "computation cycles cut by the pattern-aware LUT" beside what is measured.

    Attributes:
        claim: the published value, percent.
        nearest: of all values, the one with the least distance to the claim: found after the fact.
        nearest_prt: the same among those in which a PRT saves something, on the paper's model.
        literal: the definition that was taken for the plain sense beforehand (`LITERAL`), at the reference
            point: llama-2-7b, batch 1, the system file's NBW.
        literal_range: least and greatest value of that definition over NBW 2..5, all batches and models.
        definitions: how many definitions were tried.
        values: how many values they gave over NBW, batches and models; those that must be 0 are left out.
        within: how many of these lie within one percentage point of the claim.
        activations: id of the capture that patterns are from.
        remark: the sentence that must go with the result.
    """

    claim: float
    nearest: Reading
    nearest_prt: Reading
    literal: Reading
    literal_range: tuple[float, float]
    definitions: int
    values: int
    within: int
    activations: str
    remark: str

    def as_dict(self) -> dict[str, Any]:
        """The fields, ready for JSON."""
        return asdict(self)


def nearest_of(frame: pd.DataFrame, activations: str, claim: float | None = None) -> NearestDefinition:
    """The nearest of the values that `readings` gave; the first one, where several are equally near."""
    if claim is None:
        claim = published()["prt"].value
        assert claim is not None
    # A hit that costs what a read costs saves nothing whatever is measured: no value to compare.
    told = frame[frame["value"].abs() > 1e-9]
    if told.empty:
        raise SailsimError("readings has no value other than 0; allowed is the result of `readings`.")
    distance = (told["value"] - claim).abs()
    with_prt = told["change"].isin([ON_TOP, ALONE, BOTH]) & (told["model"] == MODELS[0])
    change, of, t_zero, t_prt = LITERAL
    plain = told[
        (told["change"] == change)
        & (told["of"] == of)
        & (told["substrate"] == "row_dfm")
        & (told["read"] == 1)
        & (told["t_zero"] == t_zero)
        & (told["t_prt"] == t_prt)
    ]
    system = load_system(SYSTEM)
    assert system.pim is not None
    at = plain[(plain["model"] == MODELS[0]) & (plain["batch"] == 1) & (plain["nbw"] == system.pim.nbw.whole)]
    keys = ["change", "of", "machine"]
    definitions, within = len(told.drop_duplicates(keys)), int((distance <= 1).sum())
    return NearestDefinition(
        claim=claim,
        nearest=_reading(told.iloc[int(distance.argmin())], claim),
        nearest_prt=_reading(told[with_prt].iloc[int(distance[with_prt].argmin())], claim),
        literal=_reading(at.iloc[0], claim),
        literal_range=(float(plain["value"].min()), float(plain["value"].max())),
        definitions=definitions,
        values=len(told),
        within=within,
        activations=activations,
        remark=(
            f"Found after the fact: the nearest of {len(told)} values of {definitions} definitions, of which "
            f"{within} lie within one point of {claim:g} %. With so many tries some must be near; it is no "
            "evidence that the paper means this one."
        ),
    )


def _reading(row: pd.Series[Any], claim: float) -> Reading:
    value = float(row["value"])
    return Reading(
        str(row["change"]),
        str(row["of"]),
        str(row["machine"]),
        str(row["model"]),
        int(row["batch"]),
        int(row["nbw"]),
        value,
        value - claim,
    )


def nearest_definition(
    activations: Activations | None = None,
    out: str | Path | None = None,
    claim: float | None = None,
    progress: bool = False,
) -> NearestDefinition:
    """The definition and configuration whose saving comes nearest to the published 13.8 %.

    Simulates a decode step of both `MODELS` at batch 1, 8 and 32 and NBW 2..5 (4-bit weights, 8-bit
    activations, blocks of 128, 16 threads, 512 tokens of context) on every design and reads every definition
    off the results; about twenty seconds, or nothing where `out` holds the results already.

    Args:
        activations: the capture that patterns are from; None is the compact one that ships.
        out: a folder that keeps finished parts between calls, the same that `sailsim reuse --out` takes.
        claim: percent; None is the published value of `data/claims.csv`.
        progress: show a bar on standard error.

    Returns:
        the nearest value, the nearest with a PRT on the paper's model, the plain sense beside them, and how
        many were tried. Quote it with its `remark`: the nearest of many is weak evidence.

    Raises:
        SailsimError: a kept part is damaged, or the folder cannot be written.
    """
    captured = activations if activations is not None else Activations.load()
    kept = Parts(out, captured)
    with reporter(len(claim_parts()), 0, progress, "parts") as advance:
        step_frame, partial_frame = claim_frames(kept, advance)
    return nearest_of(readings(step_frame, partial_frame), captured.id, claim)


# --- Everything, kept on disk ---------------------------------------------------------------------------


class Parts:
    """Finished parts of a measurement: Parquet files named by what they depend on, or nothing kept."""

    def __init__(self, folder: str | Path | None, activations: Activations) -> None:
        self.activations = activations
        self._folder = None if folder is None else Path(folder) / "parts"

    def get(self, name: str, make: Callable[[], pd.DataFrame]) -> pd.DataFrame:
        """The part of that name for these activations and this code; made if it is not kept."""
        if self._folder is None:
            return make()
        inputs = json.dumps([SCHEMA, code_version(), self.activations.id, name])
        path = self._folder / f"{name}-{hashlib.sha256(inputs.encode()).hexdigest()[:16]}.parquet"
        if path.exists():
            try:
                return pd.read_parquet(path)
            except (OSError, ValueError) as error:
                raise SailsimError(
                    f"part {path} is damaged ({str(error).splitlines()[0]}); remove it to measure it again."
                ) from None
        frame = make()
        write_parquet(path, frame)
        return frame


def write_parquet(path: Path, frame: pd.DataFrame) -> None:
    """Write a table, whole or not at all."""
    sink = BytesIO()
    frame.to_parquet(sink, index=False)
    write_whole(path, sink.getvalue())


Advance = Callable[[int], None]


def claim_parts() -> list[tuple[str, int]]:
    """Model and batch of the parts that `nearest_definition` simulates, and one for the partial tables."""
    return [*((model, batch) for model in MODELS for batch in BATCHES), ("partial", 0)]


def claim_frames(kept: Parts, advance: Advance) -> tuple[pd.DataFrame, pd.DataFrame]:
    """`steps` of all models and batches, and `partial_tables`."""
    found = []
    captured = kept.activations
    for model, batch in claim_parts()[:-1]:
        found.append(
            kept.get(f"steps-{model}-{batch}", lambda m=model, b=batch: steps(captured, m, b))  # type: ignore[misc]
        )
        advance(1)
    partial_frame = kept.get("partial", lambda: partial_tables(captured))
    advance(1)
    return pd.concat(found, ignore_index=True), partial_frame


@dataclass(frozen=True)
class Reuse:
    """All measurements of a capture; the docs' tables and figures are made from it."""

    activations: Activations
    patterns: pd.DataFrame
    structure: pd.DataFrame
    steps: pd.DataFrame
    partial: pd.DataFrame
    readings: pd.DataFrame
    nearest: NearestDefinition
    nearest_shipped: NearestDefinition
    """The same from the compact capture that ships: does another set of rows name the same definition?"""

    FRAMES = ("patterns", "structure", "steps", "partial", "readings")

    def unit(self, **fixed: Any) -> pd.DataFrame:
        """Rows of `patterns` with the machine's quantizer and PRT unless said otherwise."""
        wanted = {"quantizer": "token"} | UNIT.as_dict() | fixed
        frame = self.patterns
        keep = np.ones(len(frame), dtype=bool)
        for column, value in wanted.items():
            keep &= (frame[column] == value).to_numpy()
        return frame[keep]


def measure(
    activations: Activations | None = None,
    out: str | Path | None = None,
    progress: bool = False,
    jobs: int = 2,
) -> Reuse:
    """Measure everything; what `out` holds of it is taken from there, the rest is added.

    Patterns are counted by `jobs` threads. `out` gets a Parquet file for each of `Reuse.FRAMES` and
    `nearest.json`.

    Raises:
        SailsimError: a kept part is damaged.
    """
    captured = activations if activations is not None else Activations.load()
    kept = Parts(out, captured)
    places = [(quantizer, batch) for quantizer in QUANTIZERS for batch in BATCHES]

    def counted(place: tuple[str, int]) -> pd.DataFrame:
        quantizer, batch = place
        measured = rules() if quantizer == "token" else [UNIT]
        return kept.get(
            f"patterns-{quantizer}-{batch}", lambda: patterns(captured, quantizer, batch, measured)
        )

    found_patterns = []
    shipped = Activations.load()
    own = captured.id == shipped.id
    parts = len(places) + 1 + len(claim_parts()) * (1 if own else 2)
    # Threads: the core counts without holding the interpreter.
    with reporter(parts, 0, progress, "parts") as advance, ThreadPoolExecutor(jobs) as pool:
        for frame in pool.map(counted, places):
            found_patterns.append(frame)
            advance(1)
        shape = kept.get("structure", lambda: structure(captured))
        advance(1)
        step_frame, partial_frame = claim_frames(kept, advance)
        others = (step_frame, partial_frame) if own else claim_frames(Parts(out, shipped), advance)
    read = readings(step_frame, partial_frame)
    found = Reuse(
        captured,
        pd.concat(found_patterns, ignore_index=True),
        shape,
        step_frame,
        partial_frame,
        read,
        nearest_of(read, captured.id),
        nearest_of(readings(*others), shipped.id),
    )
    if out is not None:
        for name in Reuse.FRAMES:
            write_parquet(Path(out) / f"{name}.parquet", getattr(found, name))
        text = json.dumps(found.nearest.as_dict(), indent=1) + "\n"
        write_whole(Path(out) / "nearest.json", text.encode())
    return found


def _values(tree: Any) -> Any:
    """A system file's numbers and choices without their sources, ranges and notes."""
    if not isinstance(tree, dict):
        return tree
    if "value" in tree:
        return [tree["value"], tree.get("unit")]
    return {key: _values(branch) for key, branch in tree.items()}


@lru_cache(maxsize=1)
def inputs_digest() -> str:
    """Hash of what patterns and PIM cycles depend on besides the capture: settings, units, shapes, costs.

    The rest of the system file changes only the time of whole steps.
    """
    system = load_system(SYSTEM)
    parts: list[Any] = [SCHEMA, ABITS, GROUP_SIZE, BATCHES, NBWS, ENTRIES, HASHED_ENTRIES, CLAIM_NBWS, HASHES]
    parts += [list(QUANTIZERS), repr(Point())]
    parts += [repr(load_model(name)) for name in MODELS]
    assert system.pim is not None
    parts.append(_values({"pim": system.pim.model_dump(), "slices": system.llc.slices.model_dump()}))
    for substrate in map(load_substrate, SUBSTRATES):
        costs = {name: c.coefficients for name, c in sorted(substrate.costs.items())}
        parts.append([substrate.name, substrate.layout, substrate.accumulate, substrate.prt_helps, costs])
    return hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()[:16]
