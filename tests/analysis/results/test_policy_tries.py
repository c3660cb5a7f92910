"""Policies that keep their loss: against losses that do not add up, and a tiny model from search to end."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from numpy.random import default_rng

from sailsim.analysis.results.policy_judged import judged
from sailsim.analysis.results.policy_search import SLOWER, Found, StepTimes, search
from sailsim.analysis.results.policy_tries import SURE, TRIES, Measured, keep, search_all
from sailsim.analysis.results.sensitivities import CHUNKS, LENGTH, TOGETHER
from sailsim.base.errors import SailsimError
from sailsim.cli import main
from sailsim.cli.policy import policy
from sailsim.sim import Point

from ...workloads.conftest import write_tiny_gguf

CHOICES = ["8g128", "4g32", "3g32"]


def tables(seed: int, rows: int) -> tuple[pd.DataFrame, StepTimes]:
    """Wider choices lose nothing, narrower ones are faster."""
    rng = default_rng(seed)
    names = [f"g{i}" for i in range(rows)]
    lost = np.cumsum(rng.exponential(0.05, (rows, 3)), axis=1) * [0, 1, 1]
    took = np.cumsum(rng.exponential(0.05, (rows, 3)), axis=1) * [0, -1, -1]
    return pd.DataFrame(lost, names, CHOICES), StepTimes(10.0, pd.DataFrame(took, names, CHOICES))


@given(
    st.integers(0, 10**6), st.integers(1, 12), st.floats(0.3, 4.0), st.floats(0.0, 0.05), st.floats(0.0, 0.02)
)
def test_what_is_kept_was_measured_within_the_budget(
    seed: int, rows: int, steep: float, rest: float, error: float
) -> None:
    losses, times = tables(seed, rows)
    asked: list[tuple[Found, Measured]] = []

    def measure(found: Found, at: int) -> Measured:
        assert at == len(asked)
        asked.append((found, Measured(rest + steep * found.loss, error)))
        return asked[-1][1]

    kept = keep(losses, times, 0.15, Measured(rest, error), measure)
    assert kept.loss + SURE * kept.loss_error <= 0.15
    assert kept.predicted_loss == pytest.approx(rest + kept.found.loss)
    assert kept.tries == len(asked) <= TRIES
    fine = [found.step_s for found, whole in asked if whole.upper <= 0.15]
    assert kept.found.step_s <= (1 + SLOWER) * min(fine)
    assert kept.fastest.step_s <= kept.found.step_s * (1 + 1e-6)
    assert kept.found.step_s <= (1 + SLOWER + 1e-6) * kept.fastest.step_s
    assert kept.found.loss <= kept.fastest.loss
    assert len({tuple(found.formats.values()) for found, _ in asked}) == len(asked)


def nearly_alike() -> tuple[pd.DataFrame, StepTimes]:
    """A narrower choice is hardly faster than another, which loses half as much."""
    names = ["a", "b"]
    losses = pd.DataFrame([[0.0, 0.02, 0.04], [0.0, 0.02, 0.04]], names, CHOICES)
    took = pd.DataFrame([[0.0, -0.1, -0.1002], [0.0, -0.1, -0.1002]], names, CHOICES)
    return losses, StepTimes(1.0, took)


def test_a_little_speed_is_given_up_for_less_loss() -> None:
    losses, times = nearly_alike()

    def measure(found: Found, at: int) -> Measured:
        return Measured(0.01 + found.loss, 0.002)

    kept = keep(losses, times, 0.15, Measured(0.01, 0.0), measure)
    assert kept.fastest.formats == {"a": "3g32", "b": "3g32"}
    assert kept.found.formats == {"a": "4g32", "b": "4g32"}
    assert (kept.loss, kept.tries) == (pytest.approx(0.05), 1)
    alone = keep(losses, times, 0.15, Measured(0.01, 0.0), measure, slower=0)
    assert alone.found == alone.fastest
    assert alone.found.formats == kept.fastest.formats


def test_what_is_measured_is_what_is_taken() -> None:
    """The fastest of the sums would be beyond the budget as a whole; what is taken for it is not."""
    losses, times = nearly_alike()

    def measure(found: Found, at: int) -> Measured:
        return Measured(0.2 if "3g32" in found.formats.values() else 0.1, 0.001)

    assert keep(losses, times, 0.15, Measured(0.01, 0.0), measure).found.formats == {"a": "4g32", "b": "4g32"}


@pytest.mark.parametrize("steep", [0.5, 1.0, 1.9, 3.0])
def test_the_budget_is_spent_whatever_single_losses_are_off_by(steep: float) -> None:
    losses, times = tables(7, 60)

    def measure(found: Found, at: int) -> Measured:
        return Measured(0.03 + steep * found.loss, 0.005)

    kept = keep(losses, times, 0.5, Measured(0.03, 0.005), measure)
    best = search(losses, times, (0.5 - 0.03 - SURE * 0.005) / steep)
    assert kept.found.step_s == pytest.approx(best.step_s, rel=0.02)


def test_what_none_keeps_is_refused_in_one_sentence() -> None:
    losses, times = tables(1, 4)
    with pytest.raises(SailsimError, match=r"loss is 0\.05; allowed is more than 0\.06 .*: rounding"):
        keep(losses, times, 0.05, Measured(0.04, 0.01), lambda found, at: Measured(0.0, 0.0))
    with pytest.raises(SailsimError, match=r"loss is 0\.05; allowed is more than 0\.3 .*, which"):
        keep(losses, times, 0.05, Measured(0.0, 0.01), lambda found, at: Measured(0.28, 0.01))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("policy") / "m.gguf"
    write_tiny_gguf(path)
    (path.parent / "text.txt").write_text("the cat sat on the mat and did not move. " * 60)
    (path.parent / "other.txt").write_text("a dog ran to the tree and sat. " * 900)
    return path


def test_a_search_is_measured_on_its_text_and_judged_on_another(tiny: Path, tmp_path: Path) -> None:
    point = Point(model=str(tiny), context=64)
    text, other = (str(tiny.parent / name) for name in ("text.txt", "other.txt"))
    found = search_all(
        point, ["8g32", "3g32"], [0.5, 2.0], tmp_path, together=1, chunks=2, length=16, text=text
    )
    rows = {row["weights"]: row for row in judged(point, found, ["8g32", "3g32"], tmp_path, text=other)}
    assert list(rows) == ["8g32", "3g32", "loss-0.5.toml", "loss-2.toml"]
    for name, budget in (("loss-0.5.toml", 0.5), ("loss-2.toml", 2.0)):
        row = rows[name]
        assert row["budget"] == budget
        assert row["verified_loss"] + SURE * row["verified_error"] <= budget
        assert (tmp_path / "tries" / f"{name.removesuffix('.toml')}-0.toml").exists()
        assert row["ms"] > 0
        assert row["fastest_ms"] <= row["predicted_ms"] <= (1 + SLOWER) * row["fastest_ms"]
        # The texts differ, and so do the losses on them.
        assert row["loss"] != row["verified_loss"]
    assert rows["8g32"]["budget"] is rows["8g32"]["fastest_ms"] is None
    again = search_all(point, ["8g32", "3g32"], [0.5], tmp_path, together=1, chunks=2, length=16, text=text)
    assert again["loss-0.5.toml"] == found["loss-0.5.toml"]


def test_a_fraction_out_of_range_is_refused_before_anything_is_measured(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(SailsimError, match=r"slower is 2; allowed is 0\.\.1"):
        search_all(Point(model=str(tiny), context=64), ["8g32"], [0.5], tmp_path / "out", slower=2)
    assert not (tmp_path / "out").exists()


def test_the_command_says_what_the_fastest_would_have_been(tiny: Path, tmp_path: Path) -> None:
    text, other = (str(tiny.parent / name) for name in ("text.txt", "other.txt"))
    asked = [
        "policy", str(tiny), "--loss", "2", "--choices", "8g32,2g128", "--together", "1", "--chunks", "2",
        "--length", "16", "--context", "64", "--slower", "1", "--calibration", text, "--text", other,
        "--out", str(tmp_path),
    ]  # fmt: skip
    said = CliRunner().invoke(main, asked).stdout.splitlines()[-1]
    (step, lost), (quickest, most) = (
        map(float, each) for each in re.findall(r"(\S+) ms at ([\d.]+\d)", said)
    )
    # With all of the step's time to give up what loses least is taken, and the fastest is another.
    assert said.startswith("loss-2.toml: ")
    assert quickest < step
    assert lost < most


def test_the_command_has_the_searchs_own_defaults() -> None:
    own = {"slower": SLOWER, "together": TOGETHER, "chunks": CHUNKS, "length": LENGTH}
    assert {param.name: param.default for param in policy.params if param.name in own} == own


def test_a_loss_that_is_no_number_is_refused() -> None:
    result = CliRunner().invoke(main, ["policy", "--loss", "0.1,much"])
    assert result.exit_code == 2
    assert "loss has 'much'; allowed are numbers above 0 and up to 100" in result.output
