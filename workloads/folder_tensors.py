"""The matrices of a Hugging Face folder: their shapes and formats, from the headers of its files alone."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import ceil, prod

from sailsim.base.errors import SailsimError
from sailsim.workloads.experts import MAX_EXPERTS
from sailsim.workloads.formats import TENSOR_FORMATS, WORD_BITS, TensorFormat, group_format
from sailsim.workloads.safetensors_file import SafeTensor, shown
from sailsim.workloads.shapes import Shape

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
class Named:
    """A tensor of a folder: the layer under llama.cpp's name, which expert's it is, and which part of it."""

    layer: str
    expert: int | None
    part: str
    tensor: SafeTensor


def named(tensors: Iterable[SafeTensor]) -> list[Named]:
    """The tensors of the decoder under llama.cpp's names; what has none keeps its own."""
    found = [_named(tensor) for tensor in tensors if not _is_left_out(tensor.name)]
    # Where a block has a norm of its own before the network, the one behind attention is not that.
    before = {one.tensor.name for one in found}
    own = any("pre_feedforward_layernorm" in name for name in before)
    if own or not any(name.endswith(("input_layernorm.weight", "ln_attn.weight")) for name in before):
        found = [
            replace(one, layer=one.layer.replace("ffn_norm", "post_attention_norm"))
            if "post_attention_layernorm" in one.tensor.name
            else one
            for one in found
        ]
    return found


def _is_left_out(name: str) -> bool:
    return name.startswith(LEFT_OUT) or _PREFIX.sub("", name).startswith(LEFT_OUT)


def _named(tensor: SafeTensor) -> Named:
    """One tensor under llama.cpp's name."""
    body, _, part = _PREFIX.sub("", tensor.name).rpartition(".")
    if part not in PARTS:  # names of stacked experts and of sinks have no end of their own
        body, part = _PREFIX.sub("", tensor.name), "weight"
        for end in ("blocks", "scales", "bias"):
            if body.endswith(f"_{end}"):
                body, part = body.removesuffix(f"_{end}"), end
    in_layer = _LAYER.fullmatch(body)
    if in_layer is None:
        return Named(_GLOBAL.get(body, body), None, part, tensor)
    inside, expert = in_layer[2], _EXPERT.fullmatch(in_layer[2])
    if expert is not None:
        kind = _OF_EXPERT.get(expert[2], inside)
        return Named(f"blk.{in_layer[1]}.{kind}", int(expert[1]), part, tensor)
    return Named(f"blk.{in_layer[1]}.{_IN_BLOCK.get(inside, inside)}", None, part, tensor)


FLOATS = {"F32": "f32", "F16": "f16", "BF16": "bf16"}
"""Formats of matrices that are numbers by themselves, by their type's name."""

ONE_ROW = ("ffn_gate_inp_shexp",)
"""Layers of a single output: vectors in a GGUF file."""

_MXFP4_BYTES = 16
"""Of the codes of a block of MXFP4."""


@dataclass(frozen=True)
class Grouped:
    """What a folder says of group-quantized weights; ``group_size`` 0: one group a column; ``reordered``:
    groups are of inputs in another order than the matrix's; ``zero_less_one``: what is stored of a zero point
    is one less than it."""

    method: str
    bits: int
    group_size: int
    symmetric: bool
    reordered: bool
    zero_less_one: bool = False


@dataclass
class Matrices:
    """The layers of a model under llama.cpp's names.

    ``shapes`` of all tensors with their suffix, K first; ``formats`` of matrices, without it; ``called``:
    the folder's own names; ``elements`` of all, as numbers of the model.
    """

    shapes: dict[str, Shape] = field(default_factory=dict)
    formats: dict[str, TensorFormat] = field(default_factory=dict)
    called: dict[str, str] = field(default_factory=dict)
    elements: int = 0

    def drop(self, layer: str) -> None:
        """Leave out a layer's matrix."""
        self.elements -= prod(self.shapes.pop(f"{layer}.weight"))
        del self.formats[layer]


@dataclass(frozen=True)
class _Layer:
    """One layer, or that of one expert: its own name, its shape with K first, and the format of a matrix."""

    called: str
    shape: Shape
    format: TensorFormat | None


