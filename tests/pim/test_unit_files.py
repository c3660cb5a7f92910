"""The units that the C++ tests read, `sim_ext/pim/tests/units`, are those of the data that ships.

`python tests/pim/test_unit_files.py` writes them again.
"""

from pathlib import Path

from sailsim.sim.files import load_system
from sailsim.sim.substrate import substrate_names

UNITS = Path(__file__).parents[2] / "sim_ext" / "pim" / "tests" / "units"


def texts() -> dict[str, str]:
    """File name -> text: the machine's unit with every substrate that ships."""
    system = load_system("sail-n1")
    return {f"{name}.txt": system.unit_text(substrate=name) for name in substrate_names()}


def test_unit_files_are_those_of_the_data_that_ships():
    assert {path.name: path.read_text("utf-8") for path in UNITS.iterdir()} == texts()


if __name__ == "__main__":
    for file, text in texts().items():
        (UNITS / file).write_text(text, "utf-8")
