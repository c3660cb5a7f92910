"""Weight formats: the bytes of a tensor, and the integers that its codes mean.

Block layouts are those of ggml (``ggml-common.h``, as tabulated in the package ``gguf``); the mixes of
types over a model follow the rules of llama.cpp's quantizer (``src/llama-quant.cpp``, without an
importance matrix). The tests compare the resulting bits per weight with the tables that
llama.cpp publishes in ``tools/quantize/README.md``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from math import ceil
from typing import Literal, NamedTuple, cast

from sailsim.base.arguments import ShortRepr
from sailsim.base.errors import SailsimError
from sailsim.lut_gemv.codes import WeightCode
from sailsim.lut_gemv.descriptor import WBITS_MAX
from sailsim.lut_gemv.quantize import SIGNS
from sailsim.workloads.models.model import Linear, ModelSpec

GGML_SOURCE = "ggml block layouts (ggml-common.h), sizes as in the package gguf, constants.GGML_QUANT_SIZES"
MIX_SOURCE = "llama.cpp src/llama-quant.cpp, rules for models without importance matrix"


@dataclass(frozen=True)
class TensorFormat:
    """Format of one tensor.

    ``block`` weights along K take ``block_bytes`` bytes. On the PIM a weight is decoded by ``code``, with one
    scale (and, if ``minimum``, one minimum) for ``group_size`` weights. ``code`` is None where no scalar code
    of at most 8 bits exists: floats, and the grid formats whose codes stand for several weights each.
    ``group_size`` 0 is one scale for a whole column.
    """

    name: str
    block: int
    block_bytes: int
    code: WeightCode | None
    group_size: int
    minimum: bool
    source: str

    @property
    def wbits(self) -> int | None:
        """Bits of a code on the PIM; None without a scalar code."""
        return self.code.wbits if self.code else None

    def bytes(self, k: int, n: int) -> int:
        """Stored bytes of a (k, n) matrix: n columns of whole blocks along K."""
        return ceil(k / self.block) * self.block_bytes * n

    def column_bytes(self, k: int) -> int:
        """Stored bytes of one column of k weights by itself, such as a token's embedding."""
        return self.bytes(k, 1)


@dataclass(frozen=True)
class UniformFormat(TensorFormat):
    """Codes of ``wbits`` bits and one fp16 scale per ``group_size`` weights of a column."""

    def bytes(self, k: int, n: int) -> int:
        """Stored bytes of a (k, n) PIM tile: packed rows of codes, each padded to a byte, and scales."""
        assert self.wbits is not None
        return k * ceil(n * self.wbits / 8) + self._scale_bytes(k) * n

    def column_bytes(self, k: int) -> int:
        """Stored bytes of one column of k weights: its codes packed along it, and its scales."""
        assert self.wbits is not None
        return ceil(k * self.wbits / 8) + self._scale_bytes(k)

    def _scale_bytes(self, k: int) -> int:
        return 2 * (ceil(k / self.group_size) if self.group_size else 1)


class BlockLayout(NamedTuple):
    """Layout of a block of a ggml type.

    ``block`` to ``group_size`` are as in `TensorFormat`. ``fp16`` are the bytes at which the scale lies and,
    if there is one, the minimum. ``codes`` are bit fields, lowest bits first: the byte at which a field
    begins, its bits per weight, and the length of its runs of bytes. Within a run the lowest bits of all
    bytes come first.
    """

    block: int
    block_bytes: int
    code: WeightCode | None = None
    group_size: int = 0
    fp16: tuple[int, ...] = ()
    codes: tuple[tuple[int, int, int], ...] = ()


