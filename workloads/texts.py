"""Texts that ship: what a model's quality is measured on, and what compensated weights are made for."""

from functools import cache
from importlib.resources import files

SOURCE = (
    "Lewis Carroll, Alice's Adventures in Wonderland (1865), in the public domain; the Millennium Fulcrum "
    "Edition 2.9, as alice29.txt in the test data of google/snappy; a paragraph a line, backticks as "
    "apostrophes"
)
QUALITY = "alice-6-7.txt"
"""Chapters 6 and 7, about 7,000 tokens of SmolLM2."""
CALIBRATION = "alice-9.txt"
"""Chapter 9, about 3,300 tokens."""


@cache
def shipped_text(name: str) -> str:
    """A text by its name."""
    return files(__package__).joinpath("data", name).read_text("utf-8")
