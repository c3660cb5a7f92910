"""`make rtl`: a small machine through a library of five cells, with round numbers invented for this."""

import json
import shutil
from pathlib import Path

import pytest

import rtl_flow
from rtl_flow import RESULTS, Waves, before_edges, main
from sailsim.base.errors import SailsimError

RTL = Path(__file__).parents[2] / "rtl"
TINY = """
module tiny_leaf #(parameter int W = 2) (input clk, input logic on, output logic [W-1:0] count);
  always_ff @(posedge clk) if (on) count <= count + 1'b1;
endmodule
module sail_buffer (input clk, input d, output logic q);
  always_ff @(posedge clk) q <= d;
endmodule
module tiny (input clk, input on, output [2:0] a, output [2:0] b, output logic kept, output s);
  tiny_leaf #(.W(3)) one (clk, on, a);
  tiny_leaf #(.W(3)) two (clk, !on, b);
  sail_buffer rows (clk, on, s);
  LATCH
endmodule
"""
LATCH = "always_latch if (on) kept = a[0];"
# Index, load and delay: 10 ps, and a little more with the load.
TABLE = 'index_1("1, 100"); index_2("1, 100"); values("10, 30", "10, 30");'


def cell(name: str, area: float, *inputs: str, function: str = "", extra: str = "", out: str = "Y") -> str:
    """A cell whose arcs are all the same."""
    arcs = pins = ""
    tables = ("cell_rise", "cell_fall", "rise_transition", "fall_transition")
    filled = " ".join(f"{table}(t) {{{TABLE}}}" for table in tables)
    sense = "negative" if "!" in function else "positive"
    for pin in inputs:
        clock = pin == "CK"
        kind = "timing_type : rising_edge;" if clock else f"timing_sense : {sense}_unate;"
        pins += f"pin({pin}) {{ direction : input; capacitance : 1; {'clock : true;' * clock} }}"
        if clock or not extra.startswith("ff"):
            arcs += f'timing() {{ related_pin : "{pin}"; {kind} {filled} }}'
    answer = f'direction : output; function : "{function}"; max_capacitance : 100; {arcs}'
    return f"cell({name}) {{ area : {area}; {extra} {pins} pin({out}) {{ {answer} }} }}"


FF = 'ff(IQ, IQN) { clocked_on : "CK"; next_state : "D"; }'
LATCH_GROUP = 'latch(IQ, IQN) { enable : "G"; data_in : "D"; }'
CELLS = {
    "inverter": cell("INV", 1, "A", function="!A"),
    "nand": cell("NAND2", 2, "A", "B", function="!(A&B)"),
    "buffer": cell("BUF", 2, "A", function="A"),
    "flip-flop": cell("DFF", 10, "CK", "D", function="IQ", out="Q", extra=FF),
    "latch": cell("LAT", 6, "G", "D", function="IQ", out="Q", extra=LATCH_GROUP),
}
HEAD = """delay_model : table_lookup; time_unit : "1ps"; capacitive_load_unit(1, ff); voltage_unit : "1V";
current_unit : "1mA"; pulling_resistance_unit : "1kohm"; leakage_power_unit : "1pW"; nom_voltage : 1;
nom_temperature : 25; nom_process : 1; default_operating_conditions : typical;
operating_conditions(typical) { process : 1; temperature : 25; voltage : 1; }
default_max_transition : 1000;
input_threshold_pct_rise : 50; input_threshold_pct_fall : 50; output_threshold_pct_rise : 50;
output_threshold_pct_fall : 50; slew_lower_threshold_pct_rise : 10; slew_lower_threshold_pct_fall : 10;
slew_upper_threshold_pct_rise : 90; slew_upper_threshold_pct_fall : 90;
lu_table_template(t) { variable_1 : input_net_transition; variable_2 : total_output_net_capacitance;
index_1("1, 100"); index_2("1, 100"); }"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch) -> Path:
    """rtl/ with the tiny machine. ABC's other mapper stops at libraries of so few cells."""
    monkeypatch.setattr(rtl_flow, "ABC", rtl_flow.ABC.replace("map -B 0.9 {D}", "&get -n; &nf {D}; &put"))
    (tmp_path / "rtl").mkdir()
    (tmp_path / "rtl" / "tiny.sv").write_text(TINY.replace("LATCH", "assign kept = 1'b0;"))
    return tmp_path


