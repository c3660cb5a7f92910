"""Decoder models in Hugging Face folders: `config.json` and the headers of safetensors files.

No weight is read here; `weights` reads them, for traces. Each matrix is of floats, MXFP4 of experts, or the
group-quantized layouts of GPTQ and AWQ. Everything else is refused by the name of its tensor.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from math import ceil, prod
from pathlib import Path
from typing import Any

from sailsim.base.errors import SailsimError
from sailsim.workloads.model_files.safetensors_file import (
    MAX_TENSORS,
    StoredTensor,
    printable,
    read_json,
    safe_tensors,
)
from sailsim.workloads.model_files.shapes import PERIODS, ModelHeader, Shape, decoder
from sailsim.workloads.models.experts import MAX_EXPERTS
from sailsim.workloads.models.formats import (
    BITS,
    TENSOR_FORMATS,
    WORD_BITS,
    TensorFormat,
    WeightFormat,
    group_format,
)
from sailsim.workloads.models.model import ModelSpec

LEFT_OUT = ("vision_tower.", "vision_model.", "visual.", "multi_modal_projector.", "audio_tower.")
"""Prefixes of tensors that are no part of the decoder."""

_PREFIX = re.compile(r"^(?:(?:model|language_model|transformer)\.)+")
_LAYER = re.compile(r"^(?:layers|h)\.(\d{1,6})\.(.+)$")
_EXPERT = re.compile(r"^(?:mlp|block_sparse_moe|feed_forward)\.experts\.(\d{1,6})\.(\w+)$")

_GLOBAL = {
    "embed_tokens": "token_embd",
    "word_embeddings": "token_embd",
    "wte": "token_embd",
    "norm": "output_norm",
    "ln_f": "output_norm",
    "lm_head": "output",
}

_IN_BLOCK = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.qkv_proj": "attn_qkv",
    "self_attn.o_proj": "attn_output",
    "self_attention.query_key_value": "attn_qkv",
    "self_attention.dense": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "self_attn.attn_sub_norm": "attn_sub_norm",
    "self_attn.sinks": "attn_sinks",
    "input_layernorm": "attn_norm",
    "ln_attn": "attn_norm",
    "ln_mlp": "attn_norm_2",
    "post_attention_layernorm": "ffn_norm",
    "pre_feedforward_layernorm": "ffn_norm",
    "post_feedforward_layernorm": "post_ffw_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "mlp.gate_up_proj": "ffn_up",
    "mlp.dense_h_to_4h": "ffn_up",
    "mlp.dense_4h_to_h": "ffn_down",
    "mlp.ffn_sub_norm": "ffn_sub_norm",
    "mlp.gate": "ffn_gate_inp",
    "mlp.router": "ffn_gate_inp",
    "block_sparse_moe.gate": "ffn_gate_inp",
    "mlp.shared_expert_gate": "ffn_gate_inp_shexp",
    "mlp.shared_expert.gate_proj": "ffn_gate_shexp",
    "mlp.shared_expert.up_proj": "ffn_up_shexp",
    "mlp.shared_expert.down_proj": "ffn_down_shexp",
    "mlp.shared_experts.gate_proj": "ffn_gate_shexp",
    "mlp.shared_experts.up_proj": "ffn_up_shexp",
    "mlp.shared_experts.down_proj": "ffn_down_shexp",
    "mlp.experts.gate_up_proj": "ffn_up_exps",
    "mlp.experts.down_proj": "ffn_down_exps",
}

_OF_EXPERT = {
    "w1": "ffn_gate_exps",
    "w2": "ffn_down_exps",
    "w3": "ffn_up_exps",
    "gate_proj": "ffn_gate_exps",
    "up_proj": "ffn_up_exps",
    "down_proj": "ffn_down_exps",
}

PARTS = ("weight", "bias", "qweight", "qzeros", "scales", "g_idx", "blocks")
"""Suffixes of a layer's tensors; ``blocks`` and ``scales`` of MXFP4 follow an underscore."""


LayerParts = dict[tuple[str, int | None], dict[str, StoredTensor]]
"""Tensors of each layer by their part of it; a layer is llama.cpp's name and, of experts, a number."""


