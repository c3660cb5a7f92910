"""Runs: one record per point and runner, of equal columns, that say what their parts say."""

import json
import random
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sailsim.analysis.costs.dollars import prices
from sailsim.analysis.runs.columns import columns_of, in_order
from sailsim.analysis.runs.compare import COMPARISON_COLUMNS, compare, with_comparisons
from sailsim.analysis.runs.runs import COLUMNS, Run, evaluate, runners, runners_by_name, runs
from sailsim.analysis.studies.result_folder import ResultFolder
from sailsim.analysis.studies.stored_runs import FREE, RunTable
from sailsim.analysis.studies.sweep_study import run_sweep
from sailsim.base.errors import SailsimError
from sailsim.sim.backends.cores import FASTEST, predict_cores
from sailsim.sim.backends.roofline import predict_gpu
from sailsim.sim.machine.system_files import gpu_names, leaves, load_gpu, load_system, vary
from sailsim.sim.point import Point
from sailsim.sim.step.engine import simulate_step
from sailsim.sim.step.tiles import COUNTS
from sailsim.sim.study.store import RESERVED
from sailsim.workloads.model_files.load import load_model
from sailsim.workloads.models.formats import uniform_format, weight_format

POINT = Point(model="smollm2-135m", context=64, batch=2, threads=8)
MODEL = load_model("smollm2-135m")


def by_name(point: Point, *against: str | Path, system: object = None) -> dict[str, Run]:
    return {run.runner: run for run in runs(point, system, runners(against))}  # type: ignore[arg-type]


def test_every_record_has_the_same_columns_and_is_json() -> None:
    records = evaluate(POINT)
    assert len(records) == 13 + 3 * len(gpu_names())
    assert len(COLUMNS) <= 64
    for record in records:
        assert tuple(record) == COLUMNS
        assert all(not isinstance(value, tuple) for value in record.values())
    assert json.loads(json.dumps(records)) == records


def test_sail_is_what_the_engine_says() -> None:
    sail = by_name(POINT)["sail"]
    result = simulate_step(load_system("sail-n1"), MODEL, POINT)
    assert (sail.step_s, sail.tokens_per_s) == (result.step_s, result.tokens_per_s)
    assert sum(sail.phases.values()) == pytest.approx(result.step_s)
    assert all(sail.counts[name] == result.counts[name] for name in COUNTS)
    assert sail.counts["pim_cycles"] == result.pim_cycles
    assert sail.point == result.point
    assert sail.energy_j == pytest.approx(sum(sail.energy.values()))
    assert any("not modelled in the energy" in note for note in sail.notes)


def test_baselines_are_what_they_say_alone() -> None:
    found = by_name(POINT)
    fmt, machine = uniform_format(4, 128), load_system("sail-n1")
    for name, software, threads, instances in (
        ("cores", "llama.cpp", 8, 1),
        ("cores-ampere", "ampere", 8, 1),
        ("cores-all", "llama.cpp", 64, None),
    ):
        alone = predict_cores(machine, MODEL, fmt, threads, 2, 64, software=software, instances=instances)
        run = found[name]
        assert (run.tokens_per_s, run.low, run.high) == (alone.tokens_per_s, alone.low, alone.high)
        assert run.phases == dict(alone.breakdown)
        assert run.cores == threads
        assert run.notes == alone.notes
    for end, weights, software in (
        ("", fmt, "llama.cpp"),
        ("-f16", weight_format("f16"), "serving"),
        ("-serving", fmt, "serving"),
    ):
        gpu = predict_gpu(load_gpu("l4"), MODEL, weights, 2, 64, software=software)
        run = found[f"l4{end}"]
        assert (run.tokens_per_s, run.format, run.cores) == (gpu.tokens_per_s, weights.name, None)
        assert run.energy_j is None
        assert run.energy_high_j == pytest.approx(72 * gpu.step_s)


@pytest.mark.parametrize(("size", "able"), [(34, True), (33, False)])
def test_what_does_not_fit_a_server_has_no_number_either(tmp_path: Path, size: int, able: bool) -> None:
    """Llama-2-70B in four bits needs 33.3 GiB; the GPUs' memory is their own."""
    machine = vary(load_system("sail-n1"), {"memory.size": size}, name="mine")
    found = by_name(Point(model="llama-2-70b", threads=64), system=machine)
    for name in ("sail", "cores", "cores-ampere", "cores-all"):
        run = found[name]
        assert run.fits == able
        assert (run.tokens_per_s is not None) == able == (run.energy_j is not None)
        assert run.memory_limit_bytes == size * 2**30
        assert able or "system mine: llama-2-70b in w4g128" in run.reason
    assert found["h100"].tokens_per_s is not None
    unlimited = machine.model_copy(update={"memory": machine.memory.model_copy(update={"size": None})})
    free = by_name(Point(model="llama-2-70b", threads=64), system=unlimited)["sail"]
    assert free.fits
    assert free.memory_limit_bytes is None


@pytest.mark.parametrize(("changes", "kept"), [("", 0.5), ("share=0.9", 0.9), ("depth=0", 0.0)])
def test_units_keep_the_room_for_waiting_weights_from_the_cores(changes: str, kept: float) -> None:
    system = f"sail-n1:pim.prefetch_{changes}" if changes else "sail-n1"
    found = by_name(Point(system=system, model="smollm2-135m"), "neural-cache-n1", "hbm-pim-n1")
    shares = {name: found[name].llc_share for name in ("sail", "neural-cache-n1", "hbm-pim-n1", "cores")}
    assert shares == {"sail": kept, "neural-cache-n1": 115 / 128, "hbm-pim-n1": 0.0, "cores": 0.0}
    assert found["v100"].llc_share is None


