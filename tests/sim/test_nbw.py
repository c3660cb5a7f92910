"""NBW "auto": for each tensor the fastest that fits, and never slower than one NBW for all of them."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sailsim.analysis.costs.area import area
from sailsim.analysis.results.runs import evaluate
from sailsim.base.errors import SailsimError
from sailsim.lut_gemv.trace import read_trace
from sailsim.sim.engine import simulate_step
from sailsim.sim.files import load_system
from sailsim.sim.pim import NBWS, PER_TENSOR, nbw_in_words, nbw_of
from sailsim.sim.point import Point
from sailsim.sim.replay import fastest_nbw
from sailsim.sim.vary import vary
from sailsim.workloads.activations import Activations
from sailsim.workloads.load import load_model
from sailsim.workloads.traces import plan_trace

from ..examples import examples

SAIL = load_system("sail-n1")


def step(system=SAIL, **fields):
    point = Point(**fields)
    return simulate_step(system, load_model(point.model), point)


def rate_or_none(system, **fields):
    """Tokens/s, or None where a tile does not fit."""
    try:
        return step(system, **fields).tokens_per_s
    except SailsimError:
        return None


@examples(25)
@given(
    weights=st.sampled_from(["1", "2g64", "4", "8g32", "q4_k_m", "q2_k", "mxfp4", "f16"]),
    batch=st.sampled_from([1, 2, 8]),
    abits=st.sampled_from([4, 8]),
    changes=st.fixed_dictionaries(
        {},
        optional={
            "pim.rows": st.sampled_from([16, 64]),
            "pim.arrays": st.sampled_from([2, 32]),
            "memory.read_share": st.sampled_from([0.3, 0.9]),
            "pim.prefetch_depth": st.sampled_from([0, 2]),
        },
    ),
    substrate=st.sampled_from(["row_dfm", "bit_serial"]),
)
def test_auto_is_never_slower_than_any_nbw_for_all(weights, batch, abits, changes, substrate):
    system = vary(SAIL, {"pim.nbw": 1} | changes)
    fields = {"model": "smollm2-135m", "weights": weights, "batch": batch, "abits": abits}
    fields |= {"substrate": substrate}
    fixed = [rate_or_none(system, nbw=nbw, **fields) for nbw in NBWS]
    if not any(fixed):
        with pytest.raises(SailsimError, match=r"tile cannot run: rows is (16|64)"):
            step(system, nbw="auto", **fields)
        return
    auto = step(system, nbw="auto", **fields)
    assert auto.tokens_per_s >= max(rate for rate in fixed if rate is not None)
    fitting = {nbw for nbw, rate in zip(NBWS, fixed, strict=True) if rate is not None}
    assert {int(key.rpartition(" ")[2]) for key in auto.chosen} <= fitting
    assert sum(auto.chosen.values()) == (0 if weights == "f16" else 211)


def test_tensors_of_different_formats_have_different_nbws(tmp_path: Path):
    policy = tmp_path / "p.toml"
    policy.write_text(
        'name = "ends"\nsource = "a test"\ndefault = "8g32"\n[tensors]\n"blk.*.ffn_*" = "1g0"\n'
    )
    fields = {"model": "smollm2-135m", "weights": str(policy), "batch": 8}
    rates = [step(nbw=nbw, **fields).tokens_per_s for nbw in NBWS]
    auto = step(nbw="auto", **fields)
    assert auto.tokens_per_s > max(rates)
    assert len({key.rpartition(" ")[2] for key in auto.chosen}) > 1
    assert auto.point.nbw == PER_TENSOR
    assert step(nbw=4, **fields).chosen == {}


def test_a_system_file_may_say_auto(tmp_path: Path):
    path = tmp_path / "auto.toml"
    path.write_text('extends = "sail-n1"\nname = "auto"\npim.nbw = "auto"\n')
    system = load_system(path)
    assert system.model_dump(mode="json")["pim"]["nbw"] == "auto"
    assert system.digest != SAIL.digest
    here, asked = step(system, model="smollm2-135m"), step(model="smollm2-135m", nbw="auto")
    assert (here.step_s, here.chosen) == (asked.step_s, asked.chosen)
    assert step(system, model="smollm2-135m", nbw=4).step_s == step(model="smollm2-135m").step_s
    # Its unit forms patterns of any NBW: built for the largest.
    assert area(system).added_mm2 == area(vary(SAIL, {"pim.nbw": 6})).added_mm2
    path.write_text('extends = "sail-n1"\nname = "auto"\npim.nbw = "best"\n')
    with pytest.raises(SailsimError, match="nbw is 'best'; allowed is a number of weights, or 'auto'"):
        load_system(path)


def test_a_record_says_what_was_chosen():
    rows = evaluate(Point(model="smollm2-135m", nbw="auto"))
    assert rows[0]["nbw"] == PER_TENSOR
    assert sum(rows[0]["chosen"].values()) == 211
    assert {len(row["chosen"]) for row in rows[1:]} == {0}


@pytest.mark.parametrize("nbw", [7, -1, "most", True, 2.0])
def test_other_words_are_refused(nbw):
    with pytest.raises(SailsimError, match=r"nbw is .*; allowed is a whole number 1\.\.6, or 'auto'"):
        Point(nbw=nbw)
    assert (nbw_in_words(PER_TENSOR), nbw_in_words(3)) == ("NBW auto", "NBW 3")


def test_a_traces_descriptors_carry_the_nbw_of_their_matrix(tmp_path: Path):
    policy = tmp_path / "p.toml"
    policy.write_text('name = "p"\nsource = "a test"\ndefault = "8g32"\n[tensors]\n"*.ffn_up" = "1g0"\n')
    plan = plan_trace(
        "smollm2-135m",
        Activations.load(),
        choose_nbw=fastest_nbw(SAIL),
        weights=str(policy),
        layers=(0, 1),
        tensors="*.ffn_*",
        slices=3,
        batch=4,
    )
    plan.write(tmp_path / "t")
    trace = read_trace(tmp_path / "t")
    found: dict[str, set[int]] = {}
    for name, record in zip(trace.header["tiles"], trace.descriptors, strict=True):
        found.setdefault(name.partition("[")[0], set()).add(int(record["nbw"]))
    assert {len(each) for each in found.values()} == {1}
    assert found["blk.0.ffn_up"] != found["blk.0.ffn_gate"]


def test_auto_from_a_terminal_is_auto() -> None:
    """A text that was put together is equal to the word and not the same object."""
    assert nbw_of("".join(["au", "to"])) == nbw_of("auto")
