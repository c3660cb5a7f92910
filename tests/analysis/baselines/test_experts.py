"""Mixtures of experts on cores and cards: bytes of what was chosen, each expert with its own rows."""

from dataclasses import replace

import pytest

from sailsim.analysis.baselines.cpu import cpu_tokens_per_s
from sailsim.analysis.baselines.gpu import GpuSheet, constants, gpu_tokens_per_s, step_parts
from sailsim.analysis.baselines.prediction import Work
from sailsim.analysis.results.runs import runs
from sailsim.sim.files import load_card, load_system
from sailsim.sim.point import Point
from sailsim.workloads.experts import distinct_experts
from sailsim.workloads.formats import uniform_format, weight_format
from sailsim.workloads.graph import decode_step
from sailsim.workloads.load import load_model

QWEN = load_model("qwen3-30b-a3b")
MIXTRAL = load_model("mixtral-8x7b")
Q4 = weight_format("q4_k_m")


@pytest.mark.parametrize("batch", [1, 8, 32])
def test_the_work_of_a_step(batch: int) -> None:
    ops = decode_step(QWEN, uniform_format(4, 128), batch, 512)
    work = Work.of(QWEN, ops, batch)
    one = 2048 * 768
    assert work.expert_macs == 48 * 3 * 8 * batch * one
    touched = distinct_experts(128, 8, batch)
    assert work.expert_rows == pytest.approx(8 * batch / touched)
    assert 1 <= work.expert_rows < batch or batch == 1
    assert work.gemv_macs == batch * sum(linear.active for linear in QWEN.linears())
    assert work.products == 48 * 8 + 1
    of_experts = 48 * 3 * touched * (one / 2 + one / 128 * 2)
    others = sum(op.weight_bytes for op in ops if not op.spread)
    assert work.weight_bytes == pytest.approx(of_experts + others)


def test_a_dense_model_has_no_work_of_experts() -> None:
    model = load_model("llama-7b")
    work = Work.of(model, decode_step(model, Q4, 4, 64), 4)
    assert (work.expert_macs, work.expert_rows) == (0, 1)


@pytest.mark.parametrize("card", ["v100", "a100"])
@pytest.mark.parametrize("batch", [1, 4, 12, 40])
def test_a_card_multiplies_an_expert_with_the_rows_that_chose_it(card: str, batch: int) -> None:
    """As if the step's experts were matrices of a dense model with so many rows."""
    work = Work.of(QWEN, decode_step(QWEN, Q4, batch, 512), batch)
    sheet, c = GpuSheet.of(load_card(card)), constants(load_card(card), Q4)
    whole = step_parts(work, sheet, c)["kernels"]
    nothing = replace(work, expert_macs=work.expert_macs * 0)
    rest = replace(nothing, gemv_macs=work.gemv_macs - work.expert_macs)
    alone = replace(
        nothing, gemv_macs=work.expert_macs, attention_macs=work.attention_macs * 0, rows=work.expert_rows
    )
    apart = sum(step_parts(part, sheet, c)["kernels"] for part in (rest, alone))
    assert whole == pytest.approx(apart)
    # Eight rows or fewer of each expert go one by one, whatever the batch.
    together = step_parts(replace(nothing, gemv_macs=work.gemv_macs), sheet, c)["kernels"]
    assert (whole == pytest.approx(together)) == (batch == 1)


def test_experts_are_faster_than_a_dense_model_of_their_size_and_slower_than_one_of_a_tokens() -> None:
    system = load_system("graviton2")
    dense = replace(MIXTRAL, name="as-large", d_ffn=8 * 14336, experts=None)
    small = replace(MIXTRAL, name="as-active", d_ffn=2 * 14336, experts=None)
    for batch, between in ((1, False), (4, True)):
        rates = [
            cpu_tokens_per_s(system, model, Q4, 64, batch).tokens_per_s for model in (dense, MIXTRAL, small)
        ]
        assert rates == sorted(rates)
        # At batch 1 the experts of a token are all that is read.
        assert (rates[2] > 1.1 * rates[1]) == between


def test_what_is_assumed_is_said() -> None:
    for batch in (1, 2):
        found = [
            cpu_tokens_per_s(load_system("graviton2"), MIXTRAL, Q4, 64, batch),
            gpu_tokens_per_s(load_card("h100"), MIXTRAL, Q4, batch),
            gpu_tokens_per_s(load_card("h100"), MIXTRAL, Q4, batch, software="serving"),
        ]
        for prediction in found:
            said = " ".join(prediction.notes)
            assert "No measurement of a mixture of experts" in said
            assert ("uniformly and independently" in said) == (batch > 1)
    assert not any(
        "experts" in note for note in gpu_tokens_per_s(load_card("h100"), load_model("phi-4"), Q4).notes
    )


def test_every_runner_runs_experts() -> None:
    found = runs(Point(model="gpt-oss-20b", batch=4))
    ran = [run for run in found if run.tokens_per_s]
    assert {run.kind for run in ran} == {"accelerator", "cores", "card"}
    read = {
        round(run.traffic["weights"] / 1e6)
        for run in ran
        if run.kind != "accelerator" and run.format == "w4g128" and run.instances in (None, 1)
    }
    assert len(read) == 1
    # Of several processes, each touches the experts of its own sequences alone, but reads them for itself.
    shared = [run for run in ran if (run.instances or 1) > 1]
    for run in shared:
        assert 1 < run.traffic["weights"] / 1e6 / next(iter(read)) <= run.instances
    for run in ran:
        assert any("uniformly" in note for note in run.notes), run.runner
