"""The pages of `claims reproduce` and `claims joint` as Markdown, with their figures, from their results
alone.

The words are those of the templates `reproduction.md.jinja` and `joint.md.jinja`; reasons for what disagrees
are the claims' (`data/claims`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sailsim.analysis.paper.claims import SHIPPED, Claim, ClaimMetric, load_paper
from sailsim.analysis.paper.joint import CANDIDATES, PRIORS, PSEUDO_SPREAD
from sailsim.analysis.paper.study import run_command
from sailsim.analysis.paper.unknowns import space
from sailsim.analysis.render.claims_figures import TITLES, draw, joint_figure
from sailsim.analysis.render.claims_words import Study, claims_of, number, primary, share, shown, verdict
from sailsim.analysis.render.markdown import table, written
from sailsim.analysis.render.style import save
from sailsim.base.atomic import write_whole

WHERE = {"highest": "each at its own highest", "one workload": "all at one workload"}
MOST_PINNED = 12
"""Unknowns of a table, the most uneven ones."""


def write_reproduction(study: Study, folder: Path) -> Path:
    """Write page and figures of `reproduce` to a folder; returns the page. Raises OSError."""
    for name in TITLES:
        save(draw(name, study), *(folder / "figures" / f"{name}.{kind}" for kind in ("svg", "png")))
    write_whole(folder / "reproduction.md", reproduction_page(study).encode())
    return folder / "reproduction.md"


def write_joint(study: Study, folder: Path) -> Path:
    """Write page and figure of `joint` to a folder; returns the page. Raises OSError."""
    save(joint_figure(study), *(folder / "figures" / f"joint.{kind}" for kind in ("svg", "png")))
    write_whole(folder / "joint.md", joint_page(study).encode())
    return folder / "joint.md"


def _quantiles(values: Sequence[float] | None, unit: str) -> str:
    if values is None:
        return "-"
    low, middle, high = values
    return f"{number(middle, unit)} ({number(low)} .. {number(high)})"


# --- Each claim by itself ---


def reproduction_page(study: Study) -> str:
    """The page of `reproduce`."""
    claims = claims_of(study)
    summary = []
    for claim, results in claims:
        main, unit = primary(results), claim.unit
        up_to = "up to " if claim.aggregation == "highest" else ""
        summary.append(
            (
                claim.title,
                up_to + number(claim.value, unit),
                number(main["nominal"], unit),
                main["nominal_at"] or "-",
                _quantiles(main["quantiles"], unit),
                _quantiles(main["fixed_quantiles"], unit),
                share(main["reach"], main["machines"]),
                verdict(claim, results),
            )
        )
    head = ("claim", "paper", "nominal here", "at", "machines: median (5 .. 95 %)", "same, fixed workload")
    factors = [
        (
            f["name"],
            "fitted" if f["span"].endswith("(normal)") else shown(f["nominal"]),
            *(f[name] for name in ("span", "unit", "reason")),
        )
        for f in study["factors"]
    ]
    return written(
        "reproduction.md.jinja",
        study=study,
        titles=TITLES,
        summary=table((*head, "reach the paper's", "verdict"), summary),
        facts=_table(("also claimed", "paper", "here"), (f.values() for f in study["facts"])),
        disagreements=[_disagreement(claim, results) for claim, results in claims],
        claims=[_claim(claim, results) for claim, results in claims],
        workloads=table(
            ("workload", "decides", "why"),
            [(w["name"], "yes" if w["decides"] else "", w["reason"]) for w in study["workloads"]],
        ),
        held=_table(("held equal", "value", "why"), (h.values() for h in study["held"])),
        factors=table(("factor", "nominal", "range or choices", "unit", "why"), factors),
    )


def _table(head: Sequence[str], rows: Iterable[Iterable[object]]) -> str:
    """A table; nothing where there are no rows."""
    lines = [tuple(row) for row in rows]
    return table(head, lines) if lines else ""


def _disagreement(claim: Claim, results: Study) -> str:
    """A sentence from a claim's numbers, followed by the reasons that are known."""
    nominal = number(primary(results)["nominal"], claim.unit)
    return (
        f"**{claim.short}** (paper {number(claim.value, claim.unit)}, nominal {nominal}): "
        f"{verdict(claim, results)}. " + " ".join(claim.why)
    )


