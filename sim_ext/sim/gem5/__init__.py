"""gem5 with sailsim's module: running it, storing what comes of it, and what is measured on it.

Reading order: `places` (what gem5 is handed), `binary` (running it), `outcome` (what came of a run),
`records` (results in a store); then `tiles` (a sweep's), `decode` (whole tokens), `timeline` (one tile, group
by group), `measure` (kernels and bandwidth), `cases`, `validation` and `streams` (does the core's time
agree?).
"""

from sailsim.sim.gem5.binary import (
    CPU_MODELS,
    VARIABLE,
    Gem5,
    Gem5TimeoutError,
    configs_path,
    extras_path,
    gem5_unit,
    machine_json,
)
from sailsim.sim.gem5.outcome import BASIC_BLOCK_VECTORS, Gem5Run, read_dumps, read_stats
from sailsim.sim.gem5.records import keys_of, run_or_load

__all__ = [
    "BASIC_BLOCK_VECTORS",
    "CPU_MODELS",
    "VARIABLE",
    "Gem5",
    "Gem5Run",
    "Gem5TimeoutError",
    "configs_path",
    "extras_path",
    "gem5_unit",
    "keys_of",
    "machine_json",
    "read_dumps",
    "read_stats",
    "run_or_load",
]
