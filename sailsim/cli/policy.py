"""`sailsim policy`: an assignment of formats to a model's matrices that is fast at a given loss."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from sailsim.base.errors import SailsimError
from sailsim.base.hints import needing
from sailsim.cli._command import Command
from sailsim.cli._json import print_json
from sailsim.cli._path import PathOption
from sailsim.cli._study import study_options
from sailsim.cli._table import print_wide, say, wide_option
from sailsim.sim import Point
from sailsim.sim.study import Workers
from sailsim.workloads import default_gguf

SHOWN = (
    "weights",
    "bits_per_weight",
    "loss",
    "loss_error",
    "ms",
    "perplexity",
    "predicted_loss",
    "verified_loss",
    "verified_error",
    "tries",
    "predicted_ms",
    "fastest_ms",
    "fastest_loss",
)


@click.command(cls=Command)
@click.argument("model", type=PathOption(), required=False)
@click.option(
    "--loss", "budgets", default="0.05,0.1,0.2,0.4", show_default=True, help="Allowed: nats a token."
)
@click.option("--choices", default="8g128,6g128,5g128,4g128,4g32,3g32", show_default=True, help="Formats.")
@click.option(
    "--together",
    type=int,
    default=5,
    show_default=True,
    help="Neighbouring blocks whose matrices of a kind share one.",
)
@click.option(
    "--slower",
    type=float,
    default=0.001,
    show_default=True,
    help="Fraction of the fastest step that is given up for less loss: by default less than a simulation can "
    "tell.",
)
@click.option("--system", default="sail-n1", show_default=True, help="The machine whose step is to be short.")
@click.option("--batch", type=int, default=1, show_default=True, help="Sequences decoded side by side.")
@click.option("--threads", type=int, default=16, show_default=True, help="Threads of the cores.")
@click.option("--context", type=int, default=512, show_default=True, help="Positions of a sequence.")
@click.option("--abits", type=int, default=8, show_default=True, help="Bits of an activation.")
@click.option(
    "--chunks", type=int, default=4, show_default=True, help="Of the text that sensitivities are measured on."
)
@click.option("--length", type=int, default=128, show_default=True, help="Tokens of a chunk.")
@click.option("--calibration", type=PathOption(dir_okay=False), help="That text [default: one that ships].")
@click.option(
    "--text", type=PathOption(dir_okay=False), help="The text of the judgement [default: that of quality]."
)
@click.option(
    "--out",
    type=PathOption(file_okay=False),
    default=Path("out/policy"),
    show_default=True,
    help="Folder of the studies and of the policies found; what it holds is not measured again.",
)
@study_options(1)
@wide_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def policy(
    model: Path | None,
    budgets: str,
    choices: str,
    together: int,
    slower: float,
    system: str,
    batch: int,
    threads: int,
    context: int,
    abits: int,
    chunks: int,
    length: int,
    calibration: Path | None,
    text: Path | None,
    out: Path,
    jobs: int | Workers,
    wide: bool,
    as_json: bool,
) -> None:
    """Find a fast assignment of formats to a model's matrices, for each allowed loss.

    What each group of matrices loses in each format is measured on one text, what it adds to a step of SAIL
    is simulated, and an integer program chooses the fastest. What it found is measured as a whole on that
    text, and the choice made again with what that says, until a policy keeps its loss by two standard errors.
    Of all that are slower than it by a fraction of --slower at most the one that loses least is taken. Each
    is a file for --weights; it is then measured on another text, and simulated, beside each choice
    everywhere. docs/quality.md explains. MODEL is the installed SmolLM2 by default.
    """
    with needing("study", "policy"):
        from sailsim.analysis.results.policy_judged import judged
        from sailsim.analysis.results.policy_tries import search_all

    path = str(model or default_gguf())
    point = Point(system=system, model=path, batch=batch, threads=threads, context=context, abits=abits)
    allowed = [_budget(word) for word in budgets.split(",")]
    found = search_all(
        point,
        choices.split(","),
        allowed,
        out,
        together=together,
        chunks=chunks,
        length=length,
        slower=slower,
        text=str(calibration or ""),
        jobs=jobs,
    )
    rows = judged(point, found, choices.split(","), out, text=str(text or ""), jobs=jobs)
    if as_json:
        print_json({"records": rows})
        return
    print_wide(rows, SHOWN, wide)
    for row in rows:
        if row["budget"] is not None:
            say(_beside_the_fastest(row))


def _beside_the_fastest(row: Mapping[str, Any]) -> str:
    """What was taken, and what the fastest would have been."""
    return (
        f"{row['weights']}: a step of {row['predicted_ms']:.6g} ms at {row['predicted_loss']:.4f} nats a "
        f"token; the fastest would have been {row['fastest_ms']:.6g} ms at {row['fastest_loss']:.4f}, both "
        "as predicted."
    )


def _budget(word: str) -> float:
    try:
        value = float(word)
    except ValueError:
        value = -1.0
    if not 0 < value <= 100:
        raise SailsimError(f"loss has {word!r}; allowed are numbers above 0 and up to 100, nats a token.")
    return value
