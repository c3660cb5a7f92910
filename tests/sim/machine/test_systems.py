"""System files: what ships is complete and sourced, what is wrong ends in one sentence."""

import json
import math
import tomllib
from importlib import resources

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from sailsim.base.errors import SailsimError
from sailsim.base.quantity import Quantity
from sailsim.sim.machine.catalog import error_sentence as sentence_of
from sailsim.sim.machine.system import System
from sailsim.sim.machine.system_files import (
    gpu_names,
    json_schema,
    leaves,
    load_gpu,
    load_machine,
    load_system,
    system_names,
)

from ...refusals import extending, quantity, refusal

SHIPPED = [*system_names(), *gpu_names()]


def arrays(value: object = 8, unit: str = "arrays", **more: object) -> str:
    assumed = {"kind": "assumed", "low": 1, "high": 64, "note": "why"}
    return f"pim.arrays = {quantity(value, unit, **assumed | more)}"


@pytest.mark.parametrize("name", SHIPPED)
def test_every_value_of_a_shipped_machine_is_sourced(name):
    machine = load_machine(name)
    assert machine.name == name
    values = leaves(machine).values()
    assert len(values) >= 8
    for value in values:
        assert value.source in machine.sources, value
        if isinstance(value, Quantity) and value.kind == "assumed":
            assert value.low is not None
            assert value.high is not None
            assert value.low < value.high, value


def test_one_switch_gives_the_baseline(tmp_path):
    sail = load_system("sail-n1")
    off = load_system(extending(tmp_path, "sail-n1", "pim.enabled = false"))
    assert not off.has_pim
    assert off.digest != sail.digest


BAD = [
    ("pim.arays = 3", "pim.arays"),
    (arrays(source=None), "pim.arrays.source is missing"),
    (arrays(source=" "), "pim.arrays needs a source"),
    (arrays(unit="rows"), "has the unit 'rows'; allowed is 'arrays'"),
    (arrays(kind="guess"), "kind is 'guess'; allowed is 'measured', 'synthesised',"),
    (f"pim.clock = {quantity(-1.5, 'GHz', kind='assumed', low=-2.0, high=2.0, note='why')}",
     "pim.clock is -1.5; allowed is a number at least 0.001 and at most 1000 in GHz"),
    (arrays(2.5), "is 2.5; allowed is a whole number"),
    (arrays(low=None), "pim.arrays is assumed, so it needs its range"),
    (arrays(note=None), "pim.arrays is assumed, so it needs the reason"),
    (arrays(65), "needs low <= value <= high"),
    (arrays("3"), ".value is '3'; allowed is a number."),
    (f"pim.arrays = {quantity(math.nan, 'arrays').replace('NaN', 'nan')}", "finite"),
    ("pim.enabled = 'yes'", "pim.enabled is 'yes'"),
    ("pim.substrate = {value='magic', source='x', kind='paper'}", "pim.substrate is 'magic'"),
    (f"memory.peak_bandwidth = {quantity(300, 'GB/s', low=1, high=400)}",
     "peak_bandwidth is 300 GB/s, but channels is 8 channels of 25.6 GB/s, which are 204.8 GB/s"),
    (f"memory.clock = {quantity(1.2, 'GHz')}",
     "clock is 1.2 GHz, which is 2400 MT/s; allowed is what type says, ddr4-3200"),
    (f"pim.rows = {quantity(16, 'rows')}", "rows"),
    ("format = 7", "format is 7"),
    ("pim.arrays = 3", "pim.arrays is 3; allowed is a table with value, unit, source and kind, such as {"),
    (arrays(source=3), ".source is 3; allowed is a text."),
    ('cores.isa = { value = 3, source = "a test", kind = "paper" }',
     "cores.isa.value is 3; allowed is a text or true or false."),
    ("pim.enabled = 1", "pim.enabled is 1; allowed is true or false."),
]  # fmt: skip


