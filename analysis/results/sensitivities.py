"""What each group of a model's matrices loses in each format, as a study.

A group is the matrices of one kind in neighbouring blocks, or the head. Losses are of one group alone, in
nats a token against the file's values, on the text that compensated weights are made for, so that what is
chosen by them can be judged on another. docs/quality.md explains.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd

from sailsim.analysis.results.quality import standard_error
from sailsim.base.errors import SailsimError
from sailsim.base.input_file import MAX_TEXT, read_text
from sailsim.sim import code_version
from sailsim.sim.keys import Stamps
from sailsim.sim.study import Task, Workers, run_study
from sailsim.workloads import ModelSpec, chosen_format, open_gguf
from sailsim.workloads.quality import text_chunks
from sailsim.workloads.sensitivity import Sensitivity
from sailsim.workloads.texts import CALIBRATION, shipped_text

CHUNKS, LENGTH, TOGETHER = 4, 128, 5
"""Of the text, and neighbouring blocks that share a format, where nothing is said."""


def groups(spec: ModelSpec, together: int) -> dict[str, tuple[str, ...]]:
    """The names of a model's matrices by group: a kind of matrix in ``together`` neighbouring blocks.

    Raises SailsimError for a number out of range.
    """
    if not 1 <= together <= spec.n_layers:
        raise SailsimError(f"together is {together!r}; allowed is 1..{spec.n_layers} blocks.")
    found: dict[str, list[str]] = {}
    for linear in spec.linears():
        if linear.role == "head":
            group = linear.name
        else:
            first = linear.layer // together * together
            last = min(first + together, spec.n_layers) - 1
            group = f"blk.{first}-{last}.{linear.name.rpartition('.')[2]}"
        found.setdefault(group, []).append(linear.name)
    return {group: tuple(names) for group, names in found.items()}


@dataclass(frozen=True)
class SensitivityPoint:
    """What one measurement depends on: ``tensors`` of the file ``model`` as the choice ``weights`` has them,
    on ``chunks`` chunks of ``length`` tokens of ``text``, a file, or nothing for the text that ships."""

    model: str
    group: str
    tensors: tuple[str, ...]
    weights: str
    chunks: int = CHUNKS
    length: int = LENGTH
    text: str = ""

    @property
    def key(self) -> str:
        """All that its record rests on, the content of the file and the code included."""
        text = hashlib.sha256(calibration_text(self.text).encode()).hexdigest()
        parts = [code_version(), asdict(self), open_gguf(self.model).file.sha256, text]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def sensitivity_points(
    model: str,
    choices: Sequence[str],
    together: int = TOGETHER,
    chunks: int = CHUNKS,
    length: int = LENGTH,
    text: str = "",
) -> list[SensitivityPoint]:
    """Every group in every choice. Raises SailsimError for values out of range and unknown choices."""
    opened = open_gguf(model)
    text_chunks(opened, calibration_text(text), chunks, length)
    for choice in choices:
        chosen_format(choice, model, opened.spec)
        if choice.endswith(".toml"):
            raise SailsimError(f"choices has the policy {choice}; allowed are formats.")
    return [
        SensitivityPoint(model, group, tensors, choice, chunks, length, text)
        for group, tensors in groups(opened.spec, together).items()
        for choice in choices
    ]


def measure_sensitivities(
    wanted: Sequence[SensitivityPoint],
    out: str | Path | None = None,
    *,
    jobs: int | Workers = 1,
    progress: bool = False,
) -> pd.DataFrame:
    """Measures points, those that the folder ``out`` does not hold: columns ``group``, ``weights``, ``loss``,
    ``loss_error``. Raises SailsimError as `run_study`."""
    stamps = Stamps()
    for name in sorted({name for point in wanted for name in (point.model, point.text) if name}):
        stamps.take(Path(name))
    tasks = [Task(point.key, f"{point.group} {point.weights}", point, i) for i, point in enumerate(wanted)]
    with TemporaryDirectory() as nowhere:
        store = run_study(
            tasks,
            measured,
            out or nowhere,
            kind="sensitivities",
            jobs=jobs,
            progress=progress,
            changed=stamps.changed,
        )
        return store.frame()


def measured(point: SensitivityPoint) -> dict[str, Any]:
    """The record of a point."""
    model = open_gguf(point.model)
    base = _base(point.model, model.file.sha256, calibration_text(point.text), point.chunks, point.length)
    other = chosen_format(point.weights, point.model, model.spec)
    lost = (base.with_others(point.tensors, other).nll - base.undisturbed.nll).mean(axis=1)
    return {
        "model": model.spec.name,
        "file": Path(point.model).name,
        "group": point.group,
        "weights": point.weights,
        "chunks": point.chunks,
        "length": point.length,
        "loss": float(lost.mean()),
        "loss_error": standard_error(lost),
    }


@lru_cache(maxsize=1)
def _base(model: str, content: str, text: str, chunks: int, length: int) -> Sensitivity:
    """Of a file with that content: a worker measures many groups of one."""
    del content
    opened = open_gguf(model)
    return Sensitivity(opened, text_chunks(opened, text, chunks, length))


def calibration_text(path: str) -> str:
    """That of a file, or of nothing the one that ships. Raises SailsimError if it cannot be read."""
    return read_text(Path(path), "text", MAX_TEXT) if path else shipped_text(CALIBRATION)
