"""Hugging Face folders: shapes and formats from headers alone, and what is wrong in one sentence."""

import json
import os
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest

from sailsim.base.errors import SailsimError
from sailsim.sim.engine import simulate_step
from sailsim.sim.files import load_system
from sailsim.sim.keys import Keys
from sailsim.sim.point import Point
from sailsim.workloads.folder_model import FolderModel, open_folder
from sailsim.workloads.gguf_model import stored_model
from sailsim.workloads.graph import step_notes
from sailsim.workloads.load import chosen_format, load_model, opened, weight_choice
from sailsim.workloads.model import ModelSpec, has_own_formats
from sailsim.workloads.traces import plan_trace

from .folder_cases import CONFIG, FOLDERS, PLAIN, SIZES, D, V
from .folder_files import (
    Stored,
    grouped,
    layers,
    write_folder,
)


@pytest.mark.parametrize("name", FOLDERS)
@pytest.mark.parametrize("shards", [1, 3])
def test_shapes_come_from_headers(tmp_path: Path, name: str, shards: int) -> None:
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
def test_groups_of_codes(tmp_path: Path, method: str, bits: int, group: int, said: dict, name: str) -> None:
    config = CONFIG | {
        "quantization_config": {"quant_method": method, "bits": bits, "group_size": group} | said
    }
    plain = open_folder(write_folder(tmp_path / "plain", PLAIN, CONFIG))
    model = open_folder(write_folder(tmp_path / "m", grouped(method, bits, group, PLAIN), config))
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


def test_an_older_folder_says_how_in_a_file_of_its_own(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "m", grouped("gptq", 4, 32, PLAIN), CONFIG)
    with pytest.raises(
        SailsimError, match=r"q_proj\.qweight is quantized and config\.json has no quantization"
    ):
        open_folder(folder)
    (folder / "quantize_config.json").write_text(json.dumps({"bits": 4, "group_size": 32}))
    (folder / "model.safetensors").rename(folder / "gptq_model-4bit.safetensors")
    assert open_folder(folder).format.base.name == "gptq4g32"


WHOLE = {"quant_method": "gptq", "bits": 4, "group_size": 32}
PLACES: list[tuple[dict[str, Any], bool, str]] = [
    ({"quantization_config": WHOLE}, False, "in quantization_config of config.json"),
    (
        {"text_config": CONFIG | {"quantization_config": WHOLE}},
        False,
        "in quantization_config of config.json",
    ),
    ({"quantization_config": None}, True, "of quantize_config.json"),
]


@pytest.mark.parametrize(("said", "beside", "named"), PLACES)
def test_what_is_said_of_groups_is_found_in_three_places(
    tmp_path: Path, said: dict, beside: bool, named: str
) -> None:
    """An order of the inputs is noted, and an error names the file and the table, wherever they are."""

    def folder(**changes: object) -> Path:
        def changed(table: dict) -> dict:
            inner = {key: changed(value) for key, value in table.items() if isinstance(value, dict)}
            return table | inner | (changes if table is WHOLE else {})

        path = write_folder(tmp_path / "m", grouped("gptq", 4, 32, PLAIN), changed(CONFIG | said))
        if beside:
            (path / "quantize_config.json").write_text(json.dumps(WHOLE | changes))
        return path

    for changes in ({}, {"desc_act": False}, {"desc_act": None}):
        assert open_folder(folder(**changes)).spec.notes == ()
    (note,) = open_folder(folder(desc_act=True)).spec.notes
    assert "desc_act" in note
    for key, value, allowed in (
        ("bits", 5, "one of 2, 3, 4, 8 for gptq"),
        ("group_size", "32", "a whole number -1..65535"),
        ("sym", 1, "true or false"),
        ("desc_act", "yes", "true or false"),
    ):
        with pytest.raises(SailsimError) as error:
            open_folder(folder(**{key: value}))
        assert f": {key} {named} is {value!r}; allowed is {allowed}." in str(error.value)


def test_formats_of_experts(tmp_path: Path) -> None:
    tensors, said, _ = FOLDERS["gpt-oss"]
    model = open_folder(write_folder(tmp_path / "m", tensors, CONFIG | said))
    kinds = {name: fmt.name for name, fmt in model.format.tensors.items()}
    assert kinds["blk.0.ffn_up_exps"] == kinds["blk.1.ffn_down_exps"] == "mxfp4"
    assert kinds["blk.0.attn_q"] == kinds["output"] == "bf16"
    experts = sum(
        model.format.tensors[linear.name].bytes(linear.k, linear.n) * linear.count
        for linear in model.spec.linears()
        if linear.of_experts
    )
    assert experts == sum(t.n_bytes for t in model.stored if t.dtype == "U8")


def test_a_folder_is_a_model_of_a_point_like_any_other(tmp_path: Path) -> None:
    path = str(write_folder(tmp_path / "m", PLAIN, CONFIG))
    assert weight_choice(path).weights == "file"
    assert Point(model=path).formats(load_model(path)).base.name == "bf16"
    assert chosen_format("4g32", path, load_model(path)).wbits == 4
    keys = Keys("test")
    first = keys.result(Point(model=path))
    write_folder(tmp_path / "m", PLAIN | layers(2, {"self_attn.q_proj.bias": (64,)}), CONFIG)
    os.utime(tmp_path / "m" / "model.safetensors", ns=(1, 1))
    assert keys.changed() is not None
    assert Keys("test").result(Point(model=path)) != first
    with pytest.raises(SailsimError, match="only its headers are read"):
        stored_model(path)
    with pytest.raises(SailsimError, match="bf16, which has no scalar codes"):
        plan_trace(path, None)