CACHE = [
    ('reduce = { value = 3, unit = "cycles", kind = "paper" }', "accelerator.reduce.source is missing"),
    (f"reduce = {quantity(-1, 'cycles')}", "accelerator.reduce is -1"),
    (f"clock = {quantity(0, 'GHz')}", "accelerator.clock is 0"),
    (f"divide = {quantity(3, 'cycles')}", "accelerator.divide is not"),
    ('backend = "magic"', "accelerator.backend is 'magic'; allowed are"),
]
BANKS = [
    (f"banks = {quantity(1.5, 'banks')}", "accelerator.banks is 1.5"),
    (f"refresh = {quantity(9999, 'ns')}", "refresh is 9999 ns; allowed"),
    (f"row = {quantity(1, 'B')}", "row is 1 B; allowed is an element"),
    (f"access = {quantity(4096, 'B')}", "access is 4096 B; allowed is 2048 B, the row, at most"),
    ('sums = { value = "nobody", source = "a test", kind = "paper" }', "accelerator.sums is 'nobody'"),
]
ELSEWHERE = [
    ('pim.extends = "graviton2"', "pim.extends is 'graviton2'; allowed are sail-n1"),
    ("pim.extends = 3", "pim.extends is 3; allowed are sail-n1"),
    ('pim.extends = "sail-v2"', "pim.extends is 'sail-v2'; allowed are sail-n1"),
    ('cores.extends = "neoverse-v9"', "cores.extends is 'neoverse-v9'; allowed are neoverse-n"),
    ('memory.type = { value = "ddr6-9000", source = "x", kind = "paper" }', "memory.type is 'ddr6-9000'"),
]
FILES = [
    *(("sail-n1", *row) for row in BAD),
    *(("graviton4", *row) for row in ELSEWHERE),
    *(("neural-cache-n1", f"[accelerator]\n{line}", words) for line, words in CACHE),
    *(("aim-n1", f"[accelerator]\n{line}", words) for line, words in BANKS),
]


@pytest.mark.parametrize(("base", "text", "words"), FILES)
def test_bad_files_end_in_one_sentence(base, text, words, tmp_path):
    sentence = refusal(load_system, extending(tmp_path, base, text))
    assert words in sentence
    assert ("more)" in sentence) == ("ddr6" in text)  # whose clock and times are missing too
    assert "mine.toml" in sentence


def test_unknown_machines_are_told_what_there_is():
    with pytest.raises(
        SailsimError, match=r"is 'sial-n1' \(did you mean sail-n1 or .*\?\); allowed are a100, .*sail-n1"
    ):
        load_system("sial-n1")
    with pytest.raises(SailsimError, match=r"is a GPU; allowed are .*altra"):
        load_system("v100")
    with pytest.raises(SailsimError, match="is a CPU machine; allowed are a100"):
        load_gpu("altra")
    with pytest.raises(SailsimError, match="cannot be read"):
        load_system("nowhere/x.toml")


def test_a_circle_of_files_is_refused(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(f'extends = "{path}"\n')
    with pytest.raises(SailsimError, match="without a circle"):
        load_system(path)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"x = [", b"kind = 3\n", b"\0" * 9, b"[" * 5000])
def test_damaged_files_are_refused(content, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_bytes(content)
    assert str(path) in refusal(load_system, path)


_TABLE = tomllib.loads((resources.files("sailsim.sim") / "data" / "systems" / "graviton2.toml").read_text())
_PATHS = [(s, f) for s, t in _TABLE.items() if isinstance(t, dict) and s != "sources" for f in t]
_junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)


@given(
    path=st.sampled_from(_PATHS), key=st.sampled_from(["value", "unit", "source", "kind", "low"]), junk=_junk
)
def test_junk_in_a_field_is_an_error_or_a_value(path, key, junk):
    """The model refuses it in one sentence or holds a consistent machine."""
    table = json.loads(json.dumps(_TABLE))
    table[path[0]][path[1]][key] = junk
    try:
        system = System.model_validate(table)
    except ValidationError as error:
        sentence = sentence_of("mine.toml", error)
        assert path[1] in sentence
    else:
        assert getattr(getattr(system, path[0]), path[1]).source.strip()


def test_a_misspelt_field_comes_before_the_one_that_is_missing(tmp_path):
    path = tmp_path / "mine.toml"
    for shipped, field, wrong in (("l4", "sms = ", "smss = "), ("aim-n1", "row = ", "rwo = ")):
        text = (resources.files("sailsim.sim") / "data" / "systems" / f"{shipped}.toml").read_text("utf-8")
        path.write_text(text.replace(f"\n{field}", f"\n{wrong}").replace(f'"{shipped}"', '"mine"'))
        with pytest.raises(SailsimError, match=rf"\b{wrong[:-3]} is not a field of"):
            load_machine(path)


def test_an_editor_finds_files_that_ship_right_and_a_slip_wrong():
    jsonschema = pytest.importorskip("jsonschema", reason="not installed (make docs installs it)")
    schema = jsonschema.Draft202012Validator(json_schema())
    for path in resources.files("sailsim.sim").joinpath("data", "systems").iterdir():
        assert schema.is_valid(tomllib.loads(path.read_text("utf-8"))), path
    four = {"value": 4, "unit": "arrays", "source": "x", "kind": "paper"}
    for pim, right in (({"arrays": four}, True), ({"arays": four}, False), ({"arrays": {"value": 4}}, False)):
        assert schema.is_valid({"extends": "sail-n1", "pim": pim}) == right
