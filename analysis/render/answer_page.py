"""The answer: what SAIL gives at one workload, compared with the strongest alternatives.

README's is of an ordinary workload and is computed anew; a report's is of a point of its study.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sailsim.analysis.paper.unknowns import load_unknowns
from sailsim.analysis.render.gem5_decode_steps import regions_together
from sailsim.analysis.render.markdown import table, three_digits
from sailsim.analysis.results.compare import compare
from sailsim.analysis.results.gem5_steps import HOST, decode_rows
from sailsim.analysis.results.runs import named, packed, shipped_runners
from sailsim.sim.files import load_system
from sailsim.sim.point import Point
from sailsim.workloads.load import load_model

ORDINARY = next(each for each in load_unknowns().workload if each.fixed).point(Point().system, 128, True)
"""The workload that the reproduction holds fixed: the middle of everything, with a scale for 128 weights."""
FAST_HOST = "sail-n1-fast-host"
BESIDE = ("cores", "cores-ampere", "cores-lut")
"""Software on the same threads."""
OURS = "cores-neon"
"""This project's program, which only gem5 has run: the rest of a step beside the units, and all of it on the
cores."""
CARDS = ("v100", "v100-serving", "a10g-serving")
"""The paper's card with llama.cpp and with a serving stack, and the one that gives most tokens per dollar."""
COLUMNS = ("tokens/s", "nine of ten", "SAIL is", "ktokens/USD", "SAIL gives", "J a token")


@dataclass(frozen=True)
class Answer:
    """What SAIL gives at a workload.

    Attributes:
        sentence: the answer with its range; Markdown whose only marks are those of bold words.
        header: the columns of the table; the first one says the workload.
        rows: a row a machine.
    """

    sentence: str
    header: tuple[str, ...]
    rows: tuple[tuple[object, ...], ...]


def answer() -> Answer:
    """README's answer."""
    every = replace(ORDINARY, threads=_cores())
    # The whole server runs as many processes of a software as are the fastest.
    asked = ((ORDINARY, shipped_runners()), (every, packed(shipped_runners())))
    some, whole = (compare(at, runners=them)["runs"] | _other_hosts(at) for at, them in asked)
    return Answer(_sentence(some, whole), _header(), _rows(some, whole))


def study_answer(
    what: str, prompts: bool, runs: Mapping[str, Mapping[str, Any]], shown: Sequence[str]
) -> Answer:
    """The answer of a study's point, which ``what`` names in a few words.

    With ``prompts`` the rates are of tokens that are read. ``runs`` are what ran there (`compare.entries`),
    SAIL among them with a rate. The table has those of ``shown`` that have a rate.
    """
    able = {name: run for name, run in runs.items() if run["tokens_per_s"] is not None}
    rows = tuple(_row(able[name]["title"], able[name]) for name in shown if name in able)
    return Answer(_study_sentence(prompts, able), (what, *COLUMNS), rows)


def as_markdown(found: Answer) -> str:
    """The table of an answer."""
    return table(found.header, found.rows, "lrrrrrr")


def _cores() -> int:
    """Of the whole server."""
    return load_system(ORDINARY.system).cores.count.whole


def _other_hosts(point: Point) -> dict[str, dict[str, Any]]:
    """SAIL where the cores run attention as Ampere's fork does, and all of it as this project's program."""
    titles = {
        "fast": (FAST_HOST, "SAIL, attention as in the fork"),
        "ours": (HOST, "SAIL, around it as gem5 NEON"),
    }
    return {
        name: compare(replace(point, system=host), runners=named("sail"))["runs"]["sail"] | {"title": title}
        for name, (host, title) in titles.items()
    }


def _sentence(some: Mapping[str, Any], whole: Mapping[str, Any]) -> str:
    best, llama, least = _fastest(some), some["cores"], _fastest(whole)
    return (
        f"With {ORDINARY.threads} of the server's {_cores()} cores beside it, SAIL decodes "
        f"{_rate(some['sail'])} tokens/s: "
        f"**{llama['speedup']:.1f}x** what llama.cpp reaches on these cores, and "
        f"**{best['speedup']:.1f}x** ({best['speedup_low']:.1f} .. {best['speedup_high']:.1f}x) what the "
        f"fastest software does ({_title(best)}). With all {_cores()} cores on either side it is "
        f"**{least['speedup']:.1f}x** ({least['speedup_low']:.1f} .. {least['speedup_high']:.1f}x) what the "
        f"fastest ({_title(least)}) reaches. {_in_gem5()} A card gives "
        f"more: SAIL has {some['v100']['speedup']:.2f}x of a V100's tokens/s and, where it pays for "
        f"{ORDINARY.threads} vCPUs "
        f"alone, {some['v100']['usd_ratio_used']:.2f}x of its tokens per dollar."
    )


