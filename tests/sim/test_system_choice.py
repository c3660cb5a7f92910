"""Other values of fields behind a machine's name."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sailsim.base.errors import SailsimError
from sailsim.sim.files import load_machine, load_system, save_system
from sailsim.sim.keys import Keys, result_key
from sailsim.sim.point import Point
from sailsim.sim.set_fields import set_fields, set_values
from sailsim.sim.vary import SystemChoice, leaves, system_with, vary

VALUES = st.one_of(
    st.integers(-(10**9), 10**9),
    st.floats(allow_nan=False, allow_infinity=False),
    st.booleans(),
    st.from_regex(r"[a-z][a-z0-9_]{0,5}x", fullmatch=True),
)


@given(st.dictionaries(st.from_regex(r"[a-z]{1,4}(\.[a-z_]{1,6}){1,2}", fullmatch=True), VALUES))
def test_a_choice_comes_back_from_its_words(changes: dict[str, object]) -> None:
    choice = SystemChoice("sail-n1", {}).changed(changes)
    again = SystemChoice.parse(str(choice))
    assert again == choice
    assert again.changes == {name: pytest.approx(value) for name, value in changes.items()}


def test_equal_machines_are_equal_points() -> None:
    one = Point(system="sail-n1: pim.clock = 2.0 : llc.slices=16")
    assert one.system == "sail-n1:llc.slices=16:pim.clock=2"
    assert one == Point(system="sail-n1:llc.slices=16:pim.clock=2")


def test_the_machine_has_the_values_and_the_price_of_its_base() -> None:
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


def test_a_file_may_have_settings_too(tmp_path: Path) -> None:
    path = save_system(vary(load_system("sail-n1"), {"pim.clock": 2.0}, name="mine"), tmp_path / "mine.toml")
    machine = load_system(f"{path}:llc.slices=16")
    assert (machine.pim.clock.value, machine.llc.slices.value) == (2.0, 16)
    again = save_system(
        machine.model_copy(update={"name": "theirs"}), tmp_path / "b.toml", f"{path}:llc.slices=16"
    )
    assert load_system(again).digest == machine.digest
    before = result_key(Point(system=f"{path}:llc.slices=16"), "f")
    keys = Keys("f")
    assert keys.result(Point(system=f"{path}:llc.slices=16")) == before
    assert keys.changed() is None
    path.write_text(path.read_text("utf-8").replace("2.0", "2.5"))
    assert result_key(Point(system=f"{path}:llc.slices=16"), "f") != before
    assert keys.changed() == path


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("sail-n1:pim.slices=16", ("pim.slices", "llc.slices")),
        ("sail-n1:slices=16", ("slices", "llc.slices")),
        ("sail-n1:llc.slices=0", ("llc.slices", "0", "at least 1")),
        ("sail-n1:llc.slices=many", ("llc.slices", "many")),
        ("sail-n1:llc.slices=inf", ("llc.slices", "finite")),
        ("sail-n1:pim.rows=4", ("pim does not fit",)),
        ("sail-n2:llc.slices=16", ("sail-n2", "sail-n1")),
        (":llc.slices=16", ("unknown",)),
        ("sail-n1:pim.substrate.add=-1", ("add", "-1")),
    ],
)
def test_a_machine_that_there_is_not(text: str, words: tuple[str, ...]) -> None:
    with pytest.raises(SailsimError) as error:
        load_system(text)
    assert all(word in str(error.value) for word in words)


def test_a_substrate_with_costs_is_taken_apart() -> None:
    assert system_with("sail-n1", {"pim.substrate": "row_dfm:add=8n-2"}) == (
        "sail-n1:pim.substrate=row_dfm:pim.substrate.add=8n-2"
    )
    with pytest.raises(SailsimError, match=r"pim.dfm_split is 'a:b'; allowed is a text without : and =."):
        system_with("sail-n1", {"pim.dfm_split": "a:b"})


def test_columns_are_all_that_any_point_sets() -> None:
    points = [
        Point(system="sail-n1:llc.slices=16"),
        Point(system="sail-n1:pim.clock=2.5", substrate="row_dfm:add=3"),
        Point(system="graviton2", model="smollm2-135m"),
        Point(system="neural-cache-n1"),
    ]
    fields = set_fields(points)
    assert [field.name for field in fields] == ["llc.slices", "pim.clock", "pim.substrate.add"]
    found = [set_values(fields, point, load_system(point.system)) for point in points]
    own = leaves(load_system("sail-n1"))
    assert found[0] == {"llc.slices": 16, "pim.clock": own["pim.clock"].value, "pim.substrate.add": 1}
    assert found[1] == {"llc.slices": own["llc.slices"].value, "pim.clock": 2.5, "pim.substrate.add": 3}
    assert (found[2]["llc.slices"], found[2]["pim.clock"], found[2]["pim.substrate.add"]) == (32, None, None)


def test_a_cost_that_is_a_polynomial_somewhere_is_text_everywhere() -> None:
    points = [Point(substrate="row_dfm:add=3"), Point(system="sail-n1:pim.substrate.add=8n-2")]
    fields = set_fields(points)
    assert [(field.name, field.words) for field in fields] == [("pim.substrate.add", True)]
    found = [set_values(fields, point, load_system(point.system)) for point in points]
    assert found == [{"pim.substrate.add": "3"}, {"pim.substrate.add": "8n-2"}]


def test_a_wrong_field_names_the_file_to_look_into(tmp_path: Path) -> None:
    path = tmp_path / "file.toml"
    path.write_text('extends = "sail-n1"\nname = "mine"\n')
    for field in ("llc.slice", "pim.enabled"):
        with pytest.raises(SailsimError, match=rf"with a source that `sailsim show system {path}` lists"):
            load_system(f"{path}:{field}=1")
