"""The search for a policy: against enumeration, and its two sums against what they stand for."""

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.random import default_rng

from sailsim.analysis.results.policy_search import (
    SLOWER,
    Found,
    StepTimes,
    least_lossy,
    policy_text,
    search,
    step_times,
)
from sailsim.analysis.results.sensitivities import groups, measure_sensitivities, sensitivity_points
from sailsim.base.errors import SailsimError
from sailsim.sim import Point
from sailsim.sim.simulate import simulate
from sailsim.workloads import chosen_format, load_model, open_gguf
from sailsim.workloads.decoder import Decoder
from sailsim.workloads.products import FloatProducts
from sailsim.workloads.quality import predicted
from sailsim.workloads.sensitivity import Sensitivity

from ...workloads.conftest import write_tiny_gguf

CHOICES = ["8g128", "4g32", "3g32"]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("policy") / "m.gguf"
    write_tiny_gguf(path)
    return path


def learned(tiny: Path) -> str:
    path = tiny.parent / "text.txt"
    path.write_text("the cat sat on the mat and did not move. " * 20)
    return str(path)


def tables(seed: int, rows: int) -> tuple[pd.DataFrame, StepTimes]:
    rng = default_rng(seed)
    names = [f"g{i}" for i in range(rows)]
    losses = pd.DataFrame(rng.exponential(0.1, (rows, 3)), names, CHOICES)
    return losses, StepTimes(1.0, pd.DataFrame(rng.normal(0, 0.1, (rows, 3)), names, CHOICES))


def every(losses: pd.DataFrame, times: StepTimes) -> list[tuple[float, float]]:
    """Seconds of a step and loss of all assignments there are; a loss below 0 counts as 0."""
    lost, took = np.maximum(losses.to_numpy(), 0), times.groups.to_numpy()
    return [
        (
            times.rest_s + sum(took[i, c] for i, c in enumerate(each)),
            sum(lost[i, c] for i, c in enumerate(each)),
        )
        for each in itertools.product(range(lost.shape[1]), repeat=len(lost))
    ]


@given(st.integers(0, 10**6), st.integers(1, 5), st.floats(0.02, 1.0))
def test_nothing_faster_is_within_the_loss(seed: int, rows: int, budget: float) -> None:
    losses, times = tables(seed, rows)
    good = [time for time, loss in every(losses, times) if loss <= budget]
    if not good:
        with pytest.raises(SailsimError, match="allowed is at least"):
            search(losses, times, budget)
        return
    found = search(losses, times, budget)
    assert found.step_s == pytest.approx(min(good), abs=1e-6)
    assert found.loss <= budget + 1e-6
    assert found.loss == pytest.approx(sum(losses.loc[g, c] for g, c in found.formats.items()))


@given(
    st.integers(0, 10**6),
    st.lists(st.tuples(st.integers(-2, 6), st.integers(0, 8)), min_size=3, max_size=15),
    st.integers(0, 8),
    st.sampled_from([0.0, SLOWER, 0.01, 0.05, 1.0]),
)
def test_nothing_loses_less_that_is_about_as_fast(
    seed: int, cells: list[tuple[int, int]], budget: int, slower: float
) -> None:
    """Of whole numbers, so that many assignments are equally fast or lose the same."""
    rows = len(cells) // 3
    names = [f"g{i}" for i in range(rows)]
    table = np.array(cells[: 3 * rows], float).reshape(rows, 3, 2)
    losses = pd.DataFrame(table[..., 0] / 10, names, CHOICES)
    times = StepTimes(1.0, pd.DataFrame(table[..., 1] / 100, names, CHOICES))
    # Beside ties also the general case: a hundredth of the step between numbers is broken up.
    if seed % 2:
        times.groups.iloc[:, :] += default_rng(seed).normal(0, 0.002, (rows, 3))
    all_of = every(losses, times)
    allowed = budget / 10 + 0.05
    if min(loss for _, loss in all_of) > allowed:
        return
    fastest = search(losses, times, allowed)
    taken = least_lossy(losses, times, fastest, slower)
    bound = (1 + slower) * fastest.step_s
    # The solver's tolerance decides what lies just on a bound.
    low, high = (
        min(loss for time, loss in all_of if time <= bound + by) for by in (1e-6, -1e-6 * (slower > 0))
    )
    assert low - 1e-6 <= taken.loss <= min(high, fastest.loss) + 1e-6
    assert taken.step_s <= bound + 1e-6
    # Among those that lose as little, the fastest.
    alike = min(time for time, loss in all_of if loss <= taken.loss + 1e-9)
    assert taken.step_s <= alike + 1e-6
    assert taken.budget == fastest.budget
    assert taken.loss <= fastest.loss


