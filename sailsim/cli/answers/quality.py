"""`sailsim quality`: loss of a model's quality with the widths of weights, activations and cache."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from sailsim.cli.common.command import Command
from sailsim.cli.common.json_output import answered, as_json_option
from sailsim.cli.common.path_option import PathOption
from sailsim.cli.common.study_options import study_options
from sailsim.cli.common.table import print_varying, say
from sailsim.sim.machine.ranges import parse_numbers
from sailsim.sim.study.workers import Workers
from sailsim.workloads.inference.capture import default_gguf

SETTINGS = ("weights", "abits", "kv_bits", "attention", "method")
MEASURED = ("perplexity", "loss", "loss_error", "agreement", "bits_per_weight")
ALL = (*SETTINGS, *MEASURED, "model", "file", "text", "tokens", "perplexity_error", "agreement_error")


@click.command(cls=Command)
@click.argument("model", type=PathOption(), required=False)
@click.option("--weights", default="file", help="Formats, policies or bits, as in sweep.")
@click.option("--abits", default="8", help="Bits of an activation, 2..16: 4,8 or 4:8.")
@click.option("--kv-bits", default="16", help="Bits of keys and values in the cache: 2..8, or 16.")
@click.option(
    "--attention",
    default="cores",
    help="Where attention multiplies: cores, units (with --kv-bits 2..8), or cores,units.",
)
@click.option(
    "--method",
    default="nearest",
    help="Method of quantizing to codes that the file lacks: nearest, compensated, or nearest,compensated.",
)
@click.option("--text", type=PathOption(dir_okay=False), help="A text file [default: the one that ships].")
@click.option("--chunks", default=16, help="Number of chunks of the text.")
@click.option("--length", default=256, help="Tokens in a chunk.")
@click.option(
    "--out",
    type=PathOption(file_okay=False),
    help="Keep the records in this folder; points that it holds are not measured again.",
)
@study_options(1)
@as_json_option
def quality(
    model: Path | None, text: Path | None, out: Path | None, jobs: int | Workers, **given: Any
) -> None:
    """Run a llama from its GGUF file in the units' arithmetic, and compare its perplexity with floats.

    For every combination of the given values it prints the perplexity of a text, the loss in nats per token
    against the file's values in fp32, and how often the most probable token is the same. MODEL is the
    installed SmolLM2 by default. docs/quality.md lists what is rounded.
    """
    from sailsim.analysis.studies.quality_study import caution, measure_quality, points

    given |= {name: str(given[name]).split(",") for name in ("weights", "attention", "method")}
    given |= {name: parse_numbers(name, given[name]) for name in ("abits", "kv_bits")}
    quality_points = points(model or default_gguf(), text=str(text or ""), **given)
    frame = measure_quality(quality_points, out, jobs=jobs, progress=True)
    rows = [{str(name): value for name, value in row.items()} for row in frame[list(ALL)].to_dict("records")]
    note = caution(quality_points[0].model)
    if answered({"note": note, "records": rows}):
        return
    print_varying(rows, SETTINGS, MEASURED)
    if note:
        say(note)