def matrices(where: str, tensors: Sequence[Named], grouped: Grouped | None) -> Matrices:
    """The layers of all tensors, experts of one layer together. Raises SailsimError, naming a tensor."""
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
    found = Matrices()
    experts: dict[str, dict[int, _Layer]] = {}
    for (layer, expert), own in parts.items():
        bias = own.pop("bias", None)
        if bias is not None:
            name = f"{layer}.bias" if expert is None else f"{layer}.{expert}.bias"
            found.shapes[name] = (prod(bias.shape),)
            found.elements += prod(bias.shape)
        if not own:
            continue
        read = _Reader(where, layer, width, grouped).layer(own)
        if expert is not None:
            experts.setdefault(layer, {})[expert] = read
            continue
        _add(found, layer, read)
    for layer, of_experts in experts.items():
        _add(found, layer, _together(where, layer, of_experts))
    return found


def _add(found: Matrices, layer: str, read: _Layer) -> None:
    name = f"{layer}.weight"
    found.shapes[name] = read.shape
    found.called[name] = read.called
    found.elements += prod(read.shape)
    if read.format is not None:
        found.formats[layer] = read.format


def _together(where: str, layer: str, experts: Mapping[int, _Layer]) -> _Layer:
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
    return _Layer(first.called, (*first.shape, count), first.format)


def _kind(layer: _Layer) -> str:
    return f"{layer.format.name if layer.format else 'no matrix'} of shape {layer.shape}"


class _Reader:
    """Reads one layer's tensors."""

    def __init__(self, where: str, layer: str, width: int, grouped: Grouped | None) -> None:
        self._where, self._layer, self._width, self._grouped = where, layer, width, grouped

    def _refuse(self, tensor: SafeTensor, field: str, value: object, allowed: str) -> SailsimError:
        return SailsimError(
            f"{self._where}: the {field} of {shown(tensor.name)} is {value}; allowed is {allowed}."
        )

    def layer(self, parts: Mapping[str, SafeTensor]) -> _Layer:
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

    def _floats(self, tensor: SafeTensor) -> _Layer:
        shape = tensor.shape
        if len(shape) < 2 or self._layer.endswith(ONE_ROW):
            return _Layer(tensor.name, (prod(shape),), None)
        if tensor.dtype not in FLOATS:
            raise self._refuse(
                tensor,
                "dtype",
                tensor.dtype,
                f"{', '.join(FLOATS)}, or codes of GPTQ, AWQ or MXFP4 for a matrix",
            )
        shape = self._stacked(shape) if len(shape) == 3 else shape[::-1]
        return _Layer(tensor.name, shape, TENSOR_FORMATS[FLOATS[tensor.dtype]])

    def _stacked(self, shape: Shape) -> Shape:
        """(K, N, experts) of experts stored together, inputs or outputs first."""
        count, first, second = shape
        side = second if self._layer.endswith("ffn_down_exps") else first
        return (first, second, count) if side == self._width else (second, first, count)

    def _mxfp4(self, parts: Mapping[str, SafeTensor]) -> _Layer:
        """Experts in MXFP4: blocks of 32 codes, two a byte, and a byte of scale for each."""
        blocks = parts["blocks"]
        if blocks.dtype != "U8" or len(blocks.shape) != 4 or blocks.shape[-1] != _MXFP4_BYTES:
            raise self._refuse(
                blocks, "shape", f"{blocks.shape} of {blocks.dtype}", "(experts, N, K / 32, 16) of U8"
            )
        count, n, groups, _ = blocks.shape
        self._part(parts, "scales", blocks, (count, n, groups), ("U8",))
        return _Layer(blocks.name, (32 * groups, n, count), TENSOR_FORMATS["mxfp4"])

    def _part(
        self,
        parts: Mapping[str, SafeTensor],
        part: str,
        beside: SafeTensor,
        shape: Shape,
        dtypes: Sequence[str],
    ) -> None:
        """Raise unless a part is there in its shape and one of some types."""
        found = parts.get(part)
        if found is None:
            raise SailsimError(
                f"{self._where}: {shown(beside.name)} has no {part} beside it; allowed is one."
            )
        if found.shape != shape or found.dtype not in dtypes:
            raise self._refuse(
                found, "shape", f"{found.shape} of {found.dtype}", f"{shape} of {' or '.join(dtypes)}"
            )

    def _quantized(self, parts: Mapping[str, SafeTensor]) -> _Layer:
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
        return _Layer(tensor.name, (k, n), fmt)
