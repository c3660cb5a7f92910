"""Shapes of decoder-only transformers: the matrices that a decode step multiplies, without the weights.

Each shipped model is a TOML file (``data/models/``), named after the model. Its shapes come from the
``config.json`` that its ``source`` names (`read_shape`). A GGUF file and a folder of safetensors give the
same ``ModelSpec`` (`shapes`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from sailsim.base.arguments import ShortRepr
from sailsim.base.errors import SailsimError
from sailsim.base.toml_file import read_toml
from sailsim.workloads.models.experts import Experts

Role = Literal["attn_in", "attn_out", "ffn_in", "ffn_out", "head"]
"""Activation that feeds a linear layer: layers of one role in one block share their input."""

ROLES: tuple[Role, ...] = ("attn_in", "attn_out", "ffn_in", "ffn_out", "head")

PLAIN_NORMS = ("attn_norm", "ffn_norm", "output_norm")
"""Norms of a Llama: before attention, before the feed-forward network, and the last one."""

KV_BITS = (*range(2, 9), 16, 32)
KV_WORDS = "2..8, 16 or 32"
"""Widths of keys and values in the cache."""

WHOLE_KV, KV_SCALE_BITS = 8, 16
"""Widest integers of a cache, and the bits of their scale per head and token; wider ones are floats."""

FINAL_NORM = "output_norm"

ROUTER = "ffn_gate_inp"
"""Matrix that scores a block's experts, by its tensor's name."""

NORMS: Mapping[str, Callable[[ModelSpec], tuple[int, int]]] = {
    "attn_norm": lambda model: (model.d_model, model.d_model),
    "attn_norm_2": lambda model: (model.d_model, model.d_model),
    "attn_q_norm": lambda model: (model.head_dim, model.d_query),
    "attn_k_norm": lambda model: (model.head_dim, model.d_key),
    "attn_sub_norm": lambda model: (model.d_attn, model.d_attn),
    "post_attention_norm": lambda model: (model.d_model, model.d_model),
    "ffn_norm": lambda model: (model.d_model, model.d_model),
    "ffn_sub_norm": lambda model: (model.d_ffn, model.d_ffn),
    "post_ffw_norm": lambda model: (model.d_model, model.d_model),
    FINAL_NORM: lambda model: (model.d_model, model.d_model),
}
"""Norms by tensor name: number of weights, and of elements normalized per row."""

_MatrixShape = tuple[str, Role, int, int]  # name in the block, input, K, N

MAX_DIMENSION = 1 << 24
"""Upper limit of every shape of a model: a larger one is taken for a damaged file."""

MAX_PARAMS = 1 << 50
"""Upper limit of a number of parameters."""


@dataclass(frozen=True)
class Linear:
    """One weight matrix of a model: ``y (B, n) = x (B, k) @ W (k, n)``.

    ``name`` is llama.cpp's tensor name without ``.weight``; ``layer`` is the block, or the number of
    blocks for the head. The tensor holds ``count`` such matrices, one per expert, of which a token
    multiplies ``used``.
    """

    name: str
    role: Role
    k: int
    n: int
    layer: int
    count: int = 1
    used: int = 1

    @property
    def params(self) -> int:
        """Number of weights, of all experts."""
        return self.k * self.n * self.count

    @property
    def active(self) -> int:
        """Number of weights that a token multiplies."""
        return self.k * self.n * self.used

    @property
    def is_router(self) -> bool:
        """Whether the matrix scores the experts."""
        return self.name.endswith(ROUTER)

    @property
    def of_experts(self) -> bool:
        """Whether each token chooses among the tensor's matrices."""
        return self.name.endswith("_exps")


