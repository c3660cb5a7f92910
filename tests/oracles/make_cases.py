"""Write cases.json, or with a path the same cases as a trace: ``python make_cases.py [cases.trace]``.

Results come from Python's integers and from one fp32 operation at a time, not from table look-ups; profiles
and counts come from the NumPy reference, which tests/lut_gemv checks against counting by hand.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sailsim.lut_gemv import reference
from sailsim.lut_gemv.codes import WeightCode
from sailsim.lut_gemv.operands import activation_range
from sailsim.lut_gemv.tile import Scales, Tile
from sailsim.lut_gemv.trace_file import write_trace

RNG = np.random.default_rng(20250930)


def random_tile(
    name: str,
    shape: tuple[int, int, int],
    code: WeightCode,
    abits: int,
    spread: int | None = None,
    **fields: Any,
) -> Tile:
    """A tile (B, K, N) with random codes and activations; ``spread`` keeps these small, as real ones are."""
    batch, k, n = shape
    low, high = activation_range(abits, fields.get("signed", True))
    if spread is not None:
        low, high = max(low, -spread), min(high, spread)
    x = RNG.integers(low, high, (batch, k), endpoint=True)
    codes = RNG.integers(0, code.legal_codes, (k, n), dtype=np.uint8)
    return Tile(x, codes, code, abits, name=name, **fields)


def random_scales(blocks: int, n: int, batch: int, with_minimum: bool) -> Scales:
    scale = RNG.uniform(0.001, 0.1, (blocks, n)).astype(np.float16)
    minimum = -RNG.uniform(0.01, 1, (blocks, n)).astype(np.float16) if with_minimum else None
    return Scales(scale, RNG.uniform(0.001, 0.1, batch).astype(np.float32), minimum)


def constant_tile(
    name: str, x: int, weight: int, k: int, code: WeightCode, abits: int, **fields: Any
) -> Tile:
    """One row and one output, all activations and all weights the same: the ends of the ranges."""
    codes = code.encode(np.full((k, 1), weight))
    return Tile(np.full((1, k), x), codes, code, abits, name=name, **fields)


def tiles() -> Iterator[Tile]:
    twos, offset, book = WeightCode.twos, WeightCode.offset, WeightCode.book
    yield random_tile("plain", (2, 16, 8), twos(4), 8)
    yield constant_tile("smallest", -1, -1, 1, twos(1), 1, nbw=1)
    # Widths.
    for abits in (1, 2, 7, 8, 9, 15, 16):
        for signed in (True, False):
            sign = "signed" if signed else "unsigned"
            yield random_tile(f"abits_{abits}_{sign}", (2, 9, 3), twos(4), abits, signed=signed)
    for wbits in range(1, 9):
        yield random_tile(f"wbits_{wbits}", (1, 7, 17), twos(wbits), 8)
    for nbw in range(1, 7):
        yield random_tile(f"nbw_{nbw}", (3, 13, 5), twos(4), 8, spread=20, nbw=nbw)
    # Ends of the ranges; the last two are the longest sums that 32 bits can be trusted with.
    yield constant_tile("least_times_least", -128, -128, 9, twos(8), 8)
    yield constant_tile("greatest_unsigned", 65535, 1, 11, twos(2), 16, signed=False)
    yield constant_tile("longest_sum_a16_w8", -32768, -128, 511, twos(8), 16)
    yield constant_tile("longest_sum_a8_book", -128, -32768, 511, book([-32768, 32767]), 8, nbw=5)
    # Ragged shapes and blocks.
    yield random_tile("one_of_each", (1, 1, 1), twos(4), 8)
    yield random_tile("k_below_nbw", (2, 3, 4), twos(4), 8, nbw=6)
    yield random_tile("short_last_group", (2, 17, 4), twos(4), 8)
    yield random_tile("short_groups_in_blocks", (2, 20, 4), twos(4), 8, group_size=6)
    yield random_tile("short_last_block", (2, 19, 4), twos(4), 8, group_size=8)
    yield random_tile("blocks_of_one", (2, 5, 4), twos(4), 8, nbw=3, group_size=1)
    yield random_tile("block_beyond_k", (2, 5, 4), twos(4), 8, group_size=32)
    yield random_tile("many_outputs", (1, 4, 133), twos(3), 4)
    yield random_tile("many_rows", (37, 6, 2), twos(4), 8, spread=9)
    # Codes.
    yield random_tile("offset_0", (2, 8, 4), offset(4, 0), 8)
    yield random_tile("offset_8", (2, 8, 4), offset(4, 8), 8)
    yield random_tile("offset_255", (2, 8, 4), offset(8, 255), 8)
    yield random_tile("ternary", (2, 10, 6), WeightCode.ternary(), 8, nbw=5)
    yield random_tile("nf4", (2, 8, 4), WeightCode.nf4(), 8)
    yield random_tile("iq4_nl", (2, 8, 4), WeightCode.iq4_nl(), 8)
    yield random_tile("mxfp4", (2, 8, 4), WeightCode.mxfp4(), 8)
    yield random_tile("book_of_16_bits", (2, 8, 4), book([-32768, 32767, 1, -1]), 8)
    # Patterns.
    yield Tile(np.zeros((2, 9), int), np.ones((9, 3), int), twos(4), 8, name="all_zero_activations")
    yield constant_tile("one_pattern_only", -1, 3, 8, twos(4), 8)
    yield random_tile("more_patterns_than_prt_entries", (12, 12, 2), twos(2), 16, nbw=6)
    # Scales.
    for name, shape, group_size, with_minimum in (
        ("scaled", (2, 16, 4), 8, False),
        ("scaled_one_block", (1, 10, 3), 0, False),
        ("scaled_minimum", (2, 16, 4), 8, True),
        ("scaled_minimum_ragged", (3, 19, 5), 8, True),
        ("scaled_odd_count", (1, 9, 3), 4, False),
    ):
        blocks = -(-shape[1] // (group_size or shape[1]))
        scales = random_scales(blocks, shape[2], shape[0], with_minimum)
        yield random_tile(name, shape, offset(4, 0), 8, group_size=group_size, scales=scales)
    wide = random_scales(2, 3, 2, with_minimum=True)
    yield random_tile("scaled_beyond_24_bits", (2, 600, 3), twos(8), 15, group_size=300, scales=wide)
    tiny = np.array([[6e-8, -6e-8, -0.0], [65504, 0, 1]], np.float16)
    special = Scales(tiny, np.array([1e-45, 3e38], np.float32))
    yield random_tile("scaled_by_extremes", (2, 4, 3), twos(4), 8, group_size=2, scales=special)


def plain_product(tile: Tile, rows: slice) -> list[list[int]]:
    """The product over some of K, in Python's integers."""
    weights = tile.code.values[tile.codes[rows]].tolist()
    return [
        [sum(a * w[column] for a, w in zip(x, weights, strict=True)) for column in range(tile.n)]
        for x in tile.x[:, rows].tolist()
    ]


