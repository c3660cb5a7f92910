"""The quality of a model as a study: a record for each choice of widths, with its loss against floats.

A record has a model's results on a text, chunk by chunk and token by token, so that two of them can be
compared: the loss against floats is a mean of differences of the same chunks, whose standard error is a
fraction of that of either (docs/quality.md).
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd

from sailsim.base.errors import SailsimError
from sailsim.base.input_file import MAX_TEXT_BYTES, read_text
from sailsim.sim.study.keys import ResultKeys
from sailsim.sim.study.open_study import Task, run_study
from sailsim.sim.study.origin import code_version
from sailsim.sim.study.workers import Workers
from sailsim.workloads.inference.decoder import open_llama
from sailsim.workloads.inference.perplexity import (
    ATTENTION,
    CALIBRATION,
    CALIBRATION_CHUNKS,
    CHUNKS,
    LENGTH,
    METHODS,
    QUALITY,
    float_predictions,
    shipped_text,
    text_chunks,
    unit_predictions,
)
from sailsim.workloads.inference.tokenizer import Tokenizer
from sailsim.workloads.model_files.gguf_model import open_gguf
from sailsim.workloads.model_files.load import chosen_format

IN_FLOATS = "float"
"""Value of `weights` for the file's values in fp32, with nothing rounded."""


@dataclass(frozen=True)
class QualityPoint:
    """Inputs of one measurement of quality.

    Attributes:
        model: a GGUF file.
        weights: a choice of formats (`sailsim.workloads.model_files.load`), or ``float``.
        abits: bits of an activation, 2..16; 0 with ``float``.
        kv_bits: bits of keys and values in the cache, 2..8 or 16; 0 with ``float``.
        attention: place of attention, cores or units.
        method: quantization method of codes that are not the file's own.
        text: a file; empty for the text that ships.
        chunks: number of chunks of the text.
        length: tokens of a chunk.
    """

    model: str
    weights: str = "file"
    abits: int = 8
    kv_bits: int = 16
    attention: str = ATTENTION[0]
    method: str = METHODS[0]
    text: str = ""
    chunks: int = CHUNKS
    length: int = LENGTH

    @property
    def files(self) -> list[Path]:
        """Files that its fields name."""
        return [Path(name) for name in (self.model, self.text, self.weights) if name and Path(name).is_file()]

    def in_floats(self) -> QualityPoint:
        """The reference that it is compared with."""
        return replace(self, weights=IN_FLOATS, abits=0, kv_bits=0, attention=ATTENTION[0], method=METHODS[0])

    @property
    def key(self) -> str:
        """Hash of all that its record depends on, the content of files and the code included."""
        parts = [code_version(), asdict(self), open_gguf(self.model).sha256, self.read_text()]
        parts.append(shipped_text(CALIBRATION))
        if self.weights.endswith(".toml"):
            parts.append(read_text(Path(self.weights), "policy", MAX_TEXT_BYTES))
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def read_text(self) -> str:
        """The text. Raises SailsimError if it cannot be read."""
        return read_text(Path(self.text), "text", MAX_TEXT_BYTES) if self.text else shipped_text(QUALITY)


def points(
    model: str | Path,
    weights: Iterable[str] = ("file",),
    abits: Iterable[int] = (8,),
    kv_bits: Iterable[int] = (16,),
    attention: Iterable[str] = ATTENTION[:1],
    method: Iterable[str] = METHODS[:1],
    text: str = "",
    chunks: int = CHUNKS,
    length: int = LENGTH,
) -> list[QualityPoint]:
    """All combinations, after the reference that they are compared with."""
    grid = itertools.product(weights, abits, kv_bits, attention, method)
    combined = [QualityPoint(str(model), *each, text, chunks, length) for each in grid]
    return list(dict.fromkeys([combined[0].in_floats(), *combined]))