def layer_parts(where: str, tensors: Iterable[StoredTensor]) -> LayerParts:
    """Group the decoder's tensors by layer; a layer that llama.cpp has no name for keeps its own.

    Raises SailsimError where two tensors are the same part of a layer.
    """
    in_decoder = [tensor for tensor in tensors if not _is_left_out(tensor.name)]
    names = [tensor.name for tensor in in_decoder]
    # The norm after attention is the network's where a block begins with a norm and has no other.
    is_network_norm = any(name.endswith(("input_layernorm.weight", "ln_attn.weight")) for name in names)
    is_network_norm &= not any("pre_feedforward_layernorm" in name for name in names)
    layers: LayerParts = {}
    for tensor in in_decoder:
        layer, expert, part = _layer_name(tensor.name)
        if "post_attention_layernorm" in tensor.name and not is_network_norm:
            layer = layer.replace("ffn_norm", "post_attention_norm")
        parts = layers.setdefault((layer, expert), {})
        if part in parts:
            raise SailsimError(
                f"{where}: tensors {printable(parts[part].name)} and {printable(tensor.name)} are the same "
                "part of a layer; allowed is one."
            )
        parts[part] = tensor
    return layers


def _is_left_out(name: str) -> bool:
    return name.startswith(LEFT_OUT) or _PREFIX.sub("", name).startswith(LEFT_OUT)


def _layer_name(name: str) -> tuple[str, int | None, str]:
    """Layer under llama.cpp's name, expert and part of a tensor."""
    body, _, part = _PREFIX.sub("", name).rpartition(".")
    if part not in PARTS:  # names of stacked experts and of sinks have no suffix
        body, part = _PREFIX.sub("", name), "weight"
        for end in ("blocks", "scales", "bias"):
            if body.endswith(f"_{end}"):
                body, part = body.removesuffix(f"_{end}"), end
    in_layer = _LAYER.fullmatch(body)
    if in_layer is None:
        return _GLOBAL.get(body, body), None, part
    inside, expert = in_layer[2], _EXPERT.fullmatch(in_layer[2])
    if expert is not None:
        return f"blk.{in_layer[1]}.{_OF_EXPERT.get(expert[2], inside)}", int(expert[1]), part
    return f"blk.{in_layer[1]}.{_IN_BLOCK.get(inside, inside)}", None, part


FLOATS = {"F32": "f32", "F16": "f16", "BF16": "bf16"}
"""Formats of floating-point matrices by data type."""

ONE_ROW = ("ffn_gate_inp_shexp",)
"""Layers with a single output, which are vectors in a GGUF file."""

_MXFP4_BYTES = 16  # codes of a block


@dataclass(frozen=True)
class GroupQuantization:
    """Group quantization of a folder's weights.

    ``group_size`` 0 is one group per column. ``reordered``: groups are of inputs in another order than the
    matrix's. ``zero_less_one``: a stored zero point is one less than its value.
    """

    method: str
    bits: int
    group_size: int
    symmetric: bool
    reordered: bool
    zero_less_one: bool = False


@dataclass(frozen=True)
class LayerTensor:
    """One layer, or that of one expert: its name in the file, its shape with K first, a matrix's format."""

    own_name: str
    shape: Shape
    format: TensorFormat | None


def layer_tensors(
    where: str, layers: LayerParts, grouped: GroupQuantization | None
) -> dict[str, LayerTensor]:
    """Layers under llama.cpp's names with their suffix, all experts of one layer together.

    Raises SailsimError, naming a tensor.
    """
    embedding = layers.get(("token_embd", None), {}).get("weight")
    width = embedding.shape[-1] if embedding is not None and embedding.shape else 0
    tensors: dict[str, LayerTensor] = {}
    experts: dict[str, dict[int, LayerTensor]] = {}
    for (layer, expert), parts in layers.items():
        bias = parts.get("bias")
        if bias is not None:
            name = f"{layer}.bias" if expert is None else f"{layer}.{expert}.bias"
            tensors[name] = LayerTensor(name, (prod(bias.shape),), None)
            parts = {part: tensor for part, tensor in parts.items() if part != "bias"}
        if not parts:
            continue
        read = _layer_tensor(where, layer, width, grouped, parts)
        if expert is None:
            tensors[f"{layer}.weight"] = read
        else:
            experts.setdefault(layer, {})[expert] = read
    for layer, by_number in experts.items():
        tensors[f"{layer}.weight"] = _stacked_experts(where, layer, by_number)
    return tensors


