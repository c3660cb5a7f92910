"""The page of a paper's claims together and its figure, from what `sailsim joint` found."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sailsim.analysis.paper.claims import SHIPPED, ClaimMetric, load_paper
from sailsim.analysis.paper.joint import CANDIDATES, PRIORS, PSEUDO_SPREAD
from sailsim.analysis.paper.joint_nearest import commands
from sailsim.analysis.paper.unknowns import space
from sailsim.analysis.render.joint_figure import FILE, joint_figure
from sailsim.analysis.render.markdown import table, written
from sailsim.analysis.render.reproduction_words import number, shown
from sailsim.analysis.render.style import save
from sailsim.base.atomic import write_whole

Joint = Mapping[str, Any]
STORED = "joint.jsonl"
"""The results behind docs/reproduction.md, in `analysis/data`."""
PAGE = "joint.md"
WHERE = {"highest": "each at its own highest", "one workload": "all at one workload"}
MOST_PINNED = 12
"""Unknowns of a table, the most uneven ones."""


def summary(results: Joint) -> list[str]:
    """What came out, a line each."""
    near = results["nearest"]
    lines = [
        f"{prior}: {found['within']['1.25']} of {results['machines']} machines are within 1.25 times all "
        f"{len(results['claims'])} numbers by any of {results['combinations']} combinations of readings, "
        f"{found['primary_within']['1.25']} by the first of each; the nearest is within "
        f"{found['best']['factor']} times"
        for prior, found in results["priors"].items()
    ]
    return [*lines, f"{near['file']}: within {near['factor']} times, from {near['from']}"]


def markdown(results: Joint) -> str:
    """The whole page; its words are those of the template `joint.md.jinja`."""
    near, priors = results["nearest"], results["priors"]
    places = {row["at"] for row in near["reading"]["best"]["rows"] if row["at"]}
    return written(
        "joint.md.jinja",
        **{name: results[name] for name in ("machines", "seed", "combinations", "groups")},
        declared=results["declared"],
        options=_options(results),
        shipped=not _options(results),
        where=[WHERE[each] for each in results["where"]],
        priors=list(priors),
        alone=_alone(results),
        reached=_reached(results),
        tied=_tied(results),
        within=_within(results),
        figure=FILE,
        pseudo=len(next(iter(priors.values()))["pseudo"]),
        spread=f"{PSEUDO_SPREAD:g}",
        invented=[_invented(prior, found) for prior, found in priors.items()],
        posteriors=[_posterior(prior, found) for prior, found in priors.items()],
        named=[_named(results, one) for one in (*results["beside"], near["reading"])],
        near=near,
        commands=commands(near, space(results["paper"], list(priors)[-1]), sorted(places)),
        stands=_stands(results),
        candidate=CANDIDATES[0],
    )


def _options(results: Joint) -> str:
    """The command's options that are not as they are by default: empty where all is as it ships."""
    found = "" if results["paper"] == SHIPPED else f" --paper {results['paper']}"
    if list(results["priors"]) != list(PRIORS):
        found += "".join(f" --prior {prior}" for prior in results["priors"])
    return found if results["declared"] == SHIPPED else f"{found} --combinations {results['declared']}"


def _alone(results: Joint) -> str:
    """Each claim's distribution under each prior."""
    rows = []
    for i, claim in enumerate(results["claims"]):
        row = [claim["short"], number(claim["paper"], claim["unit"])]
        for found in results["priors"].values():
            own = found["claims"][i]
            low, middle, high = own["quantiles"]
            row += [
                f"{number(middle, claim['unit'])} ({number(low)} .. {number(high)})",
                _percent(own["reach"], results["machines"]),
            ]
        rows.append(row)
    head = ["claim", "paper"]
    for prior in results["priors"]:
        head += [f"`{prior}`: median (5 .. 95 %)", "reach it"]
    return table(head, rows, "lr" + "rr" * len(results["priors"]))


def _reached(results: Joint) -> str:
    """How many claims machines reach at once."""
    claims = len(results["claims"])
    rows = [
        (f"`{prior}`", *(_percent(n, results["machines"]) for n in found["reached"]))
        for prior, found in results["priors"].items()
    ]
    return table(("prior", *(f"{n} of {claims}" for n in range(claims + 1))), rows, "l" + "r" * (claims + 1))


def _tied(results: Joint) -> str:
    """Rank correlations under the first prior."""
    names = [claim["short"] for claim in results["claims"]]
    found = next(iter(results["priors"].values()))["correlation"]
    rows = [
        (name, *("" if j > i else f"{value:+.2f}" for j, value in enumerate(row)))
        for i, (name, row) in enumerate(zip(names, found, strict=True))
    ]
    return table(("", *names), rows, "l" + "r" * len(names))