@dataclass(frozen=True, repr=False)
class ModelSpec(ShortRepr):
    """Shapes of a decoder-only transformer with rotary positions and RMS norms.

    Attributes:
        d_model, head_dim, vocab: elements.
        d_ffn: inner width of an ordinary feed-forward network, or of one expert if all blocks have experts.
        fused_projections: whether Q, K and V are one matrix.
        fused_ffn: whether gate and up are one matrix; None: as the projections.
        kv_bits: width of one KV cache element.
        kv_scale_bits: width of the scale of each head's key and of its value; `kv_bits` determines it.
        max_context: number of tokens that the model was made for; 0: not stated.
        value_dim: width of a head of values; 0: that of keys, ``head_dim``.
        sliding_window: number of tokens that attention sees, but in ``full_layers``; 0: all.
        full_layers: blocks in which attention sees all tokens.
        norms: those of `NORMS` with weights.
        extra_params: elements outside the formula (biases and frequency tables of a GGUF).
        published_params: number on the model's page, which checks the shapes; 0: not stated.
        published_active: number of those that a token uses; 0: not stated.
        notes: parts of the model that are left out.
    """

    name: str
    title: str
    source: str
    n_layers: int
    d_model: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    d_ffn: int
    vocab: int
    gated_ffn: bool = True
    tied_embeddings: bool = False
    fused_projections: bool = False
    kv_bits: int = 16
    extra_params: int = 0
    published_params: int = 0
    published_source: str = ""
    kv_scale_bits: int = 0
    max_context: int = 0
    fused_ffn: bool | None = None
    value_dim: int = 0
    sliding_window: int = 0
    full_layers: tuple[int, ...] = ()
    norms: tuple[str, ...] = PLAIN_NORMS
    experts: Experts | None = None
    published_active: int = 0
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for field in ("n_layers", "d_model", "n_heads", "n_kv_heads", "head_dim", "d_ffn", "vocab"):
            self._require_whole(field, 1)
        for field in ("value_dim", "sliding_window", "max_context"):
            self._require_whole(field, 0)
        for field in ("extra_params", "published_params", "published_active"):
            self._require_whole(field, 0, MAX_PARAMS)
        if self.n_heads % self.n_kv_heads:
            self._refuse("n_kv_heads", self.n_kv_heads, f"a divisor of n_heads ({self.n_heads})")
        if self.kv_bits not in KV_BITS:
            self._refuse("kv_bits", repr(self.kv_bits), KV_WORDS)
        scale = KV_SCALE_BITS if self.kv_bits <= WHOLE_KV else 0
        if self.kv_scale_bits not in (0, scale):
            self._refuse(
                "kv_scale_bits", repr(self.kv_scale_bits), f"{scale} where kv_bits is {self.kv_bits}"
            )
        object.__setattr__(self, "kv_scale_bits", scale)
        full = list(self.full_layers)
        if full != sorted(set(full)) or any(not 0 <= at < self.n_layers for at in full):
            self._refuse("full_layers", full, f"rising blocks of 0..{self.n_layers - 1}")
        if full and not self.sliding_window:
            self._refuse("full_layers", full, "none where sliding_window is 0")
        unknown = [name for name in self.norms if name not in NORMS]
        if unknown or len(set(self.norms)) < len(self.norms):
            self._refuse("norms", ", ".join(self.norms), f"some of {', '.join(NORMS)}, each once")
        if self.experts is not None:
            self._check_experts(self.experts)

    def _check_experts(self, experts: Experts) -> None:
        problem = experts.problem(self.n_layers, MAX_DIMENSION)
        if problem is not None:
            raise SailsimError(f"model {self.name}: {problem}.")
        if not experts.dense_layers and self.d_ffn != experts.d_ffn:
            self._refuse(
                "d_ffn", self.d_ffn, f"experts.d_ffn ({experts.d_ffn}) where all blocks have experts"
            )

    def _require_whole(self, field: str, least: int, most: int = MAX_DIMENSION) -> None:
        value = getattr(self, field)
        if type(value) is not int or not least <= value <= most:
            self._refuse(field, repr(value), f"a whole number {least}..{most}")

    def _refuse(self, field: str, value: object, allowed: str) -> None:
        raise SailsimError(f"model {self.name}: {field} is {value}; allowed is {allowed}.")

    def require_plain(self, what: str) -> None:
        """Raise SailsimError, saying that ``what`` needs it, unless all blocks are alike and as Llama's: no
        experts, no windows, two norms, keys as wide as values, gate and up fused only where Q, K, V are."""
        for field, value, plain in (
            ("experts", self.experts and self.experts.count, None),
            ("norms", ", ".join(self.norms), ", ".join(PLAIN_NORMS)),
            ("value_dim", self.d_value, self.d_key),
            ("fused_ffn", self.ffn_is_fused, self.gated_ffn and self.fused_projections),
            ("sliding_window", self.sliding_window, 0),
        ):
            if value != plain:
                self._refuse(field, value, f"{plain or 'none'} in {what}")

    @property
    def ffn_is_fused(self) -> bool:
        """Whether gate and up of an ordinary feed-forward network are one matrix."""
        return self.gated_ffn and (self.fused_projections if self.fused_ffn is None else self.fused_ffn)

    @property
    def gqa(self) -> int:
        """Query heads that share one key and value head."""
        return self.n_heads // self.n_kv_heads

    @property
    def d_query(self) -> int:
        """Width of the concatenated query heads."""
        return self.n_heads * self.head_dim

    @property
    def d_attn(self) -> int:
        """Width of the concatenated outputs of attention, the input of the output projection."""
        return self.n_heads * (self.value_dim or self.head_dim)

    @property
    def d_key(self) -> int:
        """Width of the concatenated key heads."""
        return self.n_kv_heads * self.head_dim

    @property
    def d_value(self) -> int:
        """Width of the concatenated value heads."""
        return self.n_kv_heads * (self.value_dim or self.head_dim)

    @property
    def d_cached(self) -> int:
        """Elements of the KV cache of a token in a block: its key and its value."""
        return self.d_key + self.d_value

    @property
    def cached_bytes(self) -> float:
        """Bytes of a token in a block's KV cache: its key and its value, with their scales."""
        return self.d_cached * self.kv_bits / 8 + 2 * self.n_kv_heads * self.kv_scale_bits / 8

    def with_kv_bits(self, kv_bits: int) -> ModelSpec:
        """Model with a KV cache of another width.

        2..8 bits are integers with one fp16 scale for each head and token (`rounded_cache`), 16 and 32 are
        floats. 0 keeps the model's own width.
        """
        return self if kv_bits in (0, self.kv_bits) else replace(self, kv_bits=kv_bits, kv_scale_bits=0)

    def has_experts(self, layer: int) -> bool:
        """Whether the tokens choose experts in a block."""
        return self.experts is not None and layer not in self.experts.dense_layers

    def attended(self, layer: int, context: int) -> int:
        """Number of tokens that attention sees in a block, of ``context``."""
        if not self.sliding_window or layer in self.full_layers:
            return context
        return min(context, self.sliding_window)

    def layer_linears(self, layer: int) -> list[Linear]:
        """Weight matrices of one block in the order a step uses them."""
        d = self.d_model
        if self.fused_projections:
            shapes: list[_MatrixShape] = [("attn_qkv", "attn_in", d, self.d_query + self.d_cached)]
        else:
            shapes = [
                ("attn_q", "attn_in", d, self.d_query),
                ("attn_k", "attn_in", d, self.d_key),
                ("attn_v", "attn_in", d, self.d_value),
            ]
        shapes.append(("attn_output", "attn_out", self.d_attn, d))
        if self.experts is None or not self.has_experts(layer):
            return self._named(layer, [*shapes, *self._ffn("", self.d_ffn, self.ffn_is_fused)])
        experts = self.experts
        shapes.append((ROUTER, "ffn_in", d, experts.count))
        if experts.shared_d_ffn:
            shapes += self._ffn("_shexp", experts.shared_d_ffn, fused=False)
        chosen = self._ffn("_exps", experts.d_ffn, experts.fused)
        return self._named(layer, shapes) + self._named(layer, chosen, experts.count, experts.used)

    @staticmethod
    def _named(layer: int, shapes: list[_MatrixShape], count: int = 1, used: int = 1) -> list[Linear]:
        return [Linear(f"blk.{layer}.{name}", role, k, n, layer, count, used) for name, role, k, n in shapes]

    def _ffn(self, suffix: str, width: int, fused: bool) -> list[_MatrixShape]:
        """Matrices of a feed-forward network of an inner width."""
        d = self.d_model
        gated, up = self.gated_ffn and not fused, 2 * width if fused else width
        gate: list[_MatrixShape] = [(f"ffn_gate{suffix}", "ffn_in", d, width)] if gated else []
        return [*gate, (f"ffn_up{suffix}", "ffn_in", d, up), (f"ffn_down{suffix}", "ffn_out", width, d)]

    @property
    def head(self) -> Linear:
        """Vocabulary projection; with tied embeddings it reads the embedding table."""
        name = "token_embd" if self.tied_embeddings else "output"
        return Linear(name, "head", self.d_model, self.vocab, self.n_layers)

    def linears(self) -> list[Linear]:
        """All weight matrices that a decode step multiplies, in order, the head last."""
        return [linear for layer in range(self.n_layers) for linear in self.layer_linears(layer)] + [
            self.head
        ]

    @property
    def norm_params(self) -> int:
        """Elements of the norms: of each block, and the final one."""
        block = sum(NORMS[name](self)[0] for name in self.norms if name != FINAL_NORM)
        return self.n_layers * block + (self.d_model if FINAL_NORM in self.norms else 0)

    @cached_property
    def n_params(self) -> int:
        """Number of parameters; a tied embedding counts once."""
        embedding = 0 if self.tied_embeddings else self.vocab * self.d_model
        matrices = sum(linear.params for linear in self.linears())
        return matrices + embedding + self.norm_params + self.extra_params

    @property
    def active_params(self) -> int:
        """Number of parameters that a token uses: of the experts, those that it chooses."""
        return self.n_params - sum(linear.params - linear.active for linear in self.linears())

    def kv_bytes_per_token(self) -> float:
        """Bytes that one token adds to the KV cache over all layers."""
        return self.n_layers * self.cached_bytes

    def kv_bytes(self, context: int) -> float:
        """Bytes of the KV cache of a sequence; blocks with a window hold no more tokens than that."""
        tokens = sum(self.attended(layer, context) for layer in range(self.n_layers))
        return tokens * self.cached_bytes


