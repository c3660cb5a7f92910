"""The answer of a study: what SAIL gives at one of its points, compared with the strongest alternatives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sailsim.analysis.results.compare import POINT
from sailsim.analysis.results.prior import load_unknowns
from sailsim.analysis.results.results import Runs, typical
from sailsim.analysis.results.runs import SAIL
from sailsim.base.errors import SailsimError
from sailsim.sim.point import Point

ORDINARY = next(each for each in load_unknowns().workload if each.fixed).point(Point().system, 128, True)
"""The workload that the reproduction holds fixed: the middle of everything, with a scale for 128 weights."""
BESIDE = ("cores", "cores-ampere", "cores-lut")
"""Software on the same threads."""
CARDS = ("v100", "v100-serving", "a10g-serving")
"""The paper's card with llama.cpp and with a serving stack, and the one that gives most tokens per dollar."""
DRAWN_FIRST = (SAIL, *BESIDE, "cores-all-best", *CARDS)
"""Runners of the answer's table and figure; a user's own stand there too."""
COLUMNS = ("tokens/s", "nine of ten", "SAIL is", "ktokens/USD", "SAIL gives", "J a token")


def nearest_to_ordinary(results: Runs) -> dict[str, Any]:
    """The point of a study's answer: the ordinary workload, as far as the store has it, else the store's
    reference. Raises SailsimError for a store without a point that SAIL can run."""
    rows = results.frame[results.frame["runner"] == SAIL]
    if rows["tokens_per_s"].isna().all():
        why = f" ({rows['reason'].iloc[0]})" if len(rows) else ""
        raise SailsimError(f"the study has no point that SAIL can run{why}; allowed is one with some.")
    return typical(rows[rows["tokens_per_s"].notna()], POINT, ORDINARY.as_dict(), results.reference)


def sentence(prompts: bool, runs: Mapping[str, Mapping[str, Any]]) -> str:
    """SAIL's rate at a point, and its ratios over those that ran the point too; bold words are between stars.

    With ``prompts`` the rates are of tokens that are read. ``runs`` are those with a rate
    (`compare.entries`), SAIL among them."""
    sail = runs[SAIL]
    does = "reads prompts at" if prompts else "decodes"
    text = f"With {sail['cores']} threads on the cores, SAIL {does} {_rate(sail)}."
    beside = [runs[name] for name in BESIDE if name in runs]
    best = max(beside, key=lambda run: float(run["tokens_per_s"]), default=None)
    over = []
    if "cores" in runs and runs["cores"] is not best:
        over.append(f"{_speedup(runs['cores'])} what llama.cpp reaches on as many threads")
    if best is not None:
        title = str(best["title"]).removeprefix("cores, ")
        over.append(f"{_speedup(best)} what the fastest software does ({title})")
    if "cores-all-best" in runs:
        every = runs["cores-all-best"]
        over.append(f"{_speedup(every)} what the fastest software reaches on all {every['cores']} cores")
    if over:
        text += f" That is {'; '.join(over)}."
    if "v100" in runs:
        card = runs["v100"]
        text += f" It is {_speedup(card)} of a V100's tokens/s"
        if card["usd_ratio_used"] is not None:
            # Paid by threads an hour costs the same at any rate.
            dollars = card["usd_ratio_used"] * card["speedup_median"] / card["speedup"]
            text += (
                f" and **{dollars:.2f}x** of its tokens per dollar, where SAIL pays for its threads' vCPUs"
            )
        text += "."
    return text


def row(name: str, run: Mapping[str, Any]) -> tuple[object, ...]:
    """One runner by a name: `COLUMNS` behind it."""
    own = run["kind"] == "accelerator"
    joules, most = run["j_per_token"], run["j_per_token_high"]
    dollars, over = run["tokens_per_usd_used"], run["usd_ratio_used"]
    at_most = "" if most is None else f"at most {most:.2g}"
    thousands = (
        "" if dollars is None else f"{dollars / 1e3:,.0f}" if dollars >= 1e6 else f"{dollars / 1e3:.3g}"
    )
    return (
        name,
        f"{run['tokens_per_s']:.1f}",
        "" if run["low"] is None else f"{run['low']:.0f} .. {run['high']:.0f}",
        "" if own else f"{run['speedup']:.2f}x",
        thousands,
        "" if own or over is None else f"{over:.2f}x",
        at_most if joules is None else f"{joules:.2g}",
    )


def _rate(run: Mapping[str, Any]) -> str:
    """SAIL's rate: the median and the ends of its band, and the nominal machine's place."""
    if run["median"] is None:
        return f"{run['tokens_per_s']:.1f} tokens/s"
    return (
        f"**{run['median']:.1f}** tokens/s ({run['low']:.0f} .. {run['high']:.0f}: nine of ten machines that "
        f"may be meant; {run['tokens_per_s']:.1f} on the nominal one, percentile {run['percentile']:.0f})"
    )


def _speedup(run: Mapping[str, Any]) -> str:
    """SAIL's median rate over a run's, with the range that both bands give it."""
    ends = f" ({run['speedup_low']:.2f} .. {run['speedup_high']:.2f}x)"
    return f"**{run['speedup_median']:.2f}x**{ends if run['speedup_low'] < run['speedup_high'] else ''}"
