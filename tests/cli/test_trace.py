import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from sailsim.cli import main
from sailsim.workloads.activations import Activations


def run(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def small_trace(tmp_path: Path) -> Path:
    out = tmp_path / "t.trace"
    result = run("trace", "--model", "smollm2-135m", "--tensors", "blk.2.attn_k", "--slices", 2, "--out", out)
    assert result.exit_code == 0, result.output
    assert "synthetic Gaussian" in result.output
    return out


def test_a_trace_is_replayed_with_results_and_cycles(small_trace):
    found = json.loads(run("replay", small_trace, "--json").stdout)
    assert found["ok"]
    assert [tile["name"] for tile in found["tiles"]] == ["blk.2.attn_k[0]", "blk.2.attn_k[1]"]
    assert found["cycles"] == sum(tile["cycles"]["total"] for tile in found["tiles"]) > 0
    assert {tile["status"] for tile in found["tiles"]} == {"OK"}


def test_the_weights_of_a_file_are_named(smollm2_path, tmp_path: Path):
    out = tmp_path / "t"
    arguments = ("--model", smollm2_path, "--tensors", "blk.0.attn_v", "--batch", 2, "--out", out, "--json")
    found = json.loads(run("trace", *arguments).stdout)
    assert found["weights"] == {"blk.0.attn_v": "stored q4_1 codes"}
    assert len(found["notes"]) == 1
    assert found["tiles"] == 1
    assert json.loads(run("replay", out, "--json").stdout)["ok"]


def test_a_damaged_trace_ends_with_status_1_or_2(small_trace):
    data = bytearray(small_trace.read_bytes())
    data[4096] ^= 0xFF
    small_trace.write_bytes(data)
    result = run("replay", small_trace)
    assert result.exit_code == 1
    assert "DIFFERS" in result.output
    small_trace.write_bytes(data[:3000])
    result = run("replay", small_trace)
    assert result.exit_code == 2
    assert len(result.output.strip().splitlines()) == 1


def activations(*arguments):
    return CliRunner().invoke(main, ["activations", *map(str, arguments)])


def test_show_of_the_shipped_capture():
    found = json.loads(activations("--json").stdout)
    assert found["id"] == Activations.load().id
    assert found["meta"]["model"] == "SmolLM2-135M-Instruct"
    text = activations().output
    assert "sha256" in text
    assert "harbour" in text


@pytest.mark.slow
def test_capture_writes_what_show_reads(smollm2_path, tmp_path: Path):
    out = tmp_path / "c.safetensors"
    arguments = ("--model", smollm2_path, "--prompt", "The capital of France is")
    made = json.loads(activations(*arguments, "--out", out, "--json").stdout)
    shown = json.loads(activations(out, "--json").stdout)
    assert made == shown
    assert made["roles"]["ffn_out"]["tokens"] == 5
