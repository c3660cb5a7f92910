"""The answer of a study: what SAIL gives at one of its points, compared with the strongest alternatives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sailsim.analysis.results.compare import POINT, mixes
from sailsim.analysis.results.equal_quality import ABITS, KV_BITS, METHOD, measured
from sailsim.analysis.results.prior import load_unknowns
from sailsim.analysis.results.results import Runs, typical
from sailsim.analysis.results.runs import SAIL
from sailsim.base.errors import SailsimError
from sailsim.sim.pim import AUTO
from sailsim.sim.point import Point
from sailsim.workloads.load import FILE

_WORKLOAD = next(each for each in load_unknowns().workload if each.fixed)
ORDINARY = _WORKLOAD.point(Point().system, 128, True).having(convert=AUTO)
"""The workload that the reproduction holds fixed: the middle of everything, with a scale for 128 weights, and
sums that become floating point where SAIL is the fastest."""
FORMATS = ("q4_k_m", "4g128")
"""Of the answer: what people run, in which llama.cpp was measured on these cores, and what suits SAIL."""
BESIDE = ("cores", "cores-ampere", "cores-lut")
"""Measured software on the same threads."""
SIMULATION = "cores-neon"
"""This project's kernels on the same threads, which gem5 alone has run."""
CARDS = ("v100", "v100-serving", "a10g-serving")
"""The paper's card with llama.cpp and with a serving stack, and the one that gives most tokens per dollar."""
DRAWN_FIRST = (SAIL, "sail-ampere", "sail-neon", *BESIDE, SIMULATION, "cores-all-best", *CARDS)
"""Runners of the answer's table and figure; a user's own stand there too."""
COLUMNS = ("tokens/s", "SAIL is", "SAIL gives")
"""Of a format: the rate and its range, SAIL's rate and its tokens per dollar over the row's."""
_PLACES = {"memory": " in memory", "unit": " in the units", "cores": " on the cores"}


def nearest_to_ordinary(results: Runs) -> dict[str, Any]:
    """The point of a study's answer: the ordinary workload, as far as the store has it, else the store's
    reference. Raises SailsimError for a store without a point that SAIL can run."""
    rows = results.frame[results.frame["runner"] == SAIL]
    if rows["tokens_per_s"].isna().all():
        why = f" ({rows['reason'].iloc[0]})" if len(rows) else ""
        raise SailsimError(f"the study has no point that SAIL can run{why}; allowed is one with some.")
    return typical(rows[rows["tokens_per_s"].notna()], POINT, ORDINARY.as_dict(), results.reference)


def lost() -> str:
    """What the measured model loses with weights like those of `FORMATS`, in a sentence."""
    points = measured()
    points = points[(points.abits == ABITS) & (points.kv_bits == KV_BITS) & (points.method == METHOD)]
    loss = dict(zip(points.weights, points.loss, strict=True))
    return (
        f"SmolLM2-135M loses {loss[FILE]:.2f} nats a token as its file is stored (Q4_1; q4_k_m was not "
        f"measured), rounded again to 4g128 {loss['4']:.2f}."
    )


def sentence(prompts: bool, runs: Mapping[str, Mapping[str, Any]], weights: str = "") -> str:
    """SAIL's rate at a point, and its ratios over those that ran the point too; bold words are between stars.

    With ``prompts`` the rates are of tokens that are read. ``runs`` are those with a rate
    (`compare.entries`), SAIL among them; ``weights`` names their format where there are several."""
    sail = runs[SAIL]
    does = "reads prompts at" if prompts else "decodes"
    text = f"With {sail['cores']} threads on the cores{f' and {weights}' if weights else ''}, SAIL {does} "
    text += _of_machines(sail)
    if sail["converted"]:
        text += f", with sums converted{_PLACES[sail['converted']]}"
    text += "."
    beside = [runs[name] for name in BESIDE if name in runs]
    best = max(beside, key=lambda run: float(run["tokens_per_s"]), default=None)
    over = []
    if "cores" in runs and runs["cores"] is not best:
        over.append(f"{times(runs['cores'])} what llama.cpp reaches on as many threads")
    if best is not None:
        title = str(best["title"]).removeprefix("cores, ")
        over.append(f"{times(best)} what the fastest measured software does ({title}{_shared(best, runs)})")
    if SIMULATION in runs:
        ours = runs[SIMULATION]
        over.append(
            f"{times(ours)} what this project's kernels do, which nobody ran but a simulator"
            f"{_shared(ours, runs)}"
        )
    if "cores-all-best" in runs:
        every = runs["cores-all-best"]
        over.append(
            f"{times(every)} what the fastest measured software reaches on all {every['cores']} cores"
            f"{_shared(every, runs)}"
        )
    if over:
        text += f" That is {'; '.join(over)}."
    if "v100" in runs:
        card = runs["v100"]
        text += f" It is {times(card)} of a V100's tokens/s"
        given = dollars(card)
        if given is not None:
            text += f" and **{given:.2f}x** of its tokens per dollar, where SAIL pays for its threads' vCPUs"
        text += "."
    return text


