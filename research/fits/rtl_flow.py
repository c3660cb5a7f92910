"""rtl/ as gates of a reader's own cells: `make rtl LIB=...`, by yosys and, where it is installed, OpenSTA.

Per module and clock period: cells, area, the longest path; from waves a cycle's energy, of modules without
SRAM. There is no layout: wires and the clock's tree take nothing, inputs come at the clock's edge, and a gate
switches at most once a cycle. `BEHAVIOURAL` modules stand for SRAM: they have no area, no path, no energy.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sailsim.base.atomic import write_whole
from sailsim.base.errors import SailsimError
from sailsim.base.input_file import sha256_of
from sailsim.base.progress import with_progress
from sailsim.sim.machine.ranges import parse_numbers
from sailsim.sim.machine.system_files import load_system
from sailsim.sim.rtl import package
from sailsim.workloads.models.formats import uniform_format

RESULTS = "synthesis.jsonl"
"""The one file, written when all of it is there."""
PERIODS = (450, 600, 1000)
"""Clock periods in ps that gates are sized for unless others are asked for."""
WBITS, BATCH = 4, 8
"""Bits of a weight and most rows of a tile of the unit that is synthesised."""
ABC = "strash; if -g -K 6; strash; dch -f; map -B 0.9 {D}; topo; buffer -c; topo; upsize {D}; dnsize {D}"
"""What ABC does: balance, map, buffer what drives many gates, and size gates for the period."""
BEHAVIOURAL = ("sail_array", "sail_buffer")
"""Modules that are left out: rows of SRAM, of which nobody has a macro here."""
CLOCK = "clk"
RESET = "rst_n"
"""Ports of the clock and of the reset, which is low at the beginning of the waves."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Flow:
    """What is synthesised from what, and the folder in which tools leave their files."""

    sources: Sequence[Path]
    top: str
    libraries: Sequence[Path]
    work: Path

    def yosys(self, name: str, *commands: str) -> None:
        """Run commands. Raises SailsimError with what yosys said."""
        script = self.work / f"{name}.ys"
        script.write_text("\n".join(commands) + "\n", "utf-8")
        _run(["yosys", "-q", script.name], self.work)

    def liberty(self, before: str) -> list[str]:
        """A command or an option for each library."""
        return [f"{before} {path}" for path in self.libraries]


