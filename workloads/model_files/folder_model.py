"""A Hugging Face folder of a decoder as a model: `config.json` and the headers of its safetensors files.

No weight is read here: `weights` does, for traces. Floats, MXFP4 of experts, and the group-quantized layouts
of GPTQ and AWQ give the format of each matrix; everything else is refused by the name of its tensor.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import ceil, prod
from pathlib import Path
from typing import Any

from sailsim.base.errors import SailsimError
from sailsim.workloads.model_files.safetensors_file import (
    MAX_TENSORS,
    SafeTensor,
    read_json,
    safe_tensors,
    shown,
)
from sailsim.workloads.model_files.shapes import PERIODS, ModelFacts, Shape, TensorHeader, decoder
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
"""Beginnings of names of what is no part of the decoder."""

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
"""Ends of the names of a layer's tensors: ``blocks`` and ``scales`` are MXFP4's, with an underscore."""


@dataclass(frozen=True)
class NamedTensor:
    """A tensor of a folder: the layer under llama.cpp's name, which expert's it is, and which part of it."""

    layer: str
    expert: int | None
    part: str
    tensor: SafeTensor


def named(tensors: Iterable[SafeTensor]) -> list[NamedTensor]:
    """The tensors of the decoder under llama.cpp's names; what has none keeps its own."""
    of_decoder = [_named(tensor) for tensor in tensors if not _is_left_out(tensor.name)]
    names = {one.tensor.name for one in of_decoder}
    # Where a block has a norm of its own before the network, the one behind attention is not that.
    has_own = any("pre_feedforward_layernorm" in name for name in names)
    if not has_own and any(name.endswith(("input_layernorm.weight", "ln_attn.weight")) for name in names):
        return of_decoder
    return [
        replace(one, layer=one.layer.replace("ffn_norm", "post_attention_norm"))
        if "post_attention_layernorm" in one.tensor.name
        else one
        for one in of_decoder
    ]


def _is_left_out(name: str) -> bool:
    return name.startswith(LEFT_OUT) or _PREFIX.sub("", name).startswith(LEFT_OUT)


def _named(tensor: SafeTensor) -> NamedTensor:
    """One tensor under llama.cpp's name."""
    body, _, part = _PREFIX.sub("", tensor.name).rpartition(".")
    if part not in PARTS:  # names of stacked experts and of sinks have no end of their own
        body, part = _PREFIX.sub("", tensor.name), "weight"
        for end in ("blocks", "scales", "bias"):
            if body.endswith(f"_{end}"):
                body, part = body.removesuffix(f"_{end}"), end
    in_layer = _LAYER.fullmatch(body)
    if in_layer is None:
        return NamedTensor(_GLOBAL.get(body, body), None, part, tensor)
    inside, expert = in_layer[2], _EXPERT.fullmatch(in_layer[2])
    if expert is not None:
        kind = _OF_EXPERT.get(expert[2], inside)
        return NamedTensor(f"blk.{in_layer[1]}.{kind}", int(expert[1]), part, tensor)
    return NamedTensor(f"blk.{in_layer[1]}.{_IN_BLOCK.get(inside, inside)}", None, part, tensor)


FLOATS = {"F32": "f32", "F16": "f16", "BF16": "bf16"}
"""Formats of matrices that are numbers by themselves, by their type's name."""

ONE_ROW = ("ffn_gate_inp_shexp",)
"""Layers of a single output: vectors in a GGUF file."""

_MXFP4_BYTES = 16
"""Of the codes of a block of MXFP4."""


@dataclass(frozen=True)
class GroupQuantization:
    """What a folder says of group-quantized weights; ``group_size`` 0: one group a column; ``reordered``:
    groups are of inputs in another order than the matrix's; ``zero_less_one``: what is stored of a zero point
    is one less than it."""

    method: str
    bits: int
    group_size: int
    symmetric: bool
    reordered: bool
    zero_less_one: bool = False


@dataclass(frozen=True)
class LayerTensor:
    """One layer, or that of one expert: its own name, its shape with K first, and the format of a matrix."""

    called: str
    shape: Shape
    format: TensorFormat | None


