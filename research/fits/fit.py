"""Fit the baselines' constants on the measurements again: sailsim/sim/data/fits/fits.json and its errors.

python research/fits/fit.py --check           fail if the result differs from the shipped constants
python research/fits/fit.py                   write the constants, in a run before those of sail-n1-neon-host
python research/fits/fit.py --held-out FILE   and how far they are off on rows that no fit saw
"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from calibration import figures, held_out_check, simulated_host
from calibration.calibrate import run_all, write
from calibration.errors import differences, error_lines
from calibration.held_out import VARIABLE, held_out_path
from sailsim.base.atomic import write_whole
from sailsim.sim.software.fitted import fitted_constants, held_out_results


@click.command(help=__doc__)
@click.option("--check", is_flag=True, help="Write nothing; exit status 1 if the result differs.")
@click.option("--out", type=click.Path(path_type=Path), help="Write here [default: the file that ships].")
@click.option(
    "--held-out",
    type=click.Path(path_type=Path),
    help=f"Rows that no fit uses, written by calibration.held_out [default: ${VARIABLE}, else as stored].",
)
@click.option(
    "--figures", "folder", type=click.Path(path_type=Path), help="Draw predictions and measurements here."
)
def main(check: bool, out: Path | None, held_out: Path | None, folder: Path | None) -> None:
    """Fit, then compare or write."""
    wrong = simulated_host.stale()
    if wrong and check:
        raise click.ClickException("; ".join(wrong))
    if wrong:  # this project's software attends as that machine's file says
        write_whole(simulated_host.FILE, simulated_host.file_with(simulated_host.host_constants()).encode())
        click.echo(f"Written to {simulated_host.FILE}: run this again for the rest, which rests on it.")
        return
    outcome = run_all()
    for line in error_lines(outcome.table["errors"]):
        click.echo(line)
    if folder is not None:
        for path in figures.draw(outcome.compared, held_out_results(), folder):
            click.echo(str(path))
    if check:
        different = differences(fitted_constants().table, outcome.table)
        if different:
            click.echo(
                f"the fit differs from the shipped results in {different[0]}, allowed is 0.1 %", err=True
            )
            sys.exit(1)
        click.echo("Equal to the shipped constants.")
        return
    path, result = write(out, outcome.table)
    fitted_constants.cache_clear()
    rows = held_out_path(held_out)
    if rows is not None:
        held_out_check.write(held_out_check.check(rows, outcome))
    click.echo(held_out_check.origin(held_out_results(), result))
    click.echo(f"Written to {path}")


if __name__ == "__main__":
    main()
