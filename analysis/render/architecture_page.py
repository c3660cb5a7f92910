"""The table of docs/architecture.md: files, imports and circles of every floor and room, before and now."""

from __future__ import annotations

import tomllib
from pathlib import Path

from sailsim.analysis.baselines.prediction import data_file
from sailsim.analysis.render.markdown import table
from sailsim.analysis.render.module_graph import ModuleGraph, checkout_graph, circles, recorded_graph
from sailsim.base.records import read_records

BEFORE = "modules_before.jsonl"
ANALYSIS = "sailsim.analysis"


def layers(root: Path) -> list[list[str]]:
    """The floors and the rooms of the analysis, each from the top: the contracts that `make lint` checks."""
    contracts = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]
    return [each["layers"] for each in contracts["contracts"] if each["type"] == "layers"]


def before() -> tuple[str, ModuleGraph]:
    """The commit from which the rooms were planned, with its date, and its modules."""
    recorded = read_records(data_file(BEFORE))
    return f"commit {recorded['commit']} of {recorded['date']}", recorded_graph(recorded["modules"])


def architecture_parts(root: Path) -> dict[str, str]:
    """The table by its name, for a checkout."""
    floors, rooms = layers(root)
    (commit, old), new = before(), checkout_graph(root)
    rows: list[list[object]] = []
    for floor in floors:
        rows.append([f"`{floor}`", *_counts(old.within(floor)), *_counts(new.within(floor))])
        if floor == ANALYSIS:
            rows += [[f"- `{room}`", *[None] * 4, *_counts(new.within(room))] for room in rooms]
    rows.append(["all", *_counts(old), *_counts(new)])
    head = ("files", "longest", "imports", "circles")
    header = ("", *(f"{name} before" for name in head), *(f"{name} now" for name in head))
    between = new.between(rooms)
    said = (
        f"Before is {commit}. Between the {len(rooms)} rooms of "
        f"the analysis {len(between)} arrows run now, and {len(circles(between))} circles."
    )
    return {"modules": f"{table(header, rows, 'l' + 'r' * 8)}\n\n{said}"}


def _counts(graph: ModuleGraph) -> list[object]:
    """Files, lines of the longest, imports inside, circles; dashes where there is nothing."""
    if not graph.lines:
        return [None] * 4
    return [len(graph.lines), max(graph.lines.values()), len(graph.arrows), len(circles(graph.arrows))]
