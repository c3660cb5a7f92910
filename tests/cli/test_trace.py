import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from sailsim.cli import main
from sailsim.lut_gemv.trace import LAYOUTS, read_trace
from sailsim.sim.point import Point


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
    text = run("replay", small_trace).output
    assert "as expected" in text
    assert "sail-n1" in text


def test_synthetic_weights_have_the_blocks_of_a_point(small_trace):
    blocks = {int(record["group_size"]) for record in read_trace(small_trace).descriptors}
    assert blocks == {Point().group_size}


def test_tiles_can_begin_in_banks_of_their_own(tmp_path: Path):
    words = ("trace", "--model", "smollm2-135m", "--tensors", "blk.0.attn_[qo]*", "--slices", 32)
    found = {}
    for layout in LAYOUTS:
        out = tmp_path / layout
        result = run(*words, "--layout", layout, "--out", out)
        assert result.exit_code == 0, result.output
        trace = read_trace(out)
        starts = (trace.descriptors["weights"].astype(np.int64) - trace.base).reshape(2, 32)
        found[layout] = [len(set(own // (64 << 10) % 32)) for own in starts]
    assert found["rows"] == [32, 32]
    assert max(found["packed"]) < 8
    limit = run(
        *words, "--layout", "rows", "--max-bytes", out.stat().st_size // 2, "--out", tmp_path / "small"
    )
    assert limit.exit_code == 2
    assert "the trace would have up to" in limit.output


def test_another_substrate_takes_other_cycles(small_trace):
    cycles = {
        name: json.loads(
            run("replay", small_trace, "--system", f"sail-n1:pim.substrate={name}", "--json").stdout
        )["cycles"]
        for name in ("row_dfm", "bit_serial")
    }
    assert cycles["row_dfm"] != cycles["bit_serial"]


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


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--model", "nope"), "model is 'nope'"),
        (("--model", "gemma-2b", "--layers", "3"), "layers is '3'"),
        (("--model", "gemma-2b", "--layers", "9:99"), "layers is 9:99"),
        (("--model", "gemma-2b", "--wbits", "9"), "wbits is 9"),
        (("--model", "llama-2-70b"), "allowed is 4294967296"),
    ],
)
def test_bad_input_is_one_sentence_and_writes_nothing(tmp_path: Path, arguments, words):
    result = run("trace", *arguments, "--out", tmp_path / "t")
    assert result.exit_code == 2
    assert len(result.output.strip().splitlines()) == 1
    assert words in result.output
    assert list(tmp_path.iterdir()) == []


def test_replay_of_a_machine_without_units(small_trace):
    result = run("replay", small_trace, "--system", "graviton2")
    assert result.exit_code == 2
    assert len(result.output.strip().splitlines()) == 1
