"""How often bit patterns of real activations repeat, and which reading of the paper's 13.8 % comes nearest.

Measures reuse by layer type, bit position, batch, NBW, PRT entries, replacement, key and quantizer; cycles
saved on each substrate; every definition of the published saving. About a minute. docs/reuse.md explains.
"""

from __future__ import annotations

from pathlib import Path

import click

from reuse.figures import FIGURES
from reuse.measure import Reuse, measure
from reuse.patterns import UNIT, shares
from sailsim.analysis.render.figure import save, style
from sailsim.workloads.inference.activation_file import Activations


@click.command(help=__doc__)
@click.option(
    "--activations", type=click.Path(path_type=Path), help="A capture [default: the one that ships]."
)
@click.option("--out", type=click.Path(path_type=Path), help="Keep tables (Parquet) and figures here.")
@click.option("--jobs", type=click.IntRange(min=1), default=2, show_default=True, help="Processes.")
def main(activations: Path | None, out: Path | None, jobs: int) -> None:
    """Measure, print a summary and keep the rest in ``out``."""
    measured = measure(Activations.load(activations), out, progress=True, jobs=jobs)
    click.echo(summary(measured))
    for path in write_figures(measured, out) if out is not None else []:
        click.echo(str(path))


def summary(found: Reuse) -> str:
    """A few lines for a terminal."""
    captured = found.activations
    lines = [f"{captured.id}, {captured.tokens} tokens, PRT of {UNIT.prt.entries} entries, LRU"]
    whole = shares(found.unit(), ["batch", "nbw"])
    for row in whole.to_dict("records"):
        lines.append(
            f"batch {row['batch']:>2} NBW {row['nbw']}: zero {row['zero']:6.1%}  hits {row['hits']:6.1%}  "
            f"read {row['misses']:6.1%}"
        )
    near = found.nearest
    for title, reading in (
        ("nearest", near.nearest),
        ("nearest with a PRT", near.nearest_prt),
        ("plain sense", near.literal),
    ):
        lines.append(f"{title}: {reading.value:.2f} % against {near.claim:g} %: {reading.words}")
    return "\n".join([*lines, near.remark])


def write_figures(found: Reuse, folder: str | Path) -> list[Path]:
    """Draw every figure as PNG into a folder; returns the paths."""
    written = []
    for name, draw in FIGURES.items():
        with style():
            figure = draw(found)
        written += save(figure, Path(folder) / f"{name}.png")
    return written


if __name__ == "__main__":
    main()