_NOT_IN_FILES = ("published_params", "published_active", "published_source", "notes")
"""Fields that a file gives as the table ``published``, or that a reader of other files sets."""
_PUBLISHED = {"params": int, "active": int, "source": str}

_SHIPPED = files("sailsim.workloads").joinpath("data", "models")
_NAMES = tuple(sorted(entry.name.removesuffix(".toml") for entry in _SHIPPED.iterdir()))


def model_names() -> tuple[str, ...]:
    """Names of the shipped models, sorted."""
    return _NAMES


def has_own_formats(model: str | Path) -> bool:
    """Whether a model argument names a file or folder with formats of its own, judged by its name.

    Shipped models and TOML files have none.
    """
    return str(model) not in model_names() and Path(model).suffix != ".toml"


def shipped_model(name: str) -> ModelSpec:
    """Read a shipped shape, one of `model_names`."""
    return read_shape(_SHIPPED.joinpath(f"{name}.toml"))


def read_shape(path: Traversable) -> ModelSpec:
    """Read a shape from a TOML file. Raises SailsimError for a bad file or bad fields."""
    where = f"model file {path}"
    kinds = get_type_hints(ModelSpec)
    known = {field: kind for field, kind in kinds.items() if field not in _NOT_IN_FILES}
    table = read_toml(path, "model", "a table of shapes")
    table = checked_table(where, table, known | {"published": dict}, list(known)[:10])
    published = checked_table(f"{where}: published", table.pop("published", {}), _PUBLISHED)
    for field, allowed in (("name", "a text that is not empty"), ("source", "the origin of the shapes")):
        if not table[field].strip():
            raise SailsimError(f"model file {path}: {field} is {table[field]!r}; allowed is {allowed}.")
    if table.get("max_context") == 0:
        raise SailsimError(
            f"model file {path}: max_context is 0; allowed is a number from 1 on, or no such field where "
            "nobody says how many tokens the model was made for."
        )
    spec = ModelSpec(**table, **{f"published_{field}": value for field, value in published.items()})
    if table.get("kv_scale_bits", spec.kv_scale_bits) != spec.kv_scale_bits:
        raise SailsimError(
            f"model file {path}: kv_scale_bits is {table['kv_scale_bits']}; allowed is {spec.kv_scale_bits} "
            f"where kv_bits is {spec.kv_bits}."
        )
    return spec


