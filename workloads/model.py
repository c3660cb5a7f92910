"""Decoder-only transformers as shapes: what a decode step multiplies, without the weights.

Each model is a TOML file beside this module (``models/``), named after the model, whose every shape
comes from the ``config.json`` that its ``source`` names. A GGUF file gives the same ``ModelSpec``.
"""

from dataclasses import dataclass, fields
from functools import lru_cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any, Literal

from sailsim.base.errors import SailsimError
from sailsim.base.toml_file import read_toml

Role = Literal["attn_in", "attn_out", "ffn_in", "ffn_out", "head"]
"""The activation that feeds a linear layer: layers of one role in one block share their input."""

ROLES: tuple[Role, ...] = ("attn_in", "attn_out", "ffn_in", "ffn_out", "head")

MAX_DIMENSION = 1 << 24
"""Upper limit of every shape of a model: a larger one is taken for a damaged file."""

MAX_PARAMS = 1 << 50
"""Upper limit of a number of parameters."""


@dataclass(frozen=True)
class Linear:
    """One weight matrix of a model: ``y (B, n) = x (B, k) @ W (k, n)``.

    ``name`` is llama.cpp's tensor name without ``.weight``; ``layer`` is the block, or the number of
    blocks for the head.
    """

    name: str
    role: Role
    k: int
    n: int
    layer: int

    @property
    def params(self) -> int:
        """Number of weights."""
        return self.k * self.n


