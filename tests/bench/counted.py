"""Products of the units with exact counts of what becomes of every pattern."""

from collections.abc import Sequence
from dataclasses import dataclass

from sailsim.lut_gemv import pattern_profile, quantize_rows
from sailsim.workloads.decoder import Floats
from sailsim.workloads.model import Linear
from sailsim.workloads.products import UnitProducts

NBW, BLOCK = 4, 32


@dataclass
class CountedProducts(UnitProducts):
    """As `UnitProducts`, and of every input the patterns that are zero, hit the PRT and miss it."""

    zero: int = 0
    hits: int = 0
    misses: int = 0

    def products(self, x: Floats, linears: Sequence[Linear]) -> list[Floats]:
        ints, _ = quantize_rows(x, self.abits)
        profile = pattern_profile(ints, abits=self.abits, nbw=NBW, group_size=BLOCK, threads=self.threads)
        self.zero += int(profile.zero.sum())
        self.hits += int(profile.hits.sum())
        self.misses += int(profile.misses.sum())
        return super().products(x, linears)
