"""What patterns of accesses get of a machine's DRAM: the closed forms of docs/engine.md.

Patterns of reads are the product's (`Dram.reads`); those here no step has.
"""

from __future__ import annotations

from sailsim.sim.machine.dram import Dram
from sailsim.sim.machine.system import window
from sailsim.sim.machine.system_files import load_system


def random(dram: Dram, lines: float, latency: float) -> float:
    """Share of the peak for random lines, `lines` of them under way for `latency` seconds each."""
    return min(dram.reads(1), lines * dram.line / latency / dram.memory.peak)


def mixed(dram: Dram, read: float, written: float) -> float:
    """Share of the peak when every `read` lines are followed by `written` ones, in open rows.

    Turning to writes leaves the pins idle for two clocks, turning back for tWTR and tCL.
    """
    timing = dram.memory.timing
    work = (read + written) * dram.line_s
    idle = 2 / dram.memory.clock.si + timing.twtr.si + timing.tcl.si if read and written else 0.0
    return work / (work + idle) * (1 - dram.refreshing)


def stores(dram: Dram) -> float:
    """Share of the peak that stored bytes get when every line is read before it is written."""
    batch = dram.memory.write_batch.value
    return mixed(dram, batch, batch) / 2


def main() -> None:
    """Print the page's rows of sail-n1."""
    system = load_system("sail-n1")
    dram = Dram(system.memory, system.llc.line.whole)
    lines = window(system) / dram.line
    rows = {
        "16 lines of a row, all banks": dram.reads(16),
        "one stream, one bank of a channel at a time": dram.reads(dram.lines_of_row, banks=1),
        "random lines, all banks": dram.reads(1),
        "random lines, one bank of a channel": dram.reads(1, banks=1),
        f"random lines, {lines:.0f} under way (one core)": random(dram, lines, system.memory.latency.si),
        "16 lines read, 16 written in turn": mixed(dram, 16, 16),
        "stores, every line read first": stores(dram),
    }
    for name, share in rows.items():
        print(f"{name:44} {share:.3f} {share * dram.memory.peak / 1e9:6.1f} GB/s")


if __name__ == "__main__":
    main()
