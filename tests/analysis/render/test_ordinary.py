"""The ordinary workload in two formats, and who wins around it: the page's tables are those of the models.

Where this fails, the table that the page should have is in the failure's text.
"""

from dataclasses import replace
from pathlib import Path

import pytest

from sailsim.analysis.runs.compare import compare
from sailsim.analysis.runs.runs import shipped_runners
from sailsim.analysis.runs.verdict import cells, winner_map
from sailsim.analysis.studies.stored_runs import ORDINARY
from sailsim.sim.machine.system_files import load_system
from sailsim.workloads.model_files.load import load_model

PAGE = Path(__file__).parents[3] / "docs" / "reproduction.md"
CORES = load_system(ORDINARY.system).cores.count.whole
FORMATS = ("q4_k_m", "4g128")
"""What people run, in which llama.cpp was measured on these cores, and what suits SAIL."""
BESIDE = ("cores", "cores-ampere", "cores-lut")
"""Measured software on the same threads."""
SIMULATION = "cores-neon"
CARDS = ("v100", "v100-serving", "a10g-serving")
SAILS = ("sail", "sail-ampere", "sail-neon")
SOME = (*SAILS, *BESIDE, SIMULATION)
"""Rows with as many cores as the workload says; with all of them those that were measured."""
WHOLE = (*SAILS[:2], *BESIDE)


def runs(runners, prefix, **changes):
    """What can run the ordinary workload in each format, by its name, with what it runs on in its title."""
    found = {}
    for name in FORMATS:
        point = replace(ORDINARY, wbits=None, group_size=None, weights=name, **changes)
        answer = compare(point, runners=runners)["runs"]
        found[name] = {
            who: run
            | {"title": (prefix if run["kind"] != "gpu" else "") + run["title"].removeprefix("cores, ")}
            for who, run in answer.items()
            if run["tokens_per_s"] is not None
        }
    return found


def table(what, formats, names):
    """Header and rows of some runners, with the cells of each format's runs."""
    header = [f"{each}: {words}" for each in formats for words in ("tokens/s", "SAIL over it", "per dollar")]
    rows = []
    for name in names:
        own = [of.get(name) for of in formats.values()]
        title = next(run["title"] for run in own if run is not None)
        rows.append((title, *(cell for run in own for cell in cells(name, run))))
    return [what, *header], rows


def answer() -> str:
    """The page's table."""
    some = runs(shipped_runners(), f"{ORDINARY.threads} cores, ")
    # The whole server runs as many processes of a software as are the fastest.
    packed = [
        each.model_copy(update={"instances": "best"}) if each.kind == "cores" else each
        for each in shipped_runners()
    ]
    whole = runs(packed, f"{CORES} cores, ", threads=CORES)
    what = f"{load_model(ORDINARY.model).title}, batch {ORDINARY.batch}, context {ORDINARY.context}"
    header, rows = table(what, some, SOME)
    rows += table(what, whole, WHOLE)[1] + table(what, some, CARDS)[1]
    return markdown(header, rows)


def wins() -> str:
    """The map of SAIL and the strongest software on its cores, simulated or measured, as a report has it."""
    on_cores = [each for each in shipped_runners() if each.name in SOME]
    points = []
    for wbits in range(2, 9):
        for batch in (1, 8, 32):
            answer = compare(ORDINARY.having(wbits=wbits, batch=batch), runners=on_cores)
            points.append((answer["point"], answer["runs"]))
    start = next(at for at, _ in points if (at["wbits"], at["batch"]) == (ORDINARY.wbits, ORDINARY.batch))
    _, header, rows = winner_map(points, start)
    return markdown(header, [[text for text, _ in row] for row in rows])


def markdown(header, rows) -> str:
    lines = ["| " + " | ".join(each) + " |" for each in [header, *rows]]
    return "\n".join([lines[0], "|---|" + "--:|" * (len(header) - 1), *lines[1:]])


@pytest.mark.slow
def test_the_page_has_both_formats() -> None:
    assert answer() in PAGE.read_text("utf-8")


@pytest.mark.slow
def test_the_page_has_the_map() -> None:
    assert wins() in PAGE.read_text("utf-8")
