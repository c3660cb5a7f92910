"""Runs: one record per point and runner, of equal columns, that say what their parts say."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from sailsim.analysis.results.runs import COLUMNS, Run, evaluate, runners, runs
from sailsim.base.errors import SailsimError
from sailsim.sim.backends.cores import predict_cores
from sailsim.sim.backends.roofline import predict_card
from sailsim.sim.engine import simulate_step
from sailsim.sim.files import card_names, load_card, load_system, save_system
from sailsim.sim.point import Point
from sailsim.sim.tiles import COUNTS
from sailsim.sim.vary import vary
from sailsim.workloads.formats import uniform_format, weight_format
from sailsim.workloads.load import load_model

POINT = Point(model="smollm2-135m", context=64, batch=2, threads=8)
MODEL = load_model("smollm2-135m")


def by_name(point: Point, *beside: str | Path, system: object = None) -> dict[str, Run]:
    return {run.runner: run for run in runs(point, system, runners(beside))}  # type: ignore[arg-type]


def test_every_record_has_the_same_columns_and_is_json() -> None:
    records = evaluate(POINT)
    assert len(records) == 9 + 3 * len(card_names())
    assert len(COLUMNS) <= 58
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
    assert sail.low is None is sail.high
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
        assert run.phases == dict(alone.parts)
        assert run.cores == threads
        assert run.notes == alone.notes
    for end, weights, software in (
        ("", fmt, "llama.cpp"),
        ("-f16", weight_format("f16"), "llama.cpp"),
        ("-serving", fmt, "serving"),
    ):
        card = predict_card(load_card("l4"), MODEL, weights, 2, 64, software=software)
        run = found[f"l4{end}"]
        assert (run.tokens_per_s, run.format, run.cores) == (card.tokens_per_s, weights.name, None)
        assert run.energy_j is None
        assert run.energy_high_j == pytest.approx(72 * card.step_s)


def test_every_runner_has_the_formats_that_the_point_says() -> None:
    """In rate, memory and words; a runner with a format of its own has that."""
    mixed = replace(POINT, weights="q4_k_m", wbits=None, group_size=None)
    found, fmt = by_name(mixed), mixed.formats(MODEL)
    assert found["cores"].format == found["l4"].format == fmt.name
    assert (found["l4-f16"].format, found["l4-f16"].types) == (
        "f16",
        f"f16 {len(list(MODEL.linears()))} tensors",
    )
    alone = predict_cores(load_system("sail-n1"), MODEL, fmt, 8, 2, 64)
    assert found["cores"].tokens_per_s == alone.tokens_per_s
    assert found["sail"].memory_bytes == fmt.model_bytes(MODEL) + MODEL.kv_bytes_per_token() * 2 * 64
    # Rows of 576 weights are no blocks of 256: llama.cpp falls back to q5_0 and q8_0 for them.
    assert found["sail"].types == found["cores"].types == "q5_0 166 tensors, q8_0 15, q4_k 16, q6_k 14"


def test_a_card_that_is_too_small_has_no_number_and_a_reason() -> None:
    found = by_name(Point(model="llama-2-70b", threads=64))
    small = found["t4"]
    assert small.tokens_per_s is None is small.step_s is small.energy_high_j
    assert not small.fits
    assert "card t4" in small.reason
    assert "GB" in small.reason
    assert found["sail"].fits
    assert found["sail"].reason == ""


@pytest.mark.parametrize(("size", "able"), [(34, True), (33, False)])
def test_what_does_not_fit_a_server_has_no_number_either(tmp_path: Path, size: int, able: bool) -> None:
    """Llama-2-70B in four bits needs 33.3 GiB; the cards' memory is their own."""
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


def test_a_kernel_that_a_software_lacks_is_a_reason_too() -> None:
    two = by_name(replace(POINT, wbits=2))["v100-serving"]
    assert two.tokens_per_s is None
    assert two.fits
    assert "allowed with software 'serving'" in two.reason


def test_a_point_that_its_own_system_cannot_run_is_an_error() -> None:
    with pytest.raises(SailsimError, match="threads"):
        runs(replace(POINT, threads=65))
    with pytest.raises(SailsimError, match="graviton2"):
        runs(replace(POINT, system="graviton2"))


def test_a_runner_with_hardware_of_its_own_that_cannot_has_a_reason(tmp_path: Path) -> None:
    path = tmp_path / "few.toml"
    path.write_text(
        '[[runner]]\nname = "few"\ntitle = "Few"\nkind = "cores"\nhardware = "graviton2"\n'
        'software = "llama.cpp"\nsource = "a test"\n'
    )
    wide = by_name(replace(POINT, threads=72, system="mine"), path, system=_eighty(tmp_path))
    assert wide["sail"].tokens_per_s is not None
    assert wide["few"].tokens_per_s is None
    assert "threads is 72" in wide["few"].reason


def _eighty(folder: Path) -> Path:
    varied = vary(load_system("sail-n1"), {"cores.count": 80}, name="eighty")
    return save_system(varied, folder / "eighty.toml")


def test_another_accelerator_runs_the_point_as_a_point_of_its_own_would(tmp_path: Path) -> None:
    varied = vary(load_system("sail-n1"), {"pim.arrays": 4, "pim.nbw": 2}, name="small")
    path = save_system(varied, tmp_path / "small.toml")
    small = by_name(POINT, path)["small"]
    alone = simulate_step(load_system(path), MODEL, replace(POINT, system=str(path)))
    assert small.step_s == alone.step_s
    assert small.point.nbw == 4  # the point's columns are the point's
    assert any("NBW 2" in note for note in small.notes)
    assert small.priced_as == ("small", "sail-n1", "graviton2")


def test_a_machine_may_come_by_itself_or_by_its_file(tmp_path: Path) -> None:
    varied = vary(load_system("sail-n1"), {"pim.arrays": 4, "memory.latency": 97}, name="small")
    mine = by_name(POINT, system=varied)
    assert mine["sail"].point.system == "small"
    assert mine["sail"].step_s == simulate_step(varied, MODEL, POINT).step_s
    path = save_system(varied, tmp_path / "small.toml")
    for again in (by_name(POINT, system=path), by_name(replace(POINT, system=str(path)))):
        assert again["sail"].point.system == str(path)
        assert again["sail"].step_s == mine["sail"].step_s
        assert again["cores"].tokens_per_s == mine["cores"].tokens_per_s