def _study_sentence(prompts: bool, runs: Mapping[str, Any]) -> str:
    """SAIL's rate, and its ratios over those that ran the point too."""
    sail = runs["sail"]
    does = "reads prompts at" if prompts else "decodes"
    said = f"With {sail['cores']} threads on the cores, SAIL {does} {_rate(sail)} tokens/s."
    beside = [runs[name] for name in BESIDE if name in runs]
    best = max(beside, key=lambda run: float(run["tokens_per_s"]), default=None)
    over = []
    if "cores" in runs and runs["cores"] is not best:
        over.append(f"{_speedup(runs['cores'])} what llama.cpp reaches on as many threads")
    if best is not None:
        over.append(f"{_speedup(best)} what the fastest software does ({_title(best)})")
    if "cores-all-best" in runs:
        every = runs["cores-all-best"]
        over.append(f"{_speedup(every)} what the fastest software reaches on all {every['cores']} cores")
    if over:
        said += f" That is {'; '.join(over)}."
    if "v100" in runs:
        card = runs["v100"]
        said += f" It is **{card['speedup']:.2f}x** of a V100's tokens/s"
        if card["usd_ratio_used"] is not None:
            said += f" and **{card['usd_ratio_used']:.2f}x** of its tokens per dollar"
            said += ", where SAIL pays for its threads' vCPUs"
        said += "."
    return said


def _speedup(run: Mapping[str, Any]) -> str:
    """SAIL's rate over a run's, with the range that the run's own gives it."""
    band = "" if run["low"] is None else f" ({run['speedup_low']:.2f} .. {run['speedup_high']:.2f}x)"
    return f"**{run['speedup']:.2f}x**{band}"


def _in_gem5() -> str:
    """What gem5 itself says of the workload: this project's program with and without units."""
    wanted = {
        "model": ORDINARY.model,
        "weights": f"{ORDINARY.wbits}g{ORDINARY.group_size}",
        "batch": ORDINARY.batch,
        "context": ORDINARY.context,
        "threads": ORDINARY.threads,
        "cache": "fp16",
    }
    clock = load_system(ORDINARY.system).cores.clock.si
    rate = {
        row["linears"]: ORDINARY.batch * clock / sum(regions_together(row).values())
        for row in decode_rows()
        if all(row[name] == value for name, value in wanted.items())
    }
    units, cores = rate["lutmm"], rate["neon"]
    return (
        "In gem5, where a program of this project runs on both sides, with kernels faster than any of these, "
        f"the same step is **{units / cores:.1f}x** as fast with units ({units:.1f} and {cores:.1f} "
        "tokens/s)."
    )


def _header() -> tuple[str, ...]:
    title = load_model(ORDINARY.model).title
    what = f"{title}, {ORDINARY.wbits} bits, batch {ORDINARY.batch}, context {ORDINARY.context}"
    return (what, *COLUMNS)


def _rows(some: Mapping[str, Any], whole: Mapping[str, Any]) -> tuple[tuple[object, ...], ...]:
    rows: list[tuple[object, ...]] = []
    for runs, cores in ((some, f"{ORDINARY.threads} cores"), (whole, f"{_cores()} cores")):
        rows += [_row(f"{cores}, {_title(runs[name])}", runs[name]) for name in ("sail", "fast", *BESIDE)]
        if runs is some:  # the program was run with as many threads, not with more
            rows += [_row(f"{cores}, {_title(runs[name])}", runs[name]) for name in ("ours", OURS)]
    rows += [_row(some[name]["title"], some[name]) for name in CARDS]
    return tuple(rows)


def _fastest(runs: Mapping[str, Any]) -> Mapping[str, Any]:
    """Of the software on the cores."""
    beside: list[Mapping[str, Any]] = [runs[name] for name in BESIDE]
    return max(beside, key=lambda run: float(run["tokens_per_s"]))


def _title(run: Mapping[str, Any]) -> str:
    return str(run["title"]).removeprefix("cores, ")


def _row(name: str, run: Mapping[str, Any]) -> tuple[object, ...]:
    own = run["kind"] == "accelerator"
    joules, most = run["j_per_token"], run["j_per_token_high"]
    dollars, over = run["tokens_per_usd_used"], run["usd_ratio_used"]
    at_most = "" if most is None else f"at most {most:.2g}"
    return (
        name,
        _rate(run),
        "" if run["low"] is None else f"{run['low']:.0f} .. {run['high']:.0f}",
        "" if own else f"{run['speedup']:.2f}x",
        "" if dollars is None else three_digits(dollars / 1e3),
        "" if own or over is None else f"{over:.2f}x",
        at_most if joules is None else f"{joules:.2g}",
    )


def _rate(run: Mapping[str, Any]) -> str:
    return f"{run['tokens_per_s']:.1f}"