def _stacked_experts(where: str, layer: str, experts: Mapping[int, LayerTensor]) -> LayerTensor:
    """Matrices of single experts as one tensor. Refuses a missing expert and one of another kind."""
    first = experts.get(0)
    count = len(experts)
    if first is None or sorted(experts) != list(range(count)) or count > MAX_EXPERTS:
        raise SailsimError(
            f"{where}: it has experts {min(experts)}..{max(experts)}, {count} of them, for "
            f"{printable(layer)}; allowed are all from 0 on, and at most {MAX_EXPERTS}."
        )
    for expert in experts.values():
        if (expert.shape, expert.format) != (first.shape, first.format):
            raise SailsimError(
                f"{where}: tensor {printable(expert.own_name)} is {_kind(expert)}; allowed is "
                f"{_kind(first)}, as expert 0's."
            )
    return LayerTensor(first.own_name, (*first.shape, count), first.format)


def _kind(layer: LayerTensor) -> str:
    return f"{layer.format.name if layer.format else 'no matrix'} of shape {layer.shape}"


def _refusal(where: str, tensor: StoredTensor, field: str, value: object, allowed: str) -> SailsimError:
    return SailsimError(f"{where}: the {field} of {printable(tensor.name)} is {value}; allowed is {allowed}.")


def _layer_tensor(
    where: str, layer: str, width: int, grouped: GroupQuantization | None, parts: Mapping[str, StoredTensor]
) -> LayerTensor:
    if "qweight" in parts:
        return _grouped_layer(where, grouped, parts)
    if "blocks" in parts:
        return _mxfp4_layer(where, parts)
    extra = next((tensor for part, tensor in parts.items() if part != "weight"), None)
    if extra is not None:
        raise SailsimError(
            f"{where}: tensor {printable(extra.name)} has no codes with it; allowed are those of GPTQ or AWQ "
            "(qweight), or MXFP4's (blocks)."
        )
    tensor = parts["weight"]
    shape = tensor.shape
    if len(shape) < 2 or layer.endswith(ONE_ROW):
        return LayerTensor(tensor.name, (prod(shape),), None)
    if tensor.dtype not in FLOATS:
        allowed = f"{', '.join(FLOATS)}, or codes of GPTQ, AWQ or MXFP4 for a matrix"
        raise _refusal(where, tensor, "dtype", tensor.dtype, allowed)
    if len(shape) == 3:  # experts stored together, with their inputs or their outputs first
        count, first, second = shape
        side = second if layer.endswith("ffn_down_exps") else first
        shape = (first, second, count) if side == width else (second, first, count)
    else:
        shape = shape[::-1]
    return LayerTensor(tensor.name, shape, TENSOR_FORMATS[FLOATS[tensor.dtype]])


def _mxfp4_layer(where: str, parts: Mapping[str, StoredTensor]) -> LayerTensor:
    """Experts in MXFP4: blocks of 32 codes, two a byte, with one byte of scale each."""
    blocks = parts["blocks"]
    if blocks.dtype != "U8" or len(blocks.shape) != 4 or blocks.shape[-1] != _MXFP4_BYTES:
        value = f"{blocks.shape} of {blocks.dtype}"
        raise _refusal(where, blocks, "shape", value, "(experts, N, K / 32, 16) of U8")
    count, n, groups, _ = blocks.shape
    _require_part(where, parts, "scales", blocks, (count, n, groups), ("U8",))
    return LayerTensor(blocks.name, (32 * groups, n, count), TENSOR_FORMATS["mxfp4"])


def _require_part(
    where: str,
    parts: Mapping[str, StoredTensor],
    part: str,
    codes: StoredTensor,
    shape: Shape,
    dtypes: Sequence[str],
) -> None:
    """Refuse codes without a part of this shape and one of some types."""
    tensor = parts.get(part)
    if tensor is None:
        raise SailsimError(f"{where}: {printable(codes.name)} has no {part} with it; allowed is one.")
    if tensor.shape != shape or tensor.dtype not in dtypes:
        value, allowed = f"{tensor.shape} of {tensor.dtype}", f"{shape} of {' or '.join(dtypes)}"
        raise _refusal(where, tensor, "shape", value, allowed)


