"""A varied machine: the values asked for, checked like a file's, and the same machine from its file."""

import math
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sailsim.base.errors import SailsimError
from sailsim.base.quantity import Choice, Quantity
from sailsim.sim.files import load_card, load_system, save_system, system_toml
from sailsim.sim.vary import changed_values, leaves, parse_changes, value_of, vary

SAIL = load_system("sail-n1")
RANGED = {
    path: leaf
    for path, leaf in leaves(SAIL).items()
    if isinstance(leaf, Quantity) and leaf.low is not None and leaf.high is not None
}
# Choices that must fit each other are left to their own tests.
SHAPE = {"pim.rows", "pim.cols", "pim.nbw", "pim.accumulator", "pim.dfms"}
FREE = sorted(set(RANGED) - SHAPE - {"pim.convert_interval", "pim.convert_latency"})


@st.composite
def changes(draw: st.DrawFn) -> dict[str, Any]:
    """Values inside the declared ranges of some fields."""
    found: dict[str, Any] = {}
    for path in draw(st.lists(st.sampled_from(FREE), unique=True, min_size=1, max_size=6)):
        leaf = RANGED[path]
        assert leaf.low is not None
        assert leaf.high is not None
        whole = all(isinstance(x, int) for x in (leaf.low, leaf.value, leaf.high))
        if whole:
            found[path] = draw(st.integers(int(leaf.low), int(leaf.high)))
        else:
            found[path] = draw(st.floats(float(leaf.low), float(leaf.high), allow_nan=False))
    return found


@given(changes())
def test_what_is_varied_has_the_values_and_nothing_else_changes(wanted: dict[str, Any]) -> None:
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


@given(changes(), st.text(max_size=40))
def test_its_file_gives_the_same_machine(
    tmp_path_factory: pytest.TempPathFactory, wanted: dict[str, Any], note: str
) -> None:
    varied = vary(SAIL, wanted, name="mine", title=f"mine {note}", note=note + "!")
    path = save_system(varied, tmp_path_factory.mktemp("vary") / "mine.toml", comment="how\nit was made")
    read = load_system(path)
    assert leaves(read) == leaves(varied)
    assert read.digest == varied.digest
    assert (read.name, read.title) == (varied.name, varied.title)
    assert tomllib.loads(path.read_text()).keys() <= {"extends", "name", "title"} | {
        p.split(".")[0] for p in wanted
    }


def test_a_file_may_extend_a_file(tmp_path: Path) -> None:
    first = save_system(vary(SAIL, {"pim.clock": 2.0}, name="first"), tmp_path / "first.toml")
    second = vary(load_system(first), {"pim.t_prt": 0, "pim.double_buffer": False}, name="second")
    assert second.extends == ("first", "sail-n1", "graviton2")
    path = save_system(second, tmp_path / "deep" / "second.toml", base=first)
    read = load_system(path)
    assert read.pim is not None
    assert (read.pim.clock.value, read.pim.t_prt.value, read.pim.double_buffer.value) == (2.0, 0, False)
    assert "graviton2" in read.extends


def test_a_choice_and_a_card_vary_too() -> None:
    varied = vary(SAIL, {"pim.prt_policy": "fifo"})
    assert varied.pim is not None
    assert isinstance(varied.pim.prt_policy, Choice)
    assert varied.pim.prt_policy.value == "fifo"
    assert varied.extends == SAIL.extends
    card = vary(load_card("v100"), {"memory_bandwidth": 800.0})
    assert card.memory_bandwidth.value == 800


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
        ({"memory.clock": 2.4}, ("memory", "clock", "2.4", "ddr4-3200")),
    ],
)
def test_bad_values_are_one_sentence(wanted: dict[str, Any], words: tuple[str, ...]) -> None:
    with pytest.raises(SailsimError) as error:
        vary(SAIL, wanted, name="mine")
    text = str(error.value)
    assert len(text.splitlines()) == 1
    for word in words:
        assert word in text


def test_a_file_that_no_list_of_values_can_say_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SailsimError, match=r"name is 'sail-n1'"):
        system_toml(vary(SAIL, {"pim.clock": 2.0}), "sail-n1")
    with pytest.raises(SailsimError, match=r"pim\.enabled"):
        system_toml(SAIL.baseline().model_copy(update={"name": "off"}), "sail-n1")
    with pytest.raises(SailsimError, match=r"\.toml"):
        save_system(vary(SAIL, {}, name="mine"), tmp_path / "mine.txt")


def test_settings_of_a_command_line() -> None:
    found = parse_changes(
        ["pim.t_prt=0", "memory.read_share = 0.7", "pim.double_buffer=false", "pim.substrate=bit_serial"]
    )
    assert found == {
        "pim.t_prt": 0,
        "memory.read_share": 0.7,
        "pim.double_buffer": False,
        "pim.substrate": "bit_serial",
    }
    for bad in (["pim.t_prt"], ["=3"], ["pim.t_prt="], ["pim.t_prt=0", "pim.t_prt=1"]):
        with pytest.raises(SailsimError):
            parse_changes(bad)


def test_an_nbw_that_is_each_tensors_own_is_a_value_like_others(tmp_path: Path) -> None:
    auto = vary(SAIL, {"pim.nbw": "auto"}, name="mine")
    assert auto.pim is not None
    assert auto.pim.nbw == "auto"
    assert changed_values(auto, SAIL) == {"pim.nbw": "auto"}
    saved = load_system(str(save_system(auto, tmp_path / "mine.toml")))
    assert saved.pim is not None
    assert saved.pim.nbw == "auto"
    back = changed_values(SAIL, auto)["pim.nbw"]
    assert value_of(back) == 4


def test_another_type_of_memory_brings_what_it_is_as_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    choice = '{ value = "ddr5-4800", source = "a test", kind = "assumed", note = "why" }'
    path.write_text(f'extends = "sail-v2"\nname = "mine"\nmemory.type = {choice}\n')
    varied, read = vary(load_system("sail-v2"), {"memory.type": "ddr5-4800"}), load_system(path)
    assert varied.memory.clock.value == read.memory.clock.value == 2.4
    assert varied.memory.timing == read.memory.timing
    assert varied.memory.peak == read.memory.peak < load_system("sail-v2").memory.peak
    assert "4800" in varied.sources[varied.memory.clock.source]
    saved = save_system(vary(varied, {}, name="saved"), tmp_path / "saved.toml", base="sail-v2")
    assert load_system(saved).memory.peak == varied.memory.peak
    # Of DDR4 no type ships, and of other DDR5 than the tables there is none.
    for other in ("ddr4-3200", "ddr5-6400"):
        with pytest.raises(
            SailsimError, match=f"memory.type is '{other}'|allowed is what type says, {other}"
        ):
            vary(load_system("sail-v2"), {"memory.type": other})