def _run(command: Sequence[str], folder: Path) -> str:
    """What a tool printed. Raises SailsimError with its first error."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode < 0:
        raise SailsimError(f"{command[0]} stopped: signal {-done.returncode} ended it.")
    said = done.stdout + done.stderr
    errors = re.findall(r"^(?:ERROR|Error)\b:?\s*(.*)$", said, re.MULTILINE)
    if done.returncode or errors:
        why = (errors or said.splitlines()[-1:] or [f"exit status {done.returncode}"])[0]
        raise SailsimError(f"{command[0]} stopped: {why.strip().rstrip('.')}.")
    return done.stdout


def libraries(named: Iterable[str]) -> list[Path]:
    """Liberty files, and those of folders. Raises SailsimError where there are none."""
    asked = [Path(name) for name in named]
    files = [file for path in asked for file in (sorted(path.glob("*.lib")) if path.is_dir() else [path])]
    missing = next((file for file in files if not file.is_file()), None)
    if missing or not files or any(re.search(r"\s", str(file)) for file in files):
        raise SailsimError(
            f"LIB is {' '.join(map(str, asked))!r}; allowed are liberty files, or a folder of *.lib, whose "
            "paths have no blanks."
        )
    return [file.resolve() for file in files]


def read_cells(flow: Flow) -> None:
    """Leave the libraries' logic in `cells.v`, their smallest latches, if any, as a map in `latches.v`, and
    in `constraints` the smallest inverter, which stands for what drives a register's output: ABC sees none.

    Raises SailsimError for libraries without flip-flop or inverter.
    """
    reads = flow.liberty("read_liberty -ignore_miss_func -ignore_miss_dir")
    writes = ("write_json cells.json", "write_verilog -noattr cells.v")
    flow.yosys("cells", *reads, "proc", "opt_clean", *writes)
    models = (flow.work / "cells.v").read_text()  # registers begin at 0: of x no gate would come back
    (flow.work / "cells.v").write_text(re.sub(r"^( *reg .*);$", r"\1 = 0;", models, flags=re.MULTILINE))
    cells = json.loads((flow.work / "cells.json").read_text())["modules"]
    found, inverters = set[str](), set[tuple[float, str]]()
    best: dict[str, tuple[float, str, dict[str, str]]] = {}
    for name, cell in cells.items():
        inside = list(cell["cells"].values())
        kinds = sorted(one["type"] for one in inside)
        found |= {kind[:6] for kind in kinds if kind.startswith("$_DFF_")}
        area = float(cell["attributes"].get("area", "inf"))
        inverters |= {(area, name)} if kinds == ["$_NOT_"] else set()
        if len(kinds) == 1 and kinds[0] in ("$_DLATCH_P_", "$_DLATCH_N_"):
            port = {port["bits"][0]: pin for pin, port in cell["ports"].items()}
            pins = {pin: port[bits[0]] for pin, bits in inside[0]["connections"].items()}
            one = (area, name, pins)
            best[kinds[0]] = min(best.get(kinds[0], one), one, key=lambda each: each[:2])
    for there, words in (("$_DFF_" in found, "flip-flop"), (inverters, "inverter")):
        if not there:
            raise SailsimError(f"LIB has no {words} among {len(cells)} cells; allowed is a library with one.")
    driver = min(inverters)[1].removeprefix("\\")
    (flow.work / "constraints").write_text(f"set_driving_cell {driver}\nset_load 1.0 [all_outputs]\n")
    text = "\n".join(
        f"module \\{kind} (input D, input E, output Q); {name} _TECHMAP_REPLACE_ "
        f"({', '.join(f'.{pin}({net})' for net, pin in pins.items())}); endmodule"
        for kind, (_, name, pins) in best.items()
    )
    (flow.work / "latches.v").write_text(text)


# --- Gates ---


def mapped(flow: Flow) -> dict[str, dict[str, str]]:
    """Read the RTL and map it to cells that ABC goes on from, in `mapped.il`.

    Returns the instances inside each module that has gates: their names and modules. Raises SailsimError for
    RTL that is none, and for a latch or a flip-flop that no library has.
    """
    read_cells(flow)
    reads = [f"read_verilog -sv {path}" for path in flow.sources]
    read = (f"hierarchy -check -top {flow.top}", "proc", "write_json read.json", "write_rtlil read.il")
    flow.yosys("read", *reads, *read)
    modules = json.loads((flow.work / "read.json").read_text())["modules"]
    names: dict[str, str] = {}
    for module in modules:
        plain = re.sub(r"^\$paramod(\$[0-9a-f]+)?\\(\w+).*", r"\2", module)
        names[next(n for n in (plain, *(f"{plain}_{i}" for i in range(2, 99))) if n not in names)] = module
    inside = {
        plain: {
            name: next(n for n, m in names.items() if m == cell["type"])
            for name, cell in modules[module]["cells"].items()
            if cell["type"] in modules
        }
        for plain, module in names.items()
        if not plain.startswith(BEHAVIOURAL)
    }
    text = (flow.work / "read.il").read_text()
    for plain, module in names.items():
        text = re.sub(
            rf"^(\s*(?:module|cell)) {re.escape(module)}(?=\s)", rf"\1 \\{plain}", text, flags=re.MULTILINE
        )
    (flow.work / "read.il").write_text(text)
    flow.yosys(
        "mapped",
        "read_rtlil read.il",
        *(f"blackbox {plain}" for plain in names if plain not in inside),
        f"synth -top {flow.top} -noabc -noshare -run begin:check",
        "techmap -map latches.v" if (flow.work / "latches.v").stat().st_size else "",
        " ".join(["dfflibmap", *flow.liberty("-liberty")]),
        "write_rtlil mapped.il",
        "tee -o mapped.json stat -json",
    )
    kinds = json.loads((flow.work / "mapped.json").read_text())["design"]["num_cells_by_type"]
    for begin, words in (("$_DLATCH", "latch"), ("$_DFF", "flip-flop"), ("$_SDFF", "flip-flop")):
        left = next((kind for kind in kinds if kind.startswith(begin)), None)
        if left:
            raise SailsimError(f"LIB has no {words} that does {left}; allowed is a library with one.")
    return inside


def gates(flow: Flow, period: float) -> Mapping[str, Row]:
    """Cells by module, sized for a period in ps; leaves netlists in `gates.il`, and a module in its `.v`."""
    (flow.work / "abc.txt").write_text(ABC.replace("{D}", f"-D {period:g}").replace("; ", "\n") + "\n")
    of_all = " ".join(flow.liberty("-liberty"))
    flow.yosys(
        "gates",
        "read_rtlil mapped.il",
        f"abc {of_all} -D {period:g} -constr constraints -script {flow.work / 'abc.txt'}",
        "setundef -zero",
        "opt_clean -purge",
        "rename -enumerate -pattern g%",
        "write_rtlil gates.il",
        "write_json ports.json",
        "splitnets -ports",
        "opt_clean -purge",
        f"tee -o gates.json stat -json {of_all}",
        "write_verilog -noattr gates.v",
    )
    text = (flow.work / "gates.v").read_text()
    for verilog, name in re.findall(r"^(module (\w+)\b.*?^endmodule$)", text, re.DOTALL | re.MULTILINE):
        (flow.work / f"{name}.v").write_text(verilog + "\n")
    found: Mapping[str, Row] = json.loads((flow.work / "gates.json").read_text())["modules"]
    return {name.removeprefix("\\"): row for name, row in found.items()}


def opensta(flow: Flow, modules: Mapping[str, Iterable[str]], period: float, *commands: str) -> str:
    """What OpenSTA prints of modules, each with those that are inside it and clocked with a period in ps."""
    script = flow.liberty("read_liberty")
    for module, inside in modules.items():
        script += [
            *(f"read_verilog {name}.v" for name in (*inside, module)),  # each link forgets them
            f"link_design {module}",
            f"puts {{module {module}}}",
            f"create_clock -name clock -period {period:g} [get_ports -quiet {CLOCK}]",
            "set_input_delay 0 -clock clock [all_inputs]",
            "set_output_delay 0 -clock clock [all_outputs]",
            *commands,
        ]
    (flow.work / "sta.tcl").write_text("\n".join(script) + "\n")
    return _run(["sta", "-no_splash", "-exit", "sta.tcl"], flow.work)


def paths(flow: Flow, modules: Mapping[str, Iterable[str]], period: float) -> dict[str, float]:
    """The longest path of each module that has one, in ps, set-up included."""
    said = opensta(
        flow,
        modules,
        period,
        "set paths [find_timing_paths]",
        'if {[llength $paths]} {puts "slack [get_property [lindex $paths 0] slack]"}',
    )
    slacks = re.findall(r"^module (\S+)$(?:(?!^module).)*?^slack (\S+)$", said, re.MULTILINE | re.DOTALL)
    return {module: round(period - float(slack), 2) for module, slack in slacks}


# --- Energy ---

Ports = Mapping[str, Mapping[str, Any]]
"""Direction and bits of a module's ports, as yosys writes them."""