def _claim(claim: Claim, results: Study) -> dict[str, str]:
    unit, near = claim.unit, results["nearest"]
    readings = [
        (
            r["words"],
            number(r["nominal"], unit),
            r["nominal_at"] or "-",
            _quantiles(r["quantiles"], unit),
            _quantiles(r["fixed_quantiles"], unit),
            number(r["most"], unit),
            share(r["reach"], r["machines"]),
        )
        for r in results["readings"]
    ]
    deciding = [
        (
            d["factor"],
            f"{d['total']:.2f} ± {d['total_conf']:.2f}",
            f"{d['first']:.2f}",
            f"{number(d['low'], unit)} at {d['low_at']}",
            f"{number(d['high'], unit)} at {d['high_at']}",
        )
        for d in results["decides"]
    ]
    designs = [
        (a["name"], number(a["nominal"], unit), _quantiles(a["quantiles"], unit), a["reason"])
        for a in results["alternatives"]
    ]
    changes = [
        f"{path} = {shown(c['value'])} (nominal {shown(c['was'])})" for path, c in near["changes"].items()
    ]
    where = f" on {near['workload']}" if claim.aggregation == "highest" else ""
    return {
        "title": f"{claim.title[0].upper()}{claim.title[1:]}: {number(claim.value, unit)}",
        "readings": table(
            ("reading", "nominal", "at", "median (5 .. 95 %)", "fixed workload", "best", "reach"), readings
        ),
        "decides": _table(
            ("what decides it", "total index", "first order", "low end: median", "high end: median"), deciding
        ),
        "alternatives": _table(
            ("another design on the same machines", "nominal", "median (5 .. 95 %)", "why not assumed"),
            designs,
        ),
        "nearest": f"{number(near['value'], unit, 4)}{where}, with "
        f"{', '.join(changes) or 'nothing changed'}. "
        f"File: `systems/{near['file']}`. "
        + (f"`{near['find']}` of:" if near["find"] else claim.primary.how),
        "commands": "\n".join(near["commands"]),
    }


# --- All claims at once ---


def summary(results: Study) -> list[str]:
    """What came out of `joint`, a line each."""
    near = results["nearest"]
    lines = [
        f"{prior}: {of_prior['within']['1.25']} of {results['machines']} machines are within 1.25 times all "
        f"{len(results['claims'])} numbers by any of {results['combinations']} combinations of readings, "
        f"{of_prior['primary_within']['1.25']} by the first of each; the nearest is within "
        f"{of_prior['best']['factor']} times"
        for prior, of_prior in results["priors"].items()
    ]
    return [*lines, f"{near['file']}: within {near['factor']} times, from {near['from']}"]


def joint_page(results: Study) -> str:
    """The page of `joint`."""
    near, priors = results["nearest"], results["priors"]
    places = {row["at"] for row in near["reading"]["best"]["rows"] if row["at"]}
    workloads = space(results["paper"], list(priors)[-1]).workloads
    options = _options(results)
    return written(
        "joint.md.jinja",
        **{name: results[name] for name in ("machines", "seed", "combinations", "groups", "declared")},
        options=options,
        shipped=not options,
        where=[WHERE[each] for each in results["where"]],
        priors=list(priors),
        **_tables(results),
        pseudo=len(next(iter(priors.values()))["pseudo"]),
        spread=f"{PSEUDO_SPREAD:g}",
        invented=[_invented(prior, of_prior) for prior, of_prior in priors.items()],
        posteriors=[_posterior(prior, of_prior) for prior, of_prior in priors.items()],
        named=[_named(results, one) for one in (*results["beside"], near["reading"])],
        near=near,
        commands=[run_command(near["file"], w, near["group_size"]) for w in workloads if w.name in places],
        stands=_stands(results),
        candidate=CANDIDATES[0],
    )


def _options(results: Study) -> str:
    """The command's options that are not as they are by default: empty where all is as it ships."""
    options = "" if results["paper"] == SHIPPED else f" --paper {results['paper']}"
    if list(results["priors"]) != list(PRIORS):
        options += "".join(f" --prior {prior}" for prior in results["priors"])
    return options if results["declared"] == SHIPPED else f"{options} --combinations {results['declared']}"


