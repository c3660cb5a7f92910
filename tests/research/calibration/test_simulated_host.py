"""The fit of cores around units: what it reads of runs, and the files that it writes."""

from functools import reduce

from calibration.simulated_host import FILE, FREE, file_with, host_rows, measured
from sailsim.analysis.studies.gem5_steps import HOST
from sailsim.sim.machine.system_files import load_system


def test_the_file_gets_the_constants_that_are_found_and_nothing_else():
    machine = load_system(HOST)
    shipped = {name: reduce(getattr, name.split("."), machine) for name in FREE}
    found = {name: {"value": q.value, "low": q.low, "high": q.high} for name, q in shipped.items()}
    shipped_text = FILE.read_text("utf-8")
    assert file_with(found) == shipped_text
    moved = {name: {key: 2 * value for key, value in entry.items()} for name, entry in found.items()}
    pairs = zip(shipped_text.splitlines(), file_with(moved).splitlines(), strict=True)
    different = [(a, b) for a, b in pairs if a != b]
    assert len(different) == len(FREE)
    assert all(a.split(" = ")[0] == b.split(" = ")[0] for a, b in different)


def test_runs_that_attend_alike_are_fitted_once_and_products_only_with_units():
    rows = host_rows()
    cores = [row for row in rows if row["linears"] != "lutmm"]
    attends = [
        tuple(row[n] for n in ("model", "blocks", "threads", "batch", "context", "cache")) for row in cores
    ]
    assert len(attends) == len(set(attends))
    assert all(("hand-over" in measured(row)) == (row["linears"] == "lutmm") for row in rows)
    assert all("attention" in measured(row) for row in rows)
