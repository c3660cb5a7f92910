"""README's table of claims is of the models as they are: only after `make sim` is it written again."""

import re
from pathlib import Path
from typing import Any

import pytest

from sailsim.analysis import compare
from sailsim.analysis.baselines.prediction import UNMEASURED, data_file
from sailsim.analysis.paper.claims import load_paper
from sailsim.analysis.render.answer_page import BESIDE, ORDINARY, OURS
from sailsim.analysis.render.gem5_decode_steps import regions_together
from sailsim.base.records import read_records
from sailsim.sim import Point

README = Path(__file__).parents[3] / "README.md"
ROW = re.compile(
    r"\| (?P<claim>[^|]*) \| (?P<paper>[0-9.]+)x \| (?P<here>[0-9.]+)x \| \w+ \| (?:[0-9.]+x|-) \| "
    r"(?P<system>[\w-]+), (?P<model>[\w-]+), W(?P<wbits>\d)A(?P<abits>\d+) g(?P<group_size>\d+), "
    r"batch (?P<batch>\d+), (?P<threads>\d+) threads, context (?P<context>\d+), NBW (?P<nbw>\d), "
    r"(?P<substrate>\w+), conversion: (?P<convert>\w+)(, kernel not measured)? \|"
)
FIELDS = ("wbits", "abits", "group_size", "batch", "threads", "context", "nbw")


def rows() -> dict[str, re.Match[str]]:
    """The ratios of the table, by their claims."""
    found = {}
    titles = {claim.title: claim.name for claim in load_paper().claim}
    for match in ROW.finditer(README.read_text()):
        found[titles[match["claim"].partition(":")[0]]] = match
    return found


@pytest.mark.parametrize(
    ("claim", "runner", "field"),
    [
        ("speedup", "cores", "speedup"),
        ("usd_cpu", "cores", "usd_ratio_used"),
        ("usd_v100", "v100", "usd_ratio_used"),
    ],
)
def test_a_row_is_what_its_point_gives(claim: str, runner: str, field: str) -> None:
    row = rows()[claim]
    choices: dict[str, Any] = {name: int(row[name]) for name in FIELDS}
    choices |= {name: row[name] for name in ("system", "model", "substrate", "convert")}
    here = compare(Point(**choices))["runs"][runner][field]
    # `make sim` captures activations of its own, which differ in the last digits of some machines.
    assert float(row["here"]) == pytest.approx(here, rel=0.01), "make sim && sailsim docs results --write"


def test_what_is_said_of_tokens_on_gem5_is_what_was_recorded() -> None:
    rows = read_records(data_file("gem5/decode.jsonl"))["rows"]
    steps = {
        (row["linears"], row["threads"]): row["step_cycles"]
        for row in rows
        if row["model"].startswith("SmolLM2") and row["blocks"] == 0 and row["batch"] == 1
    }
    one, many = (steps["neon", threads] / steps["lutmm", threads] for threads in (1, 16))
    assert f"SmolLM2 {one:.2f}x on one core, {many:.2f}x on 16" in README.read_text()
    wanted = {"model": "llama-2-7b", "weights": "4g128", "batch": 1, "cache": "fp16", "blocks": 1}
    large = {
        (row["linears"], row["threads"]): sum(regions_together(row).values())
        for row in rows
        if all(row[name] == value for name, value in wanted.items())
    }
    one, many = (large["neon", threads] / large["lutmm", threads] for threads in (1, 16))
    said = f"Llama-2-7B {one:.1f}x and {many:.2f}x"
    assert said in " ".join(README.read_text().split())


def test_what_is_predicted_of_the_program_is_near_what_gem5_ran() -> None:
    text = README.read_text()
    ran = re.search(r"as fast with units \(([\d.]+) and ([\d.]+) tokens/s\)", text)
    said = re.search(r"within (\d+) % of it here", text)
    assert ran is not None
    assert said is not None
    rows = ("SAIL, around it as gem5 NEON", "gem5 NEON")
    for name, in_gem5 in zip(rows, ran.groups(), strict=True):
        found = re.search(rf"\| 16 cores, {name} \| ([\d.]+) \|", text)
        assert found is not None
        assert float(found[1]) == pytest.approx(float(in_gem5), rel=int(said[1]) / 100)


def test_what_is_said_of_kernels_and_payments_is_so_of_the_answer() -> None:
    """Whose kernel was not measured at the workload, and what pays more than its threads beside them."""
    text = " ".join(README.read_text().split())
    runs = compare(ORDINARY)["runs"]
    unmeasured = {name for name in BESIDE if any(note.startswith(UNMEASURED) for note in runs[name]["notes"])}
    assert unmeasured == {"cores", "cores-ampere"}
    assert "For these weights neither llama.cpp's nor the fork's kernel was measured" in text
    assert "pays the vCPUs of the threads (`sailsim run` also those whose share of memory bandwidth" in text
    told = re.search(r"\| 16 cores, gem5 NEON \|[^|]*\|[^|]*\|[^|]*\| ([\d.,]+) \|", text)
    assert told is not None
    neon = runs[OURS]
    assert float(told[1]) == pytest.approx(neon["tokens_per_usd_used"] / 1e3, rel=0.01)
    assert neon["tokens_per_usd"] == neon["tokens_per_usd_bandwidth"] < neon["tokens_per_usd_used"]


def test_maxima_elsewhere_are_named_where_the_table_has_lower_ones() -> None:
    """The same machine and readings on the workloads of the reproduction."""
    claims = read_records(data_file("reproduction.jsonl"))["claims"]
    first = [
        next(reading for reading in claims[name]["readings"] if reading["primary"])
        for name in ("speedup", "usd_cpu", "usd_v100")
    ]
    assert all(reading["nominal_at"].endswith("t8 c128") for reading in first)
    numbers = [f"{reading['nominal']:.3g}x" for reading in first]
    text = " ".join(README.read_text().split())
    assert (
        f"[8 threads, context 128](docs/reproduction.md) give {numbers[0]}, {numbers[1]} and {numbers[2]}."
        in text
    )
    for name, reading in zip(("speedup", "usd_cpu", "usd_v100"), first, strict=True):
        assert reading["nominal"] > float(rows()[name]["here"])
