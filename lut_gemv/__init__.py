"""LUT-GEMV: the arithmetic, the patterns, the counts and the type conversion of the simulated machine.

``sailsim.lut_gemv.reference`` is the specification in NumPy; docs/lut-gemv.md explains it.
"""

from sailsim.lut_gemv import convert, reference
from sailsim.lut_gemv.codes import WBITS_MAX, WeightCode
from sailsim.lut_gemv.counts import Counts, PatternProfile, Profile, PrtConfig
from sailsim.lut_gemv.operands import ABITS_MAX, NBW_MAX, activation_range, block_slices
from sailsim.lut_gemv.packing import pack_codes, row_bytes, unpack_codes
from sailsim.lut_gemv.quantize import quantize_rows, quantize_weights, quantize_weights_minimum
from sailsim.lut_gemv.reference import block_sums, scale_blocks, tile_counts

__all__ = [
    "ABITS_MAX",
    "NBW_MAX",
    "WBITS_MAX",
    "Counts",
    "PatternProfile",
    "Profile",
    "PrtConfig",
    "WeightCode",
    "activation_range",
    "block_slices",
    "block_sums",
    "convert",
    "pack_codes",
    "quantize_rows",
    "quantize_weights",
    "quantize_weights_minimum",
    "reference",
    "row_bytes",
    "scale_blocks",
    "tile_counts",
    "unpack_codes",
]
