"""Definitions of the published saving: each value under each of them, and the nearest to the claim."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from reuse import settings
from reuse.cycles import SUBSTRATES, Design, plain_cycles
from reuse.settings import SYSTEM
from sailsim.analysis.paper.claim import load_paper
from sailsim.base.errors import SailsimError
from sailsim.sim.machine.substrate import load_substrate
from sailsim.sim.machine.system import System
from sailsim.sim.machine.system_files import load_system

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
class SavingDefinition:
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


def _simulated(machines: _Machines, system: System) -> Iterator[tuple[SavingDefinition, float]]:
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
                    yield SavingDefinition(change, of, substrate, 1, zero_, hit_), _saved(before, after)


def _slow_reads(counts: Mapping[Hashable, Any]) -> Iterator[tuple[SavingDefinition, float]]:
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
                definition = SavingDefinition(change, of, "row_dfm", read, t_zero, t_hit)
                yield definition, _saved(before + other, after + other)


def _reads(counts: Mapping[Hashable, Any]) -> Iterator[tuple[SavingDefinition, float]]:
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
            definition = SavingDefinition(change, of, "row_dfm", 1, None, None)
            yield definition, _saved(before + other, after + other)


def _partial(counts: Mapping[Hashable, Any], needed: float) -> Iterator[tuple[SavingDefinition, float]]:
    """Tables without the entries that nobody looks up; every other cycle is the same."""
    built = needed / counts["table_adds"]
    for of, columns in CYCLES.items():
        if "lookup" in columns and len(columns) > 1:
            before = sum(counts[column] for column in columns)
            after = before - counts["build"] * (1 - built)
            yield SavingDefinition(PARTIAL, of, "row_dfm", 1, 0, 0), _saved(before, after)


def readings(step_frame: pd.DataFrame, partial_frame: pd.DataFrame) -> pd.DataFrame:
    """Every definition at every model, batch and NBW: one row each, in a fixed order.

    Columns: those of `SavingDefinition`, machine, model, batch, nbw, value (percent saved).
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
class DefinitionValue:
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
    nearest: DefinitionValue
    nearest_prt: DefinitionValue
    literal: DefinitionValue
    literal_range: tuple[float, float]
    definitions: int
    values: int
    within: int
    activations: str
    remark: str

    def as_dict(self) -> dict[str, Any]:
        """The fields, ready for JSON."""
        return asdict(self)


def nearest_of(frame: pd.DataFrame, activations: str) -> NearestDefinition:
    """The nearest of the values that `readings` gave; the first one, where several are equally near."""
    claim = load_paper().by_name("prt").value
    # A hit that costs what a read costs saves nothing whatever is measured: no value to compare.
    nonzero = frame[frame["value"].abs() > 1e-9]
    if nonzero.empty:
        raise SailsimError("readings has no value other than 0; allowed is the result of `readings`.")
    distance = (nonzero["value"] - claim).abs()
    with_prt = nonzero["change"].isin([ON_TOP, ALONE, BOTH]) & (nonzero["model"] == settings.MODELS[0])
    change, of, t_zero, t_prt = LITERAL
    plain = nonzero[
        (nonzero["change"] == change)
        & (nonzero["of"] == of)
        & (nonzero["substrate"] == "row_dfm")
        & (nonzero["read"] == 1)
        & (nonzero["t_zero"] == t_zero)
        & (nonzero["t_prt"] == t_prt)
    ]
    system = load_system(SYSTEM)
    assert system.pim is not None
    at = plain[
        (plain["model"] == settings.MODELS[0])
        & (plain["batch"] == 1)
        & (plain["nbw"] == system.pim.default_nbw)
    ]
    keys = ["change", "of", "machine"]
    definitions, within = len(nonzero.drop_duplicates(keys)), int((distance <= 1).sum())
    return NearestDefinition(
        claim=claim,
        nearest=_reading(nonzero.iloc[int(distance.argmin())], claim),
        nearest_prt=_reading(nonzero[with_prt].iloc[int(distance[with_prt].argmin())], claim),
        literal=_reading(at.iloc[0], claim),
        literal_range=(float(plain["value"].min()), float(plain["value"].max())),
        definitions=definitions,
        values=len(nonzero),
        within=within,
        activations=activations,
        remark=(
            f"Found after the fact: the nearest of {len(nonzero)} values of {definitions} definitions, of "
            f"which {within} lie within one point of {claim:g} %. With so many tries some must be near; it "
            "is no evidence that the paper means this one."
        ),
    )


def _reading(row: pd.Series[Any], claim: float) -> DefinitionValue:
    value = float(row["value"])
    return DefinitionValue(
        str(row["change"]),
        str(row["of"]),
        str(row["machine"]),
        str(row["model"]),
        int(row["batch"]),
        int(row["nbw"]),
        value,
        value - claim,
    )