def checked_table(
    what: str, table: Any, kinds: Mapping[str, Any], needed: Iterable[str] = ()
) -> dict[str, Any]:
    """Check a table's fields and convert its values: lists become tuples, a table of experts `Experts`.

    Raises SailsimError for a value that is no table, for an unknown or missing field, and for a value of
    another type.
    """
    if not isinstance(table, dict):
        raise SailsimError(f"{what} is {table!r}; allowed is a table.")
    for field in sorted(set(table) - set(kinds)):
        raise SailsimError(f"{what}: field {field!r} is unknown; allowed are {', '.join(kinds)}.")
    for field in needed:
        if field not in table:
            raise SailsimError(f"{what}: field {field!r} is missing; it needs a value.")
    return {field: _value(f"{what}: {field}", value, kinds[field]) for field, value in table.items()}


def _value(what: str, value: Any, kind: Any) -> Any:
    if Experts in get_args(kind):
        return Experts(**checked_table(what, value, get_type_hints(Experts), ("count", "used", "d_ffn")))
    item = next((item for item in get_args(kind) if item is not type(None)), kind)
    is_list = get_origin(kind) is tuple
    if is_list and isinstance(value, list) and all(type(each) is item for each in value):
        return tuple(value)
    if is_list or type(value) is not item:
        allowed = "a list of values" if is_list else "a value"
        raise SailsimError(f"{what} is {value!r}; allowed is {allowed} of type {item.__name__}.")
    return value
