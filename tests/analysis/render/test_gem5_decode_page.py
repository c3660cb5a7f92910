"""The page of tokens on gem5: what the engine says of the same steps, and steps put together from blocks."""

from typing import Any

import pytest

from sailsim.analysis.baselines.prediction import data_file
from sailsim.analysis.baselines.simulated_rows import TABLE, decode_rows
from sailsim.analysis.baselines.simulated_steps import CORE_PARTS, Predicted, at_work, predicted
from sailsim.analysis.render.gem5_decode_page import decode_parts
from sailsim.analysis.render.gem5_decode_steps import put_together, regions_together
from sailsim.base.records import read_records
from sailsim.sim import Point, load_system, simulate_step
from sailsim.sim.gem5.decode import REGIONS
from sailsim.workloads import load_model

ROW: dict[str, Any] = {
    "system": "sail-n1",
    "model": "SmolLM2-135M-Instruct.Q4_1.gguf",
    "blocks": 0,
    "weights": "4g32",
    "cache": "fp16",
    "nbw": 4,
    "batch": 1,
    "threads": 4,
    "context": 64,
    "steps": 1,
}


def as_run(found: Predicted) -> dict[str, Any]:
    """The engine's step as a run of gem5 has it, each part in its first region."""
    regions = dict.fromkeys((f"{region}_cycles" for region in REGIONS), 0.0)
    regions |= {f"{CORE_PARTS[part][0]}_cycles": cycles for part, cycles in found.parts.items()}
    return ROW | regions | {"step_cycles": found.step}


def test_every_region_of_the_program_is_in_one_part() -> None:
    assert sorted(name for names in CORE_PARTS.values() for name in names) == sorted(REGIONS)


@pytest.mark.parametrize("batch", [1, 8])
def test_the_parts_are_the_engines_step(batch: int) -> None:
    found = predicted(ROW | {"batch": batch})
    point = Point(model="smollm2-135m", weights="4g32", batch=batch, threads=4, context=64)
    step = simulate_step(load_system("sail-n1"), load_model("smollm2-135m"), point)
    assert found.step == pytest.approx(step.step_s * 2.5e9)
    assert sum(found.parts.values()) == pytest.approx(found.step)
    assert min(found.parts.values()) > 0
    assert found.units < found.step


def test_a_head_is_what_it_is_behind_any_number_of_blocks() -> None:
    """Where no weights run ahead: the tables of its products are its own, not the blocks'."""
    machine = "sail-n1-neon-host"
    one, three = (predicted(ROW | {"blocks": blocks}, machine).parts for blocks in (1, 3))
    assert three["head"] == pytest.approx(one["head"])
    products = "products of the blocks, activation"
    assert three[products] == pytest.approx(3 * one[products])


def test_blocks_of_the_engine_put_together_are_its_step() -> None:
    one, two = (as_run(predicted(ROW | {"blocks": blocks})) for blocks in (1, 2))
    assert put_together(one, two) == pytest.approx(predicted(ROW).step, rel=0.01)


def test_a_head_that_differs_between_two_runs_is_no_blocks() -> None:
    one, two = (as_run(predicted(ROW | {"blocks": blocks})) for blocks in (1, 2))
    slower = {"head_cycles": two["head_cycles"] + 1e6, "step_cycles": two["step_cycles"] + 1e6}
    assert put_together(one, two | slower) == put_together(one, two)


def test_a_block_is_what_its_regions_say_where_two_were_not_run() -> None:
    row = ROW | dict.fromkeys((f"{region}_cycles" for region in REGIONS), 0)
    row |= {"qkv_cycles": 10, "norm_cycles": 30, "head_cycles": 1000, "step_cycles": 1040}
    assert put_together(row | {"blocks": 1}, None) == 1040 + 29 * (10 + 20)
    together = regions_together(row | {"blocks": 1})
    assert together["qkv"] == 300
    assert together["norm"] == 30 + 29 * 20
    assert together["head"] == 1000
    assert sum(together.values()) == pytest.approx(put_together(row | {"blocks": 1}, None))
    assert regions_together(row | {"blocks": 0})["qkv"] == 10


def test_a_units_time_is_an_average_over_units_and_steps() -> None:
    stages = ("descriptor", "operands", "groups", "results", "completion")
    row = {f"unit_{stage}Ticks": 32e6 for stage in stages} | {"steps": 2}
    assert at_work(row, 2.5e9, 32) == pytest.approx(5 * 1e6 / 2 / 400)


def test_every_row_is_of_a_build_that_the_page_names() -> None:
    run = read_records(data_file(TABLE))["run"]
    compiled = [row["gem5_compiled"] for row in decode_rows()]
    assert set(compiled) == {run["compiled"], run["second_compiled"]}
    lines = decode_parts()["host"].splitlines()[2:]
    of_second = [line for line in lines if line.split("|")[5].strip() == "2"]
    assert len(lines) == len(compiled)
    assert len(of_second) == compiled.count(run["second_compiled"])
