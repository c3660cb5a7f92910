"""The three layouts of a matrix in an image (docs/decode.md).

``rows`` are for dot products and embeddings, ``lut`` for look-ups of bits in tables, ``tiles`` for PIM units.
`kernels/decode/image.hh` has the same sizes.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
import numpy.typing as npt

from sailsim.base.errors import SailsimError
from sailsim.lut_gemv.codes import WeightCode, pack_codes, row_bytes
from sailsim.workloads.inference.weights import Weights

ALIGN = 64
"""Alignment of everything in an image that a program points to, bytes."""
CHUNK = 16
"""Weights along K to a multiple of which a panel of rows is padded; a block is a whole number of them."""
ROWS_PANEL, LUT_PANEL = 8, 32
SEGMENT = 256
LUT_WBITS_MAX = 4
"""Widest codes with a lut layout: one look-up replaces 4 weights of one bit."""
BOOK_WBITS_MAX = 4
"""Code width of the largest codebook that fits a table of 16 bytes."""
MAX_BATCH = 64

Bytes = npt.NDArray[np.uint8]


def align_up(size: int, to: int = ALIGN) -> int:
    """Round up to a multiple of ``to``."""
    return -(-size // to) * to


@dataclass(frozen=True)
class MatrixLayout:
    """Sizes of a matrix, its codes and its tiles, which determine its layouts.

    ``n`` outputs are cut into ``slices``, with at most ``tile_most`` to a tile (0: any number); ``row`` is
    that of `tile_stride`.
    """

    k: int
    n: int
    wbits: int
    group_size: int
    minimum: bool
    slices: int
    tile_most: int = 0
    row: int = 0

    @property
    def block(self) -> int:
        """Weights that share a scale."""
        return self.group_size if 0 < self.group_size < self.k else self.k

    @property
    def blocks(self) -> int:
        """Number of scales per output."""
        return ceil(self.k / self.block)

    @property
    def factors(self) -> int:
        """Number of fp16 values of a block per output: the scale, and a minimum."""
        return 2 if self.minimum else 1

    @property
    def share(self) -> int:
        """Outputs of a tile: a slice's, or an even part of them with at most ``tile_most``."""
        outputs = ceil(self.n / self.slices)
        return ceil(outputs / ceil(outputs / (self.tile_most or outputs)))

    @property
    def tile_codes(self) -> int:
        """Bytes of a tile's codes, which is the offset of its scales."""
        return align_up(self.k * row_bytes(self.share, self.wbits))

    @property
    def tile_stride(self) -> int:
        """Bytes from a tile to the next.

        A tile that fills a DRAM row of ``row`` bytes takes an odd number of rows, so that as many tiles as
        there are banks begin in different banks.
        """
        scales = align_up(2 * self.blocks * self.share * self.factors, 4)
        size = self.tile_codes + align_up(scales + 4 * MAX_BATCH)
        return (ceil(size / self.row) | 1) * self.row if 0 < self.row <= size else size

    def bytes(self, layout: str) -> int:
        """Bytes of the matrix in a layout."""
        factors, chunks, pairs = self.blocks * self.factors, ceil(self.k / CHUNK), ceil(self.k / 8)
        return {
            "rows": ceil(self.n / ROWS_PANEL) * 16 * (factors + chunks * self.wbits),
            "lut": ceil(self.n / LUT_PANEL) * 32 * (2 * factors + pairs * self.wbits),
            "tiles": ceil(self.n / self.share) * self.tile_stride,
        }[layout]


def code_reading(code: WeightCode) -> tuple[int, int, int]:
    """Numbers (flip, step, zero) by which rows and lut decode a stored code.

    A value is ``step * (code ^ flip) - zero``; step 0 is the codebook. Raises SailsimError for codes that
    int8 products cannot take.
    """
    top = 1 << (code.wbits - 1)
    if code.wbits == 8:  # as int8
        if code.kind == "twos":
            return 0, 1, 0
        if code.kind == "offset" and code.zero_point == top:
            return top, 1, 0
    elif code.kind == "twos":
        return top, 1, top
    elif code.kind in ("offset", "ternary"):
        return 0, 1, code.zero_point if code.kind == "offset" else 1
    elif code.wbits == 1 and code.magnitude <= 127 and code.values[0] < code.values[1]:
        return 0, int(code.values[1]) - int(code.values[0]), -int(code.values[0])
    elif code.wbits <= BOOK_WBITS_MAX and code.magnitude <= 127:
        return 0, 0, 0
    raise SailsimError(
        f"weights have {code.kind} codes of {code.wbits} bits up to {code.magnitude}; allowed in an image "
        f"are those that read as int8, and codebooks of at most {BOOK_WBITS_MAX} bits."
    )


