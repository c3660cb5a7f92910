"""Steps of whole models from what gem5 ran of them: `sailsim gem5 decode`'s records."""

from __future__ import annotations

from sailsim.analysis.results.gem5_steps import CORE_PARTS, Row, shape
from sailsim.workloads.load import load_model

_OF_A_BLOCK = ("qkv", "rope", "attention", "o", "ffn")


def block_share(row: Row) -> dict[str, float]:
    """What part of each region's cycles in a run of one block and the head is the block's: two of its three
    norms, and its part of what is rounded."""
    spec = load_model(shape(row))
    rounded = 2 * spec.d_model + spec.d_attn + spec.d_ffn
    return {
        **dict.fromkeys(_OF_A_BLOCK, 1.0),
        "norm": 2 / 3,
        "quantise": rounded / (rounded + spec.d_model),
    }


def regions_together(one: Row) -> dict[str, float]:
    """Cycles of a whole model's step by region, from a run of its first block and the head: every block takes
    what the first one does. A run of all blocks is what it is."""
    of_block = {} if not one["blocks"] else block_share(one)
    more = load_model(shape(one)).n_layers - 1
    regions = {name for names in CORE_PARTS.values() for name in names}
    return {name: one[f"{name}_cycles"] * (1 + more * of_block.get(name, 0.0)) for name in regions}