def _shared(run: Mapping[str, Any], runs: Mapping[str, Mapping[str, Any]]) -> str:
    """Whose attention SAIL's cores run in a ratio, where it is not as in its nominal row."""
    if run["speedup_of"] != SAIL:
        return f", where SAIL's cores run its attention too: {rate(runs[run['speedup_of']])} tokens/s"
    return ", with other attention than SAIL's" if mixes(run) else ""


def table(
    what: str, formats: Mapping[str, Mapping[str, Mapping[str, Any]]], names: Sequence[str]
) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Header and rows of the runners by their names, with `COLUMNS` for each format's runs."""
    several = len(formats) > 1
    header = [f"{each}: {column}" if several else column for each in formats for column in COLUMNS]
    rows = []
    for name in names:
        own = [runs.get(name) for runs in formats.values()]
        title = next((run["title"] for run in own if run is not None), None)
        if title is not None:
            rows.append((str(title), *(cell for run in own for cell in cells(name, run))))
    return (what, *header), rows


def cells(name: str, run: Mapping[str, Any] | None) -> tuple[str, ...]:
    """`COLUMNS` of a runner by its name; None: it cannot run the point."""
    if run is None:
        return ("-", *[""] * (len(COLUMNS) - 1))
    if run["speedup_of"] == name:
        return rate(run), "", ""
    gives, other = dollars(run), ", other attention" if mixes(run) else ""
    return rate(run), times(run).replace("*", "") + other, "" if gives is None else f"{gives:.2f}x"


def rate(run: Mapping[str, Any]) -> str:
    """Tokens a second of the nominal machine, with the median where one is known, and the range."""
    known = "" if run["median"] is None else f"median {run['median']:.0f}, "
    ends = "" if run["low"] is None else f" ({known}{run['low']:.0f} .. {run['high']:.0f})"
    return f"{run['tokens_per_s']:.1f}{ends}"


def times(run: Mapping[str, Any]) -> str:
    """SAIL's median rate over a run's, its only one where it has no band, with the range of both sides."""
    ends = f" ({run['speedup_low']:.2f} .. {run['speedup_high']:.2f}x)"
    return f"**{_middle(run):.2f}x**{ends if run['speedup_low'] < run['speedup_high'] else ''}"


def dollars(run: Mapping[str, Any]) -> float | None:
    """The same of tokens per dollar, paid by threads: an hour then costs the same at any rate."""
    nominal = run["usd_ratio_used"]
    return None if nominal is None else float(nominal * _middle(run) / run["speedup"])


def _middle(run: Mapping[str, Any]) -> float:
    return float(run["speedup"] if run["speedup_median"] is None else run["speedup_median"])


def _of_machines(run: Mapping[str, Any]) -> str:
    """SAIL's rate: the median and the ends of its band, and the nominal machine's place."""
    if run["median"] is None:
        return f"{run['tokens_per_s']:.1f} tokens/s"
    return (
        f"**{run['median']:.1f}** tokens/s ({run['low']:.0f} .. {run['high']:.0f}: nine of ten machines that "
        f"may be meant; {run['tokens_per_s']:.1f} on the nominal one, percentile {run['percentile']:.0f})"
    )
