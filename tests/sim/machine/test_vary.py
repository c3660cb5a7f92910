"""A varied machine: the values asked for, checked like a file's, and the same machine from its file."""

import math
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sailsim.base.errors import SailsimError
from sailsim.base.quantity import Quantity
from sailsim.sim.machine.catalog import DRAM_TYPES, FileReference
from sailsim.sim.machine.system_files import (
    changed_values,
    extend_reference,
    leaves,
    load_machine,
    load_system,
    save_system,
    system_toml,
    value_of,
    vary,
)
from sailsim.sim.point import Point, set_fields, set_values

from ...refusals import extending, refusal

SAIL = load_system("sail-n1")
RANGED = {
    path: leaf
    for path, leaf in leaves(SAIL).items()
    if isinstance(leaf, Quantity) and leaf.low is not None and leaf.high is not None
}
# Choices that must fit each other are left to their own tests.
SHAPE = {"pim.rows", "pim.cols", "pim.nbw", "pim.accumulator", "pim.dfms"}
FREE = sorted(set(RANGED) - SHAPE - {"pim.convert_interval", "pim.convert_latency"})


def within(leaf: Quantity) -> st.SearchStrategy[float]:
    """Values inside the declared range of a field."""
    if all(isinstance(x, int) for x in (leaf.low, leaf.value, leaf.high)):
        return st.integers(leaf.low, leaf.high)
    return st.floats(leaf.low, leaf.high)


CHANGES = st.fixed_dictionaries({}, optional={path: within(RANGED[path]) for path in FREE})


@given(CHANGES)
def test_what_is_varied_has_the_values_and_nothing_else_changes(wanted):
    varied = vary(SAIL, wanted, name="mine", source="a study, sample 3, seed 1", note="why")
    differing = {path: value_of(leaf) for path, leaf in changed_values(varied, SAIL).items()}
    assert differing.keys() == wanted.keys()
    for path, value in wanted.items():
        leaf = leaves(varied)[path]
        assert isinstance(leaf, Quantity)
        assert leaf.value == value
        assert leaf.kind == "assumed"
        assert leaf.source == "a study, sample 3, seed 1"
        assert leaf.low is not None
        assert leaf.high is not None
        assert leaf.low <= value <= leaf.high
    assert varied.extends == ("sail-n1", "graviton2")
    assert leaves(SAIL) == leaves(load_system("sail-n1"))


@given(CHANGES, st.text(max_size=40))
def test_its_file_gives_the_same_machine(tmp_path_factory, wanted, note):
    varied = vary(SAIL, wanted, name="mine", title=f"mine {note}", note=note + "!")
    path = save_system(varied, tmp_path_factory.mktemp("vary") / "mine.toml", comment="how\nit was made")
    read = load_system(path)
    assert leaves(read) == leaves(varied)
    assert read.digest == varied.digest
    assert (read.name, read.title) == (varied.name, varied.title)
    assert tomllib.loads(path.read_text()).keys() <= {"extends", "name", "title"} | {
        p.split(".")[0] for p in wanted
    }


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"pim.clok": 2.0}, ("pim.clok", "pim.clock")),
        ({"pim": 2.0}, ("pim",)),
        ({"pim.clock": 0}, ("pim.clock", "0", "at least 0.001")),
        ({"pim.clock": math.nan}, ("pim.clock", "nan", "finite")),
        ({"pim.clock": math.inf}, ("pim.clock", "finite")),
        ({"pim.clock": True}, ("pim.clock", "True")),
        ({"pim.clock": "fast"}, ("pim.clock", "fast", "GHz")),
        ({"pim.arrays": 2.5}, ("pim.arrays", "2.5", "whole")),
        ({"memory.read_share": 1.5}, ("memory.read_share", "1.5", "at most 1")),
        ({"pim.substrate": "optical"}, ("pim.substrate", "optical", "row_dfm")),
        ({"pim.substrate": 3}, ("pim.substrate", "3")),
        ({"pim.rows": 4}, ("rows",)),
        ({"pim.prt_entries": 3e9}, ("prt_entries is 3000000000",)),
        ({"pim.t_prt": 1e30}, ("pim.t_prt is 1e+30",)),
        ({"pim.port": 1e30}, ("pim.port is 1e+30",)),
        ({"memory.channels": 1e300}, ("memory.channels is 1e+300",)),
        ({"host.simd_share": 1e-50}, ("host.simd_share is 1e-50",)),
        ({"memory.timing.trefi": 1}, ("trfc is 350 ns; allowed is less than trefi, 1 ns",)),
        ({"memory.clock": 2.4}, ("memory", "clock", "2.4", "ddr4-3200")),
    ],
)
def test_bad_values_are_one_sentence(wanted, words):
    sentence = refusal(vary, SAIL, wanted, name="mine")
    assert all(word in sentence for word in words), sentence


def test_a_file_that_no_list_of_values_can_say_is_refused(tmp_path):
    with pytest.raises(SailsimError, match=r"name is 'sail-n1'"):
        system_toml(vary(SAIL, {"pim.clock": 2.0}), "sail-n1")
    with pytest.raises(SailsimError, match=r"pim\.enabled"):
        system_toml(load_system(extending(tmp_path, "sail-n1", "pim.enabled = false")), "sail-n1")
    with pytest.raises(SailsimError, match=r"\.toml"):
        save_system(vary(SAIL, {}, name="mine"), tmp_path / "mine.txt")


