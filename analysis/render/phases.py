"""How a step's phases look in every figure."""

from __future__ import annotations

from collections.abc import Mapping

from sailsim.analysis.render.style import (
    OKABE_ITO,
)

PHASE_STYLE: Mapping[str, tuple[str, str, str]] = {
    "dram": ("DRAM: units wait for weights", OKABE_ITO["blue"], ""),
    "load": ("load: activations, weights on chip", OKABE_ITO["sky"], "//"),
    "build": ("table build", OKABE_ITO["orange"], ""),
    "lookup": ("look-up", OKABE_ITO["vermillion"], "\\\\"),
    "convert": ("convert and scale", OKABE_ITO["yellow"], ".."),
    "write_back": ("write back", OKABE_ITO["purple"], "xx"),
    "cores": ("cores: attention and the rest", OKABE_ITO["green"], ""),
    "sync": ("hand-over", OKABE_ITO["black"], ""),
}
