"""Traces of folders: codes of GPTQ and AWQ as they are stored mean what their layouts say."""

from pathlib import Path

import numpy as np
import pytest

from sailsim.base.errors import SailsimError
from sailsim.lut_gemv.trace import decode_tile, read_trace, replay
from sailsim.workloads.activations import Activations
from sailsim.workloads.folder_model import open_folder
from sailsim.workloads.traces import TracePlan, plan_trace

from .folder_cases import CONFIG, PLAIN
from .folder_data import fill, write_grouped
from .folder_files import write_folder

NAMES = {"attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "ffn_down": "mlp.down_proj"}


def planned(path: Path, tensors: str = "*", **changes: object) -> TracePlan:
    return plan_trace(path, Activations.load(), tensors=tensors, layers=(0, 1), batch=3, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize(
    ("method", "bits", "group", "reordered", "version"),
    [
        ("gptq", 4, 32, False, "gptq"),
        ("gptq", 4, 32, True, "gptq"),
        ("gptq", 4, 32, False, "gptq_v2"),
        ("gptq", 3, 32, True, "gptq"),
        ("gptq", 2, 32, False, "gptq"),
        ("gptq", 8, 32, False, "gptq"),
        ("awq", 4, 32, False, ""),
    ],
)
def test_codes_as_stored_mean_what_their_layout_says(
    tmp_path: Path, method: str, bits: int, group: int, reordered: bool, version: str, symmetric: bool
) -> None:
    path, meant = write_grouped(
        tmp_path / "m", method, bits, group, symmetric=symmetric, reordered=reordered, version=version
    )
    plan = planned(path)
    plan.write(tmp_path / "t")
    trace = read_trace(tmp_path / "t")
    assert len(trace) == 7
    own = f"{method}{bits}g{group}" + ("" if symmetric else "m")
    note = "" if symmetric else ", minima rounded to fp16"
    assert set(plan.provenance["weights"].values()) == {f"stored {own} codes{note}"}
    activations = {linear.name: linear for linear, _ in plan.matrices}
    for index, result in enumerate(replay(trace)):
        assert result.matches
        assert result.output is not None
        kind = result.name.rpartition(".")[2]
        if kind not in NAMES:
            continue
        linear = activations[result.name]
        shape = (linear.role, linear.layer, plan.spec.n_layers, linear.k, 3, 0)
        scale = plan.activations.act_scales(*shape, abits=8)[:, None].astype(np.float64)
        x = plan.activations.quantized(*shape, abits=8) * scale
        truth = x @ meant[f"model.layers.0.{NAMES[kind]}"]
        error = np.abs(result.output - truth).max() / np.abs(truth).max()
        assert error < (1e-6 if symmetric else 2e-3)
        tile = decode_tile(trace, index)
        assert (tile.code.wbits, tile.group_size, tile.has_minimum) == (bits, group, not symmetric)


def test_a_folders_floats_are_quantized_and_experts_are_left_out(tmp_path: Path) -> None:
    path = write_folder(tmp_path / "m", PLAIN, CONFIG)
    values = np.random.default_rng(1).normal(0, 0.1, (64, 64)).astype(np.float32)
    short = (values.view(np.uint32) >> 16).astype(np.uint16)
    fill(path, {"model.layers.0.self_attn.q_proj.weight": short})
    with pytest.raises(SailsimError, match="bf16, which has no scalar codes"):
        planned(path)
    plan = planned(path, tensors="*.attn_q", weights="8g32")
    assert plan.provenance["weights"] == {"blk.0.attn_q": "w8g32 codes of bf16 values"}
    assert plan.provenance["model_sha256"] is None
    (tile,) = plan.tiles()
    assert tile.scales is not None
    exact = (short.astype(np.uint32) << 16).view(np.float32).T
    made = tile.code.decode(tile.codes) * np.repeat(tile.scales.scale.astype(np.float32), 32, axis=0)
    assert np.abs(made - exact).max() <= 0.5001 * tile.scales.scale.max()


def test_codes_of_a_group_format_may_become_others(tmp_path: Path) -> None:
    path, meant = write_grouped(tmp_path / "m", "gptq", 4, 32, symmetric=False, reordered=True)
    (tile,) = planned(path, tensors="*.attn_q", weights="8g32").tiles()
    assert tile.scales is not None
    made = tile.code.decode(tile.codes) * np.repeat(tile.scales.scale.astype(np.float32), 32, axis=0)
    off = np.abs(made - meant["model.layers.0.self_attn.q_proj"])
    assert off.max() <= 0.51 * tile.scales.scale.max()


@pytest.mark.parametrize(
    ("tensor", "value", "words"),
    [
        ("g_idx", np.zeros(64, np.int32), "group 0 of .*g_idx has another number of inputs than 32"),
        ("g_idx", np.full(64, -1, np.int32), "group -1 of .*allowed are groups 0..1 of so many"),
        ("qzeros", np.zeros((2, 8), np.int32), "a zero point of .*qzeros is 1; allowed is 8"),
        ("scales", np.full((2, 64), np.nan, np.float16), "element 0 of .*scales is nan; allowed are numbers"),
    ],
)
def test_data_that_are_no_groups_end_in_one_sentence(
    tmp_path: Path, tensor: str, value: np.ndarray, words: str
) -> None:
    path, _ = write_grouped(tmp_path / "m", "gptq", 4, 32, symmetric=True)
    fill(path, {f"model.layers.0.self_attn.q_proj.{tensor}": value})
    with pytest.raises(SailsimError, match=words):
        planned(path).write(tmp_path / "t")
    assert not (tmp_path / "t").exists()


def test_a_file_that_lost_its_end_after_it_was_opened_is_refused(tmp_path: Path) -> None:
    path, _ = write_grouped(tmp_path / "m", "awq", 4, 32, symmetric=True)
    tensor = next(t for t in open_folder(path).stored if t.name.endswith("qweight"))
    with (path / "model.safetensors").open("r+b") as file:
        file.truncate(tensor.offset + 3)
    with pytest.raises(SailsimError, match=f"has 3 bytes; allowed are {tensor.n_bytes}"):
        tensor.read()
