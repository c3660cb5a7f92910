"""Names of tensors in a Hugging Face folder as llama.cpp calls them, with the shapes that those have."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from sailsim.workloads.safetensors_file import SafeTensor

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