# --- Other values of fields behind a machine's name ---

VALUES = st.one_of(
    st.integers(-(10**9), 10**9),
    st.floats(allow_nan=False, allow_infinity=False),
    st.booleans(),
    st.from_regex(r"[a-z][a-z0-9_]{0,5}x", fullmatch=True),
)


@given(st.dictionaries(st.from_regex(r"[a-z]{1,4}(\.[a-z_]{1,6}){1,2}", fullmatch=True), VALUES))
def test_a_choice_comes_back_from_its_words(changes):
    words = extend_reference("sail-n1", changes)
    again = FileReference.parse(words)
    assert str(again) == words
    assert again.changes == {name: pytest.approx(value) for name, value in changes.items()}


def test_the_machine_has_the_values_and_the_price_of_its_base():
    machine = load_system("sail-n1:llc.slices=16:pim.dfm_split=k:pim.double_buffer=false")
    own = leaves(machine)
    assert own["llc.slices"].value == 16
    assert own["pim.dfm_split"].value == "k"
    assert own["pim.double_buffer"].value is False
    assert own["llc.slices"].source == "set by the user"
    assert machine.extends[0] == "sail-n1"
    same = vary(load_system("sail-n1"), {"llc.slices": 16, "pim.dfm_split": "k", "pim.double_buffer": False},
                source="set by the user")  # fmt: skip
    assert machine.digest == same.digest
    assert load_machine("l4:memory_size=48").memory_size.value == 48


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("sail-n1:pim.slices=16", ("pim.slices", "llc.slices")),
        ("sail-n1:slices=16", ("slices", "llc.slices")),
        ("sail-n1:pim.rows=4", ("pim does not fit",)),
        ("sail-n2:llc.slices=16", ("sail-n2", "sail-n1")),
        (":llc.slices=16", ("allowed are", "sail-n1")),
        ("sail-n1:pim.substrate.add=-1", ("add", "-1")),
    ],
)
def test_a_machine_that_there_is_not(text, words):
    sentence = refusal(load_system, text)
    assert all(word in sentence for word in words), sentence


def test_columns_are_all_that_any_point_sets():
    points = [
        Point(system="sail-n1:llc.slices=16"),
        Point(system="sail-n1:pim.clock=2.5", substrate="row_dfm:add=3"),
        Point(system="graviton2", model="smollm2-135m"),
        Point(system="neural-cache-n1"),
    ]
    fields = set_fields(points)
    assert list(fields) == ["llc.slices", "pim.clock", "pim.substrate.add"]
    found = [set_values(fields, point, load_system(point.system)) for point in points]
    own = leaves(load_system("sail-n1"))
    assert found[0] == {"llc.slices": 16, "pim.clock": own["pim.clock"].value, "pim.substrate.add": 1}
    assert found[1] == {"llc.slices": own["llc.slices"].value, "pim.clock": 2.5, "pim.substrate.add": 3}
    assert (found[2]["llc.slices"], found[2]["pim.clock"], found[2]["pim.substrate.add"]) == (32, None, None)


def test_a_wrong_field_names_the_file_to_look_into(tmp_path):
    path = extending(tmp_path, "sail-n1")
    for field in ("llc.slice", "pim.enabled"):
        with pytest.raises(SailsimError, match=rf"with a source that `sailsim show system {path}` lists"):
            load_system(f"{path}:{field}=1")


# --- What a system file takes from elsewhere: a memory's type, a core, the PIM units of another ---

TYPE = 'memory.type = {{ value = "{}", source = "what if", kind = "paper" }}\n'


@pytest.mark.parametrize("name", DRAM_TYPES.names)
def test_a_type_takes_the_place_of_an_inherited_one_whole(name, tmp_path):
    """sail-n1 has DDR4 and says all of it itself; none of that stays beside another type."""
    memory = load_system(extending(tmp_path, "sail-n1", TYPE.format(name))).memory
    table = DRAM_TYPES.read(name)["memory"]
    for field in ("clock", "width", "banks", "row"):
        assert getattr(memory, field).value == table[field]["value"], field
    for field, time in table["timing"].items():
        assert getattr(memory.timing, field).value == time["value"], field
    own = load_system("sail-n1").memory
    assert (memory.channels, memory.ranks, memory.latency) == (own.channels, own.ranks, own.latency)
    rate = float(name.partition("-")[2]) * 1e6
    assert memory.peak == pytest.approx(8 * rate * float(memory.width.value), rel=1e-3)


def test_what_a_file_says_beside_its_type_stays_for_those_that_extend_it(tmp_path):
    clock = 'memory.clock = { value = 3.2, unit = "GHz", source = "what if", kind = "paper" }\n'
    slow = 'memory.timing.trfc = { value = 410, unit = "ns", source = "what if", kind = "paper" }\n'
    first = extending(tmp_path, "sail-n1", TYPE.format("hbm3-6400") + clock + slow)
    (tmp_path / "two").mkdir()
    for more in ("", TYPE.format("hbm3-6400")):  # the same type once more changes nothing
        memory = load_system(extending(tmp_path / "two", first, more)).memory
        assert (memory.timing.trfc.value, memory.clock.value, memory.width.value) == (410, 3.2, 4)
    back = load_system(extending(tmp_path / "two", first, TYPE.format("ddr5-4800"))).memory
    assert (back.timing.trfc.value, back.clock.value) == (295, 2.4)
