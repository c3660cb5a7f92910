"""What the PRT and the conversion unit cost as gates: by policy, entries, search, store and registers.

Writes analysis/data/rtl_leaves.csv. Needs yosys, OpenSTA and liberty files of ASAP7 (RVT, typical
corner); about ten minutes. A module is flattened, its gates are sized and its nets buffered, the outputs of
registers too. There is no layout. Hits are those of docs/data/reuse-entries-and-replacement.csv.
"""

from __future__ import annotations

import datetime
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pandas as pd

import rtl_flow
from rtl_flow import Flow

ROOT = Path(__file__).parents[2]
RTL, SEARCH = ROOT / "rtl", ROOT / "research/fits/rtl/prt_search.sv"
OUT = ROOT / "analysis/data/rtl_leaves.csv"
HITS = ROOT / "docs/data/reuse-entries-and-replacement.csv"
POLICIES = ("LRU", "FIFO", "direct")
PERIOD = 450.0
"""ps that gates are sized for."""
ROW_BITS = 256
"""Of an array's row; the sixteen arrays of a slice have sixteen times as many."""
REGISTERS = (14, 10, 6, 2)
"""Inside of the conversion unit, spread as rtl/sail_scaler.sv does it; its latency has two cycles more."""

Variant = tuple[str, list[Path], dict[str, int]]


def variants() -> Iterator[Variant]:
    """A module, its sources and its parameters."""
    for nbw, entries in ((4, 8), (4, 16), (5, 32), (6, 8), (6, 16), (6, 32), (6, 64)):
        for policy in range(len(POLICIES)):
            parameters = {"NBW": nbw, "ENTRIES": min(entries, 2**nbw - 1), "POLICY": policy}
            if entries < 2**nbw or policy == 0:  # else policies are one
                yield "prt_search", [SEARCH], parameters
            if entries < 2**nbw or policy == 2:
                yield "sail_prt", [RTL / "sail_prt.sv"], parameters
    for places in (8, 31):
        for latches in (0, 1):
            parameters = {"PLACES": places, "ROW_BITS": ROW_BITS, "LATCHES": latches}
            yield "sail_prt_rows", [RTL / "sail_prt_rows.sv"], parameters
    for registers in REGISTERS:
        cuts = sum(1 << i for i in range(14) if (i + 1) * registers // 14 != i * registers // 14)
        yield "sail_convert", [RTL / "sail_convert.sv", RTL / "sail_fp.sv"], {"ACC_BITS": 32, "CUTS": cuts}


def synthesise(
    libraries: list[Path], cells: Path, module: str, sources: list[Path], parameters: dict[str, int]
) -> tuple[float, float]:
    """Area in um2 and longest path in ps."""
    with tempfile.TemporaryDirectory() as folder:
        flow = Flow(sources, module, libraries, Path(folder))
        for left in ("latches.v", "constraints"):
            shutil.copy(cells / left, flow.work)
        changes = " ".join(f"-set {name} {value}" for name, value in parameters.items())
        flow.yosys(
            "mapped",
            *(f"read_verilog -sv {path}" for path in sources),
            f"chparam {changes} {module}",
            f"synth -flatten -top {module} -noabc -noshare -run begin:check",
            "techmap -map latches.v",
            " ".join(["dfflibmap", *flow.liberty("-liberty")]),
            "write_rtlil mapped.il",
        )
        [found] = rtl_flow.gates(flow, PERIOD).values()
        return float(found["area"]), rtl_flow.paths(flow, {module: ()}, PERIOD)[module]


def hits(nbw: int, entries: int, policy: int, batch: int) -> float:
    """Percent of all patterns that a table serves, on the capture of docs/reuse.md."""
    table = pd.read_csv(HITS, dtype=str)
    rows = table[table["NBW"] == str(nbw)]
    row = rows[rows["entries"].str.split().str[0].astype(int) <= entries].iloc[-1]
    return float(row[f"{POLICIES[policy]}, batch {batch}"])


@click.command(help=__doc__)
@click.argument("lib", nargs=-1, required=True)
def main(lib: tuple[str, ...]) -> None:
    """Synthesise every variant and write the rows."""
    files = rtl_flow.libraries(lib)
    folder = tempfile.TemporaryDirectory()  # lasts as long as it is named
    cells = Path(folder.name)
    rtl_flow.read_cells(Flow([], "", files, cells))
    rows: list[dict[str, Any]] = []
    for module, sources, parameters in variants():
        area, path = synthesise(files, cells, module, sources, parameters)
        row: dict[str, Any] = {
            "module": module,
            "NBW": "",
            "entries": "",
            "policy": "",
            "store": "",
            "stages": "",
        }
        if "POLICY" in parameters:
            nbw, policy = parameters["NBW"], parameters["POLICY"]
            entries = parameters["ENTRIES"] + (parameters["ENTRIES"] == 2**nbw - 1)
            one = entries == 2**nbw
            row |= {"NBW": nbw, "entries": entries, "policy": "any" if one else POLICIES[policy]}
            row["stages"] = 2 if module == "sail_prt" and policy != 2 else 1
            row |= {f"hit %, batch {batch}": hits(nbw, entries, policy, batch) for batch in (1, 8, 32)}
        elif module == "sail_prt_rows":
            row |= {
                "entries": parameters["PLACES"],
                "store": ("flip-flops", "latches")[parameters["LATCHES"]],
            }
        else:
            row["stages"] = parameters["CUTS"].bit_count() + 2
        row |= {"area_um2": round(area, 2), "path_ps": round(path, 1), "kind": "synthesised"}
        rows.append(row)
        click.echo(json.dumps(row))
    yosys, sta = (rtl_flow.version(*of) or "" for of in (("yosys", "-V"), ("sta", "-version")))
    source = (
        f"# {datetime.date.today()}: research/fits/rtl_leaves.py with {yosys.split(' (')[0]} and OpenSTA "
        f"{sta}; gates of ASAP7, RVT, TT, for a period of {PERIOD:g} ps, no layout; hits: docs/reuse.md\n"
    )
    OUT.write_text(source + pd.DataFrame(rows).to_csv(index=False, lineterminator="\n"), "utf-8")


if __name__ == "__main__":
    main()