def _padded(array: npt.NDArray[Any], rows: int, columns: int) -> npt.NDArray[Any]:
    """Pad with zeros below and to the right, to multiples of ``rows`` and ``columns``."""
    return np.pad(array, ((0, -len(array) % rows), (0, -array.shape[1] % columns)))


def _factors(weights: Weights, panel: int) -> Bytes:
    """Scales and minima as bytes (panels, blocks, bytes per panel and block)."""
    kinds, blocks = weights.factors, len(weights.scales)
    stacked = np.stack([_padded(kind, 1, panel).reshape(blocks, -1, panel) for kind in kinds])
    by_panel = np.ascontiguousarray(stacked.transpose(2, 1, 0, 3))  # from kind, block, panel, output
    return by_panel.view(np.uint8).reshape(-1, blocks, 2 * len(kinds) * panel)


def _interleaved(factors: Bytes, codes: list[Bytes]) -> Bytes:
    """Put the factors (panels, blocks, bytes) of each block before its codes (panels, bytes)."""
    parts = [part for block, packed in enumerate(codes) for part in (factors[:, block], packed)]
    return np.concatenate(parts, axis=1)


_SCATTERED = {
    3: (((0, 6, 2), (2, 7, 1)), ((1, 6, 2), (2, 6, 1))),
    5: (((3, 6, 2), (0, 5, 3)), ((4, 6, 2), (1, 5, 3)), ((2, 5, 3), (3, 5, 1), (4, 5, 1))),
    6: (((0, 6, 2), (1, 6, 2), (2, 6, 2)), ((3, 6, 2), (4, 6, 2), (5, 6, 2))),
    7: (tuple((row, 7, 1) for row in range(7)),),
}
"""Parts (row, bit, width in bits; the highest first) of the codes that do not fit into one byte, by width.

`kernels/decode/image.hh` has the same: two instructions, a shift and an insertion, join two parts.
"""


