"""A unit's text form in the core: what it sets, and what is refused. And the units that the C++ tests read.

`python tests/pim/test_units.py` writes these, `sim_ext/pim/tests/units`, from the data that ships.
"""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sailsim import _core
from sailsim._core import UNIT_TEXT_VERSION as VERSION
from sailsim.sim.machine.substrate import substrate_names
from sailsim.sim.machine.system_files import load_system

UNITS = Path(__file__).parents[2] / "sim_ext" / "pim" / "tests" / "units"


def texts() -> dict[str, str]:
    """File name -> text: the machine's unit with every substrate that ships."""
    system = load_system("sail-n1")
    return {f"{name}.txt": system.unit_text(substrate=name) for name in substrate_names()}


def test_unit_files_are_those_of_the_data_that_ships():
    assert {path.name: path.read_text("utf-8") for path in UNITS.iterdir()} == texts()


TEXT, IN_ARRAY = texts()["row_dfm.txt"], texts()["bit_serial.txt"]


def with_lines(text: str, *lines: str) -> str:
    """The text with each line in the place of the one with its key."""
    for line in lines:
        key = line.partition(" ")[0]
        text, found = re.subn(rf"^{re.escape(key)} .*\n", lambda _, line=line: f"{line}\n", text, flags=re.M)
        assert found == 1, key
    return text


def without(key: str) -> str:
    return "".join(line for line in TEXT.splitlines(keepends=True) if not line.startswith(f"{key} "))


def test_every_key_sets_its_field_in_any_order():
    numbers = {
        "rows": 128, "cols": 64, "arrays": 3, "slices": 7, "port_bytes": 16, "weights_kib_cycles": 290,
        "accumulator_bits": 48, "prt_entries": 5, "t_zero": 2, "t_prt": 3, "activation_buffer_bits": 4096,
        "accumulator_buffer_bits": 8192, "dfms": 3, "convert_units": 5, "convert_latency": 9,
        "convert_interval": 2,
    }  # fmt: skip
    words = {"prt_policy": "fifo", "dfm_split": "k", "convert": "cores"}
    of_substrate = {"layout": "columns", "accumulate": "in_array"}
    lines = [f"{key} {value}" for key, value in (numbers | words | of_substrate).items()]
    lines += [
        "double_buffer false",
        "substrate mine",
        "prt_helps false",
        "cost.read 1 2 3",
        "cost.fp_add -2 8 0",
    ]
    lines += ["phase.stage none", "phase.lookup weight write 1, 2 read entry, 1 add accumulator"]
    title, *rest = with_lines(TEXT, *lines).splitlines()
    unit = _core.SliceConfig("\n".join([title, *reversed(rest)]))
    assert {key: getattr(unit, key) for key in numbers | words} == numbers | words
    assert not unit.double_buffer
    substrate = unit.substrate
    assert {key: getattr(substrate, key) for key in of_substrate} == of_substrate
    assert (substrate.name, substrate.prt_helps) == ("mine", False)
    assert [substrate.cycles("read", 10), substrate.cycles("fp_add", 32), substrate.cycles("write")] == [
        321,
        254,
        1,
    ]
    widths = {"weight": 4, "entry": 10, "accumulator": 32}
    assert sum(many for many, _ in substrate.tally("stage", **widths).values()) == 0
    tally = substrate.tally("lookup", **widths)
    assert {op: both for op, both in tally.items() if both[0]} == {
        "read": (2, 642),
        "write": (4, 4),
        "add": (1, 1),
    }


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", f"the first line is '': allowed is 'sailsim-unit {VERSION}'"),
        ("rows 1\n", "the first line is 'rows 1'"),
        ("sailsim-unit\n", "version is '': allowed are whole numbers"),
        (
            TEXT.replace(f"sailsim-unit {VERSION}", f"sailsim-unit {VERSION + 1}"),
            f"version is {VERSION + 1}: allowed is {VERSION}",
        ),
        (TEXT + "colour blue\n", "'colour' is no key"),
        (TEXT + "cost.mul 1 0 0\n", "'cost.mul' is no key"),
        (TEXT + "\n", "'' is no key"),
        (TEXT + "rows 1\n", "rows is there twice"),
        *((without(key), f"{key} is missing") for key in ("t_prt", "cost.add", "phase.lookup")),
    ],
)
def test_a_text_with_other_keys_is_refused(text, why):
    assert_refused(text, why)


