"""`make rtl`: a small machine through a library of five cells, with round numbers invented for this."""

import json
import shutil
from pathlib import Path

import pytest

from sailsim.sim import rtl_flow
from sailsim.sim.rtl_flow import RESULTS, main, toggles

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
nom_temperature : 25; nom_process : 1; default_max_transition : 1000;
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
    (folder / "bin" / "yosys").unlink()
    assert made(folder, library(folder)) == 2
    assert "There is no yosys" in one_error(capsys)
    assert not (folder / "out").exists()


def test_toggles_of_a_file_of_waves(tmp_path):
    names = ("scope module m", "var wire 1 n1 clk", "var wire 1 n2 q", "var wire 4 n9 bus [3:0]")
    names += ("scope module g1", "var wire 1 n3 D", "upscope", "upscope", "enddefinitions")
    changes = "#0 b0_n1 bx_n2 b1_n3 #5 b1_n1 b1_n2 b1010_n9 #10 b0_n1 #15 b1_n1 b0_n2 b0_n3 #20 b0_n1"
    vcd = tmp_path / "gates.vcd"
    lines = [*(f"${name} $end" for name in names), *changes.replace("_", "~").split()]
    vcd.write_text("\n".join(lines).replace("~", " ") + "\n")
    found = toggles(vcd)
    assert found.of_port("clk") == "n1"
    assert found.changes["n1"] == 4
    assert found.changes["n2"] == 1  # from x to 1 is none
    assert found.high["n2"] == 10
    assert found.pins["n3"] == [("g1", "D")]
    assert found.high["n3"] == 15
    assert found.time == 20
    assert "n9" not in found.pins