def _grouped_layer(
    where: str, grouped: GroupQuantization | None, parts: Mapping[str, StoredTensor]
) -> LayerTensor:
    """Codes of GPTQ, packed along K, or of AWQ, packed along N."""
    tensor = parts["qweight"]
    if grouped is None:
        raise SailsimError(
            f"{where}: tensor {printable(tensor.name)} is quantized and config.json has no "
            "quantization_config of quant_method gptq or awq; allowed is a folder that says how."
        )
    bits = grouped.bits
    if len(tensor.shape) != 2 or tensor.dtype != "I32":
        raise _refusal(where, tensor, "shape", f"{tensor.shape} of {tensor.dtype}", "a matrix of I32")
    packed = tensor.shape[0 if grouped.method == "gptq" else 1] * WORD_BITS
    if packed % bits:
        raise _refusal(where, tensor, "shape", tensor.shape, f"whole words of {bits}-bit codes")
    k, n = tensor.shape
    k, n = (packed // bits, n) if grouped.method == "gptq" else (k, packed // bits)
    groups = ceil(k / grouped.group_size) if grouped.group_size else 1
    _require_part(where, parts, "scales", tensor, (groups, n), ("F16", "BF16"))
    _require_part(where, parts, "qzeros", tensor, (groups, ceil(n * bits / WORD_BITS)), ("I32",))
    indexed = "g_idx" in parts
    if indexed:
        _require_part(where, parts, "g_idx", tensor, (k,), ("I32",))
    fmt = group_format(grouped.method, bits, grouped.group_size, grouped.symmetric, indexed)
    return LayerTensor(tensor.name, (k, n), fmt)


QUANTIZE = "quantize_config.json"
"""File of older folders with the quantization's fields."""

_WINDOWED = {"sliding_attention": True, "full_attention": False}


@dataclass(frozen=True)
class FolderConfig:
    """Fields of a folder's JSON object, with its place in the folder for errors; null counts as absent.

    Truth values may also stand in ``outer``, the configuration around that of a text model.
    """

    where: str
    place: str
    table: dict[str, Any]
    outer: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, where: str, table: dict[str, Any]) -> FolderConfig:
        """Take the text model's fields of a config.json. Raises SailsimError for an encoder."""
        text = next((table[key] for key in ("text_config", "llm_config") if key in table), table)
        if not isinstance(text, dict):
            raise SailsimError(
                f"{where}: text_config of config.json is {printable(repr(text))}; allowed is a table."
            )
        config = cls(where, "of config.json", text, table)
        if config.truth("is_encoder_decoder", False):
            raise SailsimError(f"{where}: is_encoder_decoder is true; allowed is false, a decoder.")
        return config

    def refusal(self, key: str, value: object, allowed: str) -> SailsimError:
        """Error for a field with a value that is not allowed."""
        value = printable(repr(value))
        return SailsimError(f"{self.where}: {key} {self.place} is {value}; allowed is {allowed}.")

    def number(self, *keys: str, least: int = 1, most: int = (1 << 31) - 1) -> int | None:
        """First whole number that is present under one of ``keys``; None where none is.

        Raises SailsimError for another value, or one outside ``least..most``.
        """
        key = next((key for key in keys if self.table.get(key) is not None), None)
        if key is None:
            return None
        value = self.table[key]
        if type(value) is not int or not least <= value <= most:
            raise self.refusal(key, value, f"a whole number {least}..{most}")
        return value

    def truth(self, key: str, default: bool) -> bool:
        """Truth value of a field. Raises SailsimError for another value."""
        value = (self.outer | self.table).get(key)
        if value is not None and not isinstance(value, bool):
            raise self.refusal(key, value, "true or false")
        return default if value is None else value

    def header(
        self, name: str, tensors: Mapping[str, LayerTensor], notes: tuple[str, ...] = ()
    ) -> ModelHeader:
        """Tensors and hyperparameters of the model. Raises SailsimError for a number out of range."""
        number = self.number
        kv_heads = number("num_key_value_heads", "num_kv_heads")
        if "multi_query" in self.table and not self.truth("new_decoder_architecture", False):
            kv_heads = 1 if self.truth("multi_query", False) else number("n_head", "num_attention_heads")
        window = number("sliding_window", least=0) or 0
        if not self.truth("use_sliding_window", True):
            window = 0
        return ModelHeader(
            where=self.where,
            name=name,
            title=name,
            source=f"model folder {name}, {CONFIG} and headers of safetensors",
            tensors={name: tensor.shape for name, tensor in tensors.items()},
            n_heads=number("num_attention_heads", "n_head"),
            n_kv_heads=kv_heads,
            head_dim=number("head_dim"),
            value_dim=number("v_head_dim"),
            n_layers=number("num_hidden_layers", "n_layer"),
            experts_used=number("num_experts_per_tok", "experts_per_token", "moe_k"),
            window=window,
            max_context=number("max_position_embeddings", "n_positions") or 0,
            windowed=self._windowed() if window else None,
            architecture=printable(self._architecture),
            notes=notes,
            own_names={name: tensor.own_name for name, tensor in tensors.items()},
        )

    @property
    def _architecture(self) -> str:
        kind = self.table.get("model_type")
        return kind if isinstance(kind, str) else ""

    def _windowed(self) -> int | list[bool] | None:
        """Blocks with the window, as in `ModelHeader.windowed`."""
        kinds = self.table.get("layer_types")
        if kinds is not None:
            if not isinstance(kinds, list) or not all(isinstance(k, str) and k in _WINDOWED for k in kinds):
                raise self.refusal("layer_types", kinds, f"a list of {' and '.join(_WINDOWED)}")
            return [_WINDOWED[kind] for kind in kinds]
        every = self.number("sliding_window_pattern", least=0)
        if every is not None:
            return every
        # Qwen2: blocks below have no window.
        first, layers = self.number("max_window_layers", least=0), self.number("num_hidden_layers")
        if first is not None and layers is not None and layers < 1 << 16:
            return [layer >= first for layer in range(layers)]
        return PERIODS.get(self._architecture)

    def grouped(self, older: dict[str, Any] | None) -> GroupQuantization | None:
        """Group quantization of the weights; None without a known method.

        ``older`` is the content of `QUANTIZE`, which older folders have instead. Raises SailsimError for
        fields that are absent or out of range.
        """
        tables = (table.get("quantization_config") for table in (self.outer, self.table))
        table = next((table for table in tables if table is not None), None)
        place = "in quantization_config of config.json"
        if table is None and older is not None:
            table, place = {"quant_method": "gptq"} | older, f"of {QUANTIZE}"
        method = table.get("quant_method") if isinstance(table, dict) else None
        if not isinstance(table, dict) or not isinstance(method, str) or method not in BITS:
            return None
        fields = FolderConfig(self.where, place, table)
        bits = fields.number("bits", "w_bit", most=65535)
        size = fields.number("group_size", "q_group_size", least=-1, most=65535)
        if bits is None or size is None:
            name, least = ("bits", 1) if bits is None else ("group_size", -1)
            raise fields.refusal(name, None, f"a whole number {least}..65535")
        if bits not in BITS[method]:
            raise fields.refusal("bits", bits, f"one of {', '.join(map(str, BITS[method]))} for {method}")
        is_gptq = method == "gptq"
        symmetric = fields.truth("sym", True) if is_gptq else not fields.truth("zero_point", True)
        less = is_gptq and table.get("checkpoint_format") != "gptq_v2"
        return GroupQuantization(method, bits, max(size, 0), symmetric, fields.truth("desc_act", False), less)


