"""Two machines, models or studies beside each other, on the axes that they share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from sailsim.analysis.costs.dollars import prices
from sailsim.analysis.runs.runs import evaluate, read_runners
from sailsim.analysis.runs.verdict import RunsByName, peer_of, standing, verdict
from sailsim.analysis.studies.stored_runs import RunTable, stored_runs
from sailsim.base.errors import SailsimError
from sailsim.base.hints import did_you_mean
from sailsim.sim.machine.system_files import chosen_system, gpu_names, system_names
from sailsim.sim.point import Point
from sailsim.sim.study.store import FILE, Store
from sailsim.workloads.model_files.load import load_model
from sailsim.workloads.models.model import model_names

BATCHES = (1, 8, 32)
"""Of the points at which machines and models are compared."""


def side(text: str) -> RunTable:
    """The runs of a study's folder, or those of a machine or a model at `BATCHES` of the default point.

    Raises SailsimError for what is none of them, with the nearest names.
    """
    if (Path(text) / FILE).is_file():
        return RunTable.of(stored_runs(Store(text)), prices())
    machine, who = chosen_system(text).file, None
    if machine in gpu_names():
        points, who = [Point(batch=batch) for batch in BATCHES], read_runners(text)
    elif machine in system_names() or (machine.endswith(".toml") and not _is_model(text)):
        points = [Point(system=text, batch=batch) for batch in BATCHES]
    elif text in model_names() or Path(text).exists():
        points = [Point(model=text, batch=batch) for batch in BATCHES]
    else:
        every = (*system_names(), *gpu_names(), *model_names())
        raise SailsimError(
            f"{text!r} is no study, machine or model{did_you_mean(text, every)}; allowed is a folder of a "
            "sweep, a machine or a model, by name or file."
        )
    records = [row | {"point_key": str(i)} for i, point in enumerate(points) for row in evaluate(point, who)]
    return RunTable.of(pd.DataFrame(records), prices())


def _is_model(text: str) -> bool:
    try:
        load_model(text)
    except SailsimError:
        return False
    return True


def against(a: RunTable, b: RunTable) -> list[dict[str, Any]]:
    """A row a point that both have, by the fields whose values they share.

    A field of one value on each side, such as the machine, may tell the two apart: it is not matched then.
    A row has the fields that vary, the rates ``a`` and ``b`` of whom each verdict is about, and ``b_vs_a``.
    ``a_tuned`` and ``b_tuned`` say how SAIL stands to the strongest software on its cores, ``equal`` whether
    every runner has the same rate on both sides.
    Raises SailsimError where no point is in both.
    """
    points = [runs.points for runs in (a, b)]
    fields = list(points[0][0][0])
    values = {name: [{each[name] for each, _ in own} for own in points] for name in fields}
    shared = [name for name in fields if values[name][0] & values[name][1] or max(map(len, values[name])) > 1]
    found = [{tuple(point[name] for name in shared): runs for point, runs in own} for own in points]
    both = [key for key in found[0] if key in found[1]]
    if not both:
        raise SailsimError(
            "a and b have no point in common on the axes that they share; allowed are two that have one."
        )
    rows = []
    for key in both:
        varied = {n: v for n, v in zip(shared, key, strict=True) if len(values[n][0] & values[n][1]) > 1}
        (mine, my_place), (other, other_place) = (_rate(of[key]) for of in found)
        ratio = None if mine is None or other is None else other / mine
        sides = {"a": mine, "b": other, "b_vs_a": ratio, "a_tuned": my_place, "b_tuned": other_place}
        one, two = ({name: run["tokens_per_s"] for name, run in of[key].items()} for of in found)
        rows.append(varied | sides | {"equal": one == two})
    return rows


def _rate(runs: RunsByName) -> tuple[float | None, str]:
    """The nominal rate of whom a point's verdict is about, and how SAIL stands to tuned software there."""
    about = verdict(runs)["runner"]
    return (runs[about]["tokens_per_s"] if about else None), standing(peer_of(runs))[0]
