"""Waves of a real tile on the RTL of one array, for the energies of `make rtl`.

    python research/experiments/rtl_waves.py OUT       prints cycles, counts and the file; the unit's scope is
    bench.u0

The tile is the first block and the first 42 outputs of Llama-2-7B's query matrix of block 0, with seeded
weights of 4 bits and a batch of 8 rows of the activations that ship. Its results are checked as in tests/rtl.
"""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "rtl")]
os.environ["SIM_CMD_SUFFIX"] = "-vcd"  # behind cocotb's, which keeps no waves
os.environ["PYTHONPATH"] = str(ROOT / "tests" / "rtl")

from sailsim.lut_gemv.tile import Scales, same_results  # noqa: E402
from sailsim.lut_gemv.trace_file import decode_tile, read_trace  # noqa: E402
from tests.rtl.simulation import Simulation  # noqa: E402
from tests.rtl.units import IDLE, WATCH, Build, Play, played  # noqa: E402

UNIT = {
    "arrays": 1,
    "cols": 256,
    "port_bytes": 32,
    "convert": "unit",
    "convert_units": 16,
    "prt_policy": "direct",
}
K, N = 128, 42
"""Of the tile: a block, and the lanes of an array."""


def main(out: Path) -> None:
    """Play the tile and leave the waves in a folder."""
    (out / "run").mkdir(parents=True, exist_ok=True)
    trace = out / "tile.trace"
    asked = "--model llama-2-7b --layers 0:1 --tensors blk.0.attn_q --slices 32 --batch 8"
    command = [sys.executable, "-m", "sailsim", "trace", *asked.split(), "--out", str(trace)]
    subprocess.run(command, check=True, capture_output=True)
    whole = decode_tile(read_trace(trace), 0)
    scales = Scales(whole.scales.scale[:1, :N], whole.scales.act_scale)
    tile = dataclasses.replace(
        whole, x=whole.x[:, :K], codes=whole.codes[:K, :N], group_size=K, scales=scales
    )
    build = Build(tile.code, tile.abits, tile.signed, tile.nbw, tile.batch, UNIT)
    play = Play(tile, build)
    sources = build.sources("u0", out)
    top = next(path for path in sources if path.name == "u0_sail_unit.sv")
    text = top.read_text().rstrip().removesuffix("endmodule")
    top.write_text(text + f'initial begin $dumpfile("{out.resolve()}/unit.vcd"); $dumpvars; end\nendmodule\n')
    simulation = Simulation(out / "run", sources, {"u0": ("sail_unit_u0", {})}, WATCH)
    queues = {"queues": play.queues(), "write_backs": len(play.written())}
    answer = simulation("u0", "tile", **queues, limit=100_000, stalls=IDLE, first=True, stop=None)
    simulation.close()
    (got,) = played(answer, [play])
    assert same_results(play.result(got.write_backs), tile.expected())
    print(got.total, got.counts, out / "unit.vcd")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