CONFIG, INDEX, SINGLE = "config.json", "model.safetensors.index.json", "model.safetensors"

MAX_SHARDS = 1 << 12


@dataclass(frozen=True)
class FolderModel:
    """Model folder: its shapes, its matrices' formats, and its tensors as they are stored.

    ``zero_less_one``: a zero point that GPTQ stored is one less than its value.
    """

    path: Path
    spec: ModelSpec
    format: WeightFormat
    stored: tuple[StoredTensor, ...]
    zero_less_one: bool = False

    def parts(self, layer: str) -> dict[str, StoredTensor]:
        """Tensors of a layer by part; the layer has a name of `spec` and is no expert's."""
        return layer_parts(f"model folder {self.path}", self.stored).get((layer, None), {})


def header_files(path: str | Path) -> list[Path]:
    """Files that a folder's model is read from, as far as they exist."""
    names = (CONFIG, INDEX, QUANTIZE)
    return sorted(
        file for file in Path(path).iterdir() if file.name in names or file.suffix == ".safetensors"
    )


def open_folder(path: str | Path) -> FolderModel:
    """Read the headers of a folder, again when one of its files has changed.

    Raises SailsimError for a damaged or missing file, and for tensors that are not those of a decoder.
    """
    folder = Path(path)
    try:
        states = [(file.name, file.stat()) for file in header_files(folder)]
    except OSError as error:
        raise SailsimError(
            f"model folder {folder} cannot be read ({error}); allowed are readable files."
        ) from error
    return _opened(folder, tuple((name, state.st_size, state.st_mtime_ns) for name, state in states))


