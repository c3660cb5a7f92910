"""Substrates as files, and the text form of a unit: what ships, one's own, and what is wrong."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sailsim import _core
from sailsim.base.errors import SailsimError
from sailsim.sim.machine.substrate import (
    OPERATIONS,
    CycleCost,
    format_cost,
    load_substrate,
    parse_cost,
    substrate_names,
)
from sailsim.sim.machine.system_files import load_system, vary
from sailsim.sim.point import Point
from sailsim.sim.step.engine import simulate_step
from sailsim.workloads.model_files.load import load_model

from ...refusals import extending, quantity, refusal

ROOT = Path(__file__).parents[3]
SAIL = load_system("sail-n1")
SMALL: dict[str, Any] = {"model": "smollm2-135m", "group_size": 32}


def cost(value: object, operation: str = "add", unit: str = "cycles", **more: object) -> str:
    return f"costs.{operation} = {quantity(value, unit, **more)}"


def own(folder: Path, text: str = cost(5, "read")) -> Path:
    return extending(folder, "row_dfm", text)


def step_s(system: str = "sail-n1", **fields: Any) -> float:
    point = Point(system=system, **SMALL | fields)
    return simulate_step(load_system(system), load_model(point.model), point).step_s


def test_the_core_takes_the_costs_of_the_files():
    assert substrate_names() == ["bit_parallel", "bit_serial", "row_dfm"]
    for name in substrate_names():
        substrate = load_substrate(name)
        core = SAIL.slice_config(substrate=name).substrate
        assert (core.name, core.layout, core.accumulate, core.prt_helps) == (
            substrate.name, substrate.layout, substrate.accumulate, substrate.prt_helps,
        )  # fmt: skip
        assert set(substrate.costs) == set(OPERATIONS)
        for operation in OPERATIONS:
            for n in (1, 2, 8):  # a polynomial of degree 2
                assert core.cycles(operation, n) == substrate.cycles(operation, n)


# --- A file of one's own ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("steps", "slower"),
    [
        ('stage = ["60 write"]', "load"),
        ('table_add = ["3 read", "write", "add entry"]', "build"),
        ('lookup = ["read", "shift accumulator"]', "lookup"),
        ('scale_block = ["fp_mul 32", "2 fp_add 32"]', "convert"),
        ('scale_row = ["2 fp_mul 32"]', "convert"),
    ],
)
def test_what_a_phase_does_is_its_time(tmp_path, steps, slower):
    path = own(tmp_path, f"[phases]\n{steps}\n")
    before, after = (
        simulate_step(SAIL, load_model(SMALL["model"]), Point(substrate=name, **SMALL))
        for name in ("row_dfm", str(path))
    )
    for phase in ("build", "lookup", "convert"):
        longer = after.breakdown[phase] > before.breakdown[phase]
        assert longer == (phase == slower)
    assert (after.breakdown["load"] > before.breakdown["load"]) == (slower == "load")
    assert after.counts == before.counts  # of entries and weights, however they are reached


def test_a_file_that_changes_is_another_substrate(tmp_path):
    """Within one process, as in a notebook: nothing that was worked out for the file before is taken."""
    seconds, path = [], tmp_path / "mine.toml"
    for text in ("", '[phases]\nlookup = ["9 read"]\n', ""):
        assert own(tmp_path, text) == path
        seconds.append(step_s(substrate=str(path)))
    assert seconds[1] > seconds[0] == seconds[2]


def test_a_system_names_it_relative_to_its_own_file(tmp_path, monkeypatch):
    (tmp_path / "parts").mkdir()
    own(tmp_path / "parts")
    choice = '{ value = "parts/mine.toml", source = "a test", kind = "paper" }'
    system = extending(tmp_path, "sail-n1", f"pim.substrate = {choice}", "machine")
    child = extending(tmp_path / "parts", "../machine.toml", name="child")
    for path in (system, child):
        assert load_system(path).slice_config().substrate.name == "mine"
    assert step_s(str(child)) == step_s(substrate=str(tmp_path / "parts" / "mine.toml"))
    monkeypatch.chdir(tmp_path / "parts")
    assert load_system("child.toml").slice_config().substrate.name == "mine"


# --- Bad files -------------------------------------------------------------------------------------------

ROW_DFM = [
    (cost(1, source=None), "costs.add.source is missing; it needs a value"),
    (cost(1, source=" "), "costs.add needs a source"),
    (cost(1, kind="guess"), "costs.add.kind is 'guess'"),
    (cost(1, "mul"), "costs.mul is no operation; allowed are read, write"),
    (cost([-9, 8]), "costs.add is -1 cycles at n = 1 by its value; a cost is never negative"),
    (cost([1, 1, 1, 1]), "costs.add has 4 coefficients as its value; allowed are 1 to 3"),
    (cost([]), "costs.add has 0 coefficients"),
    (cost(2000000), "costs.add has the coefficient 2000000"),
    (cost(1.5), "costs.add.value is 1.5"),
    (cost(1, unit="ns"), "costs.add.unit is 'ns'"),
    (cost(1, kind="assumed", note="y"), "costs.add is assumed, so it needs its range"),
    (cost([0, 1], low=2), "costs.add needs low <= value <= high, not 2 <= 1 <= 1 at n = 1"),
    ('layout = "diagonal"', "layout is 'diagonal'"),
    ('accumulate = "nowhere"', "accumulate is 'nowhere'"),
    ('layout = "columns"', "accumulate is 'behind'; allowed with the layout 'columns'"),
    ('accumulate = "in_array"', "prt_helps is true, but phases.hit has no step"),
    ('colour = "blue"', "colour is not a field of a substrate file"),
    ('phases.lookup = ["2"]', "phases.lookup has '2'; allowed is how often, one of read, write"),
    ('phases.lookup = ["read", "2 jump"]', "phases.lookup has '2 jump'"),
    ('phases.lookup = ["read write"]', "phases.lookup has 'read write'"),
    ('phases.table_add = ["add row"]', "'add row'; 'row' is no number up to 64 and none of weight, entry"),
    ('phases.stage = ["9999 write"]', "phases.stage has '9999 write'"),
    ('phases.stage = "write"', "phases.stage is 'write'"),
    ('phases.fly = ["write"]', "phases.fly is not a field of a substrate file"),
    (cost([0, 0, 1000000]) + "\nphases.lookup = ['9 add accumulator']",
     "phases.lookup takes 35721000000 cycles on the widest tile; allowed are 0..4294967296"),
    ("format = 2", "format is 2"),
    ("[costs", "is not TOML"),
]  # fmt: skip
BIT_PARALLEL = [
    ('energy.mul = "array_read_fj_bit"', "energy.mul is no operation; allowed are read, write"),
    ('energy.add = "sunlight"',
     "energy.add is 'sunlight'; allowed is a quantity in fJ/bit, or one of array_read_fj_bit,"),
    ('energy.add = "9999 array_read_fj_bit"',
     "energy.add is '9999 array_read_fj_bit'; allowed is a quantity in fJ/bit, or one of"),
    (f"energy.add = {quantity(3, 'pJ')}", "energy.add has the unit 'pJ'; allowed is 'fJ/bit'"),
    (f"energy.add = {quantity(3, 'fJ/bit', source=None)}", "energy.add.source is missing; it needs a value"),
    (f"energy.add = {quantity(-3, 'fJ/bit')}", "energy.add is -3; allowed is a number at least 0 in fJ/bit"),
    ('area.beside.mul = "full_adder_um2"', "area.beside.mul is no operation; allowed are read, write"),
    ('area.cell = "nand2_um2"', "area.cell is 'nand2_um2'; allowed is a quantity in um2, or one of cell_um2"),
    (f"area.efficiency = {quantity(2, 'ratio')}",
     "area.efficiency is 2; allowed is a number above 0 and at most 1"),
    ('accumulate = "behind"\nprt_helps = true\narea.beside.add = "full_adder_um2"',
     "area.beside.shift is missing; it needs a value where entries are shifted and added"),
]  # fmt: skip
BAD = [("row_dfm", *row) for row in ROW_DFM] + [("bit_parallel", *row) for row in BIT_PARALLEL]


@pytest.mark.parametrize(("base", "text", "words"), BAD)
def test_bad_files_end_in_one_sentence(base, text, words, tmp_path):
    sentence = refusal(load_substrate, extending(tmp_path, base, text))
    assert words in sentence
    assert "mine.toml" in sentence


def test_a_missing_operation_or_phase_is_named(tmp_path):
    path = tmp_path / "half.toml"
    shipped = (ROOT / "sailsim" / "sim" / "data" / "substrates" / "row_dfm.toml").read_text()
    mine = shipped.replace('name = "row_dfm"', 'name = "half"')
    for line, why in (
        ("write = {", r"costs\.write is missing; every operation needs a cost"),
        ("lookup = [", r"phases\.lookup is missing; it needs a value"),
    ):
        kept = [text for text in mine.splitlines() if not text.startswith(line)]
        assert len(kept) == len(mine.splitlines()) - 1
        path.write_text("\n".join(kept))
        with pytest.raises(SailsimError, match=why):
            load_substrate(path)


def test_unknown_names_are_told_what_there_is(tmp_path):
    with pytest.raises(
        SailsimError,
        match=r"substrate is 'row_dm' \(did you mean row_dfm\?\); allowed are bit_parallel, .*path",
    ):
        load_substrate("row_dm")
    with pytest.raises(SailsimError, match=r"substrate file .*none.toml cannot be read"):
        load_substrate(tmp_path / "none.toml")


# --- The text form ---------------------------------------------------------------------------------------

FIELD_VALUES: dict[str, st.SearchStrategy[Any]] = {
    **dict.fromkeys(("rows", "cols", "slices", "port_bytes", "convert_units"), st.integers(1, 1 << 20)),
    **dict.fromkeys(("prt_entries", "t_zero", "t_prt"), st.integers(0, 1 << 20)),
    **dict.fromkeys(("activation_buffer_bits", "accumulator_buffer_bits"), st.integers(1, 1 << 40)),
    "arrays": st.integers(1, 1 << 16),
    "weights_kib_cycles": st.integers(0, 1 << 30),
    "accumulator_bits": st.integers(2, 63),
    "prt_policy": st.sampled_from(["lru", "fifo", "direct"]),
    "double_buffer": st.booleans(),
    "dfm_split": st.sampled_from(["n", "k"]),
    "convert": st.sampled_from(["memory", "cores"]),
}


@st.composite
def unit_fields(draw: st.DrawFn) -> dict[str, Any]:
    """Fields that agree with each other too."""
    fields = draw(st.fixed_dictionaries(FIELD_VALUES))
    fields["dfms"] = draw(st.integers(1, 64))
    fields["arrays"] *= fields["dfms"]
    assume(fields["arrays"] <= 1 << 20)
    fields["convert_latency"] = draw(st.integers(1, 1 << 20))
    fields["convert_interval"] = draw(st.integers(1, fields["convert_latency"]))
    return fields


@given(fields=unit_fields(), name=st.sampled_from(substrate_names()))
def test_a_unit_survives_its_text(fields, name):
    text = SAIL.unit_text(**fields, substrate=name)
    assert text.split("\n", 1)[1].startswith("rows ")
    unit = _core.SliceConfig(text)
    assert {field: getattr(unit, field) for field in fields} == fields
    assert unit.substrate.name == name


def test_fields_that_no_unit_has_are_named():
    with pytest.raises(ValueError, match="colour is no field of a unit; allowed are rows, cols"):
        SAIL.unit_text(colour="blue")


# --- What a substrate's file says of energy and area ---


def test_a_file_may_have_numbers_of_its_own_and_share_others(tmp_path):
    path = own(tmp_path, f'energy.add = {quantity(3, "fJ/bit")}\nenergy.read = "2 array_read_fj_bit"')
    charges = load_substrate(path).charges()
    assert str(charges["energy.add"]) == "3 fJ/bit"
    assert charges["energy.read"] == "2 array_read_fj_bit"
    assert charges["energy.write"] == load_substrate("row_dfm").charges()["energy.write"]
    assert load_substrate(path).digest != load_substrate("row_dfm").digest


# --- Costs of operations in words, and substrates that are named with other costs ---


@pytest.mark.parametrize(
    ("words", "polynomial", "settled"),
    [
        ("3", 3, "3"),
        ("n", [0, 1, 0], "n"),
        ("8n-2", [-2, 8, 0], "8n-2"),
        ("-2 + 8 n", [-2, 8, 0], "8n-2"),
        ("n^2+n+1", [1, 1, 1], "n^2+n+1"),
        ("n+n", [0, 2, 0], "2n"),
        ("0", 0, "0"),
        ("0n", 0, "0"),
    ],
)
def test_words_are_polynomials(words, polynomial, settled):
    assert parse_cost(words) == polynomial
    assert format_cost(parse_cost(words)) == settled


@given(st.lists(st.integers(-50, 50), min_size=3, max_size=3))
def test_a_cost_survives_its_words(coefficients):
    try:
        cost = CycleCost(value=coefficients, unit="cycles", source="x", kind="paper")
    except ValueError:
        assume(False)
    read = CycleCost(value=parse_cost(str(cost)), unit="cycles", source="x", kind="paper")
    assert read.coefficients == cost.coefficients


@given(st.text("0123456789n+-^: .eif", max_size=12))
def test_any_text_is_a_cost_or_refused(text):
    try:
        found = parse_cost(text)
    except ValueError as error:
        why = str(error)
    else:
        why = "is a cost" if parse_cost(format_cost(found)) == found else "was lost in its words"
    assert why.startswith(("is ", "has "))


def test_a_name_with_costs_is_a_substrate_of_its_own():
    plain, slow = load_substrate("row_dfm"), load_substrate("row_dfm:add=2n:read=3")
    assert (slow.cycles("add", 6), slow.cycles("read"), slow.cycles("write")) == (12, 3, 1)
    assert slow.name == "row_dfm:read=3:add=2n"
    assert slow.digest != plain.digest
    assert (slow.energy, slow.area, slow.phases) == (plain.energy, plain.area, plain.phases)
    assert SAIL.slice_config(substrate="row_dfm:add=2n").substrate.cycles("add", 6) == 12
    assert plain.cycles("add", 6) == 1


@pytest.mark.parametrize("value", ["[0, 1.5]", "1.5", '"n/2"', '"1.5n"', "true", "{ n = 1 }"])
def test_a_cost_of_no_whole_cycles_is_refused_in_words(value, tmp_path):
    path = own(tmp_path, cost("VALUE").replace('"VALUE"', value))
    with pytest.raises(SailsimError, match=r"costs.add.value is .*; allowed are whole cycles.*polynomial"):
        load_substrate(path)


BAD_COSTS = {
    "row_dfm:mul=3": "'row_dfm:mul=3'; allowed before = are read, write, logic, shift, copy, add, fp_mul,",
    "row_dfm:add=-1": "where add is -1 cycles at n = 1; a cost is never negative",
    "row_dfm:add=8-n": "where add is -1 cycles at n = 9; a cost is never negative",
    "row_dfm:add=inf": "where add is 'inf'; allowed are whole cycles from 0 on, or a polynomial of n bits",
    "row_dfm:add=1.5": "where add is '1.5'; allowed are whole cycles",
    "row_dfm:add=": "where add is ''; allowed are whole cycles",
    "row_dfm:add=2000000": "where add has the coefficient 2000000; allowed are whole numbers",
    "row_dfm:add=1:add=2": "'row_dfm:add=1:add=2', which sets add twice; allowed is once",
    "optical:add=1": "'optical'; allowed are bit_parallel, bit_serial, row_dfm or the path of a .toml file",
    "row_dfm:add": "'row_dfm:add' (did you mean row_dfm?); allowed are bit_parallel, bit_serial, row_dfm or",
}


@pytest.mark.parametrize("text", BAD_COSTS)
def test_bad_costs_are_one_sentence_wherever_they_are_said(text):
    assert BAD_COSTS[text] in refusal(Point, substrate=text)
    assert BAD_COSTS[text] in refusal(load_substrate, text)
    assert BAD_COSTS[text] in refusal(vary, SAIL, {"pim.substrate": text})


def test_a_phase_that_would_take_too_long_is_refused():
    rows = "1000000n^2+1000000n+1000000"
    with pytest.raises(SailsimError, match=r"substrate bit_serial:read=.*: phases\.merge takes .* cycles"):
        load_substrate(f"bit_serial:read={rows}:write={rows}:add=1000000n^2")
