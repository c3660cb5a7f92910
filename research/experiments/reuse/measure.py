"""Pattern reuse measured on captured activations: where it comes from, and which definition gives 13.8 %.

Exact counts, none sampled, and one comparison:

- `patterns`: what becomes of every pattern (zero, PRT hit, miss) by layer type, bit position, batch, NBW, PRT
  entries, replacement, key and quantizer of the activations.
- `structure`: the entropy of the patterns of a bit position, and how often one is that of the bit below.
- `steps`: cycles of a decode step on each substrate, with and without a PRT, with zero patterns and hits of 0
  or 1 cycle. `partial_tables`: tables of which only the entries that are used are built.
- `readings`: every definition of "computation cycles cut by the pattern-aware LUT" that we could think of, at
  every NBW and batch, beside the published value; `nearest_of` names the nearest.

Nothing here is tuned to the published value. That the nearest of many definitions is near says little, so the
number that was tried goes with it. docs/reuse.md shows the results.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd

from reuse import settings
from reuse.cycles import partial_tables, steps
from reuse.definitions import NearestDefinition, nearest_of, readings
from reuse.patterns import UNIT, patterns, rules, structure
from reuse.quantizers import QUANTIZERS
from reuse.settings import SCHEMA
from sailsim.base.atomic import write_whole
from sailsim.sim.study.open_study import Task, run_study
from sailsim.sim.study.origin import code_version
from sailsim.sim.study.store import RESERVED
from sailsim.sim.study.workers import Workers
from sailsim.workloads.inference.activation_file import Activations


@dataclass(frozen=True)
class Part:
    """A piece of a measurement: a table of its own."""

    capture: str
    """Whose activations, by `Activations.id`."""
    kind: str
    """`patterns` of a quantizer and a batch, `structure`, `steps` of a model and a batch, or `partial`."""
    of: str = ""
    batch: int = 0

    def measured(self, captured: Activations) -> pd.DataFrame:
        """The table."""
        if self.kind == "patterns":
            return patterns(captured, self.of, self.batch, rules() if self.of == "token" else [UNIT])
        if self.kind == "steps":
            return steps(captured, self.of, self.batch)
        return {"structure": structure, "partial": partial_tables}[self.kind](captured)

    @property
    def key(self) -> str:
        """What it rests on."""
        inputs = json.dumps([SCHEMA, code_version(), *astuple(self)])
        return hashlib.sha256(inputs.encode()).hexdigest()


def claim_parts(capture: str) -> list[Part]:
    """What the claim is read from: steps, and the partial tables."""
    places = itertools.product(settings.MODELS, settings.BATCHES)
    return [*(Part(capture, "steps", model, batch) for model, batch in places), Part(capture, "partial")]


def parts_of(capture: str) -> list[Part]:
    """Everything of a capture."""
    places = itertools.product(QUANTIZERS, settings.BATCHES)
    counted = [Part(capture, "patterns", quantizer, batch) for quantizer, batch in places]
    return [*counted, Part(capture, "structure"), *claim_parts(capture)]


def _measured(captures: Mapping[str, Activations], part: Part) -> list[dict[str, Any]]:
    rows = part.measured(captures[part.capture]).to_dict("records")
    return [{str(name): value for name, value in row.items()} for row in rows]


def tables(
    captures: Mapping[str, Activations], parts: Sequence[Part], out: Path, jobs: int | Workers, progress: bool
) -> dict[Part, pd.DataFrame]:
    """The tables of some parts, from the folder or measured and kept there."""
    tasks = [Task(part.key, str(part), part, i) for i, part in enumerate(parts)]
    evaluate = partial(_measured, captures)
    store = run_study(tasks, evaluate, out, kind="reuse", jobs=jobs, progress=progress, noun="parts")
    found = store.records_of([part.key for part in parts])
    return {part: _table(records) for part, records in zip(parts, found, strict=True)}


def _table(records: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Records without the study's own columns."""
    return pd.DataFrame(records).drop(columns=list(RESERVED))


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
    jobs: int | Workers = 2,
) -> Reuse:
    """Measure everything, by `jobs`, processes or workers; what `out` holds of it is taken from there.

    `out` gets a Parquet file for each of `Reuse.FRAMES` and `nearest.json`.

    Raises:
        SailsimError: as `run_study`.
    """
    captured = activations if activations is not None else Activations.load()
    shipped = Activations.load()
    parts = list(dict.fromkeys([*parts_of(captured.id), *claim_parts(shipped.id)]))
    with TemporaryDirectory() as nowhere:
        folder = Path(out if out is not None else nowhere)
        measured = tables({a.id: a for a in (shipped, captured)}, parts, folder, jobs, progress)

    def whole(kind: str, capture: str) -> pd.DataFrame:
        found = [measured[part] for part in parts if (part.kind, part.capture) == (kind, capture)]
        return pd.concat(found, ignore_index=True)

    read = readings(whole("steps", captured.id), whole("partial", captured.id))
    others = readings(whole("steps", shipped.id), whole("partial", shipped.id))
    found = Reuse(
        captured,
        whole("patterns", captured.id),
        whole("structure", captured.id),
        whole("steps", captured.id),
        whole("partial", captured.id),
        read,
        nearest_of(read, captured.id),
        nearest_of(others, shipped.id),
    )
    if out is not None:
        for name in Reuse.FRAMES:
            write_whole(Path(out) / f"{name}.csv", getattr(found, name).to_csv(index=False).encode())
        text = json.dumps(found.nearest.as_dict(), indent=1) + "\n"
        write_whole(Path(out) / "nearest.json", text.encode())
    return found
