"""The shapes of a decoder from the names and shapes of its tensors, whatever its architecture is called.

A file's reader (`gguf_model`, `folder_model`) gives a `ModelHeader`: every tensor under llama.cpp's name, and
the few hyperparameters that no shape determines, such as the number of heads. Unexplained tensors are refused
by name.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod

from sailsim.base.errors import SailsimError
from sailsim.workloads.model_files.safetensors_file import printable
from sailsim.workloads.models.experts import Experts
from sailsim.workloads.models.model import FINAL_NORM, NORMS, PLAIN_NORMS, ROUTER, ModelSpec

Shape = tuple[int, ...]

MATRICES = (
    "attn_q", "attn_k", "attn_v", "attn_qkv", "attn_output", "ffn_gate", "ffn_up", "ffn_down", ROUTER,
    "ffn_gate_exps", "ffn_up_exps", "ffn_down_exps", "ffn_gate_shexp", "ffn_up_shexp", "ffn_down_shexp",
)  # fmt: skip
"""Matrices that a block may have."""

PERIODS: Mapping[str, int] = {
    "cohere2": 4, "exaone4": 4, "gemma2": 2, "gemma3": 6, "gemma3_text": 6, "gpt-oss": 2, "gpt_oss": 2,
    "mistral": 0, "mixtral": 0, "olmo2": 4, "phi3": 0,
}  # fmt: skip
"""Period of the blocks with full attention, for files that have a window and do not name its blocks.

