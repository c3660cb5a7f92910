"""README's first screen: what SAIL gives at an ordinary workload, beside the strongest that it could be
compared with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from sailsim.analysis.baselines.runners import named, packed, shipped_runners
from sailsim.analysis.baselines.simulated_rows import decode_rows
from sailsim.analysis.baselines.simulated_steps import HOST
from sailsim.analysis.paper.unknowns import load_unknowns
from sailsim.analysis.render.gem5_decode_steps import regions_together
from sailsim.analysis.render.markdown import table, three_digits
from sailsim.analysis.results.compare import compare
from sailsim.sim import Point, load_system
from sailsim.workloads import load_model

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


@dataclass(frozen=True)
class Answer:
    """What SAIL gives at the ordinary workload.

    Attributes:
        sentence: the answer with its range; Markdown whose only marks are those of bold words.
        header: the columns of the table; the first one says the workload.
        rows: a row a machine.
    """

    sentence: str
    header: tuple[str, ...]
    rows: tuple[tuple[object, ...], ...]


def answer() -> Answer:
    """The answer that README and the report give."""
    every = replace(ORDINARY, threads=_cores())
    # The whole server runs as many processes of a software as are the fastest.
    asked = ((ORDINARY, shipped_runners()), (every, packed(shipped_runners())))
    some, whole = (compare(at, runners=them)["runs"] | _other_hosts(at) for at, them in asked)
    return Answer(_sentence(some, whole), _header(), _rows(some, whole))


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
    return (what, "tokens/s", "nine of ten", "SAIL is", "ktokens/USD", "SAIL gives", "J a token")


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
    joules = run["j_per_token"]
    return (
        name,
        _rate(run),
        "" if run["low"] is None else f"{run['low']:.0f} .. {run['high']:.0f}",
        "" if own else f"{run['speedup']:.2f}x",
        three_digits(run["tokens_per_usd_used"] / 1e3),
        "" if own else f"{run['usd_ratio_used']:.2f}x",
        f"at most {run['j_per_token_high']:.2g}" if joules is None else f"{joules:.2g}",
    )


def _rate(run: Mapping[str, Any]) -> str:
    return f"{run['tokens_per_s']:.1f}"
