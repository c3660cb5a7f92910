"""How far predictions of each kind are off on rows that were left out by machine and by model.

    cd research
    python -m calibration.kinds --out ../analysis/data/coverage.csv --page ../docs/data/coverage.csv

A kind is what a prediction is of: decoding on some threads or on a whole server, of models of some size, in a
batch; prompts; GPUs. All its rows in this repository are predicted by fits without their machine (all
instances of that size, or the GPU) and by fits without their model. Rows that no fit uses are predicted as
they are. ``inside`` is the share of them in the interval that ships.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, reduce
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.core_rows import BATCHED, PACKED_TABLE, instance_rows
from calibration.cores_problem import MEASURED, TITLES, V2, core_problem, found_tiles, tiles_without
from calibration.cpu_problem import cpu_problem
from calibration.errors import band_of, band_of_kind, constants_of, digits, error_row
from calibration.gpu_problem import gpu_fit_rows, gpu_problem, sixteen_bit_problem
from calibration.lut_problem import read_powers
from calibration.measurements import MeasuredRows, file_format, fitting_model, join, read_table
from calibration.packed_check import FOLDS, packed_rows, untiled
from calibration.solver import Parameter, Problem, held_out, solve
from calibration.vllm_problem import is_small, vllm_problem
from sailsim.base.atomic import write_whole
from sailsim.sim.backends import cores
from sailsim.sim.machine.system_files import load_system
from sailsim.sim.software.fitted import (
    LARGE_BYTES,
    MANY_THREADS,
    N1,
    FitInterval,
    Fits,
    Floats,
    fitted_constants,
    joined_interval,
)
from sailsim.sim.software.records import load_software

COLUMNS = ("kind", "what", "of", "held_out", "count", "median_error", "bias", "low", "high", "inside")
MANY, FEW = MANY_THREADS, 8
OTHER_CHIPS = 1.28
"""How much faster than predicted 64 threads may run: Azure's Altra was predicted 15 to 22 %
too slow there (held_out_errors.json, scaling). No size of one chip that is left out shows that."""
WAYS = ("many", "batched")
"""Kinds whose groups are ways to run, which no prediction is told: metal or virtual, one build or another."""
LOST = "what every product loses besides on bare metal; low and high: of one core alone"
BARE_METAL = Parameter("bare_metal", 2e4, 0.0, 3e5, "ns", LOST)
NOTHING = "nothing"
BATCHES = "batched", "cores, one process, 2 rows and more"
SHORT = 64
"""Tokens of a prompt below which it stands for the rows of a batch."""


@dataclass(frozen=True)
class Case:
    """Rows of one kind that were left out in one way: predicted over measured, and the interval of each."""

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
        """Which measurements lie in the interval of their prediction."""
        factor = 1 / self.ratio
        return np.asarray((factor >= self.low - 1e-6) & (factor <= self.high + 1e-6))

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


def _with_band(names: tuple[str, str, str, str], ratio: Floats, interval: FitInterval) -> Case:
    known = np.isfinite(ratio)
    ends = (np.full(int(known.sum()), end) for end in (interval.low, interval.high))
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

    @property
    def lost(self) -> NDArray[np.bool_]:
        """Which rows show what bare metal loses: decoding there, but of 70B, predicted too slow."""
        return np.asarray(self.metal & _decode(self) & np.isfinite(self.ratio))


def core_rows() -> list[CoreRows]:
    """Of Neoverse N1, V1 and V2; two sockets are no server here and left out. Bare metal is predicted by what
    the other cores' or models' bare metal loses."""
    found = []
    for held, label in (("machine", "core"), ("model", "model")):
        own = [each for each in untold_rows() if each.held == held]
        told = held_out(_metal_problem(own), label).ratio
        for each in own:
            now, told = np.split(told, [int(each.lost.sum())])
            ratio = each.ratio.copy()
            ratio[each.lost] = now
            found.append(replace(each, ratio=ratio))
    return sorted(found, key=lambda each: each.core)


@cache
def untold_rows() -> tuple[CoreRows, ...]:
    """The same of all, and with nothing held out, as if all machines were virtual."""
    return tuple(_untold())


def _untold() -> Iterator[CoreRows]:
    problem = cpu_problem()
    ours = problem.rows.labels["software"] == "llama.cpp"
    rows = problem.rows.where(ours)
    metal = np.char.endswith(rows.labels["machine"], "metal")
    for held in ("machine", "model"):
        yield CoreRows(N1, held, rows, held_out(problem, held, ours).ratio[ours], metal)
    yield CoreRows(N1, NOTHING, rows, problem.predict(solve(problem).values, rows) / rows.measured, metal)
    for core, (system, _) in MEASURED.items():
        problem, rows = core_problem(core), instance_rows(system)
        rows = rows.where(rows.labels["instances"] != "two sockets")
        metal = rows.labels["instances"] == "bare metal"
        for label, held in (("threads", "machine"), ("model", "model")):
            yield CoreRows(core, held, rows, _instances(problem, label, rows), metal)
        whole = problem.predict(solve(problem).values, rows) / rows.measured
        yield CoreRows(core, NOTHING, rows, whole, metal)


def _metal_problem(found: Sequence[CoreRows]) -> Problem:
    """What a product loses on bare metal beside the predicted seconds, which the rows have as `threads`."""

    def part(each: CoreRows) -> MeasuredRows:
        rows, seconds = each.rows, each.rows.tokens / (each.ratio * each.rows.measured)
        core = np.full(len(seconds), each.core)
        return replace(rows, threads=seconds, labels={**rows.labels, "core": core}).where(each.lost)

    def predict(x: Floats, rows: MeasuredRows) -> Floats:
        return np.asarray(rows.tokens / (rows.threads + 1e-9 * x[0] * cores.product_count(rows.work)))

    return Problem((BARE_METAL,), reduce(join, map(part, found)), predict)


def bare_metal() -> dict[str, Any]:
    """What `fits.json` says of it; the ends are those of a core alone."""
    found = [each for each in untold_rows() if each.held == NOTHING]
    alone = [float(solve(_metal_problem([each])).values[0]) for each in found]
    problem = _metal_problem(found)
    fitted = constants_of(problem, solve(problem), "fit of neoverse_v.csv and llama_bench.csv, bare metal")
    return fitted["bare_metal"] | {"low": digits(min(alone)), "high": digits(max(alone))}


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
    return np.asarray(found.rows.work.weight_bytes > LARGE_BYTES)


def _many(found: CoreRows) -> NDArray[np.bool_]:
    return np.asarray(found.rows.threads >= MANY)


def _prompt(found: CoreRows) -> NDArray[np.bool_]:
    return np.asarray((found.rows.labels["test"] == "pp") & (found.rows.tokens > SHORT))


def _few(found: CoreRows) -> NDArray[np.bool_]:
    return np.asarray(found.rows.threads < FEW)


CORE_KINDS: tuple[tuple[str, str, Keep], ...] = (
    ("decode", "cores, decode, 2 to 4 threads", lambda f: _decode(f) & _few(f)),
    ("decode", "cores, decode, 8 to 48 threads", lambda f: _decode(f) & ~_few(f) & ~_many(f)),
    ("virtual", "cores, decode, 64 threads and more", lambda f: _decode(f) & _many(f) & ~f.metal),
    ("metal", "the same on bare metal", lambda f: _decode(f) & _many(f) & f.metal),
    ("large", "cores, decode, 70B", lambda f: (f.rows.labels["test"] == "tg") & _large(f)),
    ("prompt", "cores, prompts", _prompt),
    ("rows", "cores, 16 rows at once", lambda f: (f.rows.labels["test"] == "pp") & ~_prompt(f)),
)
"""Kind, which of its rows, and how they are found."""


def core_groups(found: Sequence[CoreRows]) -> Iterator[tuple[str, str, str, str, Floats]]:
    """Kind, which rows, core, what was left out, and predicted over measured, of all cores."""
    for kind, what, keep in CORE_KINDS:
        for each in found:
            ratio = each.ratio[keep(each)]
            ratio = ratio[np.isfinite(ratio)]
            if len(ratio):
                yield kind, what, each.core, each.held, ratio


def process_groups(several: bool = False) -> Iterator[tuple[str, str, str, str, Floats]]:
    """The same of single processes with a batch, or of several, by folds of attention by tiles."""
    rows = found_tiles()[1].rows
    alone = rows.labels["processes"] == "1"
    keep = ~alone if several else alone & (rows.labels["batch"] != "1")
    names = ("packed", "cores, several processes") if several else BATCHES
    for system, title in TITLES.items():
        for label, held in zip(FOLDS, ("machine", "model"), strict=True):
            ratio = tiles_without(label).ratio[keep & (rows.labels["machine"] == system)]
            yield *names, title, held, ratio


def plain_groups(table: dict[str, Any]) -> Iterator[Floats]:
    """Single processes with a batch as software is predicted for which no tiles are known: on Graviton4 by
    folds, on Altra those that no fit uses."""
    problem = core_problem(V2)
    one = problem.rows.labels["instances"] == BATCHED
    for label in ("batch", "model"):
        yield held_out(problem, label, one).ratio[one & (problem.rows.tokens > 1)]
    rows = packed_rows(Fits.of(untiled(table)))
    yield rows.ratio[(rows.system == "altra") & (rows.processes == 1) & (rows.batch > 1) & ~rows.fitted]


def run_kinds(table: dict[str, Any]) -> None:
    """Set the intervals by kind of all software that was measured on cores, in the content of `fits.json`.

    They are those of every core, and hold nine tenths of each group of rows: sizes of one chip that are left
    out say less than a chip of another cloud would. Of `WAYS` they hold nine tenths of all groups together.
    """
    groups: dict[str, list[Floats]] = {}
    told = list(core_groups(core_rows()))
    for kind, _, _, _, ratio in told:
        groups.setdefault(kind, []).append(ratio)
    groups[BATCHES[0]] = list(plain_groups(table))
    untold = list(core_groups([each for each in untold_rows() if each.held != NOTHING]))
    groups["many"] = [ratio for kind, *_, ratio in untold if kind in ("virtual", "metal")]
    for held, name in (("machine", "all of that core"), ("model", "model")):
        metal = np.concatenate([ratio for kind, *_, by, ratio in told if kind == "metal" and by == held])
        table["errors"].append(error_row("decode, llama.cpp, bare metal", name, metal))
    intervals = {kind: _interval(kind, ratios) for kind, ratios in groups.items()}
    table["bare_metal"] = bare_metal()
    measured = [each for name, each in table["cpu"].items() if load_software(name).is_measured]
    measured += [each for sets in table["cores"].values() for each in sets.values()]
    for each in measured:
        own = each["intervals"]
        if "many" in own:  # by rows of its own, whatever ran them
            own = {"virtual": dict(own["many"]), "metal": dict(own["many"])} | own
        each["intervals"] = {kind: dict(interval) for kind, interval in intervals.items()} | own
    for system, chosen in (("altra", table["cpu"]["ampere"]), ("graviton4", table["cores"][V2]["llama.cpp"])):
        own = [ratio for _, _, of, _, ratio in process_groups() if of == TITLES[system]]
        chosen["intervals"]["batched"] = _interval("batched", own)


def _interval(kind: str, ratios: Sequence[Floats]) -> dict[str, float]:
    """The interval of a kind by groups of its rows."""
    interval = band_of_kind(*ratios) if kind in WAYS else band_of(*ratios)
    return (
        interval | {"high": max(interval["high"], OTHER_CHIPS)} if kind in ("many", "virtual") else interval
    )


def by_other_cores(
    groups: Sequence[tuple[str, str, str, str, Floats]],
) -> Iterator[tuple[str, str, str, float]]:
    """Of each kind, rows and core the share inside the interval that the rows of the other cores give."""
    for kind, what, core in dict.fromkeys(group[:3] for group in groups):
        others = [ratio for name, _, of, _, ratio in groups if name == kind and of != core]
        if others:
            interval = _interval(kind, others)
            own = np.concatenate([1 / ratio for *names, ratio in groups if names[:3] == [kind, what, core]])
            yield kind, what, core, float(np.mean((own >= interval["low"]) & (own <= interval["high"])))


def core_cases() -> Iterator[Case]:
    """The cases of single processes, with the intervals of their kinds."""
    fitted = fitted_constants()
    for kind, what, core, held, ratio in core_groups(core_rows()):
        software = fitted.software("llama.cpp", core)
        yield _with_band((kind, what, core, held), ratio, joined_interval(software, (kind,)))
    for kind, what, of, held, ratio in process_groups():
        fork = of == TITLES["altra"]
        software = fitted.software("ampere") if fork else fitted.software("llama.cpp", V2)
        yield _with_band((kind, what, of, held), ratio, joined_interval(software, (kind,)))


def packed_cases() -> Iterator[Case]:
    """Several processes by folds, in the intervals of the product's own predictions."""
    table, rows = read_table(PACKED_TABLE), packed_rows(fitted_constants())
    steps = []
    for row in table:
        count = int(row["processes"])
        context = int(row["prompt"]) + int(row["generated"]) // 2
        steps.append(
            cores.predict_cores(
                load_system(row["system"]), fitting_model(row["model"]), file_format(row["bytes_as"]),
                count * int(row["threads"]), count * int(row["batch"]), context,
                software=row["software"], instances=count,
            )
        )  # fmt: skip
    rate = np.array([step.tokens_per_s for step in steps])
    ends = [np.array([getattr(step, end) for step in steps]) / rate for end in ("low", "high")]
    systems = {title: system for system, title in TITLES.items()}
    for kind, what, of, held, ratio in process_groups(several=True):
        chosen = (rows.processes > 1) & (rows.system == systems[of])
        yield Case(kind, what, of, held, ratio, *(end[chosen] for end in ends))


