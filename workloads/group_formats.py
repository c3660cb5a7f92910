"""Weights in groups along K as GPTQ and AWQ store them in safetensors: codes, scales and zero points."""

from dataclasses import dataclass
from math import ceil

from sailsim.lut_gemv import WeightCode
from sailsim.workloads.formats import TensorFormat

BITS = {"gptq": (2, 3, 4, 8), "awq": (4,)}
"""Code widths that each method's layout has."""

WORD_BITS = 32
"""Of the words that codes are packed into."""

_SOURCES = {
    "gptq": "GPTQ's layout: qweight (K bits / 32, N) int32, scales fp16 and qzeros for each group, g_idx (K)",
    "awq": "AWQ's layout (GEMM): qweight (K, N bits / 32) int32, scales fp16 and qzeros for each group",
}


@dataclass(frozen=True)
class GroupFormat(TensorFormat):
    """Codes with an fp16 scale and a zero point of a code's width for each group of a column.

    On the PIM a zero point is a minimum, ``-zero * scale``, or where it is the same everywhere the offset of
    the code. ``indexed``: the group of each row of K is stored beside them, in 4 bytes.
    """

    indexed: bool = False

    @property
    def method(self) -> str:
        """Which of `BITS` packs the codes."""
        return next(method for method in BITS if self.name.startswith(method))

    def bytes(self, k: int, n: int) -> int:
        """Codes, and what each group has; zero points in whole words."""
        assert self.code is not None
        bits, word = self.code.wbits, WORD_BITS // 8
        groups = ceil(k / self.group_size) if self.group_size else 1
        of_groups = groups * (2 * n + word * ceil(n * bits / WORD_BITS))
        return ceil(k * n * bits / 8) + of_groups + (word * k if self.indexed else 0)


def group_format(method: str, bits: int, group_size: int, symmetric: bool, indexed: bool) -> GroupFormat:
    """The format of matrices of a method of `BITS`, ``group_size`` 0 for one group a column."""
    code = WeightCode.offset(bits, 1 << (bits - 1)) if symmetric else WeightCode.offset(bits, 0)
    block = 8 * max(group_size, 1)
    scales = 8 * 2 + bits if group_size else 0  # of eight groups, whose zero points are whole bytes
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
