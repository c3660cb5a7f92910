"""The pages of `claims reproduce` and `claims joint` as Markdown, with their figures, from their results
alone.

The text is in the templates `reproduction.md.jinja` and `joint.md.jinja`, the reasons for disagreement in the
files of claims (`data/claims`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2

from sailsim.analysis.paper.claim import SHIPPED, ClaimMetric, load_paper
from sailsim.analysis.paper.claim_study import run_command
from sailsim.analysis.paper.joint import CANDIDATES, PRIORS, PSEUDO_SPREAD
from sailsim.analysis.paper.parameter_space import space
from sailsim.analysis.render.claims_figures import FIGURES, joint_figure
from sailsim.analysis.render.claims_words import Study, claims_of, number, primary, share, shown, verdict
from sailsim.analysis.render.figure import Figure, draw, save_captioned
from sailsim.base.atomic import write_whole


def render_page(template: str, **values: Any) -> str:
    """A page of Markdown from a template of the folder `page`.

    Nothing is escaped; ``| code`` sets a word as code, ``| cell`` keeps a text in its cell of a table. Runs
    of blank lines become one. Raises jinja2.UndefinedError for a name without a value.
    """
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined)
    environment.filters["code"] = "`{}`".format
    # A bar or a line's end would end a cell of a table.
    environment.filters["cell"] = lambda text: str(text or "-").replace("|", "\\|").replace("\n", " ")
    text = (files("sailsim.analysis.render") / "page" / template).read_text("utf-8")
    return re.sub(r"\n{3,}", "\n\n", environment.from_string(text).render(**values)).strip() + "\n"


def write_reproduction(study: Study, folder: Path) -> Path:
    """Write page and figures of `reproduce` to a folder; returns the page. Raises OSError."""
    return _write(
        folder / "reproduction.md",
        {name: declare(study) for name, declare in FIGURES.items()},
        study=study,
        claims=claims_of(study),
        primary=primary,
        share=share,
        verdict=verdict,
    )


def _write(path: Path, figures: Mapping[str, Figure], **values: Any) -> Path:
    """Write a page by the template of its name, and its figures into the folder beside it."""
    for name, figure in figures.items():
        save_captioned(figure, draw(figure), path.parent / "figures" / name)
    titles = {name: figure.title for name, figure in figures.items()}
    values |= {"titles": titles, "number": number, "quantiles": _quantiles, "shown": shown}
    write_whole(path, render_page(f"{path.name}.jinja", **values).encode())
    return path


def _quantiles(values: Sequence[float] | None, unit: str) -> str:
    if values is None:
        return "-"
    low, middle, high = values
    return f"{number(middle, unit)} ({number(low)} .. {number(high)})"


# --- All claims at once ---


def summary(results: Study) -> list[str]:
    """Results of `joint`, a line each."""
    near = results["nearest"]
    lines = [
        f"{prior}: {of_prior['within']['1.25']} of {results['machines']} machines are within 1.25 times all "
        f"{len(results['claims'])} numbers by any of {results['combinations']} combinations of definitions. "
        f"By the first of each {of_prior['primary_within']['1.25']} are. The nearest is within "
        f"{of_prior['best']['factor']} times"
        for prior, of_prior in results["priors"].items()
    ]
    return [*lines, f"{near['file']}: within {near['factor']} times, from {near['from']}"]


def write_joint(results: Study, folder: Path) -> Path:
    """Write page and figure of `joint` to a folder; returns the page. Raises OSError."""
    near, priors = results["nearest"], results["priors"]
    places = {row["at"] for row in near["reading"]["best"]["rows"] if row["at"]}
    workloads = space(results["paper"], list(priors)[-1]).workloads
    options = _options(results)
    return _write(
        folder / "joint.md",
        {"joint": joint_figure(results)},
        **{name: results[name] for name in ("machines", "seed", "combinations", "groups", "declared")},
        options=options,
        shipped=not options,
        where=results["where"],
        priors=priors,
        pseudo=len(next(iter(priors.values()))["pseudo"]),
        spread=f"{PSEUDO_SPREAD:g}",
        invented={prior: _invented(of_prior) for prior, of_prior in priors.items()},
        named=[*results["candidates"], near["reading"]],
        claims={claim["name"]: claim for claim in results["claims"]},
        near=near,
        commands=[run_command(near["file"], w, near["group_size"]) for w in workloads if w.name in places],
        stands=_stands(results),
        candidate=CANDIDATES[0],
    )


def _options(results: Study) -> str:
    """Options of the command that differ from their defaults; empty if none does."""
    options = "" if results["paper"] == SHIPPED else f" --paper {results['paper']}"
    if list(results["priors"]) != list(PRIORS):
        options += "".join(f" --prior {prior}" for prior in results["priors"])
    return options if results["declared"] == SHIPPED else f"{options} --combinations {results['declared']}"


def _invented(of_prior: Study) -> tuple[int, float]:
    """Number of invented papers with a machine as near as the paper's nearest, and their median distance."""
    nearest = of_prior["best"]["factor"]
    pseudo = sorted(each if each is not None else float("inf") for each in of_prior["pseudo"])
    return sum(nearest is not None and each <= nearest for each in pseudo), pseudo[len(pseudo) // 2]


def _stands(results: Study) -> list[tuple[str, ...]]:
    """Every number of the nearest machine, with its field in the commands' answers: a row each."""
    paper, reading = load_paper(results["paper"]), results["nearest"]["reading"]
    rows: dict[tuple[str, ...], None] = {}
    for row in (*reading["primary"]["rows"], *reading["best"]["rows"]):
        claim = paper.by_name(row["claim"])
        metric = next(each for each in claim.metric if each.words == row["words"])
        value = number(row["value"], claim.unit)
        rows[claim.short, row["words"], row["at"] or "-", value, stands_at(metric)] = None
    return list(rows)


def stands_at(metric: ClaimMetric) -> str:
    """Place of a metric's number in `sailsim`: a field of an answer, two of them, or another command."""
    if metric.field:
        return f"`{metric.field}`"
    if metric.metric == "saving":
        field = "step_s" if metric.saved == "step_s" else f"counts.{metric.saved}"
        return f"1 - `runs.sail.{field}` over that with `--no-{metric.without}`"
    return "`sailsim show system`, its last line" if metric.primary else "[areas](cost.md#area)"
