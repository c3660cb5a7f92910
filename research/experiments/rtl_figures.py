"""The figures of docs/rtl.md: a block diagram of `rtl/`, and a tile on it as iverilog's waves have it.

``python research/experiments/rtl_figures.py`` draws both into docs/figures.
"""

import re
import subprocess
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import FancyBboxPatch

from rtl_tile import tile_fields
from sailsim import _core
from sailsim.lut_gemv.codes import WeightCode
from sailsim.lut_gemv.operands import group_slices
from sailsim.sim.machine.system_files import load_system
from sailsim.sim.rtl import package
from sailsim.sim.step.tiles import TileShape

ROOT = Path(__file__).parents[2]
FIGURES = ROOT / "docs" / "figures"
NBW, ABITS, BATCH, K = 3, 4, 2, 9
PHASES = ("idle", "filling", "load", "build", "look-up", "convert", "write-back")
COLOURS = ("white", "white", "#d9d9d9", "#a6cee3", "#b2df8a", "#fdbf6f", "#fb9a99")
MADE, BEHAVIOURAL = "#dbe9f6", "#eeeeee"

BENCH = """
module bench;
  logic clk = 0, rst_n = 0;
  always #5 clk = !clk;
  logic tile_valid = 0, weights_valid, activations_valid;
  logic tile_ready, weights_ready, activations_ready, event_done;
  logic [{port}-1:0] weights[0:{weights}-1];
  logic [{word}-1:0] activations[0:{words}-1];
  int w = 0, a = 0;
  assign weights_valid = w < {weights};
  assign activations_valid = a < {words};
  sail_unit unit (.clk, .rst_n, .tile_valid, .tile_ready, {fields}
      .weights_valid, .weights_ready, .weights_data(weights[w]),
      .activations_valid, .activations_ready, .activations_data(activations[a]),
      .scales_valid(1'b0), .scales_data('0), .results_ready(1'b1), .event_done);
  always @(posedge clk) begin
    if (weights_valid && weights_ready) w <= w + 1;
    if (activations_valid && activations_ready) a <= a + 1;
    if (tile_valid && tile_ready) tile_valid <= 0;
  end
  initial begin
    $readmemh("weights.hex", weights);
    $readmemh("activations.hex", activations);
    $dumpfile("tile.vcd");
    $dumpvars(1, unit);
    #20 rst_n = 1;
    tile_valid = 1;
    do @(negedge clk); while (!event_done);
    #100 $finish;
  end
endmodule
"""


def waves(folder: Path) -> dict[str, list[int]]:
    """A small tile on the unit: each signal's value in every cycle of the clock; -1 is not known."""
    code = WeightCode.twos(4)
    unit = load_system("sail-n1").unit_text(slices=1, arrays=1, cols=64, port_bytes=8, convert="cores")
    config = _core.SliceConfig(unit)
    n = config.cols // (code.wbits + 2)
    fields = tile_fields(config, TileShape(K, n, BATCH, 4, 4, ABITS, NBW, 0)) | {
        "zero_point": 0, "book": 0, "act_scales": 0,
    }  # fmt: skip
    rng = np.random.default_rng(33)
    codes, x = rng.integers(0, 16, (K, n)), rng.integers(0, 8, (BATCH, K))

    def packed(values: np.ndarray, bits: int) -> int:
        return sum(int(value) << bits * i for i, value in enumerate(values.ravel()))

    port, groups = 8 * config.port_bytes, group_slices(slice(0, K), NBW)
    beats = [
        packed(codes[g], 4) >> at & (1 << port) - 1
        for g in groups
        for at in range(0, codes[g].size * 4, port)
    ]
    words = [packed(row, ABITS) for g in groups for row in x[:, g]]
    for name, stream in {"weights": beats, "activations": words}.items():
        (folder / f"{name}.hex").write_text("\n".join(f"{word:x}" for word in stream))
    (folder / "sail_pkg.sv").write_text(package(unit, code, ABITS, True, NBW, BATCH))
    ports = " ".join(f".tile_{name}({value})," for name, value in fields.items())
    (folder / "bench.sv").write_text(
        BENCH.format(port=port, weights=len(beats), word=NBW * ABITS, words=len(words), fields=ports)
    )
    sources = ["sail_pkg.sv", *map(str, sorted((ROOT / "rtl").glob("*.sv"))), "bench.sv"]
    for command in (["iverilog", "-g2012", "-s", "bench", "-o", "sim", *sources], ["vvp", "-n", "sim"]):
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return read_vcd((folder / "tile.vcd").read_text())


