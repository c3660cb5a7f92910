"""How far predictions of each kind are off on rows that were left out by machine and by model.

    cd research
    python -m calibration.kinds --out ../analysis/data/coverage.csv --page ../docs/data/coverage.csv

A kind is what a prediction is of: decoding on some threads or on a whole server, of models of some size, in a
batch; prompts; cards. All its rows in this repository are predicted by fits without their machine (all
instances of that size, or the card) and by fits without their model. Rows that no fit uses are predicted as
they are. ``inside`` is the share of them in the band that ships.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from calibration.core_rows import instance_rows
from calibration.cores_problem import MEASURED, core_problem
from calibration.cpu_problem import cpu_problem
from calibration.gpu_problem import gpu_fit_rows, gpu_problem
from calibration.measurements import MeasuredRows, file_format, fitting_model, gpu_rows, read_table
from calibration.packed_check import TABLE as PACKED_TABLE
from calibration.packed_check import packed_rows
from calibration.solver import Problem, held_out, solve
from calibration.vllm_problem import vllm_problem, with_power_given
from sailsim.base.atomic import write_whole
from sailsim.sim.backends import cores, roofline
from sailsim.sim.files import load_card, load_system
from sailsim.sim.fitted import N1, Band, Floats, fitted_constants

COLUMNS = ("kind", "what", "of", "held_out", "count", "median_error", "bias", "low", "high", "inside")
MANY, FEW = cores.MANY_THREADS, 8
NEVER = "no fit uses them"
SHORT = 64
"""Tokens of a prompt below which it stands for the rows of a batch."""


@dataclass(frozen=True)
class Case:
    """Rows of one kind that were left out in one way: predicted over measured, and the band of each."""

    kind: str
    what: str
    """Which rows of the kind."""
    of: str
    """Whose: a core, a chip with a software, a model."""
    held: str
    ratio: Floats
    low: Floats
    high: Floats

    @property
    def inside(self) -> NDArray[np.bool_]:
        """Which measurements lie in the band of their prediction."""
        factor = 1 / self.ratio
        return np.asarray((factor >= self.low) & (factor <= self.high))

    def row(self) -> dict[str, str]:
        """The line of the table."""
        return {
            "kind": self.kind,
            "what": self.what,
            "of": self.of,
            "held_out": self.held,
            "count": str(len(self.ratio)),
            "median_error": f"{np.median(np.abs(self.ratio - 1)):.4f}",
            "bias": f"{np.exp(np.median(np.log(self.ratio))) - 1:.4f}",
            "low": f"{np.median(self.low):.4f}",
            "high": f"{np.median(self.high):.4f}",
            "inside": f"{np.mean(self.inside):.4f}",
        }


def _with_band(names: tuple[str, str, str, str], ratio: Floats, band: Band) -> Case:
    known = np.isfinite(ratio)
    ends = (np.full(int(known.sum()), end) for end in (band.low, band.high))
    return Case(*names, ratio[known], *ends)


# ---- Cores ------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class CoreRows:
    """Measurements of llama.cpp on one core, each predicted without its machine or without its model."""

    core: str
    held: str
    rows: MeasuredRows
    ratio: Floats
    metal: NDArray[np.bool_]


def core_rows() -> Iterator[CoreRows]:
    """Of Neoverse N1, V1 and V2; two sockets are no server here and left out."""
    problem = cpu_problem()
    ours = problem.rows.labels["software"] == "llama.cpp"
    for held in ("machine", "model"):
        found = held_out(problem, held, ours)
        rows = problem.rows.where(ours)
        yield CoreRows(N1, held, rows, found.ratio[ours], np.char.endswith(rows.labels["machine"], "metal"))
    for core, (system, _) in MEASURED.items():
        problem, rows = core_problem(core), instance_rows(system)
        rows = rows.where(rows.labels["instances"] != "two sockets")
        for label, held in (("threads", "machine"), ("model", "model")):
            ratio = _instances(problem, label, rows)
            yield CoreRows(core, held, rows, ratio, rows.labels["instances"] == "bare metal")


def _instances(problem: Problem, label: str, rows: MeasuredRows) -> Floats:
    """Predicted over measured of single instances, by the fit of medians without those of their label."""
    ratio = np.full(len(rows.measured), np.nan)
    for group in np.unique(rows.labels[label]):
        own, kept = rows.labels[label] == group, problem.rows.labels[label] != group
        found = solve(problem, problem.rows.where(kept))
        aside = rows.where(own)
        ratio[own] = problem.predict(found.values, aside) / aside.measured
    return ratio


Keep = Callable[[CoreRows], NDArray[np.bool_]]


def _decode(found: CoreRows) -> NDArray[np.bool_]:
    return np.asarray((found.rows.labels["test"] == "tg") & ~_large(found))


def _large(found: CoreRows) -> NDArray[np.bool_]:
    return np.asarray(found.rows.work.weight_bytes > cores.LARGE_BYTES)


def _many(found: CoreRows) -> NDArray[np.bool_]:
    return np.asarray(found.rows.threads >= MANY)


def _prompt(found: CoreRows) -> NDArray[np.bool_]:
    return np.asarray((found.rows.labels["test"] == "pp") & (found.rows.tokens > SHORT))


def _few(found: CoreRows) -> NDArray[np.bool_]:
    return np.asarray(found.rows.threads < FEW)


CORE_KINDS: tuple[tuple[str, str, Keep], ...] = (
    ("decode", "cores, decode, 2 to 4 threads", lambda f: _decode(f) & _few(f)),
    ("decode", "cores, decode, 8 to 48 threads", lambda f: _decode(f) & ~_few(f) & ~_many(f)),
    ("many", "cores, decode, 64 threads and more", lambda f: _decode(f) & _many(f) & ~f.metal),
    ("many", "the same on bare metal", lambda f: _decode(f) & _many(f) & f.metal),
    ("large", "cores, decode, 70B", lambda f: (f.rows.labels["test"] == "tg") & _large(f)),
    ("prompt", "cores, prompts", _prompt),
    ("rows", "cores, 16 rows at once", lambda f: (f.rows.labels["test"] == "pp") & ~_prompt(f)),
)
"""Kind, which of its rows, and how they are found."""


def core_cases(found: Sequence[CoreRows]) -> Iterator[Case]:
    """The cases of all cores; the band is that of the kind."""
    for kind, what, keep in CORE_KINDS:
        for each in found:
            chosen = keep(each)
            if chosen.any():
                band = cores.band_of_kinds(fitted_constants().software("llama.cpp", each.core), (kind,))
                yield _with_band((kind, what, each.core, each.held), each.ratio[chosen], band)


def batch_cases() -> Iterator[Case]:
    """One process with a batch, and several: by the product's own predictions, with their bands."""
    table, rows = read_table(PACKED_TABLE), packed_rows(fitted_constants())
    steps = []
    for row in table:
        count = int(row["processes"])
        context = int(row["prompt"]) + int(row["generated"]) // 2
        steps.append(
            cores.predict_cores(
                load_system(row["system"]), fitting_model(row["model"]), file_format(row["bytes_as"]),
                count * int(row["threads"]), count * int(row["batch"]), context,
                software=cast(cores.Software, row["software"]), instances=count,
            )
        )  # fmt: skip
    rate = np.array([step.tokens_per_s for step in steps])
    ends = [np.array([getattr(step, end) for step in steps]) / rate for end in ("low", "high")]
    one, batched = rows.processes == 1, rows.batch > 1
    for system, title in (("altra", "Altra, Ampere's fork"), ("graviton4", "Graviton4, llama.cpp")):
        for kind, what, keep in (
            ("batched", "cores, one process, 2 rows and more", one & batched & ~rows.fitted),
            ("packed", "cores, several processes", ~one),
        ):
            chosen = keep & (rows.system == system)
            ratio = rate[chosen] / rows.measured[chosen]
            yield Case(kind, what, title, NEVER, ratio, *(end[chosen] for end in ends))