_OFFSET, _IQ4_NL, _TERNARY = WeightCode.offset, WeightCode.iq4_nl(), WeightCode.ternary()
BLOCKS: Mapping[str, BlockLayout] = {
    "f32": BlockLayout(1, 4),
    "f16": BlockLayout(1, 2, fp16=(0,)),
    "bf16": BlockLayout(1, 2),
    "q4_0": BlockLayout(32, 18, _OFFSET(4, 8), 32, (0,), ((2, 4, 16),)),
    "q4_1": BlockLayout(32, 20, _OFFSET(4, 0), 32, (0, 2), ((4, 4, 16),)),
    "q5_0": BlockLayout(32, 22, _OFFSET(5, 16), 32, (0,), ((6, 4, 16), (2, 1, 1))),
    "q5_1": BlockLayout(32, 24, _OFFSET(5, 0), 32, (0, 2), ((8, 4, 16), (4, 1, 1))),
    "q8_0": BlockLayout(32, 34, WeightCode.twos(8), 32, (0,), ((2, 8, 32),)),
    "q2_k": BlockLayout(256, 84, _OFFSET(2, 0), 16, (80, 82), ((16, 2, 32),)),
    "q3_k": BlockLayout(256, 110, _OFFSET(3, 4), 16, (108,), ((32, 2, 32), (0, 1, 32))),
    "q4_k": BlockLayout(256, 144, _OFFSET(4, 0), 32, (0, 2), ((16, 4, 32),)),
    "q5_k": BlockLayout(256, 176, _OFFSET(5, 0), 32, (0, 2), ((48, 4, 32), (16, 1, 32))),
    "q6_k": BlockLayout(256, 210, _OFFSET(6, 32), 16, (208,), ((0, 4, 64), (128, 2, 32))),
    "iq4_nl": BlockLayout(32, 18, _IQ4_NL, 32, (0,), ((2, 4, 16),)),
    "iq4_xs": BlockLayout(256, 136, _IQ4_NL, 32, (0,), ((8, 4, 16),)),
    "mxfp4": BlockLayout(32, 17, WeightCode.mxfp4(), 32, (), ((1, 4, 16),)),
    "tq1_0": BlockLayout(256, 54, _TERNARY, 256, (52,)),
    "tq2_0": BlockLayout(256, 66, _TERNARY, 256, (64,), ((0, 2, 32),)),
    "iq1_s": BlockLayout(256, 50, fp16=(0,)),
    "iq1_m": BlockLayout(256, 56),
    "iq2_xxs": BlockLayout(256, 66, fp16=(0,)),
    "iq2_xs": BlockLayout(256, 74, fp16=(0,)),
    "iq2_s": BlockLayout(256, 82, fp16=(0,)),
    "iq3_xxs": BlockLayout(256, 98, fp16=(0,)),
    "iq3_s": BlockLayout(256, 110, fp16=(0,)),
}
"""Layouts by ggml's type name in lower case.

MXFP4's scale is a power of two in byte 0, IQ1_M's is spread over words, and TQ1_0 has digits, not bits.
"""


TENSOR_FORMATS: Mapping[str, TensorFormat] = {
    name: TensorFormat(name, *layout[:4], len(layout.fp16) > 1, GGML_SOURCE)
    for name, layout in BLOCKS.items()
}
"""Formats of single tensors by ggml's type name in lower case."""

# Types that the quantizer falls back to where a tensor's K is no whole number of blocks.
_FALLBACK = {
    "iq4_xs": "iq4_nl",
    "q2_k": "q4_0",
    "q3_k": "q4_0",
    "tq1_0": "q4_0",
    "tq2_0": "q4_0",
    "q4_k": "q5_0",
    "q5_k": "q5_1",
    "q6_k": "q8_0",
}

Layers = Literal["all", "first2", "first4", "sixteenth", "eighth", "spread"]


_IS_SELECTED: Mapping[Layers, Callable[[int, int], bool]] = {
    "all": lambda i, n: True,
    "first2": lambda i, n: i < 2,
    "first4": lambda i, n: i < 4,
    "sixteenth": lambda i, n: i < n // 16,
    "eighth": lambda i, n: i < n // 8,
    # The first and last eighth, and every third block between them.
    "spread": lambda i, n: i < n // 8 or i >= 7 * n // 8 or (i - n // 8) % 3 == 2,
}
"""Whether block i of n belongs to a rule's set of blocks."""


TypeRule = tuple[str, str, Layers, int]
"""Rule of a mix: kind of tensor, its type, the blocks that it holds for, and the least `ModelSpec.gqa`."""


