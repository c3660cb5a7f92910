"""Products of the units with exact counts of what becomes of every pattern, and a prompt that has them."""

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from sailsim.lut_gemv.fast import pattern_profile
from sailsim.lut_gemv.quantize import quantize_rows
from sailsim.workloads.inference.decoder import Floats, LinearLayers
from sailsim.workloads.models.model import Linear

NBW, BLOCK = 4, 32
SCRIPT = """
import sys, time
from tests.bench.counted import CountedProducts
from sailsim.workloads.model_files.gguf_model import open_gguf
from sailsim.workloads.inference.decoder import Decoder, rounded_cache
from sailsim.workloads.inference.perplexity import text_chunks
from sailsim.workloads.inference.perplexity import QUALITY, shipped_text
model = open_gguf(sys.argv[1])
tokens = text_chunks(model, shipped_text(QUALITY), 2, int(sys.argv[2]))[0].tolist()
began = time.process_time()
products = CountedProducts(model, model.format, 8)
decoder = Decoder(model, products, rounded_cache(16))
decoder.after(tokens)
took = time.process_time() - began
with open("/proc/self/status") as status:
    peak = next(line.split()[1] for line in status if line.startswith("VmHWM:"))
print(took, len(tokens), products.zero + products.hits + products.misses, 1024 * int(peak))
"""


@dataclass
class CountedProducts(LinearLayers):
    """As `LinearLayers`, and of every input the patterns that are zero, hit the PRT and miss it."""

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


class Prompted(NamedTuple):
    """What a prompt took: seconds of the processor beyond opening the file, tokens, patterns counted, and the
    most memory that its process had, bytes."""

    seconds: float
    tokens: int
    patterns: int
    peak_bytes: int


def prompted(path: Path, tokens: int) -> Prompted:
    """A prompt of the text of quality through the units' arithmetic, with counts, on one thread, in a process
    of its own.

    The kernel's ``ru_maxrss`` of a process begins with that of the one it was started from; `VmHWM` does not.
    """
    words = [sys.executable, "-c", SCRIPT, str(path), str(tokens)]
    threads = {"OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    ran = subprocess.run(words, check=True, capture_output=True, text=True, env=threads)
    took, *counts = ran.stdout.split()
    return Prompted(float(took), *map(int, counts))