def measure_quality(
    wanted: Sequence[QualityPoint],
    out: str | Path | None = None,
    *,
    jobs: int | Workers = 1,
    progress: bool = False,
) -> pd.DataFrame:
    """Measure the points that the folder ``out`` lacks, and compare all of them (`with_losses`).

    Args:
        wanted: the points, with the references that they are compared with.
        out: a study's folder, which may hold some of them; None: nothing is stored.
        jobs: processes, which share this machine's cores, or workers.
        progress: whether to show it on standard error.

    Raises:
        SailsimError: as `run_study`; values out of range, and two files of one name, before anything is
            measured.
    """
    keys, names = ResultKeys("quality"), dict[str, Path]()
    for point in wanted:
        for path in point.files:
            keys.watch(path)
            if names.setdefault(path.name, path) != path:
                raise SailsimError(
                    f"{path} and {names[path.name]} have one name; allowed is one file a name, since records "
                    "tell them apart by it."
                )
        _check(point)
    threads = max(1, (os.cpu_count() or 1) // (jobs if isinstance(jobs, int) else 1))
    tasks = [Task(point.key, str(point), point, i) for i, point in enumerate(wanted)]
    with TemporaryDirectory() as nowhere:
        options: dict[str, Any] = {"jobs": jobs, "progress": progress, "changed": keys.changed}
        function = partial(quality_record, threads)
        return with_losses(run_study(tasks, function, out or nowhere, kind="quality", **options).frame())


def quality_record(threads: int, point: QualityPoint) -> dict[str, Any]:
    """The record of a point."""
    model = open_gguf(point.model)
    tokens = text_chunks(model, point.read_text(), point.chunks, point.length)
    if point.weights == IN_FLOATS:
        fmt, found = model.format, float_predictions(model, tokens)
    else:
        fmt = chosen_format(point.weights, point.model, model.spec)
        learned = None
        if point.method == "compensated":
            chunks = CALIBRATION_CHUNKS * LENGTH // point.length
            learned = text_chunks(model, shipped_text(CALIBRATION), max(chunks, 2), point.length)
        how = {name: getattr(point, name) for name in ("abits", "kv_bits", "attention", "method")}
        found = unit_predictions(model, tokens, fmt, calibration=learned, threads=threads, **how)
    nll = found.nll.mean(axis=1)
    return asdict(point) | {
        "model": model.spec.name,
        "file": Path(point.model).name,
        "text": Path(point.text).name if point.text else QUALITY,
        "tokens": int(found.nll.size),
        "bits_per_weight": fmt.model_bits_per_weight(model.spec),
        "perplexity": found.perplexity,
        "perplexity_error": found.perplexity * standard_error(nll),
        "chunk_nll": nll.tolist(),
        "top_tokens": found.top.reshape(-1).tolist(),
    }


def with_losses(frame: pd.DataFrame) -> pd.DataFrame:
    """Records with their losses against floats, in the columns of analysis/data/columns.toml.

    ``loss`` is the mean of the differences of ``nll``, in nats a token, and ``loss_error`` its standard error
    by chunks; ``agreement`` is the share of places in which the most probable token is the same. Raises
    SailsimError for a record without its reference.
    """
    same = ["file", "text", "chunks", "length"]
    floats = {tuple(row[same]): row for _, row in frame[frame.weights == IN_FLOATS].iterrows()}
    rows = []
    for _, row in frame.iterrows():
        reference = floats.get(tuple(row[same]))
        if reference is None:
            raise SailsimError(f"the record of {row.weights} has none in floats with it; allowed is both.")
        lost = np.asarray(row.chunk_nll) - np.asarray(reference.chunk_nll)
        equal = np.asarray(row.top_tokens) == np.asarray(reference.top_tokens)
        shares = equal.reshape(len(lost), -1).mean(axis=1)
        loss = {"loss": lost.mean(), "loss_error": standard_error(lost)}
        agreement = {"agreement": shares.mean(), "agreement_error": standard_error(shares)}
        rows.append({**row, **loss, **agreement})
    return pd.DataFrame(rows)


def caution(model: str) -> str:
    """Cautions on a file's numbers: that its own weights are codes already, and that its text is split in
    another way than it says; empty where neither is so."""
    opened = open_gguf(model)
    sentences = []
    if any(fmt.code is not None for fmt, _, _ in opened.format.census(opened.spec)):
        sentences.append(
            f"The file itself has {opened.format.census_in_words(opened.spec)}: other widths show what "
            "rounding those values again loses, not what the model's first weights would."
        )
    unlike = Tokenizer(opened).unlike
    if unlike:
        sentences.append(
            f"Text is split into words as smollm's is, where the file says {unlike!r}: some tokens may be "
            "others than the model's own, so that perplexities are not those of other programs. All widths "
            "have the same tokens."
        )
    return " ".join(sentences)


def standard_error(of_chunks: Any) -> float:
    """Standard error of the mean of some chunks' numbers, taken as independent."""
    values = np.asarray(of_chunks, np.float64)
    return float(values.std(ddof=1) / np.sqrt(len(values)))


def _check(point: QualityPoint) -> None:
    model = open_llama(point.model)
    text_chunks(model, point.read_text(), point.chunks, point.length)
    if point.weights == IN_FLOATS:
        return
    chosen_format(point.weights, point.model, model.spec)
    if not 2 <= point.abits <= 16:
        raise SailsimError(f"abits is {point.abits!r}; allowed is 2..16.")
    if point.kv_bits != 16 and not 2 <= point.kv_bits <= 8:
        raise SailsimError(f"kv_bits is {point.kv_bits!r}; allowed is 2..8, or 16.")
    if point.attention not in ATTENTION:
        raise SailsimError(f"attention is {point.attention!r}; allowed is {' or '.join(ATTENTION)}.")
    if point.attention == "units" and point.kv_bits > 8:
        raise SailsimError(f"kv_bits is {point.kv_bits} with attention on the units; allowed is 2..8.")
    if point.method not in METHODS:
        raise SailsimError(f"method is {point.method!r}; allowed is {' or '.join(METHODS)}.")