@dataclass(frozen=True, repr=False)
class WeightFormat(ShortRepr):
    """Format of a whole model: one base type, rules for single tensors, or the types of a given file.

    ``tensors`` (of a GGUF or a policy) decides alone where it is not empty. The first of ``rules`` that holds
    for a tensor decides. The bits per weight of a mix depend on the model: `model_bits_per_weight`.
    """

    name: str
    base: TensorFormat
    source: str
    rules: tuple[TypeRule, ...] = ()
    is_mix: bool = False
    tensors: Mapping[str, TensorFormat] = field(default_factory=dict, hash=False)
    shares: tuple[tuple[TensorFormat, float], ...] = ()
    """Share of each format in the weights that a step multiplies, largest first.

    They are known where `tensors` are, and for a model (`of_model`).
    """

    @classmethod
    def of_tensors(
        cls, name: str, source: str, tensors: Mapping[str, TensorFormat], linears: Sequence[Linear]
    ) -> WeightFormat:
        """Format of a model whose tensors each have their own; its base has most of a token's weights."""
        shares = _shares((tensors[linear.name], linear.active) for linear in linears)
        return cls(name, shares[0][0], source, tensors=tensors, shares=shares)

    def of_model(self, model: ModelSpec) -> WeightFormat:
        """Add to a mix its `shares` of this model's weights, without routers, which stay floats."""
        return _of_model(self, model) if self.is_mix and not self.shares else self

    @property
    def wbits(self) -> int | None:
        """Code width of the base type on the PIM; None if it has no scalar code."""
        return self.base.wbits

    @property
    def group_size(self) -> int:
        """Weights of one scale of the base type; 0 is a whole column."""
        return self.base.group_size

    def tensor(self, linear: Linear, model: ModelSpec) -> TensorFormat:
        """Format of one weight matrix of ``model``."""
        if self.tensors:
            return self._stored(linear.name)
        if linear.is_router:  # llama.cpp's quantizer leaves it as it is
            return TENSOR_FORMATS["f32"]
        if not self.is_mix:
            return self.base
        kind = linear.name.split(".")[-1]
        if linear.role == "head":
            return self._fitting(self._head_type(model), linear.k)
        return self._fitting(self._block_type(kind, linear.layer, model), linear.k)

    def embedding(self, model: ModelSpec) -> TensorFormat:
        """Format of the embedding table, (vocab, d_model) with blocks along d_model."""
        if self.tensors:
            return self._stored("token_embd")
        if not self.is_mix:
            return self.base
        return self._fitting(
            self._head_type(model) if model.tied_embeddings else self.base.name, model.d_model
        )

    def census(self, model: ModelSpec) -> tuple[tuple[TensorFormat, int, int], ...]:
        """Format, tensors and weights of the matrices that a step multiplies, most weights first."""
        return _totals(self, model)[0]

    def census_in_words(self, model: ModelSpec) -> str:
        """Describe the types of a model's matrices, most weights first: "q4_1 210 tensors, q8_0 1"."""
        first, *others = [(fmt.name, tensors) for fmt, tensors, _ in self.census(model)]
        return ", ".join([f"{first[0]} {first[1]} tensors", *(f"{name} {count}" for name, count in others)])

    def model_bytes(self, model: ModelSpec) -> int:
        """Stored bytes of all parameters; norms and extras are fp32, as llama.cpp keeps them."""
        return _totals(self, model)[1]

    def model_bits_per_weight(self, model: ModelSpec) -> float:
        """Mean stored bits of a parameter of ``model``."""
        return 8 * self.model_bytes(model) / model.n_params

    def _stored(self, name: str) -> TensorFormat:
        if name not in self.tensors:
            raise SailsimError(
                f"format {self.name} has no tensor {name!r}; allowed is the model of that file."
            )
        return self.tensors[name]

    def _head_type(self, model: ModelSpec) -> str:
        if self.base.name == "q8_0" or model.d_model % self.base.block:
            return "q8_0"
        return "q6_k"

    def _block_type(self, kind: str, layer: int, model: ModelSpec) -> str:
        # The fused matrix of Q, K and V follows the rules of V, that of experts those of an ordinary one.
        kind = "attn_v" if kind == "attn_qkv" else kind.removesuffix("_exps").removesuffix("_shexp")
        chosen = self.base.name
        for of_kind, tensor_type, layers, min_gqa in self.rules:
            if of_kind == kind and model.gqa >= min_gqa and _IS_SELECTED[layers](layer, model.n_layers):
                chosen = tensor_type
                break
        # llama.cpp treats 80 blocks as "the 70B model", whose small V gets at least five bits.
        if kind == "attn_v" and model.n_layers == 80 and chosen in ("q3_k", "q4_k"):
            chosen = "q5_k"
        if model.experts is not None and model.experts.count == 8:
            of_eight = {"attn_k": "q8_0", "attn_v": "q8_0", "attn_output": self.base.name}
            if self.name in _EIGHT_OUTPUT:
                of_eight["attn_output"] = "q5_k"
            chosen = of_eight.get(kind, chosen)
        return chosen

    @staticmethod
    def _fitting(name: str, k: int) -> TensorFormat:
        """Format of a type, of its fallback where K is no whole number of blocks, or fp16 if neither fits."""
        for candidate in (name, _FALLBACK.get(name, "f16"), "f16"):
            if k % TENSOR_FORMATS[candidate].block == 0:
                return TENSOR_FORMATS[candidate]
        raise AssertionError("fp16 has blocks of one weight")