# ---- Cards ------------------------------------------------------------------------------------------------
def card_cases() -> Iterator[Case]:
    """llama.cpp on cards in four and 16 bits, and 16-bit serving."""
    every = gpu_problem()
    problem = Problem(every.parameters, every.rows.where(gpu_fit_rows(every.rows)), every.predict)
    bands, test = fitted_constants().gpu, problem.rows.labels["test"]
    by_model = held_out(problem, "model")
    for kind, band, what in (("tg", "decode", "decode, batch 1"), ("pp", "prompt", "prompts")):
        chosen = test == kind
        names = (f"card {band}", f"cards, q4_k_m, {what}", "llama.cpp", "model")
        yield _with_band(names, by_model.ratio[chosen], bands.band(band))
    old = gpu_rows()
    old = old.where(old.labels["test"] == "older f16")
    yield _sixteen_bits(old)
    serving = vllm_problem()
    solution = solve(serving)
    ways = {
        "machine": held_out(serving, "chip").ratio,
        "model": held_out(with_power_given(serving, solution), "model").ratio,
    }
    small = serving.rows.labels["model"] == "smollm2-135m"
    for title, keep, kind in (("2B and 8B", ~small, "f16"), ("135M", small, "f16 small")):
        for held, ratio in ways.items():
            band = bands.bands.get(kind) or bands.band("f16")
            yield _with_band((kind, f"cards, 16 bits, requests, {title}", "vLLM", held), ratio[keep], band)


