"""Pictures compared with committed ones, in a manner that no edge, hinting or version of a library upsets.

Both are shrunk to `WIDTH` pixels; what counts is the mean of each square of `SQUARE` pixels. A panel or a
table that is gone empties squares; a line that is drawn a little otherwise does not. `SAILSIM_NEW_PICTURES=1`
writes what is drawn now as what is expected; look at it before it is committed.
"""

import os
from pathlib import Path

import numpy as np
from PIL import Image

PICTURES = Path(__file__).parent / "pictures"
WIDTH = 160
SQUARE = 10
RENEW = "SAILSIM_NEW_PICTURES"


def small(path: Path) -> Image.Image:
    """A picture of `WIDTH` pixels, on white."""
    with Image.open(path) as picture:
        drawn = picture.convert("RGBA")
    ground = Image.new("RGBA", drawn.size, "white")
    ground.alpha_composite(drawn)
    height = max(1, round(drawn.height * WIDTH / drawn.width))
    return ground.convert("RGB").resize((WIDTH, height), Image.Resampling.BOX)


def farthest(drawn: Image.Image, expected: Image.Image) -> float:
    """The largest difference of a square's means, of 255; 255 where the pictures have other shapes."""
    if abs(drawn.height - expected.height) > max(2, 0.03 * expected.height):
        return 255.0
    drawn = drawn.resize(expected.size, Image.Resampling.BOX)
    apart = np.asarray(drawn, dtype=float) - np.asarray(expected, dtype=float)
    rows, columns = (-(-edge // SQUARE) for edge in apart.shape[:2])
    padded = np.zeros((rows * SQUARE, columns * SQUARE, 3))
    padded[: apart.shape[0], : apart.shape[1]] = apart
    squares = padded.reshape(rows, SQUARE, columns, SQUARE, 3).mean(axis=(1, 3))
    return float(np.abs(squares).max())


def assert_alike(path: Path, name: str, within: float) -> None:
    """A picture looks as the committed one of a name does."""
    kept, drawn = PICTURES / f"{name}.png", small(path)
    if os.environ.get(RENEW):
        PICTURES.mkdir(exist_ok=True)
        drawn.quantize(256, dither=Image.Dither.NONE).save(kept, optimize=True)
        return
    with Image.open(kept) as expected:
        apart = farthest(drawn, expected.convert("RGB"))
    assert apart <= within, f"{name} is {apart:.1f} of 255 from {kept}; {RENEW}=1 writes it anew"
