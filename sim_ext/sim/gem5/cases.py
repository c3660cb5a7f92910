"""Tiles that gem5's unit and the core are compared on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from sailsim import _core
from sailsim.lut_gemv.codes import WeightCode
from sailsim.lut_gemv.tile import Scales, Tile
from sailsim.sim.system import System

Fields = tuple[int, int, int, int, int, int, int, bool]

# K, N, batch, wbits, abits, NBW, group size (0: one block), scaled. Widths 2..8, NBW 2..5, batch 1..32;
# some edges are ragged.
TILES: tuple[Fields, ...] = (
    (256, 128, 1, 4, 8, 4, 0, False),
    (512, 344, 1, 4, 8, 4, 0, False),
    (1024, 128, 1, 4, 8, 4, 32, True),
    (1024, 64, 8, 4, 8, 4, 0, False),
    (512, 128, 16, 4, 8, 4, 0, False),
    (256, 128, 32, 4, 8, 4, 0, False),
    (512, 128, 1, 2, 8, 2, 0, False),
    (512, 128, 4, 2, 8, 3, 0, False),
    (512, 128, 1, 3, 8, 2, 0, False),
    (384, 96, 8, 3, 8, 5, 0, False),
    (512, 128, 2, 5, 8, 3, 0, False),
    (512, 64, 4, 5, 6, 4, 64, True),
    (512, 128, 1, 6, 8, 4, 0, False),
    (256, 128, 8, 6, 8, 2, 0, False),
    (512, 96, 2, 7, 8, 3, 0, False),
    (256, 64, 16, 7, 4, 5, 0, False),
    (512, 128, 1, 8, 8, 4, 0, False),
    (512, 128, 8, 8, 8, 2, 0, False),
    (256, 256, 4, 8, 16, 3, 0, False),
    (301, 77, 3, 4, 8, 4, 0, False),
    (333, 129, 5, 3, 7, 3, 0, False),
    (127, 343, 2, 5, 8, 5, 0, False),
    (515, 65, 1, 2, 4, 4, 0, False),
    (300, 100, 7, 4, 8, 4, 50, True),
    (640, 40, 2, 4, 8, 5, 32, True),
    (96, 700, 1, 8, 8, 4, 0, False),
)

CODES: Mapping[str, Callable[[int], WeightCode]] = {
    "twos": WeightCode.twos,
    "offset": lambda wbits: WeightCode.offset(wbits, 1 << wbits - 1),
    "ternary": lambda wbits: WeightCode.ternary(),
    "iq4_nl": lambda wbits: WeightCode.iq4_nl(),
    "mxfp4": lambda wbits: WeightCode.mxfp4(),
    "nf4": lambda wbits: WeightCode.nf4(),
}
"""Codes by name, of so many bits where they have them to choose."""

WIDTHS: Mapping[str, Sequence[int]] = {
    **dict.fromkeys(("twos", "offset"), range(2, 9)),
    "ternary": (2,),
    **dict.fromkeys(("iq4_nl", "mxfp4", "nf4"), (4,)),
}
"""Bits of a code that a descriptor can tell, by its name."""


class Drawn(NamedTuple):
    """A tile's code and its fields, as `TILES` has them."""

    code: str
    fields: Fields


def drawn(seed: int, count: int) -> list[Drawn]:
    """Small tiles of all kinds, drawn at random: K 8..700, N 4..360, batch 1..11, each as likely in every
    octave; half of them with scales."""
    random = np.random.default_rng(seed)
    octaves = ((3.0, 9.45), (2.0, 8.5), (0.0, 3.5))
    found = []
    for _ in range(count):
        k, n, batch = (int(2 ** random.uniform(*ends)) for ends in octaves)
        code = str(random.choice(list(CODES)))
        widths = (int(random.choice(WIDTHS[code])), int(random.integers(4, 9)), int(random.integers(2, 6)))
        scaled = bool(random.integers(2))
        group_size = int(random.integers(16, 129)) if scaled else 0
        found.append(Drawn(code, (k, n, batch, *widths, group_size, scaled)))
    return found


def drawn_tiles(shapes: Sequence[Drawn], seed: int) -> list[Tile]:
    """Tiles of some shapes with operands of a seed."""
    random = np.random.default_rng(seed)
    return [random_tile(random, *each.fields, code=each.code) for each in shapes]


def tiles(seed: int = 1) -> list[Tile]:
    """The tiles of `TILES` with normally distributed operands, quantized to their widths."""
    return drawn_tiles([Drawn("twos", fields) for fields in TILES], seed)


def random_tile(
    random: np.random.Generator,
    k: int,
    n: int,
    batch: int,
    wbits: int,
    abits: int,
    nbw: int,
    group_size: int,
    scaled: bool,
    *,
    uniform: bool = False,
    code: str = "twos",
) -> Tile:
    """A tile with normally distributed activations, quantized to their width; ``uniform``: any as often.
    ``code``: one of `CODES`.

    Of equally often ones the scales are drawn first, and none is below 0.01: recorded statistics of gem5 are
    of tiles that were drawn so.
    """

    def scales(lowest: float) -> Scales:
        blocks = -(-k // group_size)
        return Scales(
            random.uniform(lowest, 0.1, (blocks, n)).astype(np.float16),
            random.uniform(lowest, 0.1, batch).astype(np.float32),
        )

    most = 2 ** (abits - 1) - 1
    drawn = scales(0.01) if scaled and uniform else None
    if uniform:
        x = random.integers(-most - 1, most + 1, (batch, k))
    else:
        x = np.clip(np.rint(random.normal(0, most / 3, (batch, k))), -most - 1, most)
    weights = CODES[code](wbits)
    codes = random.integers(0, weights.legal_codes, (k, n)).astype(np.uint8)
    if scaled and not uniform:
        drawn = scales(0.001)
    return Tile(
        x=x.astype(np.int8 if abits <= 8 else np.int16),
        codes=codes,
        code=weights,
        abits=abits,
        nbw=nbw,
        group_size=group_size,
        scales=drawn,
        name=f"{k}x{n} b{batch} w{wbits}a{abits} nbw{nbw}"
        + (f" g{group_size}" if scaled else "")
        + (f" {code}" if code != "twos" else ""),
    )


def fits(system: System, tile: Tile) -> bool:
    """Whether table and staging rows fit the arrays; the unit refuses the others."""
    try:
        _core.plan_tile(system.slice_config(slices=1), *tile.shape, tile.scales is not None)
    except ValueError:
        return False
    return True
