"""Several instances on one server: closed forms, the choice, and how far both are off what was measured."""

import numpy as np
import pytest

from calibration.measurements import read_table
from calibration.packed_check import choices, packed_rows
from sailsim.analysis.baselines.cpu import (
    Constants,
    CpuSheet,
    cpu_tokens_per_s,
    packed_parts,
    packed_tokens_per_s,
    packings,
)
from sailsim.analysis.baselines.fitted import fitted_constants
from sailsim.analysis.baselines.predict import baseline
from sailsim.analysis.baselines.prediction import Work
from sailsim.analysis.results.runs import evaluate
from sailsim.base.errors import SailsimError
from sailsim.sim.files import load_system
from sailsim.sim.point import Point
from sailsim.workloads.formats import uniform_format
from sailsim.workloads.load import load_model

LLAMA = load_model("llama-2-7b")
FOUR = uniform_format(4, 128)
ROWS = packed_rows(fitted_constants())


def scalar(value: float) -> np.ndarray:
    return np.asarray(float(value))


WORK = Work(*(scalar(v) for v in (2, 1e9, 1e8, 4e9, 0, 64, 100, 32, 70)))
SHEET = CpuSheet(scalar(2e9), scalar(1e11), scalar(1e10))
SLOW = Constants(scalar(0.5), scalar(2.0), scalar(1.0), 0.0, scalar(0.0))


def test_one_process_alone_is_the_formula_of_the_cores() -> None:
    parts = packed_parts(WORK, SHEET, scalar(4), SLOW, scalar(1), scalar(1))
    assert parts["weights"] == pytest.approx(1e9 / 4e10)
    assert parts["kernels"] == pytest.approx(4e9 / (4 * 2e9 * 2))


def test_many_instances_take_what_they_read_together() -> None:
    few, many = (packed_parts(WORK, SHEET, scalar(4), SLOW, scalar(1), scalar(n)) for n in (2, 40))
    alone = 1e9 / 4e10 + 1e8 / 4e10 + 4e9 / 1.6e10
    assert float(sum(few.values())) == pytest.approx(alone)  # 44 ms of reading hide within 277.5
    assert float(sum(many.values())) == pytest.approx(40 * 1.1e9 / 5e10)
    assert many["kernels"] == few["kernels"]


@pytest.mark.parametrize(
    ("threads", "batch", "tried"),
    [
        (64, 1, (1,)),
        (64, 3, (1, 2, 3)),
        (64, 100, tuple(range(1, 9))),
        (7, 8, (1,)),
        (96, 16, tuple(range(1, 13))),
    ],
)
def test_each_instance_has_a_sequence_and_as_many_threads_as_were_measured(
    threads: int, batch: int, tried: tuple[int, ...]
) -> None:
    assert packings(threads, batch) == tried


def test_the_choice_is_the_fastest_of_those_that_are_tried() -> None:
    system = load_system("graviton2")
    best = packed_tokens_per_s(system, LLAMA, FOUR, 64, 8, 512)
    each = {n: cpu_tokens_per_s(system, LLAMA, FOUR, 64, 8, 512, instances=n) for n in packings(64, 8)}
    assert best.tokens_per_s == max(found.tokens_per_s for found in each.values())
    assert each[best.instances] == best
    assert best.instances > 1
    assert any(f"{best.instances} instances side by side" in note for note in best.notes)
    assert sum(best.parts.values()) == pytest.approx(best.step_s)


def test_a_single_sequence_is_not_shared_out() -> None:
    system = load_system("graviton2")
    assert packed_tokens_per_s(system, LLAMA, FOUR, 64) == cpu_tokens_per_s(system, LLAMA, FOUR, 64)


def test_the_slowest_instance_sets_the_pace() -> None:
    system = load_system("graviton2")
    three = cpu_tokens_per_s(system, LLAMA, FOUR, 63, 8, 512, instances=3)
    nine = cpu_tokens_per_s(system, LLAMA, FOUR, 63, 9, 512, instances=3)
    assert nine.step_s == three.step_s
    assert nine.tokens_per_s == pytest.approx(9 / 8 * three.tokens_per_s)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"instances": 9}, ["instances", "9", "1..8"]),
        ({"instances": 0}, ["instances", "0", "1..8"]),
        ({"instances": 5, "threads": 4}, ["instances", "5", "1..4"]),
        ({"instances": None, "prompt": 8}, ["instances", "best", "prompt"]),
        ({"machine": "v100", "threads": None, "instances": None}, ["instances", "best", "v100"]),
    ],
)
def test_bad_input_is_one_sentence(change: dict, words: list[str]) -> None:
    arguments = {"machine": "graviton2", "model": LLAMA, "fmt": FOUR, "threads": 16, "batch": 8} | change
    with pytest.raises(SailsimError) as error:
        baseline(**arguments)
    assert all(word in str(error.value) for word in words)


def test_runners_of_the_whole_server_have_the_best_packing_and_pay_for_its_reading() -> None:
    found = {run["runner"]: run for run in evaluate(Point(model="llama-2-7b", batch=8, threads=64))}
    packed, single = found["cores-all"], found["cores"]
    assert packed["tokens_per_s"] > single["tokens_per_s"]
    assert any("instances side by side" in note for note in packed["notes"])
    assert packed["traffic"]["weights"] > 1.9 * single["traffic"]["weights"]
    assert found["cores-all-best"]["tokens_per_s"] >= packed["tokens_per_s"]


def test_errors_are_those_of_the_measurements() -> None:
    several = ROWS.processes > 1
    errors = {e["measurements"]: e for e in fitted_constants().errors}
    for system, title in (("altra", "Altra, Ampere's fork"), ("graviton4", "Graviton4, llama.cpp")):
        stored = errors[f"{title}, several processes side by side"]
        error = np.abs(ROWS.ratio[several & (ROWS.system == system)] - 1)
        assert len(error) == stored["count"]
        assert np.median(error) == pytest.approx(stored["median_error"], rel=1e-3)
        assert error.max() == pytest.approx(stored["worst_error"], rel=1e-3)
    assert len(ROWS.measured) == 356


def test_rows_that_the_fit_has_are_known() -> None:
    assert ROWS.fitted.sum() == len(read_table("a1_batched.csv"))
    assert (ROWS.processes[ROWS.fitted] == 1).all()
    assert set(ROWS.system[ROWS.fitted]) == {"altra"}
    errors = {e["measurements"]: e for e in fitted_constants().errors}
    one = errors["Altra, Ampere's fork, one process on 48 threads or more, batches, one cache"]
    alone = (ROWS.system == "altra") & (ROWS.processes == 1)
    assert one["count"] == alone.sum() - ROWS.fitted.sum()


def test_the_packing_that_is_reckoned_the_fastest_nearly_is() -> None:
    made = choices(ROWS)
    lost = np.array([choice.lost for choice in made])
    assert np.median(lost) < 0.02
    assert lost.max() < 0.15
    gained = [choice.gained for choice in made if choice.sequences == 8 and np.isfinite(choice.gained)]
    assert min(gained) > 1
    assert max(gained) > 2
    stored = fitted_constants().table["packing"]
    assert stored["choices"] == len(made)
    assert stored["worst_lost"] == pytest.approx(lost.max(), rel=1e-3)
