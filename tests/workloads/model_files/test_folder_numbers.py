"""What a folder's configuration and its words say, at the ends of what is allowed and worked by hand."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sailsim.base.errors import SailsimError
from sailsim.workloads.model_files.folder_model import (
    FolderConfig,
    GroupQuantization,
    LayerTensor,
    layer_parts,
    layer_tensors,
    open_folder,
)
from sailsim.workloads.model_files.safetensors_file import StoredTensor
from sailsim.workloads.model_files.shapes import ModelHeader
from sailsim.workloads.models.formats import TENSOR_FORMATS

from ...refusals import refusal
from ..folder_cases import CONFIG, PLAIN
from ..folder_files import write_folder

MOST = (1 << 31) - 1


def facts(**said: Any) -> ModelHeader:
    """Header of a model with this configuration and no tensors."""
    return FolderConfig.read("m", said).header("n", {}, ("a note",))


def test_numbers_are_read_by_either_name_and_refused_outside_their_range():
    found = facts(
        num_attention_heads=32, num_key_value_heads=8, head_dim=128, v_head_dim=64, num_hidden_layers=3,
        num_experts_per_tok=2, max_position_embeddings=MOST, model_type="x",
    )  # fmt: skip
    assert (found.n_heads, found.n_kv_heads, found.head_dim, found.value_dim) == (32, 8, 128, 64)
    assert (found.n_layers, found.experts_used, found.max_context) == (3, 2, MOST)
    assert (found.window, found.windowed, found.architecture, found.notes) == (0, None, "x", ("a note",))
    other = facts(n_head=1, num_kv_heads=1, n_layer=5, experts_per_token=4, n_positions=1)
    assert (other.n_heads, other.n_kv_heads, other.n_layers, other.experts_used) == (1, 1, 5, 4)
    assert (other.max_context, other.architecture) == (1, "")
    # The first name that says something; a table of the text model comes before the whole.
    assert facts(num_attention_heads=None, n_head=7).n_heads == 7
    assert facts(n_head=7, text_config={"num_attention_heads": 9}).n_heads == 9
    for wrong in (0, -1, 1 << 31, True, 4.0, "4"):
        with pytest.raises(SailsimError, match=f"^m: head_dim of config.json is .* 1..{MOST}"):
            facts(head_dim=wrong)
    with pytest.raises(
        SailsimError, match=r"sliding_window of config.json is -1; allowed is a whole number 0"
    ):
        facts(sliding_window=-1)


def test_heads_of_keys_by_what_an_older_configuration_says():
    old: dict[str, Any] = {"n_head": 71, "num_kv_heads": 8}
    assert facts(**old).n_kv_heads == 8
    assert facts(**old, multi_query=True).n_kv_heads == 1
    assert facts(**old, multi_query=False).n_kv_heads == 71
    assert facts(**old, multi_query=True, new_decoder_architecture=True).n_kv_heads == 8


def test_which_blocks_have_a_window():
    three: dict[str, Any] = {"sliding_window": 512, "num_hidden_layers": 3}
    assert (facts(**three).window, facts(**three).windowed) == (512, None)
    kinds = ["sliding_attention", "full_attention", "sliding_attention"]
    assert facts(**three, layer_types=kinds).windowed == [True, False, True]
    assert facts(**three, sliding_window_pattern=6, max_window_layers=1).windowed == 6
    assert facts(**three, sliding_window_pattern=0).windowed == 0
    # Blocks below the first have none.
    assert facts(**three, max_window_layers=1).windowed == [False, True, True]
    assert facts(**three, max_window_layers=0).windowed == [True, True, True]
    assert facts(sliding_window=512, max_window_layers=1).windowed is None
    most = facts(sliding_window=1, max_window_layers=1, num_hidden_layers=65535).windowed
    assert isinstance(most, list)
    assert (len(most), most[:2]) == (65535, [False, True])
    assert facts(sliding_window=1, max_window_layers=1, num_hidden_layers=65536).windowed is None
    for without in ({"sliding_window": 0}, {"use_sliding_window": False}):
        found = facts(**(three | {"layer_types": kinds} | without))
        assert (found.window, found.windowed) == (0, None)


def grouped(method: str = "gptq", **said: Any) -> GroupQuantization | None:
    """What a folder says of its groups."""
    table = {"quant_method": method, "bits": 4, "group_size": 32} | said
    return FolderConfig.read("m", {"quantization_config": table}).grouped(None)


def test_how_weights_are_grouped():
    assert grouped() == GroupQuantization("gptq", 4, 32, symmetric=True, reordered=False, zero_less_one=True)
    assert grouped(checkpoint_format="gptq_v2") == GroupQuantization("gptq", 4, 32, True, False, False)
    assert grouped(sym=False, desc_act=True) == GroupQuantization("gptq", 4, 32, False, True, True)
    # AWQ stores zero points as they are, unless it says that there are none.
    assert grouped("awq") == GroupQuantization(
        "awq", 4, 32, symmetric=False, reordered=False, zero_less_one=False
    )
    assert grouped("awq", zero_point=False) == GroupQuantization("awq", 4, 32, True, False, False)
    older = {"quant_method": "awq", "w_bit": 4, "q_group_size": 64}
    assert FolderConfig.read("m", {"quantization_config": older}).grouped(None) == GroupQuantization(
        "awq", 4, 64, False, False
    )
    # -1 and 0 are one group a column; 65535 is the most.
    assert [grouped(group_size=size).group_size for size in (-1, 0, 1, 65535)] == [0, 0, 1, 65535]  # type: ignore[union-attr]
    for wrong in (-2, 65536, 1.0, True):
        with pytest.raises(SailsimError, match=r"^m: group_size in quantization_config of config.json is "):
            grouped(group_size=wrong)
    with pytest.raises(SailsimError, match=r"bits .* is 0; allowed is a whole number 1\.\.65535"):
        grouped(bits=0)
    with pytest.raises(SailsimError, match=r"bits .* is 1; allowed is one of 2, 3, 4, 8 for gptq"):
        grouped(bits=1)
    # A text model may say it, too; its own table comes behind the whole one's.
    eight = {"quantization_config": {"quant_method": "gptq", "bits": 8, "group_size": 16}}
    assert FolderConfig.read("m", {"text_config": eight}).grouped(None).bits == 8  # type: ignore[union-attr]
    # The file of older folders is GPTQ's, and the configuration comes before it.
    beside = {"bits": 8, "group_size": 16}
    for changes, said in (
        ({"bits": 5}, "bits of {} is 5; allowed is one of 2, 3, 4, 8 for gptq."),
        ({"group_size": "32"}, "group_size of {} is '32'; allowed is a whole number -1..65535."),
        ({"desc_act": "yes"}, "desc_act of {} is 'yes'; allowed is true or false."),
    ):
        sentence = refusal(FolderConfig.read("m", {"quantization_config": None}).grouped, beside | changes)
        assert sentence == f"m: {said.format('quantize_config.json')}"
    assert not FolderConfig.read("m", {}).grouped(beside | {"desc_act": None}).reordered  # type: ignore[union-attr]
    assert FolderConfig.read("m", {}).grouped(beside) == GroupQuantization("gptq", 8, 16, True, False, True)
    both = FolderConfig.read(
        "m", {"quantization_config": {"quant_method": "awq", "bits": 4, "group_size": 32}}
    )
    assert both.grouped(beside).method == "awq"  # type: ignore[union-attr]
    assert FolderConfig.read("m", {}).grouped(None) is None


def tensor(name: str, dtype: str = "BF16", shape: tuple[int, ...] = (4,)) -> StoredTensor:
    """A tensor whose data nobody reads."""
    return StoredTensor(name=name, dtype=dtype, shape=shape, n_bytes=0, path=Path(), offset=0)


def test_names_by_what_else_a_block_has():
    def layers(*names: str) -> list[str]:
        return [layer for layer, _ in layer_parts("m", [tensor(name) for name in names])]

    # What is no part of the decoder, with the model's own beginning and without.
    assert layers("vision_tower.a.weight", "model.vision_tower.b.weight", "model.visual.c.weight") == []
    assert layers("model.norm.weight", "lm_head.weight") == ["output_norm", "output"]
    behind = "model.layers.3.post_attention_layernorm.weight"
    # Behind attention, but before the network: where the block begins with a norm and has no other.
    assert layers(behind, "model.layers.3.input_layernorm.weight") == ["blk.3.ffn_norm", "blk.3.attn_norm"]
    assert layers(behind) == ["blk.3.post_attention_norm"]
    other = "model.layers.3.pre_feedforward_layernorm.weight"
    assert layers(behind, "model.layers.3.input_layernorm.weight", other) == [
        "blk.3.post_attention_norm", "blk.3.attn_norm", "blk.3.ffn_norm",
    ]  # fmt: skip
    expert = tensor("model.layers.2.mlp.experts.7.up_proj.weight")
    assert layer_parts("m", [expert]) == {("blk.2.ffn_up_exps", 7): {"weight": expert}}


def test_codes_of_mxfp4_are_of_four_axes_and_sixteen_bytes():
    """Of 5 experts of 6 outputs: 3 blocks of 32 inputs, so that K is 96."""
    at = "model.layers.0.mlp.experts.down_proj"
    scales = tensor(f"{at}_scales", "U8", (5, 6, 3))

    def found(shape: tuple[int, ...], dtype: str = "U8") -> dict[str, LayerTensor]:
        return layer_tensors("m", layer_parts("m", [tensor(f"{at}_blocks", dtype, shape), scales]), None)

    whole = LayerTensor(f"{at}_blocks", (96, 6, 5), TENSOR_FORMATS["mxfp4"])
    assert found((5, 6, 3, 16)) == {"blk.0.ffn_down_exps.weight": whole}
    for shape, dtype in (
        ((6, 3, 16), "U8"),
        ((1, 5, 6, 3, 16), "U8"),
        ((5, 6, 3, 15), "U8"),
        ((5, 6, 3, 16), "I8"),
    ):
        with pytest.raises(
            SailsimError, match=r"the shape of .*down_proj_blocks is .*; allowed is \(experts, N"
        ):
            found(shape, dtype)


def test_a_folder_may_have_4096_files(tmp_path):
    """Of 14 all are read; of one too many none is looked for."""
    of_many, of_one = (open_folder(write_folder(tmp_path / str(n), PLAIN, CONFIG, n)) for n in (14, 1))
    assert replace(of_many.spec, name="", title="", source="") == replace(
        of_one.spec, name="", title="", source=""
    )
    index = tmp_path / "14" / "model.safetensors.index.json"
    for count, words in (
        (4096, "0.safetensors cannot be read"),
        (4097, "names 4097 files; allowed are 4096"),
    ):
        index.write_text(json.dumps({"weight_map": {str(i): f"{i}.safetensors" for i in range(count)}}))
        with pytest.raises(SailsimError, match=words):
            open_folder(tmp_path / "14")