def table_cases() -> Iterator[Case]:
    """T-MAC on more threads, over what its fewest do, each machine by the others' power of the threads."""
    rows = read_powers()
    powers = {name: [power for _, power in found] for name, found in rows.items()}
    known = fitted_constants().software("t-mac").constants["read_power"]
    for machine, own in rows.items():
        others = float(np.mean([np.mean(found) for name, found in powers.items() if name != machine]))
        ratio = np.array([many**others / many**power for many, power in own])
        ends = [
            np.array([many ** (float(end or 0.0) - others) for many, _ in own])
            for end in (known.low, known.high)
        ]
        yield Case("tables", "cores, T-MAC, 4 and 8 threads", machine, "machine", ratio, *ends)


# ---- GPUs ------------------------------------------------------------------------------------------------
def gpu_cases() -> Iterator[Case]:
    """llama.cpp on GPUs in four and 16 bits, and 16-bit serving."""
    every = gpu_problem()
    rows = every.rows.where(gpu_fit_rows(every.rows))
    cells = np.char.add(rows.labels["gpu"], rows.labels["model"])
    rows = replace(rows, labels={**rows.labels, "cell": cells})
    problem, intervals = Problem(every.parameters, rows, every.predict), fitted_constants().gpu
    ways = {"model": held_out(problem, "model").ratio, "machine": held_out(problem, "cell").ratio}
    for test, interval, what in (("tg", "decode", "decode, batch 1"), ("pp", "prompt", "prompts")):
        for held, ratio in ways.items():
            names = (f"GPU {interval}", f"GPUs, q4_k_m, {what}", "llama.cpp", held)
            yield _with_band(names, ratio[rows.labels["test"] == test], intervals.interval(interval))
    sixteen = sixteen_bit_problem(fitted_constants().table["gpu"]["constants"])
    names = ("GPU f16", "GPUs, 16 bits, batch 1", "llama.cpp of 2024", "machine")
    yield _with_band(names, held_out(sixteen, "chip").ratio, intervals.interval("f16 llama"))
    serving = vllm_problem()
    small = is_small(serving.rows)
    ways = {held: held_out(serving, label).ratio for held, label in (("machine", "gpu"), ("model", "model"))}
    for title, keep, kind in (("2B to 14B", ~small, "f16"), ("135M and 0.5B", small, "f16 small")):
        for held, ratio in ways.items():
            names = (kind, f"GPUs, 16 bits, requests, {title}", "vLLM", held)
            yield _with_band(names, ratio[keep], intervals.interval(kind))


def cases() -> list[Case]:
    """All of them."""
    return [*core_cases(), *packed_cases(), *table_cases(), *gpu_cases()]


def write(path: Path, found: Sequence[Case]) -> None:
    """Write the table, whole or not at all."""
    text = StringIO()
    text.write(
        "# Share of left-out measurements inside the interval of their kind: `python -m calibration.kinds`,\n"
        "# from the tables of this folder. held_out: what of a row the fit had not seen. median_error,\n"
        "# bias: predicted over measured, minus 1. low, high: factors on a prediction, their medians.\n"
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
            inside = [case.inside for case in own if case.held == held]
            ways.append(f"{np.mean(np.concatenate(inside)):.0%}" if inside else "-")
        median, bias = np.median(np.abs(ratio - 1)), np.exp(np.median(np.log(ratio))) - 1
        rows = max(sum(len(case.ratio) for case in own if case.held == held) for held in ("machine", "model"))
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
    for kind, what, core, inside in by_other_cores(list(core_groups(core_rows()))):
        print(f"by the rows of other cores: {kind:8} {what:44} {core:14} {inside:.2f}")
    if asked.out is not None:
        write(asked.out, found)
    if asked.page is not None:
        write_page(asked.page, found)


if __name__ == "__main__":
    main()