PROMPTS = Point(model="smollm2-135m", phase="prefill", prompt=96, batch=2, threads=8)


def test_every_runner_has_a_first_token_or_a_reason() -> None:
    for run in runs(PROMPTS):
        if run.tokens_per_s is None:
            assert run.reason
            assert run.ttft_s is None
            continue
        assert run.ttft_s == run.step_s
        assert run.tokens_per_s == pytest.approx(2 * 96 / run.ttft_s)
        assert 0 < run.bandwidth_share <= 1
        assert sum(run.phases.values()) == pytest.approx(run.step_s)
    assert all(run.ttft_s is None for run in runs(Point(model="smollm2-135m", context=8)))


def test_runners_are_what_they_say_alone() -> None:
    found = {run.runner: run for run in runs(PROMPTS)}
    sail = simulate_step(
        load_system("sail-n1"),
        MODEL,
        Point(model=PROMPTS.model, phase="prefill", prompt=96, batch=2, threads=8),
    )
    assert found["sail"].step_s == sail.step_s
    gpu = predict_gpu(load_gpu("a10g"), MODEL, uniform_format(4, 128), 2, prompt=96)
    assert (found["a10g"].tokens_per_s, found["a10g"].low) == (gpu.tokens_per_s, gpu.low)
    assert "Snapdragon" in found["cores-lut"].reason
    assert "four-bit kernels was measured" in found["a100-serving"].reason
    assert "No prompt in f16 was measured on GPU t4" in found["t4-f16"].reason
    best = max(found[name].tokens_per_s for name in ("cores", "cores-ampere"))
    assert found["cores-best"].tokens_per_s == best
    assert found["cores-best"].software == FASTEST


def test_joules_and_dollars_are_those_of_the_prompts_tokens() -> None:
    frame = with_comparisons(pd.DataFrame(evaluate(PROMPTS, runners_by_name("sail", "cores"))), prices())
    answer = compare(PROMPTS, runners=runners_by_name("sail", "cores"))["runs"]
    for row in frame.to_dict("records"):
        assert row["tokens_per_j"] == pytest.approx(2 * 96 / row["energy_j"])
        assert answer[row["runner"]]["j_per_token"] == pytest.approx(row["energy_j"] / (2 * 96))
    assert answer["sail"]["tokens_per_usd"] > answer["cores"]["tokens_per_usd"]


OTHERS = {"prt", "seed", "activations"}
"""Which are fixed by their own names."""
CHANGES_NOTHING = {"beyond_limit"}
"""It allows a point and does not change it."""


def test_every_field_of_a_point_is_fixed() -> None:
    assert set(FREE) | OTHERS | CHANGES_NOTHING == {field.name for field in fields(Point)}


@pytest.fixture(scope="module")
def two() -> RunTable:
    points = [Point(model="smollm2-135m", batch=batch) for batch in (1, 8)]
    return RunTable.of(pd.DataFrame([record for point in points for record in evaluate(point)]), prices())


def test_a_name_that_is_no_column_is_refused(two: RunTable) -> None:
    with pytest.raises(SailsimError, match="column 'btch' is not in the results; near are batch"):
        two.at(("btch",))
    with pytest.raises(SailsimError, match="column 'thread' is not in the results; near are threads"):
        two.at(("batch",), thread=16)


def same(kind: str, written: Iterable[str]) -> None:
    """The columns of a kind of study are these, and each pattern of the dictionary has one at least."""
    names = {*written, *RESERVED}
    own = columns_of(kind)
    assert [name for name in sorted(names) if not any(column.names(name) for column in own)] == []
    assert [column.name for column in own if not any(map(column.names, names))] == []


def test_of_a_sweep(tmp_path: Path) -> None:
    store = run_sweep([Point(model="smollm2-135m", context=64)], evaluated, tmp_path, progress=False)
    frame = ResultFolder(tmp_path).frame()
    assert list(frame) == [*COLUMNS, *RESERVED]
    assert set(store.frame()) == set(frame)
    # A swept field of the machine is a column under its name.
    same("sweep", [*frame, *COMPARISON_COLUMNS, "pim.slices"])
    pattern = next(column for column in columns_of("sweep") if column.words == "a field of the machine")
    assert all(map(pattern.names, leaves(load_system("sail-n1"))))


def evaluated(point: Point) -> list[dict[str, object]]:
    from sailsim.analysis.runs.runs import evaluate

    return evaluate(point)


@given(st.randoms(use_true_random=False), st.lists(st.text("abc.", min_size=1), unique=True))
def test_the_order_is_always_the_same(shuffler: random.Random, own: list[str]) -> None:
    own = [f"own {name}" for name in own]
    names = [*COLUMNS, "pim.slices", *RESERVED]
    shuffler.shuffle(names)
    at = COLUMNS.index("activations") + 1
    wanted = [*COLUMNS[:at], "pim.slices", *COLUMNS[at:], *own, *RESERVED]
    mixed = [*names[:7], *own, *names[7:]]
    assert in_order(mixed, "sweep") == wanted
