"""Hugging Face folders: shapes and formats from headers alone, and what is wrong in one sentence."""

import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sailsim.base.errors import SailsimError
from sailsim.lut_gemv.trace_file import decode_tile, read_trace, replay
from sailsim.sim.machine.system_files import load_system
from sailsim.sim.point import Point
from sailsim.sim.step.engine import simulate_step
from sailsim.sim.study.keys import ResultKeys
from sailsim.workloads.inference.activation_file import Activations
from sailsim.workloads.model_files.folder_model import FolderModel, open_folder
from sailsim.workloads.model_files.gguf_model import find_gguf
from sailsim.workloads.model_files.load import chosen_format, load_model, weight_choice
from sailsim.workloads.models.graph import step_notes
from sailsim.workloads.models.model import ModelSpec
from sailsim.workloads.traces import TracePlan, plan_trace

from ...refusals import refusal
from ..folder_cases import CONFIG, FOLDERS, PLAIN, SIZES, D, V
from ..folder_data import fill, write_grouped
from ..folder_files import Stored, grouped, layers, write_folder


@pytest.mark.parametrize("name", FOLDERS)
@pytest.mark.parametrize("shards", [1, 3])
def test_shapes_come_from_headers(tmp_path, name, shards):
    tensors, said, fields = FOLDERS[name]
    model = open_folder(write_folder(tmp_path / "m", tensors, CONFIG | said, shards))
    assert model.spec == ModelSpec(**(SIZES | fields))
    assert load_model(tmp_path / "m") == model.spec
    if "notes" in fields:
        assert step_notes(model.spec, 1) == [*fields["notes"]]


def stored_bytes(model: FolderModel) -> int:
    """Of the matrices: all but vectors, which have no format."""
    return sum(
        t.n_bytes
        for t in model.stored
        if (len(t.shape) > 1 and not t.name.endswith("_bias")) or t.name.endswith("g_idx")
    )


@pytest.mark.parametrize(
    ("method", "bits", "group", "said", "name"),
    [
        ("gptq", 4, 32, {"sym": True}, "gptq4g32"),
        ("gptq", 8, 64, {"sym": False}, "gptq8g64m"),
        ("gptq", 3, 32, {}, "gptq3g32"),
        ("gptq", 2, 96, {"desc_act": True}, "gptq2g96"),
        ("awq", 4, 32, {"zero_point": True}, "awq4g32m"),
        ("awq", 4, 64, {"zero_point": False}, "awq4g64"),
    ],
)
def test_groups_of_codes(tmp_path, method, bits, group, said, name):
    table = {"quant_method": method, "bits": bits, "group_size": group} | said
    tensors = grouped(method, bits, group, PLAIN)
    plain = open_folder(write_folder(tmp_path / "plain", PLAIN, CONFIG))
    model = open_folder(write_folder(tmp_path / "m", tensors, CONFIG | {"quantization_config": table}))
    older = write_folder(tmp_path / "older", tensors, CONFIG)
    (older / "quantize_config.json").write_text(json.dumps(table))
    assert open_folder(older).format.tensors == model.format.tensors
    assert model.spec.n_params == plain.spec.n_params
    fmt = model.format.tensors["blk.1.ffn_down"]
    assert fmt.name == name
    assert (fmt.wbits, fmt.group_size) == (bits, group)
    assert fmt.minimum == name.endswith("m")
    assert fmt.code is not None
    assert fmt.code.zero_point == (0 if fmt.minimum else 1 << (bits - 1))
    every = {**model.format.tensors}
    total = sum(every[linear.name].bytes(linear.k, linear.n) for linear in model.spec.linears())
    total += every["token_embd"].bytes(D, V)
    assert total == stored_bytes(model)
    assert every["output"].name == "bf16"
    assert any("desc_act" in note for note in model.spec.notes) == bool(said.get("desc_act"))
    result = simulate_step(load_system("sail-n1"), model.spec, Point(model=str(tmp_path / "m")))
    assert result.bytes_by_kind["weights"] == pytest.approx(total - 2 * every["token_embd"].bytes(D, V))


