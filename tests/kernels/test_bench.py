"""`bench` on an emulated server: right results, whatever its times say."""

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from .conftest import NATIVE, Report
from .test_decode import checked_against_numpy

pytestmark = pytest.mark.aarch64


@pytest.fixture(scope="module")
def written(programs: Path) -> list[str]:
    """The lines of a quick run."""
    environment = os.environ | ({} if NATIVE else {"BENCH_RUN": "qemu-aarch64"})
    command = [str(programs / "bench"), "--quick"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_results_are_those_of_numpy_on_any_number_of_threads(
    written: list[str], programs: Path, report: Report, tmp_path: Path
) -> None:
    assert [line.partition(":")[0] for line in written[:4]] == ["# cpu", "# cores", "# compiler", "# date"]
    rows = [line.split(",") for line in written[5:]]
    assert [len(row) for row in rows] == [len(written[4].split(","))] * (2 * 4 + 4 * 3 * 2 + 2 * 2 * 2 * 2)
    assert {row[-1] for row in rows if row[0] != "attention"} == {"0"}
    results: dict[tuple[str, ...], set[str]] = {}
    for what, kind, _, batch, context, *_, result, _ in rows:
        results.setdefault((what, kind, batch, context), set()).add(result)
    assert {len(found) for found in results.values()} == {1}
    for heads, cache in ((32, "fp16"), (8, "int8")):
        image = programs / f"heads{heads}.image"
        options = ("--image", image, "--cache", cache, "--context", 40, "--steps", 2)
        record = checked_against_numpy(report, image, np.array([[1]]), 2, options, tmp_path, {})
        assert results["attention", f"{cache}/{heads}", "1", "40"] == {record["logits"]}


def test_another_option_is_one_sentence(programs: Path) -> None:
    done = subprocess.run([programs / "bench", "-x"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: -x is no option; allowed: none, or --quick\n"