@dataclass
class Waves:
    """A file of waves (VCD): the nets by their code in it, and from where their changes begin."""

    path: Path
    nets: dict[str, list[tuple[str, ...]]]
    """Scopes and name, of every name that a net has."""
    begin: int

    @classmethod
    def read(cls, path: Path) -> Waves:
        """Raises SailsimError for a file that is none."""
        nets: dict[str, list[tuple[str, ...]]] = {}
        scope: list[str] = []
        with path.open("rb") as lines:
            for line in lines:
                words = line.decode("utf-8", "replace").split()
                if words[:1] == ["$scope"]:
                    scope.append(words[2])
                elif words[:1] == ["$upscope"]:
                    scope.pop()
                elif words[:1] == ["$var"]:
                    nets.setdefault(words[3], []).append((*scope, words[4]))
                elif words[:1] == ["$enddefinitions"]:
                    return cls(path, nets, lines.tell())
        raise SailsimError(f"{path} has no waves; allowed is a simulator's value change dump (VCD).")

    def changes(self) -> Iterator[tuple[int, str, str]]:
        """Time, code and new value of every change, in order."""
        time = 0
        with self.path.open("rb") as file:
            file.seek(self.begin)
            for line in map(bytes.decode, file):
                first = line[0]
                if first in "01xz":
                    yield time, line[1:-1], first
                elif first == "#":
                    time = int(line[1:])
                elif first == "b":
                    value, code = line[1:].split()
                    yield time, code, value


