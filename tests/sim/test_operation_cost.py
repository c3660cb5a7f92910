"""Costs of operations in words, and substrates that are named with other costs."""

from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sailsim.base.errors import SailsimError
from sailsim.sim.files import load_system, save_system
from sailsim.sim.point import Point
from sailsim.sim.substrate import Cost, in_words, load_substrate, parse_cost
from sailsim.sim.vary import vary

SAIL = load_system("sail-n1")


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
def test_words_are_polynomials(words: str, polynomial: object, settled: str) -> None:
    assert parse_cost(words) == polynomial
    assert in_words(parse_cost(words)) == settled


@given(st.lists(st.integers(-50, 50), min_size=3, max_size=3))
def test_a_cost_survives_its_words(coefficients: list[int]) -> None:
    try:
        cost = Cost(value=coefficients, unit="cycles", source="x", kind="paper")
    except ValueError:
        assume(False)
    read = Cost(value=parse_cost(str(cost)), unit="cycles", source="x", kind="paper")
    assert read.coefficients == cost.coefficients


@given(st.text("0123456789n+-^: .eif", max_size=12))
def test_any_text_is_a_cost_or_refused(text: str) -> None:
    try:
        found = parse_cost(text)
    except ValueError as error:
        why = str(error)
    else:
        why = "is a cost" if parse_cost(in_words(found)) == found else "was lost in its words"
    assert why.startswith(("is ", "has "))


def test_a_name_with_costs_is_a_substrate_of_its_own() -> None:
    plain, slow = load_substrate("row_dfm"), load_substrate("row_dfm:add=2n:read=3")
    assert (slow.cycles("add", 6), slow.cycles("read"), slow.cycles("write")) == (12, 3, 1)
    assert slow.name == "row_dfm:read=3:add=2n"
    assert slow.digest != plain.digest
    assert (slow.energy, slow.area, slow.phases) == (plain.energy, plain.area, plain.phases)
    assert SAIL.slice_config(substrate="row_dfm:add=2n").substrate.cycles("add", 6) == 12
    assert plain.cycles("add", 6) == 1


def test_a_file_says_a_cost_in_words_too(tmp_path: Path) -> None:
    line = 'costs.add = {{ value = {}, unit = "cycles", source = "a test", kind = "measured" }}\n'
    found = []
    for i, value in enumerate(('"8n-2"', "[-2, 8]")):
        path = tmp_path / f"{i}.toml"
        path.write_text(f'extends = "row_dfm"\nname = "mine"\ntitle = "mine"\n{line.format(value)}')
        found.append(load_substrate(path))
    assert found[0].cycles("add", 4) == 30
    assert found[0].digest == found[1].digest


@pytest.mark.parametrize("value", ["[0, 1.5]", "1.5", '"n/2"', '"1.5n"', "true", "{ n = 1 }"])
def test_a_cost_of_no_whole_cycles_is_refused_in_words(value: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    cost = f'costs.add = {{ value = {value}, unit = "cycles", source = "a test", kind = "measured" }}\n'
    path.write_text(f'extends = "row_dfm"\nname = "mine"\ntitle = "mine"\n{cost}')
    with pytest.raises(SailsimError, match=r"costs.add.value is .*; allowed are whole cycles.*polynomial"):
        load_substrate(path)


def test_a_machine_is_varied_saved_and_read_with_them(tmp_path: Path) -> None:
    path = tmp_path / "parts" / "mine.toml"
    path.parent.mkdir()
    path.write_text('extends = "row_dfm"\nname = "mine"\n')
    for name in ("row_dfm", str(path)):
        varied = vary(
            SAIL, {"pim.substrate": name, "pim.substrate.add": 3, "pim.substrate.read": "n+1"}, name="v"
        )
        assert varied.pim is not None
        assert varied.pim.load_substrate().cycles("add", 9) == 3
        assert varied.pim.load_substrate().cycles("read", 1) == 2
        assert varied.digest != SAIL.digest
        assert load_system(save_system(varied, tmp_path / "v.toml")).digest == varied.digest
    again = vary(varied, {"pim.substrate.add": 5})
    assert again.pim is not None
    assert again.pim.load_substrate().name == "mine:read=n+1:add=5"


BAD = {
    "row_dfm:mul=3": "'row_dfm:mul=3'; allowed before = are read, write, logic, shift, copy, add, fp_mul,",
    "row_dfm:add=-1": "where add is -1 cycles at n = 1; a cost is never negative",
    "row_dfm:add=8-n": "where add is -1 cycles at n = 9; a cost is never negative",
    "row_dfm:add=inf": "where add is 'inf'; allowed are whole cycles from 0 on, or a polynomial of n bits",
    "row_dfm:add=1.5": "where add is '1.5'; allowed are whole cycles",
    "row_dfm:add=": "where add is ''; allowed are whole cycles",
    "row_dfm:add=2000000": "where add has the coefficient 2000000; allowed are whole numbers",
    "row_dfm:add=1:add=2": "'row_dfm:add=1:add=2', which sets add twice; allowed is once",
    "optical:add=1": "'optical'; allowed are bit_parallel, bit_serial, row_dfm or the path of a .toml file",
    "row_dfm:add": "'row_dfm:add'; allowed are bit_parallel, bit_serial, row_dfm or the path",
}


@pytest.mark.parametrize("text", BAD)
def test_bad_costs_are_one_sentence_wherever_they_are_said(text: str) -> None:
    makers = (
        lambda: Point(substrate=text),
        lambda: load_substrate(text),
        lambda: vary(SAIL, {"pim.substrate": text}),
    )
    for make in makers:
        with pytest.raises(SailsimError) as caught:
            make()
        assert BAD[text] in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("operation", "value"), [("mul", 3), ("add", -1), ("add", float("inf")), ("add", True), ("add", 1.5)]
)
def test_a_bad_cost_of_a_machine_names_field_value_and_what_is_allowed(operation: str, value: float) -> None:
    with pytest.raises(SailsimError) as caught:
        vary(SAIL, {f"pim.substrate.{operation}": value})
    for word in ("pim.substrate is", operation, str(value)):
        assert word in str(caught.value)
    assert "allowed" in str(caught.value) or "never negative" in str(caught.value)


def test_a_phase_that_would_take_too_long_is_refused() -> None:
    rows = "1000000n^2+1000000n+1000000"
    with pytest.raises(SailsimError, match=r"substrate bit_serial:read=.*: phases\.merge takes .* cycles"):
        load_substrate(f"bit_serial:read={rows}:write={rows}:add=1000000n^2")