def _tables(results: Study) -> dict[str, str]:
    """Each claim's distribution under each prior; how many claims machines reach at once; rank correlations
    under the first prior; how many machines are near all claims."""
    priors: Mapping[str, Any] = results["priors"]
    count, machines = len(results["claims"]), results["machines"]
    head, alone = ["claim", "paper"], []
    for prior in priors:
        head += [f"`{prior}`: median (5 .. 95 %)", "reach it"]
    for i, claim in enumerate(results["claims"]):
        row = [claim["short"], number(claim["paper"], claim["unit"])]
        for of_prior in priors.values():
            own = of_prior["claims"][i]
            row += [_quantiles(own["quantiles"], claim["unit"]), _percent(own["reach"], machines)]
        alone.append(row)
    reached = [
        (f"`{prior}`", *(_percent(n, machines) for n in each["reached"])) for prior, each in priors.items()
    ]
    names = [claim["short"] for claim in results["claims"]]
    tied = [
        (name, *("" if j > i else f"{value:+.2f}" for j, value in enumerate(row)))
        for i, (name, row) in enumerate(zip(names, next(iter(priors.values()))["correlation"], strict=True))
    ]
    within = []
    for prior, of_prior in priors.items():
        for words, name in (("any combination", "within"), ("first readings", "primary_within")):
            within.append((f"`{prior}`", words, *map(str, of_prior[name].values())))
    factors = list(next(iter(priors.values()))["within"])
    return {
        "alone": table(head, alone, "lr" + "rr" * len(priors)),
        "reached": table(
            ("prior", *(f"{n} of {count}" for n in range(count + 1))), reached, "l" + "r" * (count + 1)
        ),
        "tied": table(("", *names), tied, "l" + "r" * len(names)),
        "within": table(("prior", "by", *(f"{f} times" for f in factors)), within, "ll" + "r" * len(factors)),
    }


def _invented(prior: str, of_prior: Study) -> str:
    """How invented papers fared beside the paper."""
    nearest = of_prior["best"]["factor"]
    pseudo = sorted(each if each is not None else float("inf") for each in of_prior["pseudo"])
    as_near = sum(1 for each in pseudo if nearest is not None and each <= nearest)
    return (
        f"under `{prior}` {as_near} had a machine as near as the paper has ({nearest} times), and half of "
        f"them one within {pseudo[len(pseudo) // 2]:.3g} times"
    )


def _posterior(prior: str, of_prior: Study) -> dict[str, Any]:
    """The unknowns of the machines nearest to all claims."""
    pinned = [row for row in of_prior["posterior"] if row["pinned"]]
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
        "accepted": of_prior["accepted"],
        "within": of_prior["accepted_within"],
        "pinned": len(pinned),
        "unknowns": len(of_prior["posterior"]),
        "free": len(of_prior["posterior"]) - len(pinned),
        "table": table(head, rows, "lllllr") if rows else "",
    }


def _named(results: Study, one: Study) -> dict[str, Any]:
    """A machine by its name: what it changes, how near it is, and its claims."""
    claims = {claim["name"]: claim for claim in results["claims"]}
    rows = []
    for row, first in zip(one["best"]["rows"], one["primary"]["rows"], strict=True):
        claim = claims[row["claim"]]
        values = [number(each, claim["unit"]) for each in (claim["paper"], first["value"], row["value"])]
        rows.append(
            (claim["short"], *values[:2], first["at"] or "-", values[2], row["at"] or "-", row["words"])
        )
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


def _stands(results: Study) -> str:
    """Of every number of the nearest machine, where its commands' answers have it."""
    paper, reading = load_paper(results["paper"]), results["nearest"]["reading"]
    rows: dict[tuple[str, ...], None] = {}
    for row in (*reading["primary"]["rows"], *reading["best"]["rows"]):
        claim = paper.by_name(row["claim"])
        metric = next(each for each in claim.metric if each.words == row["words"])
        value = number(row["value"], claim.unit)
        rows[claim.short, row["words"], row["at"] or "-", value, stands_at(metric)] = None
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
