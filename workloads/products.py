"""Who multiplies a model's matrices: floats, or the arithmetic of a unit with the weights that it has.

`UnitProducts` computes what every slice would return: activations rounded for each token, the exact product
of each block, scales in the contract's order. It multiplies (`scaled_product`); `look_up` makes it form
patterns and read tables instead, with the same results to the bit.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from sailsim.base.errors import SailsimError
from sailsim.lut_gemv.fast import ScaledWeights, lut_gemv_blocks, prepare_scaled, scaled_product
from sailsim.lut_gemv.quantize import quantize_rows
from sailsim.lut_gemv.reference import block_sums, scale_blocks
from sailsim.workloads.decoder import Floats
from sailsim.workloads.formats import FLOATS, TensorFormat, WeightFormat
from sailsim.workloads.gguf_model import GgufModel
from sailsim.workloads.model import Linear
from sailsim.workloads.weights import Weights, file_source

Make = Callable[[Linear, TensorFormat, Floats], Weights]
"""Codes of a matrix in a format, made with an input (rows, K) of it in hand."""


@dataclass
class FloatProducts:
    """Products of the file's values in fp32. The embedding is kept where the head reads it too."""

    model: GgufModel
    _table: Floats | None = field(default=None, init=False, repr=False)

    def products(self, x: Floats, linears: Sequence[Linear]) -> list[Floats]:
        """Of one input (rows, K), each layer's output (rows, N)."""
        return [x @ self._values(linear.name).T for linear in linears]

    def embedding(self, tokens: npt.NDArray[np.int64]) -> Floats:
        """Rows of the embedding table (tokens, d_model)."""
        return self._values("token_embd")[tokens]

    def _values(self, name: str) -> Floats:
        if name != "token_embd":
            return self.model.file.dequantize(f"{name}.weight")
        if self._table is None:
            self._table = self.model.file.dequantize("token_embd.weight")
        return self._table


@dataclass(frozen=True)
class _Float:
    """A matrix without codes, (N, K): a job for the cores, in fp32."""

    values: Floats


@dataclass
class UnitProducts:
    """Products as the unit computes them.

    Attributes:
        model: the file.
        format: of each matrix.
        abits: bits of an activation, 2..16.
        threads: of a product.
        make: how codes of a block's matrices are made where they are not the file's own; None: each weight to
            the nearest, as always those of the head, whose table the embedding may need before.
        keep: whether a matrix stays prepared after its first product; a text at once needs each once.
        look_up: form patterns and read tables.
    """

    model: GgufModel
    format: WeightFormat
    abits: int
    threads: int = 1
    make: Make | None = None
    keep: bool = False
    look_up: bool = False
    _kept: dict[str, "ScaledWeights | Weights | _Float"] = field(default_factory=dict, init=False, repr=False)
    _table: "Weights | _Float | None" = field(default=None, init=False, repr=False)

    def products(self, x: Floats, linears: Sequence[Linear]) -> list[Floats]:
        """Of one input (rows, K), each layer's output (rows, N)."""
        ints, scale = quantize_rows(x, self.abits)
        return [self._product(x, ints, scale, linear) for linear in linears]

    def embedding(self, tokens: npt.NDArray[np.int64]) -> Floats:
        """Rows of the embedding table (tokens, d_model), in the format that the table has."""
        spec = self.model.spec
        if self._table is None:
            linear = Linear("token_embd", "head", spec.d_model, spec.vocab, spec.n_layers)
            fmt = self.format.tensor(linear, spec) if spec.tied_embeddings else self.format.embedding(spec)
            self._table = self._plain(linear, fmt)
        if isinstance(self._table, _Float):
            return self._table.values[tokens]
        distinct, place = np.unique(tokens, return_inverse=True)
        return np.ascontiguousarray(self._table.taken(distinct).values().T[place])

    def _product(self, x: Floats, ints: npt.NDArray[np.integer], scale: Floats, linear: Linear) -> Floats:
        weights = self._kept.get(linear.name) or self._prepared(linear, x)
        if self.keep:
            self._kept[linear.name] = weights
        if isinstance(weights, _Float):
            return np.asarray(x @ weights.values.T, dtype=np.float32)
        if isinstance(weights, ScaledWeights):
            return scaled_product(ints, scale, weights, abits=self.abits, threads=self.threads)
        acc = lut_gemv_blocks(
            ints, weights.codes, abits=self.abits, code=weights.code, group_size=weights.group_size,
            threads=self.threads,
        )  # fmt: skip
        sums = None if weights.minima is None else block_sums(ints, weights.group_size)
        return scale_blocks(acc, weights.scales, scale, minimum=weights.minima, x_sums=sums)

    def _prepared(self, linear: Linear, x: Floats) -> "ScaledWeights | Weights | _Float":
        fmt = self.format.tensor(linear, self.model.spec)
        own = fmt == self.model.format.tensors[linear.name]
        if linear.name == "token_embd" and self._table is not None:
            made = self._table
        elif self.make is None or own or fmt.code is None or linear.role == "head":
            made = self._plain(linear, fmt)
        else:
            made = self.make(linear, fmt, x)
        if self.look_up or isinstance(made, _Float):
            return made
        return prepare_scaled(made.codes, made.code, made.group_size, made.scales, made.minima)

    def _plain(self, linear: Linear, fmt: TensorFormat) -> "Weights | _Float":
        """Codes that are the file's own, or the nearest to its values."""
        if fmt.code is not None:
            return file_source(self.model, linear, fmt).load()
        values = self.model.file.dequantize(f"{linear.name}.weight")
        if fmt == self.model.format.tensors[linear.name] or fmt.name == "f32":
            return _Float(values)
        if fmt.name not in FLOATS:
            raise SailsimError(
                f"the format of {linear.name} is {fmt.name}, which nothing here writes; allowed are "
                f"the file's own, {', '.join(FLOATS)}, and formats with scalar codes."
            )
        if fmt.name == "f16":
            return _Float(values.astype(np.float16).astype(np.float32))
        return _Float(_bf16(values))


def _bf16(values: Floats) -> Floats:
    """The nearest bf16, ties to even, as fp32."""
    bits = values.view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) & np.uint32(0xFFFF0000)).view(np.float32)