def before_edges(waves: Waves, scope: str, ports: Ports) -> list[dict[str, str]]:
    """The bits of each port of a module, as they were before each rising edge of its clock."""
    at = tuple(scope.split("."))
    named = {net[-1]: code for code, names in waves.nets.items() for net in names if net[:-1] == at}
    missing = next((port for port in ports if port not in named), None)
    if missing:
        raise SailsimError(f"{waves.path} has no {scope}.{missing}; allowed are waves of that module.")

    def wide(bits: str, width: int) -> str:
        return bits.rjust(width, "x" if bits[0] == "x" else "0")

    value = dict.fromkeys((named[port] for port in ports), "x")
    clock, edges = named[CLOCK], list[dict[str, str]]()
    now, changed = 0, dict[str, str]()
    for time, code, new in waves.changes():
        if code not in value:
            continue
        if time != now:
            value |= changed
            now, changed = time, {}
        changed[code] = new
        if code == clock and new == "1" and value[clock] == "0":
            edges.append({port: wide(value[named[port]], len(of["bits"])) for port, of in ports.items()})
    return edges


_BENCH = """`timescale 1ps / 1fs
module bench;
  reg clk = 0;
  reg [{most_in}:0] given, all_given [0:{most}];
  wire [{most_out}:0] got;
  reg [{most_out}:0] wrong, asked [0:{most}], known [0:{most}];
  integer i, j;
  {module} dut ({connections});
  always @(posedge clk) given <= all_given[i + 1];
  initial begin
    $readmemb("given", all_given);
    $readmemb("asked", asked);
    $readmemb("known", known);
    given = all_given[0];
    $dumpfile("gates.vcd");
    #{half} $dumpvars(0, dut);
    for (i = 0; i < {most}; i = i + 1) begin
      wrong = (got ^ asked[i]) & known[i];
      if (i > 0 && wrong !== 0) for (j = 0; j <= {most_out}; j = j + 1)
        if (wrong[j] !== 1'b0) $display("differs %0d %0d", i, j);
      clk = 1;
      #{half} clk = 0;
      #{half};
    end
    $finish(0);
  end
endmodule
"""
"""Feeds the gates, cycle by cycle, what the module got, and compares what they answer. Inputs change at the
clock's edge with the registers, so a net changes once a cycle. Waves begin when all nets have a value."""


def simulated(flow: Flow, module: str, ports: Ports, edges: list[dict[str, str]], period: float) -> None:
    """Leave the waves of a module's gates, flattened in its `.v`, in `gates.vcd`.

    Raises SailsimError where they answer otherwise.
    """
    flow.yosys(
        "flat",
        "read_rtlil gates.il",
        f"hierarchy -top {module}",
        "flatten",
        "rename -enumerate -pattern g%",
        "splitnets -ports",
        "opt_clean -purge",
        f"write_verilog -noattr {module}.v",
    )
    words: dict[str, list[str]] = {}
    connections, bits = [f".{CLOCK}(clk)"], list[str]()
    for way, vector in (("input", "given"), ("output", "got")):
        names = [port for port in ports if ports[port]["direction"] == way and port != CLOCK]
        words[way] = ["".join(edge[port] for port in reversed(names)) for edge in edges]
        bits = [
            f"{port}[{n}]" if len(ports[port]["bits"]) > 1 else port
            for port in names
            for n in range(len(ports[port]["bits"]))
        ]
        connections += [f".\\{bit} ({vector}[{n}])" for n, bit in enumerate(bits)]
    width_in, width_out = (len(words[way][0]) for way in ("input", "output"))
    as_known = str.maketrans("xz", "00")
    for name, way, change in (
        ("given", "input", as_known),
        ("asked", "output", as_known),
        ("known", "output", str.maketrans("01xz", "1100")),
    ):
        (flow.work / name).write_text("\n".join([*words[way], words[way][-1]]).translate(change) + "\n")
    bench = _BENCH.format(
        module=module, connections=", ".join(connections), most=len(edges), most_in=width_in - 1,
        most_out=width_out - 1, half=f"{period / 2:.3f}",
    )  # fmt: skip
    (flow.work / "bench.v").write_text(bench)
    sources = ["bench.v", "cells.v", f"{module}.v"]
    _run(["iverilog", "-g2012", "-s", "bench", "-o", "bench.vvp", *sources], flow.work)
    said = _run(["vvp", "-n", "bench.vvp"], flow.work)
    if differs := re.search(r"^differs (\d+) (\d+)$", said, re.MULTILINE):
        cycle, bit = map(int, differs.groups())
        raise SailsimError(f"{module}'s gates differ from the waves: {bits[bit]} in cycle {cycle}.")