The last block of each period sees the whole context (llama.cpp, src/llama-model.cpp, set_swa_pattern of each
architecture). 0: all blocks have the window (transformers, modular_mistral.py, modular_mixtral.py and
modular_phi3.py: every layer passes its configuration's window)."""

_BLOCK = re.compile(r"blk\.(\d{1,6})\.(.+)")
_OUTSIDE_BLOCKS = ("token_embd.weight", "output.weight", "position_embd.weight")
"""Matrices outside blocks; learned positions are looked up like an embedding, and count as extra."""


@dataclass(frozen=True)
class ModelHeader:
    """Header of a model file: its tensors' shapes, and hyperparameters that no shape determines.

    ``tensors`` have llama.cpp's names with their suffix and shapes with K first; ``own_names`` are the file's
    names where they differ. A hyperparameter that the file does not state is None. ``max_context`` is the
    number of tokens that the model was made for (0: not stated). ``windowed`` gives the blocks with the
    window: a period whose last block has none (0: all have it), or one truth value per block.
    ``architecture`` is the file's name for it, for a note.
    """

    where: str
    name: str
    title: str
    source: str
    tensors: Mapping[str, Shape]
    n_heads: int | None
    n_kv_heads: int | None = None
    head_dim: int | None = None
    value_dim: int | None = None
    n_layers: int | None = None
    experts_used: int | None = None
    window: int = 0
    max_context: int = 0
    windowed: int | Sequence[bool] | None = None
    architecture: str = ""
    notes: tuple[str, ...] = ()
    own_names: Mapping[str, str] = field(default_factory=dict)

    def refuse(self, text: str) -> SailsimError:
        """Error for a file that cannot be read as a decoder."""
        return SailsimError(f"{self.where}: {text}.")

    def own_name(self, name: str) -> str:
        """The file's name of a tensor, made printable."""
        return printable(self.own_names.get(name, name))


def decoder(header: ModelHeader) -> ModelSpec:
    """Derive a model's shapes. Raises SailsimError, naming a tensor, for any other kind of model."""
    blocks = _blocks(header)
    embedding = header.tensors.get("token_embd.weight", ())
    if len(embedding) != 2:
        raise header.refuse(
            f"{header.own_name('token_embd.weight')} is no matrix; a model of this kind needs it"
        )
    first = blocks[0]
    heads, kv_heads, head_dim, value_dim = _heads(header, first)
    window, full = _windows(header, len(blocks))
    experts = _experts(header, blocks)
    ordinary = next((block for block in blocks if "ffn_down" in block), None)
    d_ffn = ordinary["ffn_down"][0] if ordinary else experts.d_ffn if experts else 0
    gate = "ffn_gate" if ordinary else "ffn_gate_exps"
    up = (ordinary or first).get("ffn_up" if ordinary else "ffn_up_exps", (0, 0))
    fused = gate not in (ordinary or first) and up[1] == 2 * d_ffn
    gated = fused or gate in (ordinary or first)
    spec = ModelSpec(
        name=header.name,
        title=header.title,
        source=header.source,
        n_layers=len(blocks),
        d_model=embedding[0],
        n_heads=heads,
        n_kv_heads=kv_heads,
        head_dim=head_dim,
        value_dim=0 if value_dim == head_dim else value_dim,
        d_ffn=d_ffn,
        vocab=embedding[1],
        gated_ffn=gated,
        tied_embeddings="output.weight" not in header.tensors,
        fused_projections="attn_qkv" in first,
        fused_ffn=fused if ordinary and gated and fused != ("attn_qkv" in first) else None,
        sliding_window=window,
        max_context=header.max_context,
        full_layers=full,
        norms=_norms(header),
        experts=experts,
        notes=(*header.notes, *_window_notes(header)),
    )
    _require_all(header, spec, blocks)
    elements = sum(prod(shape) for shape in header.tensors.values())
    extra = elements - spec.n_params
    if extra < 0:
        raise header.refuse(
            f"its tensors have {elements} elements; a model of its shapes needs {spec.n_params}"
        )
    return replace(spec, extra_params=extra)


def _blocks(header: ModelHeader) -> list[dict[str, Shape]]:
    """Matrices of each block by name. Refuses unknown matrices and missing blocks."""
    by_layer: dict[int, dict[str, Shape]] = {}
    for name, shape in header.tensors.items():
        inside = _BLOCK.fullmatch(name)
        if inside is None:
            if len(shape) > 1 and name not in _OUTSIDE_BLOCKS:
                raise _unknown(header, name)
            continue
        block = by_layer.setdefault(int(inside[1]), {})
        kind = inside[2].removesuffix(".weight")
        if len(shape) > 1 and not kind.endswith(".bias"):
            if kind not in MATRICES or kind == inside[2]:
                raise _unknown(header, name)
            if len(shape) != (3 if kind.endswith("_exps") else 2):
                raise header.refuse(
                    f"the shape of {header.own_name(name)} is {shape}; allowed is a matrix"
                    + (" for each expert" if kind.endswith("_exps") else "")
                )
            block[kind] = shape
    count = header.n_layers
    if not by_layer or sorted(by_layer) != list(range(len(by_layer))) or count not in (None, len(by_layer)):
        stated = "" if count is None else f"; its header says {count}"
        which = f"{len(by_layer)} of {min(by_layer)}..{max(by_layer)}" if by_layer else "none"
        raise header.refuse(f"its blocks are {which}{stated}; allowed are all from 0 on, each with tensors")
    return [by_layer[layer] for layer in range(len(by_layer))]


def _unknown(header: ModelHeader, name: str) -> SailsimError:
    return header.refuse(
        f"tensor {header.own_name(name)} of shape {header.tensors[name]} is not modelled; allowed are the "
        f"matrices of decoders with attention over keys and values: {', '.join(MATRICES[:8])}, those of "
        "experts, the embedding and the head"
    )


def _need(header: ModelHeader, block: Mapping[str, Shape], layer: int, *kinds: str) -> Shape:
    shape = next((block[kind] for kind in kinds if kind in block), None)
    if shape is None:
        named = " or ".join(header.own_name(f"blk.{layer}.{kind}.weight") for kind in kinds)
        raise header.refuse(f"tensor {named} is absent; a model of this kind needs it")
    return shape


def _heads(header: ModelHeader, block: Mapping[str, Shape]) -> tuple[int, int, int, int]:
    """Query heads, key and value heads, and the widths of a key and of a value.

    The header's numbers count; the first block's matrices give the others.
    """
    heads, head_dim = header.n_heads, header.head_dim
    for what, number in (
        ("heads", heads),
        ("heads of keys and values", header.n_kv_heads),
        ("elements of a head", head_dim),
        ("elements of a head of values", header.value_dim),
    ):
        if number is not None and number < 1:
            raise header.refuse(f"its number of {what} is {number}; allowed is 1 or more")
    into = _need(header, block, 0, "attn_q", "attn_qkv")
    if heads is None:
        heads, head_dim = _heads_by_norm(header, block)
    _need(header, block, 0, "attn_output")
    if "attn_q" in block:
        dim = head_dim or block["attn_q"][1] // heads
        keys, values = (_need(header, block, 0, kind)[1] for kind in ("attn_k", "attn_v"))
        kv_heads = header.n_kv_heads or keys // max(dim, 1)
        value = header.value_dim or values // max(kv_heads, 1)
    else:
        kv_heads = header.n_kv_heads or heads
        dim = head_dim or into[1] // (heads + 2 * kv_heads)
        value = header.value_dim or dim
    return heads, kv_heads, dim, value


def _heads_by_norm(header: ModelHeader, block: Mapping[str, Shape]) -> tuple[int, int]:
    """Query heads and their width where the file does not state them: the query norm is one head wide."""
    norm = header.tensors.get("blk.0.attn_q_norm.weight", (0,))[0]
    out = block.get("attn_q", (0, 0))[1]
    dim = header.head_dim or norm
    if not dim or out % dim or not out:
        raise header.refuse("it does not say how many heads attention has; allowed is a file that does")
    return out // dim, dim


def _window_notes(header: ModelHeader) -> list[str]:
    """Note that attention is taken as full where neither the file nor `PERIODS` names a window's blocks."""
    if not header.window or header.windowed is not None:
        return []
    return [
        f"Attention of {header.architecture or 'this model'} has a window of {header.window} tokens in "
        "blocks that its file does not name: it is taken to see the whole context in all of them, an upper "
        "end of what it reads."
    ]


def _windows(header: ModelHeader, n_layers: int) -> tuple[int, tuple[int, ...]]:
    windowed = header.windowed
    if not header.window or windowed is None:
        return 0, ()
    if isinstance(windowed, int):
        full = tuple(layer for layer in range(n_layers) if windowed and layer % windowed == windowed - 1)
    elif len(windowed) != n_layers:
        raise header.refuse(
            f"it says of {len(windowed)} blocks whether attention has a window; allowed is {n_layers}, "
            "its blocks"
        )
    else:
        full = tuple(layer for layer, has in enumerate(windowed) if not has)
    return (0, ()) if len(full) == n_layers else (header.window, full)


def _experts(header: ModelHeader, blocks: Sequence[Mapping[str, Shape]]) -> Experts | None:
    at = next((layer for layer, block in enumerate(blocks) if ROUTER in block), None)
    if at is None:
        return None
    block, used = blocks[at], header.experts_used
    if used is None:
        raise header.refuse(
            "it has experts and does not say how many a token uses; allowed is a file that does"
        )
    down = _need(header, block, at, "ffn_down_exps")
    up = _need(header, block, at, "ffn_up_exps")
    shared = block.get("ffn_down_shexp", (0, 0))[0]
    dense = tuple(layer for layer, own in enumerate(blocks) if ROUTER not in own)
    experts = Experts(
        count=down[2],
        used=used,
        d_ffn=down[0],
        shared_d_ffn=shared,
        fused="ffn_gate_exps" not in block and up[1] == 2 * down[0],
        dense_layers=dense,
    )
    problem = experts.problem(len(blocks), max(down[0], shared))
    if problem is not None:
        raise header.refuse(problem)
    return experts


def _norms(header: ModelHeader) -> tuple[str, ...]:
    """Norms with weights. One after attention counts as the feed-forward network's if that has no other."""
    norms = [
        name
        for name in NORMS
        if (f"{name}.weight" if name == FINAL_NORM else f"blk.0.{name}.weight") in header.tensors
    ]
    if "ffn_norm" not in norms and "post_attention_norm" in norms and "post_ffw_norm" not in norms:
        norms = ["ffn_norm" if name == "post_attention_norm" else name for name in norms]
    return PLAIN_NORMS if sorted(norms) == sorted(PLAIN_NORMS) else tuple(norms)


def _require_all(header: ModelHeader, spec: ModelSpec, blocks: Sequence[Mapping[str, Shape]]) -> None:
    wanted: dict[str, Shape] = {"token_embd.weight": (spec.d_model, spec.vocab)}
    for linear in spec.linears():
        of_one = (linear.k, linear.n)
        wanted[f"{linear.name}.weight"] = (*of_one, linear.count) if linear.of_experts else of_one
    for name, shape in wanted.items():
        stored = header.tensors.get(name)
        if stored != shape:
            raise header.refuse(
                f"the shape of {header.own_name(name)} is {stored or 'absent'}; allowed is {shape} by its "
                "header and its other tensors"
            )
    for layer, block in enumerate(blocks):
        for kind in block:
            if (name := f"blk.{layer}.{kind}.weight") not in wanted:
                raise _unknown(header, name)
