"""Other forms of the later cores' fits: what they differ in, and that the stored table is theirs."""

from dataclasses import replace

import numpy as np
import pytest

from calibration import core_forms
from calibration.core_attention import attention_seen, pair_cycles
from calibration.core_forms import FORMS
from calibration.core_rows import instance_rows
from calibration.errors import differences
from sailsim.base.errors import SailsimError


@pytest.fixture(scope="module")
def every():
    return instance_rows("graviton3")


def made_with(rows, rate):
    """Rows whose runs take a time of their instance's own, and attention at a rate."""
    _, instance = np.unique(rows.labels["machine"], return_inverse=True)
    width = np.minimum(rows.threads, rows.work.attention_width)
    seconds = 1e-3 * (1 + instance) + rows.work.attention_macs / (rate * rows.machine.clock * width)
    return replace(rows, measured=rows.tokens / seconds)


def test_pairs_give_the_rate_whatever_else_a_step_takes(every):
    seen = attention_seen(made_with(every, 0.7))
    assert [seen.rate, seen.low, seen.high] == pytest.approx([0.7] * 3)
    assert {model: count for model, (_, count) in seen.models.items()} == {"gemma-2b": 34, "llama-7b": 20}


def test_a_pair_that_came_out_backwards_counts_as_its_opposite_does(every):
    true = made_with(every, 0.7)
    longer = np.ones(len(true.measured), dtype=bool)
    for label, value in {"n": "512", "model": "llama-7b", "test": "tg", "instances": "usual"}.items():
        longer &= true.labels[label] == value
    late = np.where(longer, np.where(np.cumsum(longer) % 2 == 0, 5e-3, -5e-3), 0.0)
    measured = true.tokens / (true.tokens / true.measured + late)
    cycles = pair_cycles(replace(true, measured=measured))["llama-7b"]
    assert (cycles < 0).any()
    assert (cycles > 1 / 0.7).sum() == (cycles < 1 / 0.7).sum()


def test_rows_without_a_pair_are_refused(every):
    with pytest.raises(SailsimError, match=r"no pair of runs of 128 and 512 tokens.*allowed are rows"):
        attention_seen(every.where(every.labels["n"] == "128"))


@pytest.mark.slow
def test_the_forms_give_the_stored_table_again():
    assert len(FORMS) == 4
    assert differences(core_forms.stored(), core_forms.run()) == []
