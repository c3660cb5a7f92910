"""What the program of some committed gem5 steps does beside what it needs: fits of cores are made without."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from math import ceil

from sailsim.analysis.results.gem5_steps import Row, decode_rows, shape
from sailsim.base.errors import SailsimError
from sailsim.workloads.load import load_model
from sailsim.workloads.model import ModelSpec

PIECE = 64
"""Numbers that the program rounds at a time (`kPiece` of workloads/kernels/decode/rounding.hh)."""
SEARCHING = "1a644c001e99330c40ee25843c66f48670f34c3a84b4c4bad580fe7b469578f4"
"""SHA-256 of the program of commit 04012f5, which makes `comparisons`; else it is the program that ships."""
REPLACED = "gem5/decode_searching.jsonl"
"""Its runs of steps that the program which ships has run since, in `TABLE`."""
SAME_STEP = ("model", "weights", "blocks", "batch", "context", "cache", "warm", "threads")
"""What runs have in common that differ in their products at most."""


def part_of_model(row: Row) -> ModelSpec:
    """The blocks of the model that a run had, and its head."""
    spec = load_model(shape(row))
    return replace(spec, n_layers=row["blocks"] or spec.n_layers, extra_params=0)


def comparisons(row: Row) -> float:
    """Numbers that a thread compares in a step beside what rounding needs.

    Before every piece of an attention's or an activation's output the program `SEARCHING` looks for the
    largest number of the whole row again, among one of each head, or of each piece. That grows with the
    square of a row's length: three quarters of the rounding of Llama-2-7B. Products on cores and on units
    pay it alike.
    """
    spec = part_of_model(row)
    mixed, hidden = ceil(spec.n_heads * spec.head_dim / PIECE), ceil(spec.d_ffn / PIECE)
    a_row = spec.n_layers * (mixed * (spec.n_heads - 1) + hidden * (hidden - 1))
    return float(row["batch"] * a_row / row["threads"])


@cache
def comparison_cycles(model: str) -> float:
    """Cycles of one of a model's `comparisons`: what all its runs of both programs spare in rounding.

    Raises:
        SailsimError: no run of `REPLACED` is of that model.
    """
    names = (*SAME_STEP, "linears")
    after = {tuple(row[name] for name in names): row for row in decode_rows()}
    before = [row for row in decode_rows(REPLACED) if shape(row) == model]
    if not before:
        raise SailsimError(f"model is {model!r}; no step of it was run with both programs.")
    spared = [
        row["quantise_cycles"] - after[tuple(row[name] for name in names)]["quantise_cycles"]
        for row in before
    ]
    return float(sum(spared) / sum(map(comparisons, before)))


def needless_cycles(row: Row) -> float:
    """What of a run's step goes into `comparisons`, cycles: no other software has to have them, so that fits
    of what cores can do are made without."""
    return comparison_cycles(shape(row)) * comparisons(row) if row["content"] == SEARCHING else 0.0