def _parts(wbits: int) -> list[tuple[int, int, int, int]]:
    """Where codes lie in the rows of a chunk: (code, row, bit of the row's bytes, width in bits).

    A byte holds as many whole codes as fit. The highest part of a code is the last of its parts.
    """
    in_byte = 8 // wbits
    parts = [(code, code // in_byte, wbits * (code % in_byte), wbits) for code in range(wbits * in_byte)]
    for code, scattered in enumerate(_SCATTERED.get(wbits, ()), start=len(parts)):
        parts += [(code, *part) for part in reversed(scattered)]
    return parts


def rows_layout(weights: Weights, shape: MatrixLayout) -> Bytes:
    """Lay out a matrix as rows, uint8 (shape.bytes,)."""
    stored = _padded((weights.codes ^ np.uint8(code_reading(weights.code)[0])).T, ROWS_PANEL, CHUNK)
    panels, chunks = len(stored) // ROWS_PANEL, stored.shape[1] // CHUNK
    # panel, half, output, chunk, quad, weight -> panel, chunk, quad, half, output, weight
    registers = stored.reshape(panels, 2, 4, chunks, 4, 4).transpose(0, 3, 4, 1, 2, 5)
    registers = registers.reshape(panels, chunks, 8, 16)
    rows = np.zeros((panels, chunks, shape.wbits, 16), np.uint8)
    for code, row, bit, width in _parts(shape.wbits):
        rows[:, :, row] |= (registers[:, :, code] & np.uint8((1 << width) - 1)) << np.uint8(bit)
        registers[:, :, code] >>= np.uint8(width % 8)
    codes = rows.reshape(panels, chunks, -1)
    blocks = [
        codes[:, start // CHUNK : ceil(min(start + shape.block, shape.k) / CHUNK)].reshape(panels, -1)
        for start in range(0, shape.k, shape.block)
    ]
    return _interleaved(_factors(weights, ROWS_PANEL), blocks).reshape(-1)


def read_rows(
    data: Bytes, shape: MatrixLayout, flip: int
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float16]]:
    """Read codes (K, N) and factors (scale, minimum; blocks, N) from the rows layout of a matrix."""
    panels = data.reshape(-1, 16 * (shape.blocks * shape.factors + ceil(shape.k / CHUNK) * shape.wbits))
    at, factors, chunks = 0, [], []
    for start in range(0, shape.k, shape.block):
        head = 16 * shape.factors
        factors.append(np.ascontiguousarray(panels[:, at : at + head]).view(np.float16))
        count = ceil(min(shape.block, shape.k - start) / CHUNK)
        size = count * 16 * shape.wbits
        chunks.append(panels[:, at + head : at + head + size].reshape(len(panels), count, -1))
        at += head + size
    packed = np.concatenate(chunks, axis=1)
    rows = packed.reshape(*packed.shape[:2], shape.wbits, 16)
    registers = np.zeros((*packed.shape[:2], 8, 16), np.uint8)
    filled = [0] * 8
    for code, row, bit, width in _parts(shape.wbits):
        part = (rows[:, :, row] >> np.uint8(bit)) & np.uint8((1 << width) - 1)
        registers[:, :, code] |= part << np.uint8(filled[code])
        filled[code] += width
    # panel, chunk, quad, half, output, weight -> chunk, quad, weight, panel, half, output
    codes = registers.reshape(*packed.shape[:2], 4, 2, 4, 4).transpose(1, 2, 5, 0, 3, 4)
    numbers = np.stack(factors).reshape(shape.blocks, len(panels), shape.factors, ROWS_PANEL)
    by_kind = numbers.transpose(2, 0, 1, 3).reshape(shape.factors, shape.blocks, -1)
    stored = codes.reshape(-1, len(panels) * ROWS_PANEL)[: shape.k, : shape.n]
    return stored ^ np.uint8(flip), by_kind[..., : shape.n]


def lut_layout(weights: Weights, shape: MatrixLayout) -> Bytes:
    """Lay out a matrix as lut, uint8 (shape.bytes,)."""
    stored = _padded((weights.codes ^ np.uint8(code_reading(weights.code)[0])).T, LUT_PANEL, 8)
    panels, pairs = len(stored) // LUT_PANEL, stored.shape[1] // 8
    by_pair = stored.reshape(panels, LUT_PANEL, pairs, 8).transpose(0, 2, 1, 3)  # panel, pair, output, weight
    planes = np.stack(
        [
            np.packbits((by_pair >> np.uint8(bit)) & np.uint8(1), axis=3, bitorder="little")[..., 0]
            for bit in range(shape.wbits)
        ],
        axis=1,
    )  # panel, bit, pair, output
    blocks = []
    for start in range(0, shape.k, shape.block):
        stop = min(start + shape.block, shape.k)
        segments = [
            planes[:, :, at // 8 : ceil(min(at + SEGMENT, stop) / 8)].reshape(panels, -1)
            for at in range(start, stop, SEGMENT)
        ]
        blocks.append(np.concatenate(segments, axis=1))
    return _interleaved(_factors(weights, LUT_PANEL), blocks).reshape(-1)


def tiles_layout(weights: Weights, shape: MatrixLayout) -> Bytes:
    """Lay out a matrix as tiles, uint8 (shape.bytes,)."""
    tiles = np.zeros((ceil(shape.n / shape.share), shape.tile_stride), np.uint8)
    for tile, start in zip(tiles, range(0, shape.n, shape.share), strict=True):
        part = weights.take(slice(start, start + shape.share))
        packed = pack_codes(part.codes, shape.wbits).reshape(-1)
        tile[: len(packed)] = packed
        numbers = np.concatenate([kind.reshape(-1) for kind in part.factors])
        tile[shape.tile_codes : shape.tile_codes + numbers.nbytes] = numbers.view(np.uint8)
    return tiles.reshape(-1)


LAYOUTS = {"rows": rows_layout, "lut": lut_layout, "tiles": tiles_layout}
