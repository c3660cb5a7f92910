"""What patterns of accesses get of a machine's DRAM: the closed forms of docs/engine.md.

Patterns of reads are the product's (`Memory.reads`); those here no step has.
"""

from __future__ import annotations

from sailsim.sim.machine.dram import Memory
from sailsim.sim.machine.system import core_window_bytes
from sailsim.sim.machine.system_files import load_system


def random(memory: Memory, line: int, lines: float, latency: float) -> float:
    """Share of the peak for random lines, `lines` of them under way for `latency` seconds each."""
    return min(memory.reads(line, 1), lines * line / latency / memory.peak)


def mixed(memory: Memory, line: int, read: float, written: float) -> float:
    """Share of the peak when every `read` lines are followed by `written` ones, in open rows.

    Turning to writes leaves the pins idle for two clocks, turning back for tWTR and tCL.
    """
    timing = memory.timing
    work = (read + written) * memory.line_seconds(line)
    idle = 2 / memory.clock.si + timing.twtr.si + timing.tcl.si if read and written else 0.0
    return work / (work + idle) * (1 - memory.refresh_share)


def stores(memory: Memory, line: int) -> float:
    """Share of the peak that stored bytes get when every line is read before it is written."""
    batch = memory.write_batch.value
    return mixed(memory, line, batch, batch) / 2


def main() -> None:
    """Print the page's rows of sail-n1."""
    system = load_system("sail-n1")
    memory, line = system.memory, system.llc.line.whole
    lines = core_window_bytes(system) / line
    rows = {
        "16 lines of a row, all banks": memory.reads(line, 16),
        "one stream, one bank of a channel at a time": memory.reads(
            line, memory.lines_per_row(line), banks=1
        ),
        "random lines, all banks": memory.reads(line, 1),
        "random lines, one bank of a channel": memory.reads(line, 1, banks=1),
        f"random lines, {lines:.0f} under way (one core)": random(memory, line, lines, memory.latency.si),
        "16 lines read, 16 written in turn": mixed(memory, line, 16, 16),
        "stores, every line read first": stores(memory, line),
    }
    for name, share in rows.items():
        print(f"{name:44} {share:.3f} {share * memory.peak / 1e9:6.1f} GB/s")


if __name__ == "__main__":
    main()