def test_a_step_that_is_hardly_slower_is_taken_where_it_loses_less() -> None:
    names = ["a", "b"]
    losses = pd.DataFrame([[0.0, 0.05, 0.06], [0.0, 0.03, 0.08]], names, CHOICES)
    times = StepTimes(1.0, pd.DataFrame([[0.0, -0.1, -0.1004], [0.0, -0.2, -0.2005]], names, CHOICES))
    fastest = search(losses, times, 0.2)
    assert fastest.formats == {"a": "3g32", "b": "3g32"}
    assert least_lossy(losses, times, fastest, 0.0) == fastest
    # 0.001 of 0.6991 s is spent where it brings most: 0.05 nats for 0.5 ms, and not 0.01 for 0.4 ms.
    assert least_lossy(losses, times, fastest, SLOWER).formats == {"a": "3g32", "b": "4g32"}
    assert least_lossy(losses, times, fastest, 0.002).formats == {"a": "4g32", "b": "4g32"}
    assert least_lossy(losses, times, fastest, 1.0).formats == {"a": "8g128", "b": "8g128"}


def test_luck_with_a_few_tokens_is_no_reason() -> None:
    """Eight bits lose little for sure, four lost nothing, but may lose much."""
    losses = pd.DataFrame([[0.001, -0.01, 0.05]], ["a"], CHOICES)
    doubt = pd.DataFrame([[0.0005, 0.03, 0.02]], ["a"], CHOICES)
    times = StepTimes(1.0, pd.DataFrame([[0.0, -0.0002, -0.0004]], ["a"], CHOICES))
    fastest = search(losses, times, 0.1)
    assert fastest.formats == {"a": "3g32"}
    assert least_lossy(losses, times, fastest).formats == {"a": "4g32"}
    found = least_lossy(losses, times, fastest, doubt=doubt)
    assert (found.formats, found.loss) == ({"a": "8g128"}, 0.001)


def test_what_may_be_given_up_is_a_fraction() -> None:
    losses, times = tables(1, 2)
    for slower in (-0.01, 1.01, float("nan")):
        with pytest.raises(SailsimError, match=rf"slower is {slower:g}; allowed is 0\.\.1"):
            least_lossy(losses, times, Found(1.0, {}, 1.0, 1.0), slower)


def test_what_a_text_happens_to_like_buys_nothing() -> None:
    names = ["a", "b"]
    losses = pd.DataFrame([[0.0, -5.0, -5.0], [0.0, 0.3, 0.3]], names, CHOICES)
    times = StepTimes(1.0, pd.DataFrame([[0.0, 1.0, 1.0], [0.0, -0.5, -0.5]], names, CHOICES))
    assert search(losses, times, 0.1).formats["b"] == "8g128"


def test_groups_are_all_matrices_once() -> None:
    spec = load_model("llama-2-7b")
    for together in (1, 5, 32):
        found = groups(spec, together)
        names = [name for tensors in found.values() for name in tensors]
        assert sorted(names) == sorted(linear.name for linear in spec.linears())
    assert groups(spec, 5)["blk.30-31.attn_q"] == ("blk.30.attn_q", "blk.31.attn_q")
    with pytest.raises(SailsimError, match=r"together is 33; allowed is 1\.\.32"):
        groups(spec, 33)


