"""``python -m sailsim.analysis.calibration``: fit again, write the constants, look at what is held out."""

from __future__ import annotations

import argparse
from pathlib import Path

from sailsim.analysis.baselines.fitted import fitted_constants, held_out_results
from sailsim.analysis.calibration import held_out_check
from sailsim.analysis.calibration.calibrate import run_all, write
from sailsim.analysis.calibration.held_out import VARIABLE, held_out_path


def main() -> None:
    """Fit, write, and with held-out rows store how far off the constants are on them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, help="where to write (default: the file that ships)")
    parser.add_argument(
        "--held-out",
        type=Path,
        help="rows that no fit uses, written by sailsim.analysis.calibration.held_out (default: "
        f"${VARIABLE}, else the stored results)",
    )
    arguments = parser.parse_args()
    rows = held_out_path(arguments.held_out)
    outcome = run_all()
    path, result = write(arguments.out, outcome.table)
    fitted_constants.cache_clear()
    if rows is not None:
        held_out_check.write(held_out_check.check(rows, outcome))
        held_out_results.cache_clear()
    print(held_out_check.origin(held_out_results(), result))
    print(f"{len(result['errors'])} lines of errors: `sailsim fit --check` prints them")
    print(f"Written to {path}; sailsim docs --write baselines fit-figures shows it")


if __name__ == "__main__":
    main()
