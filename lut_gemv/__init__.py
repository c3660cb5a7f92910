"""LUT-GEMV: the arithmetic, the patterns, the counts and the type conversion of the simulated machine.

``sailsim.lut_gemv.reference`` is the specification in NumPy; docs/start.md explains it. The functions
here give the same results through the C++ core.
"""

from sailsim._core import PatternProfile
from sailsim.lut_gemv import convert, descriptor, reference
from sailsim.lut_gemv.codes import WeightCode, pack_codes, row_bytes, unpack_codes
from sailsim.lut_gemv.counts import (
    PRT_POLICIES,
    TILE_PHASES,
    Counts,
    Profile,
    PrtConfig,
    PrtHash,
    PrtKey,
    cycles_by_phase,
)
from sailsim.lut_gemv.descriptor import ABITS_MAX, NBW_MAX, WBITS_MAX
from sailsim.lut_gemv.fast import (
    PreparedWeights,
    ScaledWeights,
    bit_profile,
    lut_gemv,
    lut_gemv_blocks,
    pattern_profile,
    prepare_scaled,
    prepare_weights,
    scaled_product,
)
from sailsim.lut_gemv.operands import activation_range, block_slices
from sailsim.lut_gemv.quantize import (
    quantize_columns,
    quantize_rows,
    quantize_rows_unsigned,
    quantize_weights,
    quantize_weights_code,
    quantize_weights_minimum,
    split_signs,
)
from sailsim.lut_gemv.reference import block_sums, scale_blocks, tile_counts
from sailsim.lut_gemv.replay import DescriptorError, Replayed, decode_tile, replay
from sailsim.lut_gemv.tile import Scales, Tile, int_product, same_results
from sailsim.lut_gemv.trace import LAYOUTS, Trace, read_trace, write_trace

__all__ = [
    "ABITS_MAX",
    "LAYOUTS",
    "NBW_MAX",
    "PRT_POLICIES",
    "TILE_PHASES",
    "WBITS_MAX",
    "Counts",
    "DescriptorError",
    "PatternProfile",
    "PreparedWeights",
    "Profile",
    "PrtConfig",
    "PrtHash",
    "PrtKey",
    "Replayed",
    "ScaledWeights",
    "Scales",
    "Tile",
    "Trace",
    "WeightCode",
    "activation_range",
    "bit_profile",
    "block_slices",
    "block_sums",
    "convert",
    "cycles_by_phase",
    "decode_tile",
    "descriptor",
    "int_product",
    "lut_gemv",
    "lut_gemv_blocks",
    "pack_codes",
    "pattern_profile",
    "prepare_scaled",
    "prepare_weights",
    "quantize_columns",
    "quantize_rows",
    "quantize_rows_unsigned",
    "quantize_weights",
    "quantize_weights_code",
    "quantize_weights_minimum",
    "read_trace",
    "reference",
    "replay",
    "row_bytes",
    "same_results",
    "scale_blocks",
    "scaled_product",
    "split_signs",
    "tile_counts",
    "unpack_codes",
    "write_trace",
]