@lru_cache(maxsize=8)  # a folder of many files takes 0.1 s, and a point asks several times
def _opened(folder: Path, files: tuple[tuple[str, int, int], ...]) -> FolderModel:
    where, there = f"model folder {folder}", [name for name, _, _ in files]
    if CONFIG not in there:
        raise SailsimError(f"{where} has no {CONFIG}; allowed is a folder of a model with safetensors files.")
    config = FolderConfig.read(where, read_json(folder / CONFIG))
    stored = _stored(folder, where, there)
    grouped = config.grouped(read_json(folder / QUANTIZE) if QUANTIZE in there else None)
    layers = layer_parts(where, stored)
    tensors = layer_tensors(where, layers, grouped)
    known = {name.removesuffix(".weight"): layer.format for name, layer in tensors.items() if layer.format}
    if config.truth("tie_word_embeddings", False) and "output" in known:
        del tensors["output.weight"]
    notes = []
    if sum(map(len, layers.values())) < len(stored):
        ends = ", ".join(
            sorted({name.rstrip(".") for name in LEFT_OUT if any(name in t.name for t in stored)})
        )
        notes.append(f"Left out, as it is no part of the decoder: {ends}.")
    if grouped is not None and grouped.reordered:
        notes.append(
            "Weights were quantized in an order of their inputs (desc_act): putting inputs into it is not "
            "counted."
        )
    name = folder.resolve().name
    spec = decoder(config.header(name, tensors, tuple(notes)))
    linears = spec.linears()
    formats = {linear.name: known[linear.name] for linear in linears}
    formats["token_embd"] = known["token_embd"]
    source = f"model folder {name}, headers of safetensors"
    return FolderModel(
        folder,
        spec,
        WeightFormat.of_tensors(name, source, formats, linears),
        tuple(stored),
        grouped is not None and grouped.zero_less_one,
    )


def _stored(folder: Path, where: str, there: list[str]) -> list[StoredTensor]:
    """All tensors that a folder's index lists, or those of its only file."""
    if INDEX in there:
        return _by_index(folder, where, read_json(folder / INDEX))
    files = [name for name in there if name.endswith(".safetensors")]
    if SINGLE in files:
        files = [SINGLE]
    if len(files) != 1:
        raise SailsimError(
            f"{where} has {len(files)} safetensors files and no {INDEX}; allowed is one file, or an index "
            "of them."
        )
    return list(safe_tensors(folder / files[0]).values())


def _by_index(folder: Path, where: str, index: dict[str, Any]) -> list[StoredTensor]:
    places = index.get("weight_map")
    if not isinstance(places, dict) or not places or len(places) > MAX_TENSORS:
        raise SailsimError(
            f"{where}: weight_map of {INDEX} is no table of 1..{MAX_TENSORS} tensors; allowed is one."
        )
    for name, file in places.items():
        if not isinstance(file, str) or Path(file).name != file or not file.endswith(".safetensors"):
            raise SailsimError(
                f"{where}: {INDEX} has {printable(name)} in {printable(repr(file))}; allowed is a "
                "safetensors file of the folder."
            )
    files = dict.fromkeys(places.values())
    if len(files) > MAX_SHARDS:
        raise SailsimError(f"{where}: {INDEX} names {len(files)} files; allowed are {MAX_SHARDS}.")
    stored = {file: safe_tensors(folder / file) for file in files}
    for name, file in places.items():
        if name not in stored[file]:
            raise SailsimError(
                f"{where}: {INDEX} has {printable(name)} in {file}, which does not have it; allowed is a "
                "file with it."
            )
    return [stored[file][name] for name, file in places.items()]