@lru_cache(maxsize=256)  # a sum over all tensors, which every runner of a point needs: 20 s of a sweep's 24
def _totals(fmt: WeightFormat, model: ModelSpec) -> tuple[tuple[tuple[TensorFormat, int, int], ...], int]:
    """Results of `WeightFormat.census` and `WeightFormat.model_bytes`."""
    tensors: Counter[TensorFormat] = Counter()
    weights: Counter[TensorFormat] = Counter()
    size = 4 * (model.norm_params + model.extra_params)
    for linear in model.linears():
        own = fmt.tensor(linear, model)
        tensors[own] += 1
        weights[own] += linear.params
        size += own.bytes(linear.k, linear.n) * linear.count
    if not model.tied_embeddings:
        size += fmt.embedding(model).bytes(model.d_model, model.vocab)
    return tuple((own, tensors[own], count) for own, count in weights.most_common()), size


@lru_cache(maxsize=256)
def _of_model(fmt: WeightFormat, model: ModelSpec) -> WeightFormat:
    linears = (linear for linear in model.linears() if not linear.is_router)
    return replace(fmt, shares=_shares((fmt.tensor(linear, model), linear.active) for linear in linears))


def _shares(weights: Iterable[tuple[TensorFormat, int]]) -> tuple[tuple[TensorFormat, float], ...]:
    counted: Counter[TensorFormat] = Counter()
    for fmt, count in weights:
        counted[fmt] += count
    return tuple((fmt, count / counted.total()) for fmt, count in counted.most_common())


def _rules(text: str) -> tuple[TypeRule, ...]:
    """Parse rules: kind=type, then @ and the blocks, / and the least number of query heads for a key."""
    rules: list[TypeRule] = []
    for word in text.split():
        word, _, gqa = word.partition("/")
        word, _, selection = word.partition("@")
        kind, _, tensor_type = word.partition("=")
        rules.append((kind, tensor_type, cast(Layers, selection or "all"), int(gqa or 1)))
    return tuple(rules)


_V_AND_DOWN = "attn_v=q6_k@spread ffn_down=q6_k@spread"
_MIX_RULES: dict[str, tuple[str, tuple[TypeRule, ...]]] = {
    name: (base, _rules(text))
    for name, base, text in (
        ("q2_k", "q2_k", "attn_v=q4_k/4 attn_v=q3_k attn_output=q3_k ffn_down=q3_k"),
        ("q3_k_s", "q3_k", ""),
        (
            "q3_k_m",
            "q3_k",
            "attn_v=q5_k@first2 attn_v=q4_k attn_output=q4_k ffn_down=q5_k@sixteenth ffn_down=q4_k",
        ),
        ("q3_k_l", "q3_k", "attn_v=q5_k attn_output=q5_k ffn_down=q5_k"),
        ("q4_0", "q4_0", ""),
        ("q4_1", "q4_1", ""),
        ("q4_k_s", "q4_k", "attn_v=q5_k@first4 ffn_down=q5_k@eighth"),
        ("q4_k_m", "q4_k", _V_AND_DOWN),
        ("q5_0", "q5_0", ""),
        ("q5_1", "q5_1", ""),
        ("q5_k_s", "q5_k", ""),
        ("q5_k_m", "q5_k", _V_AND_DOWN),
        ("q6_k", "q6_k", ""),
        ("q8_0", "q8_0", ""),
        ("iq4_nl", "iq4_nl", "attn_v=q5_k/4 ffn_down=q5_k@eighth"),
        ("iq4_xs", "iq4_xs", "attn_v=q5_k/4 ffn_down=q5_k@eighth"),
    )
}
"""Mixes by name: the base type, and the rules for other types."""

_EIGHT_OUTPUT = ("q2_k", "q3_k_s", "q3_k_m", "iq4_nl", "q4_k_s", "q4_k_m", "iq4_xs")
"""Mixes that give the output projection five bits where a block has eight experts."""

