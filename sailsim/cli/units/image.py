"""`sailsim image`: a model as an image for the decode program."""

from pathlib import Path
from typing import Any

import click

from sailsim.cli.common.command import Command
from sailsim.cli.common.json_output import answered, as_json_option
from sailsim.cli.common.path_option import TEXT, PathOption
from sailsim.cli.common.table import say
from sailsim.workloads.images.image_file import plan_image


@click.command(cls=Command)
@click.argument("model")
@click.option("--weights", type=TEXT, help="As in `sailsim run`; default: a file's own, else 4g128.")
@click.option(
    "--blocks", type=int, help="Number of the model's first blocks to write, with the head; default: all."
)
@click.option("--slices", default=32, help="Tiles that a matrix is cut into, 1..64.")
@click.option(
    "--layout",
    default="rows,lut,tiles",
    help="Layouts to write: rows for dot products, lut for table look-ups, tiles for PIM units.",
)
@click.option("--seed", default=0, help="Seed of random weights.")
@click.option("--out", type=PathOption(written=True), required=True, help="The image file to write.")
@as_json_option
def image(model: str, weights: str | None, layout: str, out: Path, **options: Any) -> None:
    """Write MODEL as an image for the decode program (docs/decode.md).

    MODEL is a GGUF file of the llama architecture, or a shape that ships or in a TOML file, which gets random
    weights. A file's own codes are kept. Types without codes, such as F16, are rounded, and so are weights
    in another format than the file's; the output says so.
    """
    plan = plan_image(model, weights=weights or "", layouts=layout.split(","), **options)
    plan.write(out, progress=True)
    written: dict[str, Any] = {"path": str(out), "bytes": out.stat().st_size, "blocks": plan.spec.n_layers}
    written |= {"matrices": len(plan.matrices), **plan.about}
    if answered(written):
        return
    indent = " " * 13
    say(f"{out}: {written['model']}, {written['blocks']} blocks, {written['bytes']:,} bytes", indent)
    for origin, count in written["weights"].items():
        say(f"weights      {count} matrices: {origin}", indent)
    for note in written["notes"]:
        say(f"note         {note}", indent)
