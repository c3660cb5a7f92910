"""Two halves of a batch: whose turn it is, what that can never change, and what a step gains by it."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sailsim.sim.machine.dram import MemorySystem
from sailsim.sim.machine.system_files import load_system
from sailsim.sim.point import SEEDS, Point
from sailsim.sim.step.engine import GRAIN_S, Schedule, halves_of, simulate_step, taking_turns
from sailsim.sim.step.schedule import CoreTask, ScheduledGemv, Segments, StepTimeline, play
from sailsim.workloads.model_files.load import load_model

from ...examples import examples

MACHINE = MemorySystem(100.0, 0.8, 0.4, 50.0, 1, True, 1e9)
STREAM = MACHINE.stream_limit
SAIL, LLAMA = load_system("sail-n1"), load_model("llama-2-7b")


def run(machine: MemorySystem, tasks: list[CoreTask], tensors: list[ScheduledGemv]) -> StepTimeline:
    return play(machine, [Segments.one(tasks, tensors)])


def chain(*works: tuple[float, float], layer_bytes: float = 0.0) -> Schedule:
    """Core work, then a tensor that needs it, and so on; the last core work ends it."""
    tasks = [CoreTask(f"{i}", i, seconds) for i, (seconds, _) in enumerate(works)]
    tensors = [
        ScheduledGemv(f"{i}", i + 1, layer_bytes, seconds, lambda rate: layer_bytes / rate)
        for i, (_, seconds) in enumerate(works[:-1])
    ]
    return tasks, tensors


WORKS = st.lists(
    st.tuples(st.floats(0, 3), st.floats(0.01, 3)).map(lambda w: (round(w[0], 2), round(w[1], 2))),
    min_size=1,
    max_size=7,
)


@examples(60)
@given(WORKS, WORKS, st.sampled_from([0.0, 30.0]))
def test_each_half_keeps_its_order_and_its_needs(one, two, size):
    first, second = chain(*one, layer_bytes=size), chain(*two, layer_bytes=size)
    named = [
        (
            [t._replace(name=f"{half} {t.name}") for t in tasks],
            [t._replace(name=f"{half} {t.name}") for t in ts],
        )
        for half, (tasks, ts) in enumerate((first, second))
    ]
    tasks, tensors = taking_turns(*named, STREAM)
    for half, (own, products) in enumerate(named):
        mine = [task for task in tasks if task.name.startswith(f"{half} ")]
        assert [task.name for task in mine] == [task.name for task in own]
        taken = [tensor for tensor in tensors if tensor.name.startswith(f"{half} ")]
        assert [tensor.name for tensor in taken] == [tensor.name for tensor in products]
        for task, was in zip(mine, own, strict=True):
            done = [t for t in tensors[: task.needs] if t.name.startswith(f"{half} ")]
            assert len(done) == was.needs
            assert not task.needs or tensors[task.needs - 1].name.startswith(f"{half} ")
        for tensor, had in zip(taken, products, strict=True):
            assert len([t for t in tasks[: tensor.needs] if t.name.startswith(f"{half} ")]) == had.needs
    together = run(MACHINE, tasks, tensors)
    cores = sum(task.seconds for task in tasks)
    alone = [run(MACHINE, *half).end for half in (first, second)]
    assert together.end >= max(cores, *alone) * (1 - 1e-9)
    assert together.streamed == pytest.approx(size * len(tensors))


@examples(60)
@given(WORKS, st.lists(st.floats(1e-5, 3e-3), min_size=1, max_size=9), st.sampled_from([0.0, 30.0]))
def test_what_goes_between_waits_for_nothing_but_what_comes_first(work, between, size):
    """The first half is not held up by more than a grain of each of its tensors, however little the second
    has left, and nothing of the second is lost."""
    first = chain(*work, layer_bytes=size)
    second = [CoreTask(f"between {at}", 0, seconds, 10.0) for at, seconds in enumerate(between)]
    tasks, tensors = taking_turns(first, (second, ()), STREAM, in_order=True)
    mine = [task for task in tasks if task.name.startswith("between")]
    assert sum(task.seconds for task in mine) == pytest.approx(sum(between))
    assert sum(task.read for task in mine) == pytest.approx(10 * len(between))
    assert [task.name for task in tasks if task not in mine] == [task.name for task in first[0]]
    assert list(dict.fromkeys(task.name for task in mine)) == [task.name for task in second]
    until = max(at for at, task in enumerate(tasks) if task not in mine)
    alone, held = run(MACHINE, *first).end, run(MACHINE, tasks[: until + 1], tensors).end
    assert held <= alone + GRAIN_S * len(tensors) + 20 * len(between) / MACHINE.peak + 1e-9


@examples(30)
@given(batch=st.integers(2, 65), seed=st.sampled_from([0, 7, SEEDS - 1]))
def test_the_halves_have_all_rows_and_activations_of_their_own(batch, seed):
    point = Point(batch=batch, overlap=True, seed=seed)
    halves = halves_of(point)
    assert sum(half.batch for half in halves) == batch
    assert halves[0].batch - halves[1].batch in (0, 1)
    assert halves[0].seed != halves[1].seed
    assert not any(half.overlap for half in halves)
    assert halves_of(replace(point, overlap=False)) == (replace(point, overlap=False),)


def test_a_step_of_halves_adds_up_and_reads_its_weights_twice():
    point = Point(batch=8, context=512)
    whole, halves = (simulate_step(SAIL, LLAMA, replace(point, overlap=o)) for o in (False, True))
    assert sum(halves.breakdown.values()) == pytest.approx(halves.step_s)
    assert halves.tokens == whole.tokens == 8
    assert halves.bytes_by_kind["weights"] == pytest.approx(2 * whole.bytes_by_kind["weights"])
    assert halves.breakdown["build"] == pytest.approx(2 * whole.breakdown["build"])
    assert any("two halves" in note for note in halves.notes)
    # Neither side can do better than work all the time: a batch of half the rows, twice.
    half = simulate_step(SAIL, LLAMA, replace(point, batch=4))
    assert half.step_s < halves.step_s < 2 * half.step_s
    assert halves.step_s < whole.step_s