FLOATS = ("f32", "f16", "bf16")
"""Floating-point types."""


def format_names() -> list[str]:
    """Names that ``weight_format`` takes, sorted."""
    return sorted([*_MIX_RULES, *FLOATS])


def weight_format(name: str) -> WeightFormat:
    """Find a llama.cpp format by its name in any case, e.g. ``q4_k_m``, ``q8_0``, ``f16``.

    Raises SailsimError for an unknown name.
    """
    key = name.lower()
    if key in FLOATS:
        return WeightFormat(key, TENSOR_FORMATS[key], GGML_SOURCE)
    if key in _MIX_RULES:
        base, rules = _MIX_RULES[key]
        return WeightFormat(key, TENSOR_FORMATS[base], MIX_SOURCE, rules, is_mix=True)
    raise SailsimError(f"format is {name!r}; allowed is one of {', '.join(format_names())}.")


def uniform_format(wbits: int, group_size: int) -> WeightFormat:
    """Format with ``wbits``-bit codes and one fp16 scale per ``group_size`` weights along K, in every matrix.

    ``wbits + 16 / group_size`` bits a weight; ``group_size`` 0 is one scale a column (0 bits a weight,
    counted exactly in the bytes). Raises SailsimError outside wbits 1..8, group_size 0..65535.
    """
    if not 1 <= wbits <= WBITS_MAX:
        raise SailsimError(f"wbits is {wbits!r}; allowed is 1..{WBITS_MAX}.")
    if not 0 <= group_size <= 65535:
        raise SailsimError(f"group_size is {group_size!r}; allowed is 0 (a whole column) .. 65535.")
    name = f"w{wbits}g{group_size}" if group_size else f"w{wbits}"
    source = "derived: wbits + 16 / group_size bits a weight, one fp16 scale a group (docs/contract.md)"
    # One block of 8 groups is a whole number of bytes for every width.
    block = 8 * max(group_size, 1)
    scales = 16 if group_size else 0
    code = WeightCode.twos(wbits) if wbits > 1 else SIGNS
    base = UniformFormat(name, block, block * wbits // 8 + scales, code, group_size, False, source)
    return WeightFormat(name, base, source)


BITS = {"gptq": (2, 3, 4, 8), "awq": (4,)}
"""Code widths of each method's layout."""

WORD_BITS = 32
"""Bits of the words that codes are packed into."""

_SOURCES = {
    "gptq": "GPTQ's layout: qweight (K bits / 32, N) int32, scales fp16 and qzeros for each group, g_idx (K)",
    "awq": "AWQ's layout (GEMM): qweight (K, N bits / 32) int32, scales fp16 and qzeros for each group",
}


@dataclass(frozen=True)
class GroupFormat(TensorFormat):
    """Format with an fp16 scale and a zero point of a code's width for each group of a column.

    On the PIM a zero point is a minimum, ``-zero * scale``, or the offset of the code where it is the same
    everywhere. ``indexed``: the group of each row of K is stored too, in 4 bytes.
    """

    indexed: bool = False

    @property
    def method(self) -> str:
        """Method of `BITS` that packs the codes."""
        return next(method for method in BITS if self.name.startswith(method))

    def bytes(self, k: int, n: int) -> int:
        """Stored bytes of a (k, n) matrix: codes, scales, and zero points in whole words."""
        assert self.code is not None
        bits, word = self.code.wbits, WORD_BITS // 8
        groups = ceil(k / self.group_size) if self.group_size else 1
        group_bytes = 2 * n + word * ceil(n * bits / WORD_BITS)
        return ceil(k * n * bits / 8) + groups * group_bytes + (word * k if self.indexed else 0)


def group_format(method: str, bits: int, group_size: int, symmetric: bool, indexed: bool) -> GroupFormat:
    """Format of matrices of a method of `BITS`; ``group_size`` 0 is one group per column."""
    code = WeightCode.offset(bits, 1 << (bits - 1)) if symmetric else WeightCode.offset(bits, 0)
    block = 8 * max(group_size, 1)
    scales = 8 * 2 + bits if group_size else 0  # bytes of eight groups, with zero points of whole bytes
    name = f"{method}{bits}g{group_size}" if group_size else f"{method}{bits}"
    return GroupFormat(
        name + ("" if symmetric else "m"),
        block,
        block * bits // 8 + scales,
        code,
        group_size,
        not symmetric,
        _SOURCES[method],
        indexed,
    )