def _within(results: Joint) -> str:
    """How many machines are near all claims."""
    rows, priors = [], results["priors"]
    for prior, found in priors.items():
        ways = (("any combination", found["within"]), ("first readings", found["primary_within"]))
        rows += [(f"`{prior}`", words, *map(str, counts.values())) for words, counts in ways]
    factors = list(next(iter(priors.values()))["within"])
    return table(("prior", "by", *(f"{f} times" for f in factors)), rows, "ll" + "r" * len(factors))


def _invented(prior: str, found: Joint) -> str:
    """How invented papers fared beside the paper."""
    pseudo, nearest = found["pseudo"], found["best"]["factor"]
    as_near = sum(1 for each in pseudo if each is not None and nearest is not None and each <= nearest)
    known = sorted(each if each is not None else float("inf") for each in pseudo)
    return (
        f"under `{prior}` {as_near} had a machine as near as the paper has ({nearest} times), and half of "
        f"them one within {known[len(known) // 2]:.3g} times"
    )


def _posterior(prior: str, found: Joint) -> dict[str, Any]:
    """The unknowns of the machines nearest to all claims."""
    pinned = [row for row in found["posterior"] if row["pinned"]]
    rows = [
        (
            f"`{row['factor']}`",
            row["span"],
            shown(row["nominal"]),
            shown(row["values"][1]),
            f"{shown(row['values'][0])} .. {shown(row['values'][2])}",
            float(row["gap"]),
        )
        for row in pinned[:MOST_PINNED]
    ]
    head = ("unknown", "drawn from", "nominal", "median there", "5 .. 95 %", "gap")
    return {
        "prior": prior,
        "accepted": found["accepted"],
        "within": found["accepted_within"],
        "pinned": len(pinned),
        "unknowns": len(found["posterior"]),
        "free": len(found["posterior"]) - len(pinned),
        "table": table(head, rows, "lllllr") if rows else "",
    }


def _named(results: Joint, one: Joint) -> dict[str, Any]:
    """A machine by its name: what it changes, how near it is, and its claims."""
    claims = {claim["name"]: claim for claim in results["claims"]}
    rows = [
        (
            claims[row["claim"]]["short"],
            number(claims[row["claim"]]["paper"], claims[row["claim"]]["unit"]),
            number(first["value"], claims[row["claim"]]["unit"]),
            first["at"] or "-",
            number(row["value"], claims[row["claim"]]["unit"]),
            row["at"] or "-",
            row["words"],
        )
        for row, first in zip(one["best"]["rows"], one["primary"]["rows"], strict=True)
    ]
    head = ("claim", "paper", "first reading", "at", "best combination", "at", "reading")
    return {
        "name": one["name"],
        "changed": ", ".join(f"{name} = {shown(value)}" for name, value in one["changes"].items()),
        "factor": one["factor"],
        "primary_factor": one["primary_factor"],
        "where": WHERE[one["best"]["where"]],
        "count": one["combinations_within"],
        "table": table(head, rows, "lrrlrll"),
    }


def _stands(results: Joint) -> str:
    """Of every number of the nearest machine, where its commands' answers have it."""
    paper, reading = load_paper(results["paper"]), results["nearest"]["reading"]
    shorts = {claim["name"]: (claim["short"], claim["unit"]) for claim in results["claims"]}
    rows: dict[tuple[str, ...], None] = {}
    for row in (*reading["primary"]["rows"], *reading["best"]["rows"]):
        claim = next(each for each in paper.claim if each.name == row["claim"])
        metric = next(each for each in claim.metric if each.words == row["words"])
        short, unit = shorts[row["claim"]]
        value = number(row["value"], unit)
        rows[short, row["words"], row["at"] or "-", value, stands_at(metric)] = None
    return table(("claim", "reading", "at", "is", "where"), list(rows), "lllrl")


def stands_at(metric: ClaimMetric) -> str:
    """Where `sailsim` says a number of a machine: a field of an answer, two of them, or another command."""
    if metric.field:
        return f"`{metric.field}`"
    if metric.metric == "saving":
        field = "step_s" if metric.saved == "step_s" else f"counts.{metric.saved}"
        return f"1 - `runs.sail.{field}` over that with `--no-{metric.without}`"
    return "`sailsim show system`, its last line" if metric.primary else "[areas](cost.md#area)"


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.2g} %" if part else "0"


def write_page(results: Joint, folder: Path) -> list[Path]:
    """Write page and figure to a folder; returns the paths. Raises OSError where one cannot be written."""
    written: list[Path] = save(
        joint_figure(results), folder / "figures" / FILE, folder / "figures" / FILE.replace("png", "svg")
    )
    write_whole(folder / PAGE, markdown(results).encode())
    return [*written, folder / PAGE]
