"""Types reach whoever imports sailsim, also from an editable install."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_a_checker_outside_the_checkout_knows_the_types(tmp_path: Path) -> None:
    pytest.importorskip("mypy", reason="mypy is not installed")
    mine = tmp_path / "mine.py"
    mine.write_text("from sailsim import Point, simulate\nreveal_type(simulate(Point()).tokens_per_s)\n")
    command = [sys.executable, "-m", "mypy", "--cache-dir", str(tmp_path / "cache"), str(mine)]
    plain = {name: value for name, value in os.environ.items() if name != "MYPYPATH"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=plain, check=False)
    assert 'Revealed type is "float"' in done.stdout, done.stdout
    assert done.returncode == 0, done.stdout