def matrices(
    where: str, tensors: Sequence[NamedTensor], grouped: GroupQuantization | None
) -> dict[str, LayerTensor]:
    """The layers of all tensors under llama.cpp's names with their suffix, experts of one layer together.

    Raises SailsimError, naming a tensor.
    """
    parts: dict[tuple[str, int | None], dict[str, SafeTensor]] = {}
    for one in tensors:
        own = parts.setdefault((one.layer, one.expert), {})
        if one.part in own:
            raise SailsimError(
                f"{where}: tensors {shown(own[one.part].name)} and {shown(one.tensor.name)} are the same "
                "part of a layer; allowed is one."
            )
        own[one.part] = one.tensor
    embedding = parts.get(("token_embd", None), {}).get("weight")
    width = embedding.shape[-1] if embedding is not None and embedding.shape else 0
    layers: dict[str, LayerTensor] = {}
    experts: dict[str, dict[int, LayerTensor]] = {}
    for (layer, expert), own in parts.items():
        bias = own.pop("bias", None)
        if bias is not None:
            name = f"{layer}.bias" if expert is None else f"{layer}.{expert}.bias"
            layers[name] = LayerTensor(name, (prod(bias.shape),), None)
        if not own:
            continue
        read = _LayerReader(where, layer, width, grouped).layer(own)
        if expert is None:
            layers[f"{layer}.weight"] = read
        else:
            experts.setdefault(layer, {})[expert] = read
    for layer, of_experts in experts.items():
        layers[f"{layer}.weight"] = _together(where, layer, of_experts)
    return layers


def _together(where: str, layer: str, experts: Mapping[int, LayerTensor]) -> LayerTensor:
    """Matrices of single experts as one tensor. Raises where one is missing or of another kind."""
    first = experts.get(0)
    count = len(experts)
    if first is None or sorted(experts) != list(range(count)) or count > MAX_EXPERTS:
        raise SailsimError(
            f"{where}: it has experts {min(experts)}..{max(experts)}, {count} of them, for {shown(layer)}; "
            f"allowed are all from 0 on, and at most {MAX_EXPERTS}."
        )
    for one in experts.values():
        if (one.shape, one.format) != (first.shape, first.format):
            raise SailsimError(
                f"{where}: tensor {shown(one.called)} is {_kind(one)}; allowed is {_kind(first)}, as "
                "expert 0's."
            )
    return LayerTensor(first.called, (*first.shape, count), first.format)


def _kind(layer: LayerTensor) -> str:
    return f"{layer.format.name if layer.format else 'no matrix'} of shape {layer.shape}"


