"""What a substrate's file says of energy and area: what is allowed, and what is refused in one sentence."""

from pathlib import Path

import pytest

from sailsim.base.errors import SailsimError
from sailsim.sim.substrate import Shared, load_substrate

BAD = {
    "energy of no operation": (
        '[energy]\nmul = "array_read_fj_bit"',
        "energy.mul is no operation; allowed are read, write",
    ),
    "energy by no constant": (
        '[energy]\nadd = "sunlight"',
        "energy.add is 'sunlight'; allowed is a quantity in fJ/bit, or one of array_read_fj_bit,",
    ),
    "energy by too many constants": (
        '[energy]\nadd = "9999 array_read_fj_bit"',
        "energy.add is '9999 array_read_fj_bit'; allowed is a quantity in fJ/bit, or one of",
    ),
    "energy of another unit": (
        '[energy]\nadd = { value = 3, unit = "pJ", source = "x", kind = "paper" }',
        "energy.add has the unit 'pJ'; allowed is 'fJ/bit'",
    ),
    "energy without a source": (
        '[energy]\nadd = { value = 3, unit = "fJ/bit", kind = "paper" }',
        "energy.add.source is missing; it needs a value",
    ),
    "negative energy": (
        '[energy]\nadd = { value = -3, unit = "fJ/bit", source = "x", kind = "paper" }',
        "energy.add is -3; allowed is a number at least 0 in fJ/bit",
    ),
    "area of no operation": (
        '[area]\nbeside.mul = "full_adder_um2"',
        "area.beside.mul is no operation; allowed are read, write",
    ),
    "area by a constant that is none": (
        '[area]\ncell = "nand2_um2"',
        "area.cell is 'nand2_um2'; allowed is a quantity in um2, or one of cell_um2",
    ),
    "arrays of more than cells": (
        '[area]\nefficiency = { value = 2, unit = "ratio", source = "x", kind = "paper" }',
        "area.efficiency is 2; allowed is a number above 0 and at most 1",
    ),
    "lanes without a shifter": (
        'accumulate = "behind"\nprt_helps = true\n[area]\nbeside.add = "full_adder_um2"',
        "area.beside.shift is missing; it needs a value where entries are shifted and added",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_ends_in_one_sentence(case: str, tmp_path: Path) -> None:
    text, why = BAD[case]
    path = tmp_path / "mine.toml"
    path.write_text(f'extends = "bit_parallel"\nname = "mine"\n{text}\n')
    with pytest.raises(SailsimError) as caught:
        load_substrate(path)
    assert why in str(caught.value)
    assert "\n" not in str(caught.value)


def test_words_are_so_many_times_a_constant() -> None:
    assert Shared.parse("4 multiplexer_um2") == (4, "multiplexer_um2")
    assert Shared.parse("cell_um2") == (1, "cell_um2")


def test_a_file_may_have_numbers_of_its_own_and_share_others(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        'extends = "row_dfm"\nname = "mine"\n[energy]\n'
        'add = { value = 3, unit = "fJ/bit", source = "x", kind = "paper" }\nread = "2 array_read_fj_bit"\n'
    )
    charges = load_substrate(path).charges()
    assert str(charges["energy.add"]) == "3 fJ/bit"
    assert charges["energy.read"] == "2 array_read_fj_bit"
    assert charges["energy.write"] == load_substrate("row_dfm").charges()["energy.write"]
    assert load_substrate(path).digest != load_substrate("row_dfm").digest
