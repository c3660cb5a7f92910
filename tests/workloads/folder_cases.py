"""Folders of many architectures, and the shapes that should come out of them."""

from typing import Any

from sailsim.workloads.models.experts import Experts

from .folder_files import AFTER, Stored, attention, ends, layers, network

D, V = 64, 96
PLAIN = layers(2, attention(D, 4, 2, 16), {AFTER: (D,)}, network(D, 96)) | ends(D, V)
CONFIG = {"num_attention_heads": 4, "num_key_value_heads": 2, "num_hidden_layers": 2, "hidden_size": D}
SIZES = {
    "name": "m", "title": "m", "source": "model folder m, config.json and headers of safetensors",
    "n_layers": 2, "d_model": D, "n_heads": 4, "n_kv_heads": 2, "head_dim": 16, "vocab": V, "d_ffn": 96,
}  # fmt: skip
HEADS = {"self_attn.q_norm.weight": (16,), "self_attn.k_norm.weight": (16,)}


def stacked_experts(count: int, f: int, *, inputs_first: bool) -> dict[str, tuple[int, ...]]:
    up, down = ((D, 2 * f), (f, D)) if inputs_first else ((2 * f, D), (D, f))
    return {"mlp.experts.gate_up_proj": (count, *up), "mlp.experts.down_proj": (count, *down)}


def mxfp4_experts(count: int, f: int) -> Stored:
    found: Stored = {}
    for layer in range(2):
        for name, n, k in (("gate_up_proj", 2 * f, D), ("down_proj", D, f)):
            whole = f"model.layers.{layer}.mlp.experts.{name}"
            found[f"{whole}_blocks"] = ("U8", (count, n, k // 32, 16))
            found[f"{whole}_scales"] = ("U8", (count, n, k // 32))
            found[f"{whole}_bias"] = ("BF16", (count, n))
    return found


FOLDERS: dict[str, tuple[Stored, dict[str, Any], dict[str, Any]]] = {
    "llama": (PLAIN, {}, {}),
    "unknown, window in blocks that nobody names": (
        PLAIN, {"sliding_window": 8, "model_type": "new"},
        {
            "notes": (
                "Attention of new has a window of 8 tokens in blocks that its file does not name: it is "
                "taken to see the whole context in all of them, an upper end of what it reads.",
            )
        },
    ),
    "gemma 3, of a model that sees": (
        {
            name.replace("model.", "language_model.model.", 1): of
            for name, of in (
                PLAIN
                | layers(
                    2, HEADS,
                    {"pre_feedforward_layernorm.weight": (D,), "post_feedforward_layernorm.weight": (D,)},
                )
            ).items()
            if name != "lm_head.weight"
        }
        | {"vision_tower.x.weight": ("BF16", (7, 7)), "multi_modal_projector.y.weight": ("BF16", (5, 5))},
        {
            "text_config": {
                "model_type": "gemma3_text", "num_hidden_layers": 2, "sliding_window": 9,
                "sliding_window_pattern": 2,
            },
        },
        {
            "tied_embeddings": True,
            "sliding_window": 9,
            "full_layers": (1,),
            "norms": (
                "attn_norm", "attn_q_norm", "attn_k_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm",
                "output_norm",
            ),
            "notes": ("Left out, as it is no part of the decoder: multi_modal_projector, vision_tower.",),
        },
    ),
    "phi3, fused twice": (
        layers(
            2,
            {
                "input_layernorm.weight": (D,), "self_attn.qkv_proj.weight": (128, D),
                "self_attn.o_proj.weight": (D, D), AFTER: (D,), "mlp.gate_up_proj.weight": (192, D),
                "mlp.down_proj.weight": (D, 96),
            },
        )
        | ends(D, V),
        {},
        {"fused_projections": True},
    ),
    "mixtral": (
        layers(
            2, attention(D, 4, 2, 16), {AFTER: (D,), "block_sparse_moe.gate.weight": (3, D)},
            *(
                {f"block_sparse_moe.experts.{i}.{w}.weight": shape for i in range(3)}
                for w, shape in (("w1", (96, D)), ("w2", (D, 96)), ("w3", (96, D)))
            ),
        )
        | ends(D, V),
        {"num_experts_per_tok": 2},
        {"experts": Experts(3, 2, 96)},
    ),
    "qwen3moe, an ordinary block first": (
        layers(1, attention(D, 4, 2, 16), HEADS, {AFTER: (D,)}, network(D, 96))
        | {
            name.replace("layers.0", "layers.1"): of
            for name, of in layers(
                1, attention(D, 4, 2, 16), HEADS, {AFTER: (D,), "mlp.gate.weight": (4, D)},
                *(network(D, 32, f"mlp.experts.{i}") for i in range(4)),
                network(D, 64, "mlp.shared_expert"), {"mlp.shared_expert_gate.weight": (1, D)},
            ).items()
        }
        | ends(D, V),
        {"num_experts_per_tok": 2},
        {
            "experts": Experts(4, 2, 32, shared_d_ffn=64, dense_layers=(0,)),
            "norms": ("attn_norm", "attn_q_norm", "attn_k_norm", "ffn_norm", "output_norm"),
            "extra_params": D,
        },
    ),
    "experts together, inputs first": (
        layers(2, attention(D, 4, 2, 16), {AFTER: (D,), "mlp.router.weight": (4, D)},
               stacked_experts(4, 96, inputs_first=True)) | ends(D, V),
        {"experts_per_token": 1},
        {"experts": Experts(4, 1, 96, fused=True)},
    ),
    "experts together, outputs first": (
        layers(2, attention(D, 4, 2, 16), {AFTER: (D,), "mlp.gate.weight": (4, D)},
               stacked_experts(4, 96, inputs_first=False)) | ends(D, V),
        {"num_experts_per_tok": 1},
        {"experts": Experts(4, 1, 96, fused=True)},
    ),
    "gpt-oss": (
        layers(2, attention(D, 4, 2, 16), {AFTER: (D,), "mlp.router.weight": (4, D)},
               {"mlp.router.bias": (4,), "self_attn.sinks": (4,)})
        | mxfp4_experts(4, 96) | ends(D, V),
        {
            "experts_per_token": 2, "num_experts_per_tok": 2, "sliding_window": 5, "model_type": "gpt_oss",
            "quantization_config": {"quant_method": "mxfp4"},
        },
        {
            "experts": Experts(4, 2, 96, fused=True),
            "sliding_window": 5,
            "full_layers": (1,),
            "extra_params": 2 * (4 + 4 + 4 * (2 * 96 + D)),
        },
    ),
    "falcon": (
        {
            name.replace("model.layers", "transformer.h"): of
            for name, of in layers(
                2,
                {
                    "input_layernorm.weight": (D,), "input_layernorm.bias": (D,),
                    "self_attention.query_key_value.weight": (96, D), "self_attention.dense.weight": (D, D),
                    "mlp.dense_h_to_4h.weight": (96, D), "mlp.dense_4h_to_h.weight": (D, 96),
                },
            ).items()
        }
        | {
            "transformer.word_embeddings.weight": ("BF16", (V, D)),
            "transformer.ln_f.weight": ("BF16", (D,)), "transformer.ln_f.bias": ("BF16", (D,)),
            "lm_head.weight": ("BF16", (V, D)),
        },
        {"multi_query": True, "num_key_value_heads": None},
        {
            "n_kv_heads": 1, "fused_projections": True, "gated_ffn": False,
            "norms": ("attn_norm", "output_norm"), "extra_params": 3 * D,
        },
    ),
}  # fmt: skip