def library(folder: Path, *without: str) -> str:
    """A liberty file without some of the cells."""
    cells = "\n".join(text for name, text in CELLS.items() if name not in without)
    path = folder / "invented.lib"
    path.write_text(f"library(invented) {{ {HEAD}\n{cells}\n}}\n")
    return str(path)


def made(folder: Path, *more: str) -> int:
    """Run `make rtl`'s command on the tiny machine."""
    asked = ["--rtl", str(folder / "rtl"), "--top", "tiny", "--out", str(folder / "out"), "--periods", "1000"]
    return main([*asked, *more])


def rows(folder: Path) -> dict[str, dict]:
    """The results by module."""
    lines = map(json.loads, (folder / "out" / RESULTS).read_text().splitlines())
    found = [line["rows[]"] for line in lines if "rows[]" in line]
    return {row["module"]: row for row in found}


def needs_yosys() -> None:
    if shutil.which("yosys") is None:
        pytest.skip("there is no yosys (Debian: apt-get install yosys)")


def test_areas_add_up_and_sram_has_none(folder, capsys):
    needs_yosys()
    assert made(folder, library(folder)) == 0
    found = rows(folder)
    assert set(found) == {"tiny", "tiny_leaf"}  # the buffer is SRAM: no gates
    leaf, top = found["tiny_leaf"], found["tiny"]
    assert leaf["instances"] == 2
    assert leaf["area_um2"] >= 3 * 10 + 3  # three flip-flops and some logic
    assert top["area_um2"] == pytest.approx(top["own_um2"] + 2 * leaf["area_um2"])
    if shutil.which("sta"):
        assert leaf["path_ps"] > 10
        assert top["path_ps"] >= leaf["path_ps"]


def test_latches_are_mapped_and_a_library_without_them_is_refused(folder, capsys):
    needs_yosys()
    (folder / "rtl" / "tiny.sv").write_text(TINY.replace("LATCH", LATCH))
    assert made(folder, library(folder)) == 0
    assert rows(folder)["tiny"]["own_um2"] >= 6
    shutil.rmtree(folder / "out")
    assert made(folder, library(folder, "latch")) == 2
    assert "has no latch" in one_error(capsys)
    assert not (folder / "out").exists()


def one_error(capsys) -> str:
    """The one sentence of standard error."""
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("Error: ")]
    return line


@pytest.mark.parametrize("lacking", ["flip-flop", "inverter"])
def test_a_library_without_needed_cells_is_refused(folder, capsys, lacking):
    needs_yosys()
    assert made(folder, library(folder, lacking)) == 2
    assert f"has no {lacking}" in one_error(capsys)
    assert not (folder / "out").exists()


def fake(folder: Path, monkeypatch, **tools: str) -> None:
    """A PATH with these tools alone, each a shell script."""
    (folder / "bin").mkdir()
    for name, body in tools.items():
        (folder / "bin" / name).write_text(f"#!/bin/sh\n{body}\n")
        (folder / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(folder / "bin"))


def test_missing_tools_and_libraries_are_one_sentence(folder, capsys, monkeypatch):
    fake(folder, monkeypatch, yosys="echo 'ERROR: no such gate.' >&2; exit 1")
    assert made(folder, library(folder)) == 2
    assert "yosys stopped: no such gate." in one_error(capsys)
    (folder / "empty").mkdir()
    for named in ([], [str(folder / "empty")], [str(folder / "no.lib")]):
        assert made(folder, *named) == 2
        assert "LIB is " in one_error(capsys)
    for what in (
        ["--system", "graviton2"],
        ["--system", "sail-n1"],
        ["--periods", "fast"],
        ["--periods", "0"],
    ):
        assert made(folder, *what, library(folder)) == 2
        one_error(capsys)
    assert made(folder, library(folder), "--waves", "unit.vcd") == 2
    assert "There is no iverilog" in one_error(capsys)
    for name in ("iverilog", "sta"):  # an OpenSTA without the command prints an empty line
        (folder / "bin" / name).write_text("#!/bin/sh\necho\n")
        (folder / "bin" / name).chmod(0o755)
        assert made(folder, library(folder), "--waves", "unit.vcd") == 2
        assert "WAVES needs OpenSTA's read_vcd" in one_error(capsys)
    (folder / "bin" / "yosys").unlink()
    assert made(folder, library(folder)) == 2
    assert "There is no yosys" in one_error(capsys)
    assert not (folder / "out").exists()