def test_what_has_formats_of_its_own_is_told_by_name_in_one_way(tmp_path: Path) -> None:
    """A name that ships is no folder of that name, and what ends in .toml is a file of shapes."""
    for name, own in (("llama-2-7b", False), ("m.toml", False), ("m", True)):
        path = write_folder(tmp_path / name, PLAIN, CONFIG)
        with chdir(tmp_path):
            assert has_own_formats(name) == (opened(name) is not None) == own
            if own:
                with pytest.raises(SailsimError, match="only its headers are read"):
                    stored_model(path)
            else:
                assert stored_model(name) is None


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
GPTQ = {"quantization_config": {"quant_method": "gptq", "bits": 4, "group_size": 32}}
Q = "model.layers.1.self_attn.q_proj"


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
        (broken(self_attn__q_proj__scales=("F16", (2, 64))), {}, r"q_proj\.scales has no codes beside it"),
        (PLAIN, {"num_attention_heads": None}, "does not say how many heads"),
        (
            PLAIN, {"num_attention_heads": "4"},
            "num_attention_heads of config.json is '4'; allowed is a whole number",
        ),
        (PLAIN, {"is_encoder_decoder": True}, "is_encoder_decoder is true"),
        (
            grouped("gptq", 4, 32, PLAIN), {"quantization_config": {"quant_method": ["gptq"]}},
            "is quantized and",
        ),
        (
            grouped("gptq", 4, 32, PLAIN),
            {"quantization_config": GPTQ["quantization_config"] | {"sym": 1}},
            "sym in quantization_config of config.json is 1; allowed is true or false",
        ),
        (PLAIN, {"sliding_window": 4, "layer_types": ["linear_attention"] * 2}, "layer_types of config.json"),
        (PLAIN, {"text_config": 3}, "text_config of config.json is 3; allowed is a table"),
        (
            PLAIN, {"tie_word_embeddings": 1},
            "tie_word_embeddings of config.json is 1; allowed is true or false",
        ),
        (
            grouped("gptq", 4, 32, PLAIN), {"quantization_config": {"quant_method": "other"}},
            "is quantized and",
        ),
        (
            grouped("gptq", 4, 32, PLAIN),
            {"quantization_config": {"quant_method": "gptq", "bits": 5, "group_size": 32}},
            "bits in quantization_config of config.json is 5; allowed is one of 2, 3, 4, 8",
        ),
        (
            grouped("gptq", 4, 32, PLAIN), {"quantization_config": {"quant_method": "gptq", "bits": 4}},
            "group_size in quantization_config of config.json is None",
        ),
        (grouped("gptq", 4, 16, PLAIN), GPTQ, r"shape of .*scales is \(4, 64\) of F16; allowed is \(2, 64\)"),
        (grouped("gptq", 4, 32, PLAIN) | {f"{Q}.qzeros": ("I32", (2, 7))}, GPTQ, r"qzeros is \(2, 7\)"),
        (grouped("gptq", 4, 32, PLAIN) | {f"{Q}.g_idx": ("I32", (63,))}, GPTQ, r"g_idx is \(63,\)"),
        (grouped("gptq", 4, 32, PLAIN) | {f"{Q}.qweight": ("I16", (8, 64))}, GPTQ, r"qweight is .* of I16"),
        (
            {name: of for name, of in grouped("gptq", 4, 32, PLAIN).items() if name != f"{Q}.scales"},
            GPTQ, r"q_proj\.qweight has no scales beside it",
        ),
        (
            {name: of for name, of in MIXTRAL.items() if "1.block_sparse_moe.experts.1.w2" not in name},
            {"num_experts_per_tok": 2}, r"it has experts 0\.\.2, 2 of them, for blk\.1\.ffn_down_exps",
        ),
        (
            FOLDERS["mixtral"][0] | {"model.layers.1.block_sparse_moe.experts.1.w2.weight": ("F16", (D, 96))},
            {"num_experts_per_tok": 2}, r"experts\.1\.w2\.weight is f16 of shape .*; allowed is bf16",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_read_ends_in_one_sentence(
    tmp_path: Path, tensors: Stored, said: dict, words: str
) -> None:
    folder = write_folder(tmp_path / "m", tensors, CONFIG | said)
    with pytest.raises(SailsimError, match=words) as error:
        open_folder(folder)
    assert "\n" not in str(error.value)
    assert str(error.value).endswith(".")


def test_how_many_tokens_it_was_made_for_is_read(tmp_path: Path) -> None:
    said = CONFIG | {"max_position_embeddings": 4096}
    assert open_folder(write_folder(tmp_path / "m", PLAIN, said)).spec.max_context == 4096
    assert open_folder(write_folder(tmp_path / "n", PLAIN, CONFIG)).spec.max_context == 0
    with pytest.raises(SailsimError, match=r"max_position_embeddings of config\.json is .long."):
        open_folder(write_folder(tmp_path / "o", PLAIN, CONFIG | {"max_position_embeddings": "long"}))
