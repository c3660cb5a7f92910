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
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sailsim.analysis.reuse import settings
from sailsim.analysis.reuse.cycles import SUBSTRATES, partial_tables, steps
from sailsim.analysis.reuse.definitions import NearestDefinition, nearest_of, readings
from sailsim.analysis.reuse.patterns import UNIT, patterns, rules, structure
from sailsim.analysis.reuse.quantizers import QUANTIZERS
from sailsim.analysis.reuse.settings import ABITS, ENTRIES, GROUP_SIZE, HASHED_ENTRIES, HASHES, SCHEMA, SYSTEM
from sailsim.base.atomic import write_whole
from sailsim.base.errors import SailsimError
from sailsim.sim import Point, code_version, load_substrate, load_system
from sailsim.sim.study import reporter
from sailsim.workloads import Activations, load_model


class StoredParts:
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
    """Model and batch of the parts that the claim is read from, and one for the partial tables."""
    return [*((model, batch) for model in settings.MODELS for batch in settings.BATCHES), ("partial", 0)]


def claim_frames(kept: StoredParts, advance: Advance) -> tuple[pd.DataFrame, pd.DataFrame]:
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
    kept = StoredParts(out, captured)
    places = [(quantizer, batch) for quantizer in QUANTIZERS for batch in settings.BATCHES]

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
    with reporter(parts, progress, "parts") as report, ThreadPoolExecutor(jobs) as pool:
        for frame in pool.map(counted, places):
            found_patterns.append(frame)
            report.advance(1)
        shape = kept.get("structure", lambda: structure(captured))
        report.advance(1)
        step_frame, partial_frame = claim_frames(kept, report.advance)
        others = (
            (step_frame, partial_frame) if own else claim_frames(StoredParts(out, shipped), report.advance)
        )
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
    parts: list[Any] = [
        SCHEMA,
        ABITS,
        GROUP_SIZE,
        settings.BATCHES,
        settings.NBWS,
        ENTRIES,
        HASHED_ENTRIES,
        settings.CLAIM_NBWS,
        HASHES,
    ]
    parts += [list(QUANTIZERS), repr(Point())]
    parts += [repr(load_model(name)) for name in settings.MODELS]
    assert system.pim is not None
    parts.append(_values({"pim": system.pim.model_dump(), "slices": system.llc.slices.model_dump()}))
    for substrate in map(load_substrate, SUBSTRATES):
        costs = {name: c.coefficients for name, c in sorted(substrate.costs.items())}
        parts.append([substrate.name, substrate.layout, substrate.accumulate, substrate.prt_helps, costs])
        parts.append(substrate.phases.model_dump())
    return hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()[:16]