def reads_waves() -> bool:
    """Whether there is an OpenSTA that takes activity from waves. Versions before 2.7 replace what they are
    given by what they make of the inputs'."""
    if shutil.which("sta") is None:
        return False
    with tempfile.TemporaryDirectory(prefix="sailsim-rtl-") as folder:
        (Path(folder) / "has.tcl").write_text("puts [info commands read_vcd]\n")
        return "read_vcd" in _run(["sta", "-no_splash", "-exit", "has.tcl"], Path(folder))


def energy(flow: Flow, module: str, period: float, waves: Waves, scope: str) -> Row:
    """pJ of a cycle of a module without SRAM, from the waves of one of its instances.

    Raises SailsimError where the gates do not answer as the waves do.
    """
    ports: Ports = json.loads((flow.work / "ports.json").read_text())["modules"][module]["ports"]
    edges = before_edges(waves, scope, ports)
    if RESET in ports:
        edges = edges[next((n for n, edge in enumerate(edges) if edge[RESET] == "0"), len(edges)) :]
    if not edges:
        raise SailsimError(f"{waves.path}: {scope}.{CLOCK} stands still; allowed are waves from a reset on.")
    simulated(flow, module, ports, edges, period)
    said = opensta(
        flow, {module: ()}, period, "read_vcd -scope bench/dut gates.vcd", "report_power -digits 8"
    )
    total = re.search(r"^Total\s+(\S+)\s+(\S+)\s+(\S+)\s+(\S+)", said, re.MULTILINE)
    if total is None:
        raise SailsimError(f"OpenSTA reports no power of {module}; allowed are libraries with power tables.")
    names = ("internal_pj", "switching_pj", "leakage_pj", "pj")
    of_cycle = {
        name: float(f"{float(each) * period:.4g}") for name, each in zip(names, total.groups(), strict=True)
    }
    often = {
        port: sum(edge[port] == "1" for edge in edges)
        for port, of in sorted(ports.items())
        if len(of["bits"]) == 1 and port != CLOCK
    }
    return {"module": module, "period_ps": period, "cycles": len(edges), **of_cycle, "high": often}


# --- All of it ---


def synthesise(flow: Flow, periods: Sequence[float], waves: Path | None, scope: str) -> dict[str, list[Row]]:
    """Rows of every module at every period, and of energies at the last.

    ``waves``: of a simulation (VCD) in which ``scope`` is the top module; None: no energies.
    """
    inside = mapped(flow)
    count, places = Counter[str](), dict[str, str]()
    below: dict[str, set[str]] = {}
    """Of each module how many there are, where one is, and what is inside. What is inside comes first."""

    def walk(module: str, at: str) -> None:
        count[module] += 1
        for name, other in inside[module].items():
            if other in inside:
                walk(other, f"{at}.{name}")
        if module not in places:
            own = set(inside[module].values()) & set(inside)
            below[module] = own.union(*(below[other] for other in own))
            places[module] = at

    walk(flow.top, scope)
    timed = shutil.which("sta") is not None
    rows: list[Row] = []
    energies: list[Row] = []
    for period in with_progress(periods, "syntheses"):
        cells = gates(flow, period)
        there = [module for module in places if module in cells]
        asked_of = {module: below[module] & set(there) for module in there}
        longest = paths(flow, asked_of, period) if timed else {}
        area: dict[str, float] = {}
        for module in there:
            own = float(cells[module].get("area", 0))
            area[module] = own + sum(area.get(other, 0) for other in inside[module].values())
            kinds: Mapping[str, int] = cells[module]["num_cells_by_type"]
            row = {
                "module": module,
                "instances": count[module],
                "period_ps": period,
                "cells": sum(n for kind, n in kinds.items() if kind not in places),
                "own_um2": round(own, 3),
                "area_um2": round(area[module], 3),
                "path_ps": longest.get(module),
            }
            rows.append(row)
        if waves and period == periods[-1]:
            whole = [m for m in there if all(set(inside[x].values()) <= set(inside) for x in (m, *below[m]))]
            parts = set[str]().union(*(below[module] for module in whole))
            for module in (each for each in whole if each not in parts):
                energies.append(energy(flow, module, period, Waves.read(waves), places[module]))
    return {"rows": rows, "energies": energies}