@pytest.mark.parametrize("batch", [1, 8])
def test_parts_of_a_step_add_up(batch: int, tmp_path: Path) -> None:
    point = Point(model="smollm2-135m", batch=batch)
    of = groups(load_model(point.model), 10)
    times = step_times(point, of, CHOICES)
    rng = default_rng(1)
    for _ in range(3):
        formats = {group: CHOICES[rng.integers(3)] for group in of}
        tensors = {name: formats[group] for group in of for name in of[group]}
        (tmp_path / "p.toml").write_text(policy_text("p", CHOICES[0], tensors))
        whole = Point(model=point.model, batch=batch, weights=str(tmp_path / "p.toml"))
        added = times.rest_s + sum(times.groups.loc[group, choice] for group, choice in formats.items())
        assert added == pytest.approx(simulate(whole).step_s, rel=0.05)


def test_all_matrices_in_another_format_are_a_model_of_that_format(tiny: Path) -> None:
    model = open_gguf(tiny)
    other = chosen_format("3g32", str(tiny), model.spec)
    tokens = default_rng(3).integers(0, model.spec.vocab, (3, 16))
    of = Sensitivity(model, tokens)
    names = [linear.name for linear in model.spec.linears()]

    class Rounded(FloatProducts):
        def _values(self, name: str):  # type: ignore[no-untyped-def]
            linear = next(each for each in model.spec.linears() if each.name == name)
            return of._values(linear, other)

    decoder = Decoder(model, Rounded(model))
    right = predicted(decoder, decoder.embed(tokens.reshape(-1)), 0, tokens)
    np.testing.assert_allclose(of.with_others(names, other).nll, right.nll, rtol=1e-5)
    assert np.abs(right.nll - of.undisturbed.nll).max() > 1e-3


def test_a_block_is_worked_out_from_its_own_state_on(tiny: Path) -> None:
    model = open_gguf(tiny)
    other = chosen_format("3g32", str(tiny), model.spec)
    of = Sensitivity(model, default_rng(4).integers(0, model.spec.vocab, (3, 16)))
    first, second = (
        [linear.name for linear in model.spec.linears() if linear.name.startswith(f"blk.{layer}.")]
        for layer in (0, 1)
    )
    alone = of.with_others(second, other).nll
    # The first block too, in values that are its own: from the start, with the same answer.
    own = of._values
    of._values = lambda linear, fmt: (  # type: ignore[method-assign]
        model.file.dequantize(f"{linear.name}.weight") if linear.layer == 0 else own(linear, fmt)
    )
    np.testing.assert_allclose(of.with_others([*first, *second], other).nll, alone, rtol=1e-5)
    assert np.abs(alone - of.undisturbed.nll).max() > 1e-4


def test_unknown_matrices_and_formats_are_one_sentence(tiny: Path) -> None:
    model = open_gguf(tiny)
    of = Sensitivity(model, np.zeros((2, 8), np.int64))
    with pytest.raises(SailsimError, match=r"tensors has 'blk\.9\.x'; allowed are matrices"):
        of.with_others(["blk.9.x"], chosen_format("4", str(tiny), model.spec))
    with pytest.raises(SailsimError, match="tensors is empty; allowed are matrices that a step multiplies"):
        of.with_others([], chosen_format("4", str(tiny), model.spec))
    path = tiny.parent / "p.toml"
    path.write_text(policy_text("p", "4", {}))
    with pytest.raises(SailsimError, match="choices has the policy"):
        sensitivity_points(str(tiny), [str(path)], 1, 2, 8, learned(tiny))


def test_a_study_of_sensitivities_resumes(tiny: Path, tmp_path: Path) -> None:
    wanted = sensitivity_points(str(tiny), ["8g32", "3g32"], 1, 2, 16, learned(tiny))
    some = measure_sensitivities(wanted[:3], tmp_path / "a")
    all_of = measure_sensitivities(wanted, tmp_path / "a")
    fresh = measure_sensitivities(wanted, tmp_path / "b")
    columns = ["group", "weights", "loss", "loss_error"]
    assert all_of[columns].equals(fresh[columns])
    assert len(some) == 3
    assert len(all_of) == len(wanted)