class _LayerReader:
    """Reads one layer's tensors."""

    def __init__(self, where: str, layer: str, width: int, grouped: GroupQuantization | None) -> None:
        self._where, self._layer, self._width, self._grouped = where, layer, width, grouped

    def _refuse(self, tensor: SafeTensor, field: str, value: object, allowed: str) -> SailsimError:
        return SailsimError(
            f"{self._where}: the {field} of {shown(tensor.name)} is {value}; allowed is {allowed}."
        )

    def layer(self, parts: Mapping[str, SafeTensor]) -> LayerTensor:
        """Shape and format by which parts a layer has."""
        if "qweight" in parts:
            return self._quantized(parts)
        if "blocks" in parts:
            return self._mxfp4(parts)
        rest = next((tensor for part, tensor in parts.items() if part != "weight"), None)
        if rest is not None:
            raise SailsimError(
                f"{self._where}: tensor {shown(rest.name)} has no codes beside it; allowed are those of "
                "GPTQ or AWQ (qweight), or MXFP4's (blocks)."
            )
        return self._floats(parts["weight"])

    def _floats(self, tensor: SafeTensor) -> LayerTensor:
        shape = tensor.shape
        if len(shape) < 2 or self._layer.endswith(ONE_ROW):
            return LayerTensor(tensor.name, (prod(shape),), None)
        if tensor.dtype not in FLOATS:
            raise self._refuse(
                tensor,
                "dtype",
                tensor.dtype,
                f"{', '.join(FLOATS)}, or codes of GPTQ, AWQ or MXFP4 for a matrix",
            )
        shape = self._stacked(shape) if len(shape) == 3 else shape[::-1]
        return LayerTensor(tensor.name, shape, TENSOR_FORMATS[FLOATS[tensor.dtype]])

    def _stacked(self, shape: Shape) -> Shape:
        """(K, N, experts) of experts stored together, inputs or outputs first."""
        count, first, second = shape
        side = second if self._layer.endswith("ffn_down_exps") else first
        return (first, second, count) if side == self._width else (second, first, count)

    def _mxfp4(self, parts: Mapping[str, SafeTensor]) -> LayerTensor:
        """Experts in MXFP4: blocks of 32 codes, two a byte, and a byte of scale for each."""
        blocks = parts["blocks"]
        if blocks.dtype != "U8" or len(blocks.shape) != 4 or blocks.shape[-1] != _MXFP4_BYTES:
            raise self._refuse(
                blocks, "shape", f"{blocks.shape} of {blocks.dtype}", "(experts, N, K / 32, 16) of U8"
            )
        count, n, groups, _ = blocks.shape
        self._part(parts, "scales", blocks, (count, n, groups), ("U8",))
        return LayerTensor(blocks.name, (32 * groups, n, count), TENSOR_FORMATS["mxfp4"])

    def _part(
        self,
        parts: Mapping[str, SafeTensor],
        part: str,
        beside: SafeTensor,
        shape: Shape,
        dtypes: Sequence[str],
    ) -> None:
        """Raise unless a part is there in its shape and one of some types."""
        tensor = parts.get(part)
        if tensor is None:
            raise SailsimError(
                f"{self._where}: {shown(beside.name)} has no {part} beside it; allowed is one."
            )
        if tensor.shape != shape or tensor.dtype not in dtypes:
            raise self._refuse(
                tensor, "shape", f"{tensor.shape} of {tensor.dtype}", f"{shape} of {' or '.join(dtypes)}"
            )

    def _quantized(self, parts: Mapping[str, SafeTensor]) -> LayerTensor:
        """Codes of GPTQ, packed along K, or of AWQ, packed along N."""
        tensor, grouped = parts["qweight"], self._grouped
        if grouped is None:
            raise SailsimError(
                f"{self._where}: tensor {shown(tensor.name)} is quantized and config.json has no "
                "quantization_config of quant_method gptq or awq; allowed is a folder that says how."
            )
        bits = grouped.bits
        if len(tensor.shape) != 2 or tensor.dtype != "I32":
            raise self._refuse(tensor, "shape", f"{tensor.shape} of {tensor.dtype}", "a matrix of I32")
        packed = tensor.shape[0 if grouped.method == "gptq" else 1] * WORD_BITS
        if packed % bits:
            raise self._refuse(tensor, "shape", tensor.shape, f"whole words of {bits}-bit codes")
        k, n = tensor.shape
        k, n = (packed // bits, n) if grouped.method == "gptq" else (k, packed // bits)
        groups = ceil(k / grouped.group_size) if grouped.group_size else 1
        self._part(parts, "scales", tensor, (groups, n), ("F16", "BF16"))
        self._part(parts, "qzeros", tensor, (groups, ceil(n * bits / WORD_BITS)), ("I32",))
        indexed = "g_idx" in parts
        if indexed:
            self._part(parts, "g_idx", tensor, (k,), ("I32",))
        fmt = group_format(grouped.method, bits, grouped.group_size, grouped.symmetric, indexed)
        return LayerTensor(tensor.name, (k, n), fmt)


QUANTIZE = "quantize_config.json"
"""The file of older folders that says how weights are quantized."""

_WINDOWED = {"sliding_attention": True, "full_attention": False}


@dataclass(frozen=True)
class _JsonFields:
    """A table of a folder's JSON, and where it stands, for errors. A field that is null is not there."""

    where: str
    place: str
    table: Mapping[str, Any]

    def refuse(self, key: str, value: object, allowed: str) -> SailsimError:
        value = shown(repr(value))
        return SailsimError(f"{self.where}: {key} {self.place} is {value}; allowed is {allowed}.")

    def number(self, *keys: str, least: int = 1, most: int = (1 << 31) - 1) -> int | None:
        """The first of some whole numbers that is there."""
        for key in keys:
            value = self.table.get(key)
            if value is None:
                continue
            if type(value) is not int or not least <= value <= most:
                raise self.refuse(key, value, f"a whole number {least}..{most}")
            return value
        return None

    def truth(self, key: str, default: bool) -> bool:
        value = self.table.get(key)
        if value is not None and not isinstance(value, bool):
            raise self.refuse(key, value, "true or false")
        return default if value is None else value


@dataclass(frozen=True)
class FolderConfig:
    """A configuration: the fields of the text model, and the whole table around it."""

    where: str
    text: dict[str, Any]
    whole: dict[str, Any]

    @classmethod
    def of(cls, where: str, table: dict[str, Any]) -> FolderConfig:
        """Of a file's table, whose text model may have one of its own."""
        text = next((table[key] for key in ("text_config", "llm_config") if key in table), table)
        if not isinstance(text, dict):
            raise SailsimError(
                f"{where}: text_config of config.json is {shown(repr(text))}; allowed is a table."
            )
        config = cls(where, text, table)
        if config.truth("is_encoder_decoder", False):
            raise SailsimError(f"{where}: is_encoder_decoder is true; allowed is false, a decoder.")
        return config

    @property
    def _fields(self) -> _JsonFields:
        return _JsonFields(self.where, "of config.json", self.text)

    def truth(self, key: str, default: bool) -> bool:
        """A truth value of the text model or of the whole."""
        return _JsonFields(self.where, "of config.json", self.whole | self.text).truth(key, default)

    def facts(self, notes: tuple[str, ...]) -> ModelFacts:
        """Heads, experts, windows, and how many tokens it was made for."""
        number = self._fields.number
        kv_heads = number("num_key_value_heads", "num_kv_heads")
        if "multi_query" in self.text and not self.truth("new_decoder_architecture", False):
            kv_heads = 1 if self.truth("multi_query", False) else number("n_head", "num_attention_heads")
        window = number("sliding_window", least=0) or 0
        if not self.truth("use_sliding_window", True):
            window = 0
        return ModelFacts(
            n_heads=number("num_attention_heads", "n_head"),
            n_kv_heads=kv_heads,
            head_dim=number("head_dim"),
            value_dim=number("v_head_dim"),
            n_layers=number("num_hidden_layers", "n_layer"),
            experts_used=number("num_experts_per_tok", "experts_per_token", "moe_k"),
            window=window,
            max_context=number("max_position_embeddings", "n_positions") or 0,
            windowed=self._windowed() if window else None,
            architecture=shown(self._kind),
            notes=notes,
        )

    @property
    def _kind(self) -> str:
        """What the configuration calls the architecture; empty where it does not."""
        kind = self.text.get("model_type")
        return kind if isinstance(kind, str) else ""

    def _windowed(self) -> int | list[bool] | None:
        """Which blocks have the window, as `ModelFacts.windowed`."""
        kinds, number = self.text.get("layer_types"), self._fields.number
        if kinds is not None:
            if not isinstance(kinds, list) or not all(isinstance(k, str) and k in _WINDOWED for k in kinds):
                raise self._fields.refuse("layer_types", kinds, f"a list of {' and '.join(_WINDOWED)}")
            return [_WINDOWED[kind] for kind in kinds]
        every = number("sliding_window_pattern", least=0)
        if every is not None:
            return every
        # Qwen2: blocks below have no window.
        first, layers = number("max_window_layers", least=0), number("num_hidden_layers")
        if first is not None and layers is not None and layers < 1 << 16:
            return [layer >= first for layer in range(layers)]
        return PERIODS.get(self._kind)

    def grouped(self, beside: dict[str, Any] | None) -> GroupQuantization | None:
        """How weights are quantized in groups; None: not by a method that is known.

        ``beside``: the table of `QUANTIZE`, which older folders have instead.
        """
        tables = (table.get("quantization_config") for table in (self.whole, self.text))
        table = next((table for table in tables if table is not None), None)
        place = "in quantization_config of config.json"
        if table is None and beside is not None:
            table, place = {"quant_method": "gptq"} | beside, f"of {QUANTIZE}"
        method = table.get("quant_method") if isinstance(table, dict) else None
        if not isinstance(table, dict) or not isinstance(method, str) or method not in BITS:
            return None
        fields = _JsonFields(self.where, place, table)
        bits = fields.number("bits", "w_bit", most=65535)
        size = fields.number("group_size", "q_group_size", least=-1, most=65535)
        if bits is None or size is None:
            name, least = ("bits", 1) if bits is None else ("group_size", -1)
            raise fields.refuse(name, None, f"a whole number {least}..65535")
        if bits not in BITS[method]:
            raise fields.refuse("bits", bits, f"one of {', '.join(map(str, BITS[method]))} for {method}")
        is_gptq = method == "gptq"
        symmetric = fields.truth("sym", True) if is_gptq else not fields.truth("zero_point", True)
        less = is_gptq and table.get("checkpoint_format") != "gptq_v2"
        return GroupQuantization(method, bits, max(size, 0), symmetric, fields.truth("desc_act", False), less)


CONFIG, INDEX, SINGLE = "config.json", "model.safetensors.index.json", "model.safetensors"

MAX_SHARDS = 1 << 12


@dataclass(frozen=True)
class FolderModel:
    """A model folder: its shapes, its matrices' formats, and its tensors as they are stored.

    ``zero_less_one``: what GPTQ stores of a zero point is one less than it.
    """

    path: Path
    spec: ModelSpec
    format: WeightFormat
    stored: tuple[SafeTensor, ...]
    zero_less_one: bool = False

    def parts(self, layer: str) -> dict[str, SafeTensor]:
        """The tensors of a layer that is not an expert's, by its name in `spec` and their parts of it."""
        own = (each for each in named(self.stored) if each.layer == layer and each.expert is None)
        return {each.part: each.tensor for each in own}


def header_files(path: str | Path) -> list[Path]:
    """What a folder's model is read from, those that are there."""
    names = (CONFIG, INDEX, QUANTIZE)
    return sorted(
        file for file in Path(path).iterdir() if file.name in names or file.suffix == ".safetensors"
    )


def open_folder(path: str | Path) -> FolderModel:
    """Reads the headers of a folder, again when one of its files has changed.

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
    config = FolderConfig.of(where, read_json(folder / CONFIG))
    stored = _stored(folder, where, there)
    grouped = config.grouped(read_json(folder / QUANTIZE) if QUANTIZE in there else None)
    own = named(stored)
    layers = matrices(where, own, grouped)
    known = {name.removesuffix(".weight"): layer.format for name, layer in layers.items() if layer.format}
    if config.truth("tie_word_embeddings", False) and "output" in known:
        del layers["output.weight"]
    notes = []
    if len(own) < len(stored):
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
    spec = decoder(
        TensorHeader(
            where=where,
            name=name,
            title=name,
            source=f"model folder {name}, {CONFIG} and headers of safetensors",
            tensors={name: layer.shape for name, layer in layers.items()},
            facts=config.facts(tuple(notes)),
            called={name: layer.called for name, layer in layers.items()},
        )
    )
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


def _stored(folder: Path, where: str, there: list[str]) -> list[SafeTensor]:
    """All tensors of a folder's files: those of its index, or of its only file."""
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


def _by_index(folder: Path, where: str, index: dict[str, Any]) -> list[SafeTensor]:
    """The tensors of an index, each from the file that it names."""
    places = index.get("weight_map")
    if not isinstance(places, dict) or not places or len(places) > MAX_TENSORS:
        raise SailsimError(
            f"{where}: weight_map of {INDEX} is no table of 1..{MAX_TENSORS} tensors; allowed is one."
        )
    files: dict[str, None] = {}
    for name, file in places.items():
        if not isinstance(file, str) or Path(file).name != file or not file.endswith(".safetensors"):
            raise SailsimError(
                f"{where}: {INDEX} has {shown(name)} in {shown(repr(file))}; allowed is a safetensors file "
                "of the folder."
            )
        files[file] = None
    if len(files) > MAX_SHARDS:
        raise SailsimError(f"{where}: {INDEX} names {len(files)} files; allowed are {MAX_SHARDS}.")
    stored = {file: safe_tensors(folder / file) for file in files}
    for name, file in places.items():
        if name not in stored[file]:
            raise SailsimError(
                f"{where}: {INDEX} has {shown(name)} in {file}, which does not have it; allowed is a file "
                "with it."
            )
    return [stored[file][name] for name, file in places.items()]