def version(*command: str) -> str | None:
    """What a tool calls itself; None where it is not installed."""
    if shutil.which(command[0]) is None:
        return None
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip().split("\n")[0]


def run(asked: argparse.Namespace) -> dict[str, Any]:
    """Synthesise a machine's unit, as `main` is asked, and write `RESULTS` to a folder, whole or not at all.

    Raises:
        SailsimError: a missing tool or library, a library that lacks a cell, a unit that the RTL cannot be.
    """
    periods = [float(value) for value in parse_numbers("PERIODS", asked.periods) if value]
    if shutil.which("yosys") is None:
        raise SailsimError("There is no yosys on PATH; allowed is one (Debian: apt-get install yosys).")
    if not periods:
        raise SailsimError("PERIODS is 0; allowed are periods of the clock in ps, such as 600,1000.")
    if asked.waves and shutil.which("iverilog") is None:
        raise SailsimError("There is no iverilog on PATH; allowed is one (Debian: apt-get install iverilog).")
    if asked.waves and not reads_waves():
        raise SailsimError("WAVES needs OpenSTA's read_vcd, which 2.7 has; allowed is such a sta on PATH.")
    files, sources = libraries(asked.lib), sorted(asked.rtl.glob("*.sv"))
    if not sources:
        raise SailsimError(f"{asked.rtl} has no *.sv; allowed is the folder rtl of the repository.")
    machine = load_system(asked.system)
    pim = machine.require_pim()
    unit = machine.unit_text(slices=1, convert=str(pim.convert.value))
    code = uniform_format(WBITS, 128).base.code
    assert code is not None
    try:
        text = package(unit, code, 8, True, pim.default_nbw, BATCH)
    except ValueError as error:
        raise SailsimError(f"system {asked.system}: {error}") from None
    with tempfile.TemporaryDirectory(prefix="sailsim-rtl-") as folder:
        work = Path(folder)
        (work / "sail_pkg.sv").write_text(text)
        flow = Flow([work / "sail_pkg.sv", *(path.resolve() for path in sources)], asked.top, files, work)
        print("rtl/ is mapped to the library's cells, then sized for each period", file=sys.stderr)
        waves = asked.waves and asked.waves.resolve()
        found = synthesise(flow, periods, waves, asked.scope or asked.top)
    document: dict[str, Any] = {
        "kind": "synthesised",
        "system": asked.system,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "yosys": version("yosys", "-V"),
        "opensta": version("sta", "-version"),
        "libraries": {file.name: sha256_of(file, "liberty file")[:16] for file in files},
        "rtl_sha256": hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:16],
        "parameters": dict(re.findall(r"int (\w+) = (-?\d+);", text)),
    }
    lines = [json.dumps({key: value}) for key, value in document.items()]
    lines += [json.dumps({f"{name}[]": row}) for name, rows in found.items() for row in rows]
    write_whole(asked.out / RESULTS, ("\n".join(lines) + "\n").encode())
    return document | found


def main(words: Sequence[str] | None = None) -> int:
    """The command behind `make rtl`; returns its exit status."""
    parser = argparse.ArgumentParser(prog="make rtl", description=__doc__)
    parser.add_argument("--system", default="sail-n1:pim.arrays=1:pim.convert=unit")
    parser.add_argument("--rtl", type=Path, default=Path("rtl"))
    parser.add_argument("--out", type=Path, default=Path("out/rtl"))
    parser.add_argument("--periods", default=",".join(map(str, PERIODS)))
    parser.add_argument("--waves", type=Path)
    parser.add_argument("--scope")
    parser.add_argument("--top", default="sail_unit")
    parser.add_argument("lib", nargs="*")
    options = parser.parse_args(words)
    try:
        found = run(options)
    except (SailsimError, OSError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    print(f"{'module':<20} {'asked, ps':>9} {'path, ps':>9} {'area, um2':>12}")
    for row in found["rows"]:
        path = f"{row['path_ps'] or '-':>9}"
        print(f"{row['module']:<20} {row['period_ps']:>9g} {path} {row['area_um2']:>12,.1f}")
    print(options.out / RESULTS)
    return 0


if __name__ == "__main__":
    sys.exit(main())
