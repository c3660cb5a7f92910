"""What a system file takes from elsewhere: a memory's type, a core, the PIM units of another machine."""

from pathlib import Path

import pytest

from sailsim.base.errors import SailsimError
from sailsim.sim.files import load_system
from sailsim.sim.tables import dram_type, dram_types

TYPE = 'memory.type = {{ value = "{}", source = "what if", kind = "paper" }}\n'


def written(folder: Path, text: str, extends: str = "graviton4") -> Path:
    path = folder / "mine.toml"
    path.write_text(f'extends = "{extends}"\nname = "mine"\n{text}\n')
    return path


@pytest.mark.parametrize("name", dram_types())
def test_a_type_gives_all_that_its_channels_have_in_common(name: str, tmp_path: Path) -> None:
    memory = load_system(written(tmp_path, TYPE.format(name))).memory
    table = dram_type(name)["memory"]
    assert memory.timing.trcd.value == table["timing"]["trcd"]["value"]
    assert memory.width.value == table["width"]["value"]
    # What is the machine's stays: its channels, and the share that its cores reach.
    own = load_system("graviton4").memory
    assert (memory.channels, memory.read_share) == (own.channels, own.read_share)
    rate = float(name.partition("-")[2]) * 1e6
    assert memory.peak == pytest.approx(12 * rate * float(memory.width.value), rel=1e-3)
    # A row stays open longer than it takes to open, and four openings take longer than one.
    timing = memory.timing
    assert timing.tras.value > timing.trcd.value > timing.tccd_l.value
    assert timing.tfaw.value >= 4 * timing.trrd.value * 0.99


@pytest.mark.parametrize("name", dram_types())
def test_a_type_takes_the_place_of_an_inherited_one_whole(name: str, tmp_path: Path) -> None:
    """sail-n1 has DDR4 and says all of it itself; none of that stays beside another type."""
    memory = load_system(written(tmp_path, TYPE.format(name), "sail-n1")).memory
    table = dram_type(name)["memory"]
    for field in ("clock", "width", "banks", "row"):
        assert getattr(memory, field).value == table[field]["value"], field
    for field, time in table["timing"].items():
        assert getattr(memory.timing, field).value == time["value"], field
    own = load_system("sail-n1").memory
    assert (memory.channels, memory.ranks, memory.latency) == (own.channels, own.ranks, own.latency)
    rate = float(name.partition("-")[2]) * 1e6
    assert memory.peak == pytest.approx(8 * rate * float(memory.width.value), rel=1e-3)


def test_what_a_file_says_beside_its_type_stays_for_those_that_extend_it(tmp_path: Path) -> None:
    clock = 'memory.clock = { value = 3.2, unit = "GHz", source = "what if", kind = "paper" }\n'
    slow = 'memory.timing.trfc = { value = 410, unit = "ns", source = "what if", kind = "paper" }\n'
    first = written(tmp_path, TYPE.format("hbm3-6400") + clock + slow, "sail-n1")
    (tmp_path / "two").mkdir()
    for more in ("", TYPE.format("hbm3-6400")):  # the same type once more changes nothing
        memory = load_system(written(tmp_path / "two", more, str(first))).memory
        assert (memory.timing.trfc.value, memory.clock.value, memory.width.value) == (410, 3.2, 4)
    back = load_system(written(tmp_path / "two", TYPE.format("ddr5-4800"), str(first))).memory
    assert (back.timing.trfc.value, back.clock.value) == (295, 2.4)


def test_a_file_says_what_is_different_from_the_type(tmp_path: Path) -> None:
    slow = 'memory.timing.trfc = { value = 410, unit = "ns", source = "what if", kind = "paper" }'
    mine = load_system(written(tmp_path, slow)).memory
    assert mine.timing.trfc.value == 410
    assert mine.timing.trefi == load_system("graviton4").memory.timing.trefi


def test_sail_on_todays_server_has_the_units_of_the_paper_and_the_server_of_graviton4() -> None:
    today, paper, server = (load_system(name) for name in ("sail-v2", "sail-n1", "graviton4"))
    assert today.pim == paper.pim
    for section in ("cores", "l1d", "l2", "llc", "memory", "host"):
        assert getattr(today, section) == getattr(server, section)
    assert today.sources[today.require_pim().rows.source] == paper.sources[paper.require_pim().rows.source]
    assert today.baseline().digest != server.digest  # a machine whose units are switched off has them


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('pim.extends = "graviton2"', ["pim.extends", "graviton2", "sail-n1"]),
        ("pim.extends = 3", ["pim.extends", "3", "sail-n1"]),
        ('pim.extends = "sail-v2"', ["pim.extends", "sail-v2", "sail-n1"]),
        ('cores.extends = "neoverse-v9"', ["cores.extends", "neoverse-v9", "neoverse-v2"]),
        (TYPE.format("ddr6-9000"), ["memory.type", "ddr6-9000", "ddr5-5600"]),
    ],
)
def test_what_does_not_ship_is_one_sentence(text: str, words: list[str], tmp_path: Path) -> None:
    with pytest.raises(SailsimError) as error:
        load_system(written(tmp_path, text))
    assert all(word in str(error.value) for word in words)
    assert "\n" not in str(error.value)


def test_the_pages_machine_is_one(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "systems.md").read_text("utf-8")
    text = page.partition("## Memory types and cores")[2].partition("```toml\n")[2].partition("```")[0]
    path = tmp_path / "grace.toml"
    path.write_text(text)
    machine = load_system(path)
    assert machine.require_pim() == load_system("sail-n1").pim
    assert machine.memory.peak == pytest.approx(546.1e9, rel=1e-3)
