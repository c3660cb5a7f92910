"""`sailsim baseline`: what CPUs and GPUs reach without PIM units."""

from __future__ import annotations

import re
from typing import cast

import click

from sailsim.analysis.baselines.cpu import CACHES
from sailsim.analysis.baselines.cpu_software import SOFTWARE
from sailsim.analysis.baselines.gpu import GPU_SOFTWARE, GpuSoftware
from sailsim.analysis.baselines.kernel_rates import Software
from sailsim.analysis.baselines.predict import baseline as predict
from sailsim.cli._command import Command
from sailsim.cli._json import print_json
from sailsim.cli._path import TEXT
from sailsim.cli._table import echo, say
from sailsim.workloads.load import chosen_format, load_model
from sailsim.workloads.model import has_own_formats


class ChoiceOrCount(click.ParamType):  # type: ignore[type-arg]  # generic only from click 8.4 on
    """A whole number from 1 on, or a word that stands for None."""

    name = "count"

    def __init__(self, word: str) -> None:
        self.word = word

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """In the help."""
        return f"[N|{self.word}]"

    def convert(
        self, value: str | int | None, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | None:
        """The number, None for the word."""
        if value in (self.word, None):
            return None
        try:
            count = int(value)
        except ValueError:
            count = 0
        if count < 1:
            self.fail(f"{value!r}; allowed is a whole number from 1 on or {self.word!r}.", param, ctx)
        return count


class Requests(click.ParamType):  # type: ignore[type-arg]  # generic only from click 8.4 on
    """Tokens of a prompt and generated ones, as in 1024+256."""

    name = "tokens"

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """In the help."""
        return "PROMPT+GENERATED"

    def convert(
        self, value: str | tuple[int, int], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        """Both numbers."""
        if isinstance(value, tuple):
            return value
        found = re.fullmatch(r"([1-9][0-9]{0,6})\+([1-9][0-9]{0,6})", value)
        if found is None:
            self.fail(f"{value!r}; allowed are two whole numbers from 1 on, as in 1024+256.", param, ctx)
        return int(found[1]), int(found[2])


@click.command(cls=Command)
@click.option(
    "--machine",
    required=True,
    help="CPU server or GPU card: a name of `sailsim list system` or a TOML file.",
)
@click.option("--model", required=True, help="A name of `sailsim list model`, a TOML or a GGUF file.")
@click.option(
    "--weights",
    type=TEXT,
    help="Formats: file, 4, 4g32, q4_k_m, or a policy .toml [default: a file's own, else q4_k_m].",
)
@click.option("--threads", type=click.IntRange(min=1), help="Cores that work [default: all; not for a GPU].")
@click.option("--batch", type=click.IntRange(min=1), default=1, show_default=True, help="Sequences at once.")
@click.option(
    "--context",
    type=click.IntRange(min=1),
    default=64,
    show_default=True,
    help="Tokens in the cache of each sequence; generating n tokens from nothing averages n / 2.",
)
@click.option("--prompt", type=click.IntRange(min=1), help="Process a prompt of this many tokens instead.")
@click.option(
    "--software",
    type=click.Choice(list(dict.fromkeys([*SOFTWARE, *GPU_SOFTWARE]))),
    default="llama.cpp",
    show_default=True,
    help="ampere: a CPU server's faster fork; serving: a GPU card's four-bit serving kernels.",
)
@click.option(
    "--cache",
    type=click.Choice(CACHES),
    default="separate",
    show_default=True,
    help="Whether a sequence of a batch scans its own cache only or, as llama.cpp does, one shared by all.",
)
@click.option(
    "--instances",
    type=ChoiceOrCount("best"),
    default="1",
    show_default=True,
    help="Processes side by side that share out threads and sequences; best: as many as are the fastest.",
)
@click.option(
    "--requests",
    type=Requests(),
    help="Requests of so many tokens of prompt and generated ones, such as 1024+256, come and go on a card "
    "with 16-bit weights, --batch of them at once: their prompts take a part of the time.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def baseline(
    machine: str,
    model: str,
    weights: str | None,
    threads: int | None,
    batch: int,
    context: int,
    prompt: int | None,
    software: str,
    cache: str,
    instances: int | None,
    requests: tuple[int, int] | None,
    as_json: bool,
) -> None:
    """Predict tokens/s of a CPU server or a GPU card without PIM units.

    The band low..high holds nine of ten measurements of the kind that the constants were fitted on.
    """
    spec = load_model(model)
    weights = weights or ("file" if has_own_formats(model) else "q4_k_m")
    fmt = chosen_format(weights, model, spec)
    result = predict(
        machine,
        spec,
        fmt,
        threads,
        batch,
        context,
        prompt=prompt,
        software=cast("Software | GpuSoftware", software),
        cache="unified" if cache == "unified" else "separate",
        instances=instances,
        requests=requests,
    )
    if as_json:
        asked = {
            "hardware": machine,
            "model": model,
            "weights": weights,
            "types": fmt.census_in_words(spec),
            "threads": threads,
            "batch": batch,
            "context": context,
            "prompt": prompt,
        }
        print_json(asked | result.as_dict())
        return
    say(f"{model}, weights {weights}: {fmt.census_in_words(spec)}")
    echo(f"{result.tokens_per_s:.2f} tokens/s ({result.low:.2f} .. {result.high:.2f})")
    for part, seconds in result.parts.items():
        echo(f"  {part:<16} {seconds * 1e3:10.3f} ms  {seconds / result.step_s:6.1%}")
    for note in result.notes:
        say(f"- {note}")
