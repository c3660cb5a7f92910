"""`sailsim gem5 decode`: whole tokens on gem5, by cores and by PIM units."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from sailsim.base.errors import SailsimError
from sailsim.cli._json import print_json
from sailsim.cli._path import TEXT, PathOption
from sailsim.cli._table import say
from sailsim.cli.gem5.options import gem5, telling, with_run
from sailsim.sim.files import load_system
from sailsim.sim.gem5.binary import Gem5
from sailsim.sim.gem5.decode import CACHES, LINEARS, decode_points, differing, prompt_tokens, run_decodes
from sailsim.sim.ranges import parse_numbers
from sailsim.workloads.gguf_model import stored_model
from sailsim.workloads.tokenizer import Tokenizer


@gem5.command()
@with_run("out/gem5-decode")
@click.option("--model", required=True, help="A GGUF file of the llama architecture, or a shape.")
@click.option("--weights", type=TEXT, help="As in `sailsim image`; default: a file's own, else 4g128.")
@click.option("--blocks", type=int, default=0, show_default=True, help="The model's first blocks; 0: all.")
@click.option("--linears", default=",".join(LINEARS), show_default=True, help="Kinds of products.")
@click.option("--threads", default="1,4,16", show_default=True, help="Threads, on as many cores.")
@click.option("--batch", default="1", show_default=True, help="Rows that decode side by side.")
@click.option("--prompt", help="What every row decodes: a text, or token numbers such as 1,2,3.")
@click.option("--context", default="64", show_default=True, help="Positions before the first measured one.")
@click.option(
    "--cache", type=click.Choice(CACHES), default="fp16", show_default=True, help="Keys and values."
)
@click.option("--steps", type=int, default=1, show_default=True, help="Measured tokens, reported on average.")
@click.option(
    "--warm", type=int, default=1, show_default=True, help="Tokens of the context decoded on atomic cores."
)
@click.option(
    "--units", type=click.IntRange(min=1), default=None, help="PIM units of lutmm; default: one a slice."
)
@click.option("--nbw", type=int, default=4, show_default=True, help="Weights of a unit's look-up table.")
@click.option(
    "--seed", type=click.IntRange(0, 2**64 - 1), default=1, show_default=True, help="Of the filled cache."
)
@click.option(
    "--program",
    type=PathOption(dir_okay=False),
    default=Path("build/kernels/decode"),
    show_default=True,
    help="The AArch64 program.",
)
def decode(
    binary: str | None,
    machine: str,
    model: str,
    linears: str,
    threads: str,
    batch: str,
    prompt: str | None,
    context: str,
    units: int | None,
    program: Path,
    out: Path,
    timeout: float,
    as_json: bool,
    **fixed: Any,
) -> None:
    """Decode tokens on gem5's O3 cores, with products on the cores or on PIM units, and say where time goes.

    One run of gem5 for every combination of --linears, --threads, --batch and --context (lists). Atomic cores
    fill the cache and decode the --warm tokens, O3 cores the --steps that are measured. A run that takes
    longer than --timeout is stored without numbers and with the reason. All kinds and threads have to choose
    the same tokens with the same logits.

    With --prompt every row decodes that prompt, and no filled cache precedes it: atomic cores decode all its
    tokens but the last. The running model in NumPy then decodes the same image, and the command tells how far
    the logits are apart. Exit status 1: tokens differ, or the logits of kinds and threads do.
    """
    if prompt is not None:
        _require_no_filled_cache()
        tokens = prompt_tokens(model, prompt)
        context = str(len(tokens) - 1)
        fixed |= {"warm": len(tokens) - 1, "prompt_tokens": ",".join(map(str, tokens))}
    simulator, system = Gem5(binary), load_system(machine)
    points = decode_points(
        model,
        [word.strip() for word in linears.split(",") if word.strip()],
        parse_numbers("threads", threads),
        parse_numbers("batch", batch),
        parse_numbers("context", context),
        system,
        units=units or 0,
        **fixed | {"weights": fixed["weights"] or ""},
    )
    with telling() as tell:
        rows, before = run_decodes(
            points, simulator, machine, system, program, out, timeout_s=timeout, tell=tell
        )
    wrong = differing(rows)
    if as_json:
        print_json({"out": str(out), "held_before": before, "differing": wrong, "rows": rows})
    else:
        for row in rows:
            say(_line(row), " " * 6)
        say(f"{len(rows)} runs in {out}, {before} of them from before.")
        for sentence in [*_agreeing(rows), *wrong]:
            say(sentence)
    if wrong:
        raise click.exceptions.Exit(1)


def _require_no_filled_cache() -> None:
    """Raise where an option of the filled cache is given beside a prompt, which is all that is before it."""
    given = click.get_current_context().get_parameter_source
    for name in ("context", "warm", "seed"):
        if given(name) is not ParameterSource.DEFAULT:
            raise SailsimError(
                f"{name} is given beside prompt; allowed is one of them: the cache holds the prompt alone."
            )


def _agreeing(rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    """A sentence on runs that are compared with the running model, if there are any."""
    asked = [row for row in rows if row.get("model_tokens")]
    if asked:
        same = sum(row["model_tokens"] == row["tokens"] for row in asked)
        first = _with_text(asked[0]["model"], asked[0]["model_tokens"].partition(";")[0])
        yield (
            f"The prompt is {asked[0]['prompt_tokens']}. The running model in NumPy chooses the same tokens "
            f"as {same} of {len(asked)} runs ({first}). Its logits, up to "
            f"{max(row['logit_largest'] for row in asked):.4g}, differ by at most "
            f"{max(row['logit_difference'] for row in asked):.3g}: each side rounds activations of its own."
        )


def _with_text(model: str, tokens: str) -> str:
    """Tokens and, for a model whose tokenizer we can read, what they say."""
    file = stored_model(model)
    if file is None:
        return tokens
    try:
        return f"{tokens}: {Tokenizer(file.file).decode([int(token) for token in tokens.split(',')])!r}"
    except SailsimError:
        return tokens


def _line(row: dict[str, Any]) -> str:
    """A run in a line."""
    what = f"{row['linears']:<5} threads {row['threads']}, batch {row['batch']}, context {row['context']}: "
    if row.get("step_cycles") is None:
        return what + str(row["reason"])
    # Tokens a second of a model that was cut off are nobody's.
    whole = f", {row['tokens_per_s']:.1f} tokens/s"
    part = f" of {row['blocks']} blocks and the head".replace("1 blocks", "1 block")
    return what + (
        f"{row['step_cycles']:,.0f} cycles a step{part if row['blocks'] else whole}, "
        f"{row['dram_gb_s']:.1f} GB/s; {row['host_s']:.0f} s, {row['instructions_per_s'] / 1000:,.0f} "
        "thousand instructions/CPU-s"
    )