def waves(folder: Path, *counts: str, on: int = 1) -> list[str]:
    """Options for waves in which a leaf always counts, or never, and has these bits before each edge."""
    names = "scope module bench, scope module u, scope module one, var wire 1 ! clk, var wire 1 % on, "
    names += "var wire 3 n1 count [2:0], upscope, upscope, upscope, enddefinitions"
    lines = [f"${name} $end" for name in names.split(", ")] + ["$dumpvars", "0!", f"{on}%", "$end"]
    for cycle, count in enumerate(counts):
        lines += [f"#{10 * cycle}", "0!", f"b{count} n1", f"#{10 * cycle + 5}", "1!"]
    path = folder / "unit.vcd"
    path.write_text("\n".join(lines) + "\n")
    return ["--waves", str(path), "--scope", "bench.u"]


def test_ports_before_each_edge_of_the_clock(tmp_path):
    ports = {"on": {"bits": [1]}, "count": {"bits": [2, 3, 4]}}
    read = Waves.read(Path(waves(tmp_path, "x", "0", "1", "10", "x1")[1]))
    edges = before_edges(read, "bench.u.one", {"clk": {"bits": [0]}, **ports})
    assert [edge["count"] for edge in edges] == ["xxx", "000", "001", "010", "xx1"]
    assert {edge["on"] for edge in edges} == {"1"}
    with pytest.raises(SailsimError, match=r"unit.vcd has no bench.u.clk; allowed are waves of that module"):
        before_edges(read, "bench.u", {"clk": {"bits": [0]}})


def test_energies_are_of_the_waves(folder):
    needs_yosys()
    if not rtl_flow.reads_waves() or shutil.which("iverilog") is None:
        pytest.skip("there is no OpenSTA that reads waves (2.7 does), or no iverilog")
    found = {}
    for on, counts in ((1, ("x", "1", "10", "11", "100")), (0, ("0", "0", "0", "0", "0"))):
        assert made(folder, library(folder), *waves(folder, *counts, on=on)) == 0
        lines = map(json.loads, (folder / "out" / RESULTS).read_text().splitlines())
        [energy] = [line["energies[]"] for line in lines if "energies[]" in line]  # the top has SRAM inside
        assert (energy["module"], energy["cycles"], energy["high"]) == ("tiny_leaf", 5, {"on": 5 * on})
        found[on] = energy["switching_pj"]
    assert found[0] == 0 < found[1]  # where no net moves, none has energy of its own


def test_gates_that_differ_from_the_waves_have_no_energy(folder, capsys, monkeypatch):
    needs_yosys()
    if shutil.which("iverilog") is None:
        pytest.skip("there is no iverilog (Debian: apt-get install iverilog)")
    monkeypatch.setattr(rtl_flow, "reads_waves", lambda: True)  # it is not reached
    for counts, sentence in {
        ("0", "1", "11"): "tiny_leaf's gates differ from the waves: count[0] in cycle 2.",
        (): "stands still; allowed are waves from a reset on.",
    }.items():
        assert made(folder, library(folder), *waves(folder, *counts)) == 2
        assert sentence in one_error(capsys)
    (folder / "unit.vcd").write_text("no waves\n")
    assert made(folder, library(folder), "--waves", str(folder / "unit.vcd")) == 2
    assert "unit.vcd has no waves; allowed is" in one_error(capsys)
    assert not (folder / "out").exists()
