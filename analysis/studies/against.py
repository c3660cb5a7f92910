"""Comparison of two machines, models or studies on the axes that they share."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd

from sailsim.analysis.costs.dollars import prices
from sailsim.analysis.runs.ratios import quotient
from sailsim.analysis.runs.runs import evaluate, read_runners
from sailsim.analysis.runs.verdict import RunsByName, peer_of, standing, verdict
from sailsim.analysis.studies.stored_runs import RunTable, stored_runs
from sailsim.base.errors import SailsimError
from sailsim.base.hints import did_you_mean
from sailsim.sim.machine.system_files import gpu_names, lenient_reference, system_names
from sailsim.sim.point import Point
from sailsim.sim.study.store import FILE, Store
from sailsim.workloads.model_files.load import load_model
from sailsim.workloads.models.model import model_names

BATCHES = (1, 8, 32)
"""Batches at which machines and models are compared."""


def side(text: str) -> RunTable:
    """The runs of a study's folder, or those of a machine or a model at `BATCHES` of the default point.

    Raises SailsimError for any other text, with the nearest names.
    """
    if (Path(text) / FILE).is_file():
        return RunTable.of(stored_runs(Store(text)), prices())
    machine, runners = lenient_reference(text).file, None
    if machine in gpu_names():
        points, runners = [Point(batch=batch) for batch in BATCHES], read_runners(text)
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
    keyed = [(str(i), row) for i, point in enumerate(points) for row in evaluate(point, runners)]
    return RunTable.of(pd.DataFrame([row | {"point_key": key} for key, row in keyed]), prices())


def _is_model(text: str) -> bool:
    with suppress(SailsimError):
        load_model(text)
        return True
    return False


def against(a: RunTable, b: RunTable) -> list[dict[str, Any]]:
    """A row for each point that both have, matched by the fields whose values they share.

    A field that has one value on each side, such as the machine, may differ between the two.
    A row has the fields that vary, the rates ``a`` and ``b`` of the runners that the verdicts are about, and
    ``b_vs_a``. ``a_tuned`` and ``b_tuned`` compare SAIL with the strongest software on its cores; ``equal``
    says whether every runner has the same rate on both sides.
    Raises SailsimError where no point is in both.
    """
    points = [runs.points for runs in (a, b)]
    fields = list(points[0][0][0])
    values = {name: [{each[name] for each, _ in own} for own in points] for name in fields}
    shared = [name for name in fields if values[name][0] & values[name][1] or max(map(len, values[name])) > 1]
    by_key = [{tuple(point[name] for name in shared): runs for point, runs in own} for own in points]
    both = [key for key in by_key[0] if key in by_key[1]]
    if not both:
        raise SailsimError(
            "a and b have no point in common on the axes that they share; allowed are two that have one."
        )
    rows = []
    for key in both:
        varied = {n: v for n, v in zip(shared, key, strict=True) if len(values[n][0] & values[n][1]) > 1}
        (rate_a, tuned_a), (rate_b, tuned_b) = (_rate(runs[key]) for runs in by_key)
        sides: dict[str, Any] = {"a": rate_a, "b": rate_b, "b_vs_a": quotient(rate_b, rate_a)}
        sides |= {"a_tuned": tuned_a, "b_tuned": tuned_b}
        first, second = ({name: run["tokens_per_s"] for name, run in runs[key].items()} for runs in by_key)
        rows.append(varied | sides | {"equal": first == second})
    return rows


def _rate(runs: RunsByName) -> tuple[float | None, str]:
    """Nominal rate of the runner that a point's verdict is about, and SAIL against tuned software there."""
    about = verdict(runs)["runner"]
    return (runs[about]["tokens_per_s"] if about else None), standing(peer_of(runs))[0]