@dataclass(frozen=True)
class ModelSpec:
    """Shapes of a dense decoder-only transformer with rotary positions and RMS norms.

    ``d_*``, ``head_dim`` and ``vocab`` are elements, ``kv_bits`` is the width of one KV cache element.
    ``fused_projections`` says that Q, K, V are one matrix and gate, up are one. ``extra_params`` counts
    elements outside the formula (biases and frequency tables of a GGUF). ``published_params`` is what the
    model's page states, for the check of the shapes; 0 where nobody states it.
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

    def __post_init__(self) -> None:
        for field in ("n_layers", "d_model", "n_heads", "n_kv_heads", "head_dim", "d_ffn", "vocab"):
            value = getattr(self, field)
            if type(value) is not int or not 1 <= value <= MAX_DIMENSION:
                raise SailsimError(
                    f"model {self.name}: {field} is {value!r}; allowed is a whole number 1..{MAX_DIMENSION}."
                )
        if not 0 <= self.extra_params <= MAX_PARAMS:
            raise SailsimError(
                f"model {self.name}: extra_params is {self.extra_params}; allowed is 0..{MAX_PARAMS}."
            )
        if self.n_heads % self.n_kv_heads:
            raise SailsimError(
                f"model {self.name}: n_kv_heads is {self.n_kv_heads}; allowed is a divisor of "
                f"n_heads ({self.n_heads})."
            )
        if self.kv_bits not in (4, 8, 16, 32):
            raise SailsimError(f"model {self.name}: kv_bits is {self.kv_bits!r}; allowed is 4, 8, 16 or 32.")

    @property
    def gqa(self) -> int:
        """Query heads that share one key and value head."""
        return self.n_heads // self.n_kv_heads

    @property
    def d_attn(self) -> int:
        """Width of the concatenated query heads, the input of the output projection."""
        return self.n_heads * self.head_dim

    @property
    def d_kv(self) -> int:
        """Width of the concatenated key (or value) heads."""
        return self.n_kv_heads * self.head_dim

    def layer_linears(self, layer: int) -> list[Linear]:
        """Weight matrices of one block in the order a step uses them."""
        d, blk = self.d_model, f"blk.{layer}."
        if self.fused_projections:
            shapes: list[tuple[str, Role, int, int]] = [
                ("attn_qkv", "attn_in", d, self.d_attn + 2 * self.d_kv)
            ]
        else:
            shapes = [
                ("attn_q", "attn_in", d, self.d_attn),
                ("attn_k", "attn_in", d, self.d_kv),
                ("attn_v", "attn_in", d, self.d_kv),
            ]
        shapes.append(("attn_output", "attn_out", self.d_attn, d))
        if self.gated_ffn and self.fused_projections:
            shapes.append(("ffn_up", "ffn_in", d, 2 * self.d_ffn))
        else:
            if self.gated_ffn:
                shapes.append(("ffn_gate", "ffn_in", d, self.d_ffn))
            shapes.append(("ffn_up", "ffn_in", d, self.d_ffn))
        shapes.append(("ffn_down", "ffn_out", self.d_ffn, d))
        return [Linear(blk + name, role, k, n, layer) for name, role, k, n in shapes]

    @property
    def head(self) -> Linear:
        """The vocabulary projection; with tied embeddings it reads the embedding table."""
        name = "token_embd" if self.tied_embeddings else "output"
        return Linear(name, "head", self.d_model, self.vocab, self.n_layers)

    def linears(self) -> list[Linear]:
        """All weight matrices that a decode step multiplies, in order, the head last."""
        return [linear for layer in range(self.n_layers) for linear in self.layer_linears(layer)] + [
            self.head
        ]

    @property
    def norm_params(self) -> int:
        """Elements of the RMS norms: two in each block and the final one."""
        return (2 * self.n_layers + 1) * self.d_model

    @property
    def n_params(self) -> int:
        """Number of parameters; a tied embedding counts once."""
        embedding = 0 if self.tied_embeddings else self.vocab * self.d_model
        return (
            sum(linear.params for linear in self.linears()) + embedding + self.norm_params + self.extra_params
        )

    def kv_bytes_per_token(self) -> float:
        """Bytes that one token adds to the KV cache over all layers."""
        return self.n_layers * 2 * self.d_kv * self.kv_bits / 8


@lru_cache(maxsize=1)
def model_names() -> tuple[str, ...]:
    """Names of the models that ship as data, sorted."""
    names = (
        entry.name.removesuffix(".toml")
        for entry in files(__package__).joinpath("models").iterdir()
        if entry.name.endswith(".toml")
    )
    return tuple(sorted(names))


@lru_cache(maxsize=32)
def shipped_model(name: str) -> ModelSpec:
    """One of the shapes that ship, `model_names`."""
    return read_shape(files(__package__).joinpath("models", f"{name}.toml"))


def read_shape(path: Traversable) -> ModelSpec:
    """ModelSpec of a TOML file. Raises SailsimError for a file that is none, or not of a model's shape."""
    table = read_toml(path, "model", "a table of shapes")
    published = _published(table.pop("published", {}), path)
    known = {field.name: field.type for field in fields(ModelSpec)}
    unknown = sorted(set(table) - (known.keys() - {"published_params", "published_source"}))
    if unknown:
        raise SailsimError(
            f"model file {path}: field {unknown[0]!r} is unknown; allowed are {', '.join(known)}."
        )
    missing = [field for field in list(known)[:10] if field not in table]
    if missing:
        raise SailsimError(
            f"model file {path}: field {missing[0]!r} is missing; a model needs a value for it."
        )
    for field, kind in known.items():
        if field in table and type(table[field]) is not kind:
            raise SailsimError(
                f"model file {path}: {field} is {table[field]!r}; allowed is a value of type "
                f"{getattr(kind, '__name__', kind)}."
            )
    if not table["source"].strip():
        raise SailsimError(f"model file {path}: source is empty; allowed is the origin of the shapes.")
    return ModelSpec(
        **table,
        published_params=published.get("params", 0),
        published_source=published.get("source", ""),
    )


def _published(table: Any, path: Traversable) -> dict[str, Any]:
    """What a model's page states, with fields of the right kind."""
    if not isinstance(table, dict):
        raise SailsimError(f"model file {path}: published is {table!r}; allowed is a table.")
    for field, value in table.items():
        if field == "params":
            good, allowed = type(value) is int and 0 <= value <= MAX_PARAMS, f"a whole number 0..{MAX_PARAMS}"
        elif field == "source":
            good, allowed = isinstance(value, str), "a text"
        else:
            raise SailsimError(
                f"model file {path}: published.{field} is unknown; allowed are params and source."
            )
        if not good:
            raise SailsimError(f"model file {path}: published.{field} is {value!r}; allowed is {allowed}.")
    return table
