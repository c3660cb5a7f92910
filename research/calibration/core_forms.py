"""Other ways to write the equation of the cores after Neoverse N1, judged as the one that is fitted is.

    python -m calibration.core_forms      # about half a minute of one core

Nothing else uses what comes out (`data/core_forms.json`, a table of `docs/baselines.md`): it says why the
constants of Neoverse V1 and V2 are what they are, and what would have to be known for others.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from importlib.resources import as_file
from pathlib import Path
from typing import Any, Literal

import numpy as np

from calibration.core_attention import attention_seen
from calibration.core_rows import instance_rows
from calibration.cores_problem import MEASURED, core_problem
from calibration.errors import digits, error_row
from calibration.measurements import MeasuredRows
from calibration.packed_check import packed_rows
from calibration.solver import Problem, held_out, solve
from sailsim.analysis.costs.constants import data_file
from sailsim.base.atomic import write_whole
from sailsim.sim.fitted import Fitted, Floats, fitted_constants

TABLE = "core_forms.json"
LAYER_PRODUCTS = 7
"""Products of a layer with none of them joined: what most models have, and every row of Neoverse N1's fit."""
ATTENTION = "attention_rate"
HELD: Mapping[str, str] = {"size": "threads", "model": "model"}
"""What is held out, and the label of the rows that it goes by."""
PACKED_CORE = "neoverse-v2"
"""The core whose chip rows of several processes and of batches are from (`packed.csv`)."""


@dataclass(frozen=True)
class Form:
    """What loses, and where the rate of attention comes from."""

    loss: Literal["product", "layer"]
    """Each product that a model has, or every layer as much as seven of them."""
    attention: Literal["fitted", "pairs"]
    """Fitted with all else, or from pairs of runs of two lengths (`core_attention`)."""

    @property
    def name(self) -> str:
        """As a column of the table."""
        return f"{self.loss}, {self.attention}"


FORMS = tuple(Form(loss, attention) for attention in ("fitted", "pairs") for loss in ("product", "layer"))
"""The first is what `cores_problem` fits."""


def form_problem(core: str, form: Form, seen: MeasuredRows | None = None) -> Problem:
    """llama.cpp on a core in another form; ``seen`` are the single runs that attention's pairs are among,
    default all of the core's chip."""
    problem = core_problem(core)
    if form.loss == "layer":
        work = problem.rows.work
        counted = replace(work, products=LAYER_PRODUCTS * work.layers + 1)  # and the one of the logits
        problem = replace(problem, rows=replace(problem.rows, work=counted))
    if form.attention == "fitted":
        return problem
    at = [p.name for p in problem.parameters].index(ATTENTION)
    rate = attention_seen(instance_rows(MEASURED[core][0]) if seen is None else seen).rate

    def predict(x: Floats, rows: MeasuredRows) -> Floats:
        return problem.predict(np.insert(x, at, rate), rows)

    kept = tuple(p for p in problem.parameters if p.name != ATTENTION)
    return replace(problem, parameters=kept, predict=predict)


def constants_of_form(core: str, form: Form) -> dict[str, float]:
    """The constants by their names, attention's rate among them."""
    problem = form_problem(core, form)
    found = {p.name: float(v) for p, v in zip(problem.parameters, solve(problem).values, strict=True)}
    found.setdefault(ATTENTION, attention_seen(instance_rows(MEASURED[core][0])).rate)
    return found


def held_ratios(core: str, form: Form, held: str) -> dict[str, Floats]:
    """Predicted over measured by the kind of the rows, each size or model held out in turn, from the pairs
    that attention's rate is from too."""
    problem, label = form_problem(core, form), HELD[held]
    every = instance_rows(MEASURED[core][0]) if form.attention == "pairs" else None

    def without(group: str) -> Problem:
        return form_problem(core, form, None if every is None else every.where(every.labels[label] != group))

    ratio = held_out(problem, label, without=without).ratio
    test, short = problem.rows.labels["test"], problem.rows.labels["n"] == "16"
    return {
        "decoding": ratio[test == "tg"],
        "prompts": ratio[(test == "pp") & ~short],
        "16 rows at once": ratio[short],
    }


def packed_ratios(constants: Mapping[str, float]) -> dict[str, Floats]:
    """Predicted over measured of rows that no fit saw, by other constants of `PACKED_CORE`."""
    names = {f"cpu.llama.cpp.{PACKED_CORE}.{name}": value for name, value in constants.items()}
    rows = packed_rows(_varied(names))
    own = rows.system == MEASURED[PACKED_CORE][0]
    several = rows.processes > 1
    return {"several processes": rows.ratio[own & several], "one process": rows.ratio[own & ~several]}


def _varied(values: Mapping[str, float]) -> Fitted:
    return fitted_constants().varied(values)


def judged(form: Form) -> Iterator[dict[str, Any]]:
    """The lines of the table for a form: of each chip, of both together, and of what no fit saw."""
    for held in HELD:
        each = {core: held_ratios(core, form, held) for core in MEASURED}
        for core, ratios in each.items():
            for kind, ratio in ratios.items():
                yield error_row(f"{MEASURED[core][1]}, {kind}", held, ratio[np.isfinite(ratio)])
        for kind in each[PACKED_CORE]:
            both = np.concatenate([ratios[kind] for ratios in each.values()])
            yield error_row(f"both, {kind}", held, both[np.isfinite(both)])
    for kind, ratio in packed_ratios(constants_of_form(PACKED_CORE, form)).items():
        yield error_row(f"{MEASURED[PACKED_CORE][1]}, {kind}", "never fitted", ratio)


def run() -> dict[str, Any]:
    """All forms with their constants and errors, as the file holds them."""
    return {
        "schema": 1,
        "script": "calibration.core_forms",
        "forms": [
            {
                "loss": form.loss,
                "attention": form.attention,
                "constants": {
                    core: {name: digits(value) for name, value in constants_of_form(core, form).items()}
                    for core in MEASURED
                },
                "errors": list(judged(form)),
            }
            for form in FORMS
        ],
    }


def stored() -> dict[str, Any]:
    """What `run` gave when it was last written."""
    return dict(json.loads(data_file(TABLE).read_text("utf-8")))


def main() -> None:
    """Entry point of ``python -m calibration.core_forms``."""
    with as_file(data_file(TABLE)) as shipped:
        path = Path(shipped)
    write_whole(path, (json.dumps(run(), indent=1) + "\n").encode())
    print(f"Written to {path}")


if __name__ == "__main__":
    main()