def assert_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=re.escape(why)) as caught:
        _core.SliceConfig(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("rows 2.5", "rows is '2.5': allowed are whole numbers"),
        ("rows", "rows is '': allowed are whole numbers"),
        ("rows 12\r", "rows is '12\r': allowed are whole numbers"),
        ("rows 99999999999999999999", "rows is '99999999999999999999': allowed are whole numbers of 64 bits"),
        *((f"{name} 0", f"{name} is 0: allowed are 1..") for name in ("rows", "cols", "arrays", "slices")),
        ("port_bytes 0", "port_bytes is 0: allowed are 1.."),
        ("prt_entries -1", "prt_entries is -1: allowed are 0.."),
        ("t_zero -1", "t_zero is -1: allowed are 0.."),
        ("t_prt 1073741824", "t_prt is 1073741824: allowed are 0..1048576"),
        ("accumulator_bits 64", "accumulator_bits is 64: allowed are 2..63"),
        ("dfms 0", "dfms is 0: allowed are 1.."),
        ("dfms 5", "dfms is 5: allowed are divisors of arrays, which is 16"),
        ("convert_interval 13", "convert_interval is 13: allowed are 1..12"),
        ("double_buffer yes", "double_buffer is 'yes': allowed are true, false"),
        ("prt_policy random", "prt_policy is 'random': allowed are lru, fifo, direct"),
        ("dfm_split m", "dfm_split is 'm': allowed are n, k"),
        ("convert gpu", "convert is 'gpu': allowed are memory, unit, cores"),
        ("layout diagonal", "layout is 'diagonal'"),
        ("layout columns", "substrate.accumulate is behind"),
        ("accumulate nowhere", "accumulate is 'nowhere'"),
        ("accumulate in_array", "substrate.prt_helps is true"),
        ("substrate", "substrate.name is ''"),
        ("substrate two words", "substrate.name is 'two words'"),
        ("cost.add 1 0", "cost.add is '1 0': allowed are three coefficients"),
        ("cost.add 1 0 0 0", "cost.add is '1 0 0 0': allowed are three"),
        ("cost.add -1 0 0", "substrate.costs.add is -1 cycles at n = 1: a cost is never negative"),
        ("cost.logic 0 2000000 0", "substrate.costs.logic has the coefficient 2000000"),
        *((f"phase.stage {steps}", "allowed are steps such as") for steps in ("", "1 read 1,")),
        *((f"phase.stage {steps}", "is '") for steps in ("read", "1 read", "1 read 1 1", "some read 1")),
        ("phase.stage 1 read 1,, 1 read 1", "is ''"),
        ("phase.stage 1 jump 1", "op is 'jump': allowed are read, write"),
        ("phase.stage 2000 read 1", "substrate.phases.stage is 2000: allowed are 0..64"),
    ],
)  # fmt: skip
def test_a_line_that_says_what_cannot_be_is_refused(line, why):
    assert_refused(with_lines(TEXT, line), why)


def test_lines_that_cannot_be_together_are_refused():
    slow = with_lines(TEXT, "cost.add 0 0 1000000", "phase.lookup 2 add accumulator")
    assert_refused(slow, "substrate.phases.lookup on the widest tile is ")
    assert_refused(with_lines(IN_ARRAY, "convert unit"), "convert is unit: allowed with sums in the array")
    sums = with_lines(TEXT, "accumulate in_array", "phase.hit 1 add accumulator")
    assert _core.SliceConfig(sums).substrate.prt_helps


@given(text=st.text(max_size=200) | st.text("sailunt-1 \n", max_size=60))
def test_no_text_does_harm(text):
    with pytest.raises(ValueError, match=r".+"):
        _core.SliceConfig(text)


if __name__ == "__main__":
    for file, text in texts().items():
        (UNITS / file).write_text(text, "utf-8")
