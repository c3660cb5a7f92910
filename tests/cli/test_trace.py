from pathlib import Path

import pytest

from sailsim.workloads.inference.activation_file import Activations

from .commands import answer, sailsim, sentence_of


@pytest.fixture
def small_trace(tmp_path: Path) -> Path:
    out = tmp_path / "t.trace"
    result = sailsim(
        "trace", "--model", "smollm2-135m", "--tensors", "blk.2.attn_k", "--slices", 2, "--out", out
    )
    assert result.exit_code == 0, result.output
    assert "synthetic Gaussian" in result.output
    return out


def test_a_trace_is_replayed_with_results_and_cycles(small_trace):
    found = answer("replay", small_trace)
    assert found["ok"]
    assert [tile["name"] for tile in found["tiles"]] == ["blk.2.attn_k[0]", "blk.2.attn_k[1]"]
    assert found["cycles"] == sum(tile["cycles"]["total"] for tile in found["tiles"]) > 0
    assert {tile["status"] for tile in found["tiles"]} == {"OK"}


def test_the_weights_of_a_file_are_named(smollm2_path, tmp_path: Path):
    out = tmp_path / "t"
    arguments = ("--model", smollm2_path, "--tensors", "blk.0.attn_v", "--batch", 2, "--out", out)
    found = answer("trace", *arguments)
    assert found["weights"] == {"blk.0.attn_v": "stored q4_1 codes"}
    assert len(found["notes"]) == 1
    assert found["tiles"] == 1
    assert answer("replay", out)["ok"]


def test_a_damaged_trace_ends_with_status_1_or_2(small_trace):
    data = bytearray(small_trace.read_bytes())
    data[4096] ^= 0xFF
    small_trace.write_bytes(data)
    result = sailsim("replay", small_trace)
    assert result.exit_code == 1
    assert "DIFFERS" in result.output
    small_trace.write_bytes(data[:3000])
    assert sentence_of(sailsim("replay", small_trace))


def test_show_of_the_shipped_capture():
    found = answer("activations")
    assert found["id"] == Activations.load().id
    assert found["meta"]["model"] == "SmolLM2-135M-Instruct"
    text = sailsim("activations").output
    assert "sha256" in text
    assert "harbour" in text


@pytest.mark.slow
def test_capture_writes_what_show_reads(smollm2_path, tmp_path: Path):
    out = tmp_path / "c.safetensors"
    arguments = ("--model", smollm2_path, "--prompt", "The capital of France is")
    made = answer("activations", *arguments, "--out", out)
    shown = answer("activations", out)
    assert made == shown
    assert made["roles"]["ffn_out"]["tokens"] == 5