def test_a_folder_is_a_model_of_a_point_like_any_other(tmp_path):
    path = str(write_folder(tmp_path / "m", PLAIN, CONFIG))
    assert weight_choice(path).weights == "file"
    assert Point(model=path).formats(load_model(path)).base.name == "bf16"
    assert chosen_format("4g32", path, load_model(path)).wbits == 4
    keys = ResultKeys("test")
    first = keys.result(Point(model=path))
    write_folder(tmp_path / "m", PLAIN | layers(2, {"self_attn.q_proj.bias": (64,)}), CONFIG)
    os.utime(tmp_path / "m" / "model.safetensors", ns=(1, 1))
    assert keys.changed() is not None
    assert ResultKeys("test").result(Point(model=path)) != first
    assert "only its headers are read" in refusal(find_gguf, path)
    assert "bf16, which has no scalar codes" in refusal(plan_trace, path, None)


def broken(**changes: Any) -> Stored:
    """`PLAIN` with other tensors in its second block; None leaves one out."""
    found = dict(PLAIN)
    for name, of in changes.items():
        whole = f"model.layers.1.{name.replace('__', '.')}"
        found.pop(whole, None)
        if of is not None:
            found[whole] = of
    return found


MIXTRAL = FOLDERS["mixtral"][0]
GROUPS = grouped("gptq", 4, 32, PLAIN)
Q = "model.layers.1.self_attn.q_proj"


def quantized(**said: Any) -> dict[str, Any]:
    return {"quantization_config": {"quant_method": "gptq", "bits": 4, "group_size": 32} | said}


def without(tensors: Stored, part: str) -> Stored:
    return {name: of for name, of in tensors.items() if part not in name}