def read_vcd(text: str) -> dict[str, list[int]]:
    """The value of each signal just before every rising edge of `clk`."""
    head, body = text.split("$enddefinitions $end")
    names: dict[str, str] = dict(re.findall(r"\$var \w+ +\d+ (\S+) (\w+)", head))
    now = dict.fromkeys(names.values(), -1)
    rows: list[dict[str, int]] = []
    changes: dict[str, int] = {}
    for line in [*body.split("\n"), "#end"]:
        if line.startswith("#"):
            if changes.get("clk") == 1 and now["clk"] == 0:
                rows.append(dict(now))
            now |= changes
            changes = {}
        elif found := re.fullmatch(r"(?:b([01xz]+) |([01xz]))(\S+)", line):
            value = found[1] or found[2]
            changes[names[found[3]]] = int(value, 2) if set(value) <= {"0", "1"} else -1
    return {name: [row[name] for row in rows] for name in now}


def draw_waves(signals: dict[str, list[int]], path: Path) -> None:
    """Phases, and below them what port, arrays and DFM do in each cycle."""
    at = {name: np.array(values) for name, values in signals.items()}
    first, last = int(np.argmax(at["event_begin"] == 1)), int(np.argmax(at["event_done"] == 1))
    cycles = range(first, last + 6)
    lanes = [
        "phase",
        "weight beat",
        "staging row",
        "row read",
        "row written",
        "pattern",
        "PRT",
        "result beat",
    ]
    fig, axes = plt.subplots(figsize=(13, 3.6))

    def box(lane: int, cycle: int, colour: str, text: str = "", wide: int = 1) -> None:
        axes.broken_barh(
            [(cycle - first, wide)], (-lane - 0.4, 0.8), facecolors=colour, edgecolor="white", lw=0.6
        )
        axes.text(cycle - first + wide / 2, -lane, text, ha="center", va="center", fontsize=6.5)

    since = first
    for cycle in range(first, last):
        if at["phase"][cycle + 1] != at["phase"][since] or at["event_start"][cycle + 1] or cycle + 1 == last:
            phase = at["phase"][since]
            wide = cycle + 1 - since
            box(0, since, COLOURS[phase], PHASES[phase], wide)
            since = cycle + 1
    for c in cycles:
        if at["weights_ready"][c] == 1:
            box(1, c, "#cab2d6")
        if at["staged"][c] == 1:
            box(2, c, "#cab2d6", str(at["staged_weight"][c]))
        if at["access1"][c] == 1:
            builds = at["first1"][c] or at["second1"][c] or at["write1"][c]
            box(4 if at["write1"][c] else 3, c, COLOURS[3 if builds else 4], str(at["index1"][c]))
        if at["pattern_take"][c] == 1:
            box(5, c, COLOURS[4], str(at["pattern"][c]))
            kind = "0" if at["pattern"][c] == 0 else "h" if at["pattern_hit"][c] else "m"
            box(6, c, {"0": "#ffffff", "h": "#33a02c", "m": "#b2df8a"}[kind], kind)
        if at["results_valid"][c] == 1:
            box(7, c, COLOURS[6])
    axes.set_yticks([-lane for lane in range(len(lanes))], lanes, fontsize=8)
    axes.set_xlim(0, len(cycles))
    axes.set_xlabel("cycle of the tile", fontsize=8)
    axes.tick_params(axis="x", labelsize=8)
    axes.grid(axis="x", lw=0.3)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    fig.tight_layout()
    fig.savefig(path, dpi=130)


