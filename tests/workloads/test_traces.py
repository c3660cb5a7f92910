from types import SimpleNamespace

import numpy as np
import pytest

from sailsim.lut_gemv.descriptor import Flag, Status
from sailsim.lut_gemv.trace_file import decode_tile, read_trace
from sailsim.sim.machine.system_files import load_system
from sailsim.workloads.inference.activation_file import Activations
from sailsim.workloads.model_files.gguf_model import open_gguf
from sailsim.workloads.traces import plan_trace, replay_timed

from ..refusals import refusal


def unit_config(rows=256):
    return load_system("sail-n1").slice_config(rows=rows, arrays=8, slices=1)


@pytest.fixture(scope="module")
def unit():
    return unit_config()


def planned(path, **changes):
    return plan_trace(path, Activations.load(), **changes)


def test_a_trace_of_a_file_multiplies_its_own_weights(tiny_gguf, tmp_path, unit):
    out = tmp_path / "t.trace"
    plan = planned(tiny_gguf, batch=3)
    plan.write(out)
    trace, model = read_trace(out), open_gguf(tiny_gguf)
    linears = model.spec.linears()
    assert trace.header["tiles"] == [linear.name for linear in linears]
    assert trace.header["provenance"]["model_sha256"] == model.sha256
    assert set(trace.header["provenance"]["weights"].values()) == {"stored q4_0 codes"}
    assert trace.header["provenance"]["notes"] == [
        "pattern statistics from SmolLM2-135M-Instruct activations"
    ]
    results = list(replay_timed(trace, unit))
    assert len(results) == len(linears)
    for linear, (result, cycles) in zip(linears, results, strict=True):
        assert result.status == Status.OK
        assert result.matches
        tile = decode_tile(trace, result.index)
        x = tile.x.astype(np.float64) * tile.scales.act_scale[:, None]
        truth = x @ model.dequantize(f"{linear.name}.weight").T.astype(np.float64)
        np.testing.assert_allclose(result.output, truth, rtol=1e-3, atol=1e-4 * np.abs(truth).max())
        assert cycles["total"] == sum(
            cycles[phase] for phase in ("load", "build", "lookup", "convert", "write_back")
        )
        assert cycles["total"] > 0
        assert result.lookups == 3 * 8 * (tile.k // 32) * 8


def test_every_matrix_has_its_own_formats_codes_blocks_and_minima(tiny_gguf, tmp_path, unit):
    policy = tmp_path / "p.toml"
    policy.write_text(
        'name = "mixed"\nsource = "a test"\ndefault = "file"\n[tensors]\n"blk.0.attn_v" = "q5_1"\n'
        '"blk.0.attn_k" = "mxfp4"\n"blk.0.ffn_up" = "3g16"\n"blk.0.ffn_down" = "f16"\n'
    )
    plan = planned(tiny_gguf, weights=str(policy), layers=(0, 1))
    plan.write(tmp_path / "t")
    trace = read_trace(tmp_path / "t")
    found = {
        name: tuple(int(record[field]) for field in ("wbits", "group_size", "flags"))
        for name, record in zip(trace.header["tiles"], trace.descriptors, strict=True)
    }
    offset, usual = int(Flag.CODE_OFFSET), int(Flag.PRT | Flag.CONVERT)
    assert found["blk.0.attn_q"] == (4, 32, usual | offset)
    assert found["blk.0.attn_v"] == (5, 32, usual | offset | Flag.MINIMUM)
    assert found["blk.0.attn_k"] == (4, 32, usual | Flag.CODE_BOOK)
    assert found["blk.0.ffn_up"] == (3, 16, usual)
    assert "blk.0.ffn_down" not in found
    said = trace.header["provenance"]
    assert said["types"] == plan.format.census_in_words(plan.spec)
    assert said["weights"]["blk.0.attn_v"] == "q5_1 codes of q4_0 values"
    assert said["notes"][-1].endswith("run on the cores: f16 1 matrices")
    assert all(result.matches for result, _ in replay_timed(trace, unit))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"wbits": 9}, "wbits is 9"),
        ({"weights": "q4_0", "wbits": 4}, "allowed is one of the two"),
        ({"weights": "f16"}, "weights are f16, which has no scalar codes"),
        ({"abits": 0}, "abits is 0"),
        ({"nbw": 7}, "nbw is 7"),
        ({"batch": 0}, "batch is 0"),
        ({"slices": 0}, "slices is 0"),
        ({"layers": (1, 1)}, "layers is 1:1"),
        ({"layers": (0, 3)}, "layers is 0:3"),
        ({"tensors": "nothing"}, "tensors is 'nothing'"),
    ],
)
def test_bad_plans(tiny_gguf, changes, words):
    assert words in refusal(planned, tiny_gguf, **changes)


def test_a_trace_that_the_disk_has_no_room_for_is_not_begun(tiny_gguf, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=100))
    assert "allowed are 100, the disk's room" in refusal(planned(tiny_gguf).write, tmp_path / "t")
    assert list(tmp_path.iterdir()) == []
