"""Whole steps that gem5 ran, as they are committed (`data/gem5/decode.jsonl`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sailsim.analysis.baselines.prediction import data_file
from sailsim.base.errors import SailsimError
from sailsim.base.records import read_records
from sailsim.workloads import ModelSpec, load_model
from sailsim.workloads.choice import uniform_choice

Row = Mapping[str, Any]
TABLE = "gem5/decode.jsonl"
SHAPES = {"SmolLM2-135M-Instruct.Q4_1.gguf": "smollm2-135m"}
"""The shape that ships of a file whose tokens were measured: pages are made without the file."""


def decode_rows() -> list[Row]:
    """The runs that came to their end."""
    rows = read_records(data_file(TABLE))["rows"]
    return [row for row in rows if row.get("step_cycles") is not None]


def shape(row: Row) -> str:
    """The name of the shape that a run's model has."""
    return SHAPES.get(row["model"], str(row["model"]))


def part_of_model(row: Row) -> ModelSpec:
    """The blocks of the model that a run had, and its head."""
    spec = load_model(shape(row))
    return replace(spec, n_layers=row["blocks"] or spec.n_layers, extra_params=0)


def bits_and_group(row: Row) -> tuple[int, int]:
    """Bits of a run's weights and weights of a scale.

    Raises:
        SailsimError: the run's weights are no uniform codes.
    """
    uniform = uniform_choice(row["weights"])
    if uniform is None:
        raise SailsimError(f"weights is {row['weights']!r}; allowed here are bits, as 4g128.")
    return uniform[0], uniform[1]