BLOCKS = {
    # name: x, y, width, what it says, whether it is synthesized
    "dfm": (0.2, 4.1, 3.0, "sail_dfm\nactivations, patterns LSB first", True),
    "prt": (4.1, 4.1, 2.4, "sail_prt\nLRU, FIFO, direct", True),
    "sequencer": (7.4, 4.1, 3.4, "sail_sequencer\nload, build, look-up, ...", True),
    "stager": (0.2, 2.4, 3.0, "sail_stager\ncodes to rows of values", True),
    "array": (4.1, 2.4, 2.4, "sail_array\ntable, 2 NBW staging rows", False),
    "rows": (7.4, 2.4, 3.4, "sail_prt_rows\nentries that were read", True),
    "buffer": (0.2, 0.7, 3.0, "sail_buffer\nsums; sail_pack joins short rows", False),
    "lane": (4.1, 0.7, 2.4, "sail_lane\none behind every output", True),
    "scaler": (7.4, 0.7, 3.4, "sail_scaler\nsail_convert, y", True),
    "drain": (11.7, 0.7, 2.2, "sail_drain\nbeats of words", True),
}
ARROWS = [
    ("dfm", "prt", ""), ("prt", "sequencer", ""), ("sequencer", "array", ""),
    ("stager", "array", ""), ("array", "lane", ""), ("array", "rows", ""), ("rows", "lane", ""),
    ("lane", "array", ""), ("buffer", "lane", ""), ("lane", "buffer", ""), ("lane", "scaler", ""),
    ("scaler", "drain", ""),
]  # fmt: skip


def draw_blocks(path: Path) -> None:
    """The modules and what goes between them; grey ones are behavioural."""
    fig, axes = plt.subplots(figsize=(12, 4.6))
    high = 0.9
    for x, y, wide, text, made in BLOCKS.values():
        axes.add_patch(
            FancyBboxPatch(
                (x, y), wide, high, boxstyle="round,pad=0.05", fc=MADE if made else BEHAVIOURAL, ec="#555555"
            )
        )
        name, what = text.split("\n")
        axes.text(x + wide / 2, y + 0.62, name, ha="center", va="center", fontsize=9, weight="bold")
        axes.text(x + wide / 2, y + 0.27, what, ha="center", va="center", fontsize=7.5)

    def arrow(start: tuple[float, float], end: tuple[float, float], text: str = "") -> None:
        axes.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": "#333333", "lw": 1.1})
        middle = ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2 + 0.12)
        axes.text(*middle, text, ha="center", fontsize=7.5)

    for source, target, text in ARROWS:
        (x0, y0, w0, *_), (x1, y1, w1, *_) = BLOCKS[source], BLOCKS[target]
        if y0 == y1:
            right = x1 > x0
            both = (target, source) in [pair[:2] for pair in ARROWS]
            lift = high / 2 + (0.15 if right else -0.15) * both
            arrow(
                (x0 + w0 + 0.07 if right else x0 - 0.07, y0 + lift),
                (x1 - 0.07 if right else x1 + w1 + 0.07, y1 + lift),
                text,
            )
        elif x0 == x1:
            shift = w0 / 2 + (0.25 if y1 < y0 else -0.25)
            down = y1 < y0
            arrow(
                (x0 + shift, y0 - 0.07 if down else y0 + high + 0.07),
                (x1 + shift, y1 + high + 0.07 if down else y1 - 0.07),
                text,
            )
        else:
            arrow((x0 + 0.3, y0 - 0.07), (x1 + w1 - 0.2, y1 + high + 0.07), text)
    for name, y, text in (("dfm", 4.1, "activations"), ("stager", 2.4, "weights")):
        arrow((BLOCKS[name][0] - 1.5, y + high / 2), (BLOCKS[name][0] - 0.07, y + high / 2), text)
    arrow((13.97, 0.7 + high / 2), (15.4, 0.7 + high / 2), "results")
    arrow((12.3, 4.1 + high / 2), (10.87, 4.1 + high / 2), "tile")
    arrow((9.1, -0.3), (9.1, 0.63), "")
    axes.text(9.25, -0.2, "scales", fontsize=7.5)
    axes.plot([5.3, 5.3, 12.8, 12.8], [0.63, -0.45, -0.45, 0.3], color="#333333", lw=1.1)
    arrow((12.8, 0.25), (12.8, 0.63))
    axes.set_xlim(-1.5, 15.6)
    axes.set_ylim(-0.7, 5.2)
    axes.axis("off")
    fig.tight_layout(pad=0.2)
    fig.savefig(path, dpi=110)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        draw_waves(waves(Path(made)), FIGURES / "rtl_waves.png")
    draw_blocks(FIGURES / "rtl.png")
