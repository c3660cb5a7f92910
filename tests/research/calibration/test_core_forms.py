"""Other forms of the later cores' fits: what they differ in, and that the stored table is theirs."""

from dataclasses import replace

import numpy as np
import pytest

from calibration import core_forms
from calibration.core_attention import attention_seen, pair_cycles
from calibration.core_forms import FORMS, Form, form_problem
from calibration.core_rows import instance_rows
from calibration.cores_problem import MEASURED, core_problem
from calibration.errors import differences
from sailsim.base.errors import SailsimError
from sailsim.sim.fitted import fitted_constants

STORED = {f"{form['loss']}, {form['attention']}": form for form in core_forms.stored()["forms"]}
ERRORS = {
    name: {(e["measurements"], e["held_out"]): e for e in form["errors"]} for name, form in STORED.items()
}
SHIPPED, LAYER = "product, fitted", "layer, fitted"


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


@pytest.mark.parametrize("core", MEASURED)
def test_a_loss_a_layer_differs_in_models_whose_layers_have_not_seven_products(core):
    product, layer = (form_problem(core, Form(loss, "fitted")) for loss in ("product", "layer"))
    start = product.column("start")
    same = product.predict(start, product.rows) == layer.predict(start, layer.rows)
    joined = product.rows.labels["model"] == "phi-4"
    assert np.array_equal(same, ~joined)
    work = layer.rows.work
    assert ((work.products - 1)[joined] * 4 == (product.rows.work.products - 1)[joined] * 7).all()


def test_attention_from_pairs_is_a_parameter_less(every):
    whole, pairs = core_problem("neoverse-v1"), form_problem("neoverse-v1", Form("product", "pairs"))
    names = [p.name for p in whole.parameters]
    at = names.index("attention_rate")
    assert [p.name for p in pairs.parameters] == names[:at] + names[at + 1 :]
    start = np.insert(pairs.column("start"), at, attention_seen(every).rate)
    assert np.array_equal(pairs.predict(pairs.column("start"), pairs.rows), whole.predict(start, whole.rows))


def test_the_first_form_is_the_one_that_ships():
    fitted = fitted_constants()
    for core, constants in STORED[SHIPPED]["constants"].items():
        for name, value in constants.items():
            shipped = fitted.software("llama.cpp", core).value(name)
            assert value == pytest.approx(shipped, rel=1e-3, abs=1e-9)
    shown = {(e["measurements"], e["held_out"]): e for e in fitted.errors}
    for _, chip in MEASURED.values():
        name = f"{chip} decode, llama.cpp, medians by size"
        for held, title in (("size", "all instances of that size"), ("model", "model")):
            ours = ERRORS[SHIPPED][f"{chip}, decoding", held]
            assert ours["median_error"] == pytest.approx(shown[name, title]["median_error"], abs=1e-3)
            assert ours["worst_error"] == pytest.approx(shown[name, title]["worst_error"], abs=1e-3)


def test_what_the_page_says_of_a_loss_a_layer():
    """Better where a model or a size is left out, and worse where nothing was fitted: it is not taken. When
    either ends, docs/baselines.md is to say so."""
    for held in ("size", "model"):
        ours, theirs = (ERRORS[name]["both, decoding", held] for name in (LAYER, SHIPPED))
        assert ours["median_error"] < theirs["median_error"]
        assert ours["worst_error"] < theirs["worst_error"]
    for name in ("layer, fitted", "layer, pairs", "product, pairs"):
        packed = "Graviton4, several processes", "never fitted"
        ours, theirs = ERRORS[name][packed], ERRORS[SHIPPED][packed]
        assert ours["median_error"] > 2 * theirs["median_error"]


@pytest.mark.slow
def test_the_forms_give_the_stored_table_again():
    assert len(FORMS) == 4
    assert differences(core_forms.stored(), core_forms.run()) == []