def fp32_bits(tile: Tile, scales: Scales) -> list[list[int]]:
    """The scaled result, one fp32 operation at a time."""
    f32 = np.float32
    step = tile.group_size or tile.k
    y = np.zeros((tile.batch, tile.n), f32)
    with np.errstate(over="ignore", invalid="ignore"):
        for block, start in enumerate(range(0, tile.k, step)):
            rows = slice(start, start + step)
            acc = plain_product(tile, rows)
            for b in range(tile.batch):
                for n in range(tile.n):
                    y[b, n] = y[b, n] + f32(acc[b][n]) * f32(scales.scale[block, n])
                    if scales.minimum is not None:
                        y[b, n] = y[b, n] + f32(sum(tile.x[b, rows].tolist())) * f32(scales.minimum[block, n])
        return bits(y * scales.act_scale[:, None])


def bits(floats: NDArray[Any]) -> Any:
    """The bits of floats as nested lists of integers."""
    return floats.view({2: np.uint16, 4: np.uint32}[floats.itemsize]).tolist()


def as_json(tile: Tile) -> dict[str, Any]:
    code: dict[str, Any] = {
        "kind": tile.code.kind,
        "wbits": tile.code.wbits,
        "zero_point": tile.code.zero_point,
    }
    if tile.code.kind == "book":
        code["values"] = tile.code.values.tolist()
    scales = None
    if tile.scales is not None:
        minimum = tile.scales.minimum
        scales = {
            "scale_fp16": bits(tile.scales.scale),
            "minimum_fp16": None if minimum is None else bits(minimum),
            "act_scale_fp32": bits(tile.scales.act_scale),
        }
    y = plain_product(tile, slice(None))
    widths: dict[str, Any] = {"abits": tile.abits, "signed": tile.signed, "nbw": tile.nbw}
    widths["group_size"] = tile.group_size
    profile = reference.pattern_profile(tile.x, **widths)
    return {
        "name": tile.name,
        **widths,
        "code": code,
        "x": tile.x.tolist(),
        "codes": tile.codes.tolist(),
        "scales": scales,
        "y": y,
        "result": y if tile.scales is None else fp32_bits(tile, tile.scales),
        "profile": {key: getattr(profile, key).tolist() for key in ("zero", "hits", "misses")},
        "counts": reference.tile_counts(profile, nbw=tile.nbw).as_dict(),
    }


def cases_text() -> str:
    """The text of cases.json: one case a line."""
    return "[\n" + ",\n".join(json.dumps(as_json(tile)) for tile in tiles()) + "\n]\n"


if __name__ == "__main__":
    if len(sys.argv) > 1:
        write_trace(sys.argv[1], tiles(), provenance={"cases": "tests/oracles/make_cases.py"})
    else:
        (Path(__file__).parent / "cases.json").write_text(cases_text())