@pytest.mark.parametrize(
    ("tensors", "said", "words"),
    [
        (
            broken(self_attn__kv_a_proj_with_mqa__weight=("BF16", (9, D))), {},
            "layers.1.self_attn.kv_a_proj_with_mqa",
        ),
        (
            broken(mlp__up_proj__weight=("F8_E4M3", (96, D))), {},
            r"dtype of model\.layers\.1\.mlp\.up_proj.* is F8_E4M3",
        ),
        (
            broken(mlp__up_proj__weight=("BF16", (95, D))), {},
            r"mlp\.up_proj\.weight is \(64, 95\); allowed is \(64, 96\)",
        ),
        (broken(mlp__up_proj__weight_packed=("I32", (96, 8))), {}, r"up_proj\.weight_packed"),
        (broken(self_attn__q_proj__scales=("F16", (2, 64))), {}, r"q_proj\.scales has no codes with it"),
        (PLAIN, {"num_attention_heads": None}, "does not say how many heads"),
        (PLAIN, {"num_attention_heads": "4"}, "heads of config.json is '4'; allowed is a whole number"),
        (PLAIN, {"is_encoder_decoder": True}, "is_encoder_decoder is true"),
        (PLAIN, {"sliding_window": 4, "layer_types": ["linear_attention"] * 2}, "layer_types of config.json"),
        (PLAIN, {"text_config": 3}, "text_config of config.json is 3; allowed is a table"),
        (PLAIN, {"tie_word_embeddings": 1}, "tie_word_embeddings of config.json is 1; allowed is true or"),
        (GROUPS, quantized(quant_method=["gptq"]), "is quantized and"),
        (GROUPS, quantized(quant_method="other"), "is quantized and"),
        (GROUPS, quantized(sym=1), "sym in quantization_config of config.json is 1; allowed is true or"),
        (GROUPS, quantized(bits=5), "bits in quantization_config of .* is 5; allowed is one of 2, 3, 4, 8"),
        (GROUPS, quantized(group_size=None), "group_size in quantization_config of config.json is None"),
        (grouped("gptq", 4, 16, PLAIN), quantized(), r"scales is \(4, 64\) of F16; allowed is \(2, 64\)"),
        (GROUPS | {f"{Q}.qzeros": ("I32", (2, 7))}, quantized(), r"qzeros is \(2, 7\)"),
        (GROUPS | {f"{Q}.g_idx": ("I32", (63,))}, quantized(), r"g_idx is \(63,\)"),
        (GROUPS | {f"{Q}.qweight": ("I16", (8, 64))}, quantized(), r"qweight is .* of I16"),
        (without(GROUPS, f"{Q}.scales"), quantized(), r"q_proj\.qweight has no scales with it"),
        (
            without(MIXTRAL, "1.block_sparse_moe.experts.1.w2"), {"num_experts_per_tok": 2},
            r"it has experts 0\.\.2, 2 of them, for blk\.1\.ffn_down_exps",
        ),
        (
            MIXTRAL | {"model.layers.1.block_sparse_moe.experts.1.w2.weight": ("F16", (D, 96))},
            {"num_experts_per_tok": 2}, r"experts\.1\.w2\.weight is f16 of shape .*; allowed is bf16",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_read_ends_in_one_sentence(tmp_path, tensors, said, words):
    folder = write_folder(tmp_path / "m", tensors, CONFIG | said)
    sentence = refusal(open_folder, folder)
    assert sentence.endswith(".")
    assert re.search(words, sentence)


# --- Traces of folders: codes of GPTQ and AWQ as they are stored mean what their layouts say ---

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
    tmp_path, method, bits, group, reordered, version, symmetric
):
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


def test_a_folders_floats_are_quantized_and_experts_are_left_out(tmp_path):
    path = write_folder(tmp_path / "m", PLAIN, CONFIG)
    values = np.random.default_rng(1).normal(0, 0.1, (64, 64)).astype(np.float32)
    short = (values.view(np.uint32) >> 16).astype(np.uint16)
    fill(path, {"model.layers.0.self_attn.q_proj.weight": short})
    assert "bf16, which has no scalar codes" in refusal(planned, path)
    plan = planned(path, tensors="*.attn_q", weights="8g32")
    assert plan.provenance["weights"] == {"blk.0.attn_q": "w8g32 codes of bf16 values"}
    assert plan.provenance["model_sha256"] is None
    (tile,) = plan.tiles()
    assert tile.scales is not None
    exact = (short.astype(np.uint32) << 16).view(np.float32).T
    made = tile.code.decode(tile.codes) * np.repeat(tile.scales.scale.astype(np.float32), 32, axis=0)
    assert np.abs(made - exact).max() <= 0.5001 * tile.scales.scale.max()


@pytest.mark.parametrize(
    ("tensor", "value", "words"),
    [
        ("g_idx", np.zeros(64, np.int32), "group 0 of .*g_idx has another number of inputs than 32"),
        ("g_idx", np.full(64, -1, np.int32), "group -1 of .*allowed are groups 0..1 of so many"),
        ("qzeros", np.zeros((2, 8), np.int32), "a zero point of .*qzeros is 1; allowed is 8"),
        ("scales", np.full((2, 64), np.nan, np.float16), "element 0 of .*scales is nan; allowed are numbers"),
    ],
)
def test_data_that_are_no_groups_end_in_one_sentence(tmp_path, tensor, value, words):
    path, _ = write_grouped(tmp_path / "m", "gptq", 4, 32, symmetric=True)
    fill(path, {f"model.layers.0.self_attn.q_proj.{tensor}": value})
    with pytest.raises(SailsimError, match=words):
        planned(path).write(tmp_path / "t")
    assert not (tmp_path / "t").exists()


def test_a_file_that_lost_its_end_after_it_was_opened_is_refused(tmp_path):
    path, _ = write_grouped(tmp_path / "m", "awq", 4, 32, symmetric=True)
    tensor = next(t for t in open_folder(path).stored if t.name.endswith("qweight"))
    with (path / "model.safetensors").open("r+b") as file:
        file.truncate(tensor.offset + 3)
    assert f"has 3 bytes; allowed are {tensor.n_bytes}" in refusal(tensor.read)
