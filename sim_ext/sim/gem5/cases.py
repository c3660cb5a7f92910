"""Tiles that gem5's unit and the core are compared on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from sailsim import _core
from sailsim.lut_gemv import Scales, Tile, WeightCode
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

TUNED_TILES: tuple[Fields, ...] = (
    (768, 160, 1, 4, 8, 4, 0, False),
    (640, 200, 2, 3, 8, 3, 0, False),
    (1000, 50, 1, 6, 8, 2, 0, False),
    (384, 384, 1, 4, 8, 4, 128, True),
    (200, 300, 6, 2, 8, 5, 0, False),
    (480, 120, 24, 4, 8, 4, 0, False),
    (350, 90, 1, 8, 8, 3, 0, False),
    (1200, 32, 3, 5, 8, 4, 0, False),
    (144, 420, 1, 7, 8, 4, 0, False),
    (520, 256, 1, 4, 4, 4, 0, False),
    (260, 180, 12, 3, 6, 4, 0, False),
    (900, 72, 1, 4, 8, 4, 64, True),
    (128, 650, 2, 4, 8, 4, 0, False),
    (160, 560, 1, 6, 8, 4, 0, False),
    (700, 110, 1, 2, 8, 4, 0, False),
)
"""Held out at first; one of them (384 x 384) then showed what a pause in fetching does."""

HELD_OUT: tuple[Fields, ...] = (
    (320, 310, 1, 4, 8, 4, 64, True),
    (448, 150, 4, 6, 8, 4, 0, False),
    (900, 80, 1, 8, 8, 2, 0, False),
    (250, 230, 16, 4, 8, 5, 0, False),
    (512, 336, 1, 3, 8, 3, 0, False),
    (760, 100, 2, 8, 8, 4, 0, False),
    (380, 200, 8, 2, 8, 4, 0, False),
    (600, 600, 1, 4, 8, 4, 0, False),
    (128, 500, 1, 7, 8, 4, 0, False),
    (1100, 60, 1, 5, 8, 3, 0, False),
    (420, 260, 3, 4, 8, 4, 60, True),
    (333, 410, 1, 6, 8, 4, 0, False),
)
"""More of the same kind, which nothing was fitted, chosen or changed on."""


CODES: Mapping[str, Callable[[int], WeightCode]] = {
    "twos": WeightCode.twos,
    "offset": lambda wbits: WeightCode.offset(wbits, 1 << wbits - 1),
    "ternary": lambda wbits: WeightCode.ternary(),
    "iq4_nl": lambda wbits: WeightCode.iq4_nl(),
    "mxfp4": lambda wbits: WeightCode.mxfp4(),
    "nf4": lambda wbits: WeightCode.nf4(),
}
"""Codes by name, of so many bits where they have them to choose."""

CODED: tuple[tuple[str, Fields], ...] = (
    ("twos", (16, 8, 1, 2, 8, 4, 0, False)),
    ("twos", (48, 16, 1, 4, 8, 4, 0, False)),
    ("twos", (96, 40, 2, 3, 8, 3, 0, False)),
    ("offset", (64, 16, 1, 4, 8, 4, 0, False)),
    ("offset", (512, 128, 1, 4, 8, 4, 32, True)),
    ("offset", (320, 200, 2, 3, 8, 4, 0, False)),
    ("ternary", (64, 24, 1, 2, 8, 4, 0, False)),
    ("ternary", (512, 160, 2, 2, 8, 4, 64, True)),
    ("iq4_nl", (16, 8, 1, 4, 8, 4, 0, False)),
    ("iq4_nl", (64, 16, 1, 4, 8, 4, 0, False)),
    ("iq4_nl", (256, 128, 1, 4, 8, 4, 0, False)),
    ("iq4_nl", (512, 120, 4, 4, 8, 4, 32, True)),
    ("mxfp4", (64, 32, 1, 4, 8, 4, 0, False)),
    ("mxfp4", (384, 96, 2, 4, 8, 3, 32, True)),
    ("nf4", (48, 12, 1, 4, 8, 3, 0, False)),
    ("nf4", (256, 100, 1, 4, 8, 4, 64, True)),
)
"""Small tiles, and every code that a descriptor can tell: a codebook is fetched before the weights."""


def coded_tiles(seed: int = 4) -> list[Tile]:
    """The tiles of `CODED`."""
    random = np.random.default_rng(seed)
    return [random_tile(random, *fields, code=name) for name, fields in CODED]


def tiles(seed: int = 1, shapes: Sequence[Fields] = TILES) -> list[Tile]:
    """The tiles of `shapes` with normally distributed operands, quantized to their widths."""
    random = np.random.default_rng(seed)
    return [random_tile(random, *fields) for fields in shapes]


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