def _sixteen_bits(rows: MeasuredRows) -> Case:
    """llama.cpp in 16 bits at batch 1, of 2024."""
    steps = [
        roofline.predict_card(
            load_card("a100" if card == "a100-80" else card), fitting_model(model), file_format("f16"), 1, 512
        )
        for card, model in zip(rows.labels["card"].tolist(), rows.labels["model"].tolist(), strict=True)
    ]
    rate = np.array([step.tokens_per_s for step in steps])
    ends = [np.array([getattr(step, end) for step in steps]) / rate for end in ("low", "high")]
    names = ("card f16", "cards, 16 bits, batch 1", "llama.cpp of 2024", NEVER)
    return Case(*names, rate / rows.measured, *ends)


def cases() -> list[Case]:
    """All of them."""
    return [*core_cases(list(core_rows())), *batch_cases(), *card_cases()]


def write(path: Path, found: Sequence[Case]) -> None:
    """Write the table, whole or not at all."""
    text = StringIO()
    text.write(
        "# Share of left-out measurements inside the band of their kind: `python -m calibration.kinds`, from the\n"
        "# tables of this folder. held_out: what of a row the fit had not seen. median_error, bias: predicted\n"
        "# over measured, minus 1. low, high: factors on a prediction, the median of the rows.\n"
    )
    lines = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    lines.writeheader()
    lines.writerows(case.row() for case in found)
    write_whole(path, text.getvalue().encode())


def write_page(path: Path, found: Sequence[Case]) -> None:
    """Write the table of the page: cases of the same rows together."""
    text = StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(
        ("predictions", "rows", "median error", "bias", "inside, machine out", "inside, model out")
    )
    for what in dict.fromkeys(case.what for case in found):
        own = [case for case in found if case.what == what]
        ratio = np.concatenate([case.ratio for case in own])
        ways = []
        for held in ("machine", "model"):
            inside = [case.inside for case in own if case.held in (held, NEVER)]
            ways.append(f"{np.mean(np.concatenate(inside)):.0%}" if inside else "-")
        median, bias = np.median(np.abs(ratio - 1)), np.exp(np.median(np.log(ratio))) - 1
        rows = sum(len(case.ratio) for case in own if case.held != "machine" or len(own) == 1)
        lines.writerow((what, rows, f"{median:.1%}", f"{bias:+.1%}", *ways))
    write_whole(path, text.getvalue().encode())


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of ``python -m calibration.kinds``."""
    parser = argparse.ArgumentParser(prog="python -m calibration.kinds", description="Coverage by kind.")
    parser.add_argument("--out", type=Path, help="the CSV file to write")
    parser.add_argument("--page", type=Path, help="the table of the page to write")
    asked = parser.parse_args(arguments)
    found = cases()
    for case in found:
        row = case.row()
        names = f"{row['what']:44} {row['of']:22} {row['held_out']:18}"
        print(names, " ".join(f"{row[name]:>7}" for name in COLUMNS[4:]))
    if asked.out is not None:
        write(asked.out, found)
    if asked.page is not None:
        write_page(asked.page, found)


if __name__ == "__main__":
    main()
