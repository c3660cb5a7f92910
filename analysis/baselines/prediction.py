"""What a baseline answers, and the small things that both baselines share."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.resources import files
from importlib.resources.abc import Traversable

import numpy as np
from numpy.typing import NDArray

from sailsim.workloads.experts import touched
from sailsim.workloads.graph import Op, step_notes
from sailsim.workloads.load import load_model
from sailsim.workloads.model import ModelSpec

Floats = NDArray[np.float64]

UNMEASURED = "No measurement of"
"""How a note begins that says what nobody has measured of a runner's kernels, card or model."""


@dataclass(frozen=True)
class Prediction:
    """A predicted rate with its band.

    ``tokens_per_s`` counts the tokens of the whole batch; ``low`` and ``high`` hold nine of ten measurements
    of the kind that the model was fitted on, and what is assumed where nothing was fitted. ``parts`` splits
    the ``step_s`` seconds of one step and sums to it. ``notes`` say in sentences what is not fitted.
    """

    tokens_per_s: float
    low: float
    high: float
    step_s: float
    parts: Mapping[str, float]
    notes: tuple[str, ...] = field(default=())
    instances: int = 1
    """Processes side by side, each of which reads the weights."""

    def as_dict(self) -> dict[str, object]:
        """The fields as plain JSON values."""
        return {
            "tokens_per_s": self.tokens_per_s,
            "low": self.low,
            "high": self.high,
            "step_s": self.step_s,
            "phases": dict(self.parts),
            "instances": self.instances,
            "notes": list(self.notes),
        }


@dataclass(frozen=True)
class Work:
    """What steps ask of a machine; each field a scalar or an array of the same shape (one entry a step).

    Bytes of weights and of the KV cache, MACs of the matrix products and of attention, rows of the batch,
    attention heads over the batch (the most threads that attention can use), operations, layers and matrix
    products. Those of a block's experts count as one for each of their matrices; of the MACs of the products
    ``expert_macs`` are theirs, and an expert that any row chose sees ``expert_rows`` rows on average (1
    without experts). ``cache_flops`` round and unpack keys and values of few bits. Last, key heads of a layer
    and entries of the vocabulary.
    """

    rows: Floats
    weight_bytes: Floats
    kv_bytes: Floats
    gemv_macs: Floats
    attention_macs: Floats
    attention_width: Floats
    operations: Floats
    layers: Floats
    products: Floats
    cache_flops: Floats = field(default_factory=lambda: np.asarray(0.0))
    expert_macs: Floats = field(default_factory=lambda: np.asarray(0.0))
    expert_rows: Floats = field(default_factory=lambda: np.asarray(1.0))
    key_heads: Floats = field(default_factory=lambda: np.asarray(1.0))
    vocabulary: Floats = field(default_factory=lambda: np.asarray(0.0))

    @classmethod
    def of(cls, model: ModelSpec, ops: list[Op], rows: int) -> Work:
        """The sums over the operations of one step on ``rows`` rows."""

        def total(values: list[float]) -> Floats:
            return np.asarray(sum(values), dtype=float)

        attention = [op for op in ops if op.kind == "attention"]
        chosen = [op for op in ops if op.spread]
        read = sum(touched(op.spread) * op.k * op.n for op in chosen)
        expert_macs = sum(op.macs for op in chosen)
        return cls(
            rows=np.asarray(float(rows)),
            weight_bytes=total([op.weight_bytes for op in ops]),
            kv_bytes=total([op.kv_bytes for op in ops]),
            gemv_macs=total([op.macs for op in ops if op.kind == "gemv"]),
            attention_macs=total([op.macs for op in attention]),
            attention_width=np.asarray(float(model.n_heads * rows)),
            operations=np.asarray(float(len(ops))),
            layers=np.asarray(float(model.n_layers)),
            products=np.asarray(float(sum(op.kind == "gemv" for op in ops))),
            cache_flops=total([op.cache_flops for op in ops]),
            expert_macs=np.asarray(float(expert_macs)),
            expert_rows=np.asarray(expert_macs / read if read else 1.0),
            key_heads=np.asarray(float(model.n_kv_heads)),
            vocabulary=np.asarray(float(model.vocab)),
        )

    @classmethod
    def stack(cls, steps: list[Work]) -> Work:
        """Several steps as one object of arrays."""
        names = cls.__dataclass_fields__
        return cls(**{name: np.array([float(getattr(step, name)) for step in steps]) for name in names})


def model_notes(model: ModelSpec, rows: int) -> list[str]:
    """What a baseline's step of a model rests on, in sentences: of experts, windows and what is left out."""
    notes = step_notes(model, rows)
    if model.kv_scale_bits:
        notes.append(
            f"No measurement has keys and values of {model.kv_bits} bits: cores round and unpack them on "
            "their vector units, beside attention at the rate of fp16; cards read fewer bytes and unpack for "
            "nothing."
        )
    if model.experts is not None:
        notes.append(
            f"{UNMEASURED} a mixture of experts: it is taken to read the weights of the experts that "
            "were chosen and to multiply them as fast as other matrices, each with the rows that chose it."
        )
    return notes


def data_file(name: str) -> Traversable:
    """A file of this package's ``data`` folder."""
    return files("sailsim.analysis") / "data" / name


def read_csv(text: str) -> list[dict[str, str]]:
    """Rows of a comma-separated table whose comment lines start with ``#``."""
    lines = (line for line in text.splitlines() if line.strip() and not line.startswith("#"))
    return list(csv.DictReader(lines, restval=""))


@lru_cache(maxsize=16)
def fitting_model(name: str) -> ModelSpec:
    """A model of the measurements: one that ships with the workloads, or one of ``data/models``."""
    local = data_file(f"models/{name}.toml")
    return load_model(str(local) if local.is_file() else name)
