"""Numbers that gem5's scripts and its module each have to say themselves are the same."""

import ast
from pathlib import Path

from sailsim.lut_gemv.descriptor import UNITS_MAX
from sailsim.sim.gem5.decode import ADDRESS

ROOT = Path(__file__).parents[3]


def constants(path: str) -> dict[str, int]:
    """The numbers that a file of gem5's Python gives a name, those of parameters' defaults too."""
    found = {}
    for node in ast.walk(ast.parse((ROOT / path).read_text("utf-8"))):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            value = node.value.args[0] if isinstance(node.value, ast.Call) and node.value.args else node.value
            if isinstance(value, ast.Constant) and isinstance(value.value, int):
                found[node.targets[0].id] = value.value
    return found


def test_the_scripts_map_the_doorbells_where_the_decoder_rings_them() -> None:
    scripts = constants("gem5-configs/hierarchy.py")
    assert scripts["DOORBELL_VIRTUAL"] == constants("sim_ext/gem5/SailCPU.py")["doorbell"]


def test_the_scripts_allow_as_many_units_as_the_instruction_can_name() -> None:
    assert constants("gem5-configs/hierarchy.py")["UNITS_MAX"] == UNITS_MAX


def test_the_scripts_put_an_image_where_the_program_is_told() -> None:
    assert constants("gem5-configs/preload.py")["ADDRESS"] == ADDRESS
