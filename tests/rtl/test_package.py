"""The package that the RTL is built with: constants from a unit's text form, and what the RTL cannot have."""

import re
from typing import Any

import pytest

from rtl_tile import tile_fields
from sailsim import _core
from sailsim.lut_gemv.codes import WeightCode
from sailsim.sim.machine.system_files import load_system
from sailsim.sim.rtl import package, parameters
from sailsim.sim.step.tiles import TileShape


def unit(**changes: Any) -> str:
    return load_system("sail-n1").unit_text(**{"slices": 1, "convert": "unit", **changes})


def test_constants_are_those_of_the_unit() -> None:
    found = parameters(unit(t_zero=2, prt_policy="fifo", port_bytes=16), WeightCode.twos(4), 8, True, 4, 8)
    lines = package(unit(), WeightCode.twos(4), 8, True, 4, 8).splitlines()
    assert found["LANES"] == 16 * (256 // 6)
    assert (found["ENTRY_BITS"], found["ADD_CYCLES"], found["MISS_CYCLES"]) == (6, 4, 1)
    assert (found["ZERO_CYCLES"], found["PRT_POLICY"], found["PORT_BYTES"]) == (2, 1, 16)
    assert (lines[1], lines[-1]) == ("package sail_pkg;", "endpackage")
    assert {line.split()[2] for line in lines[2:-1]} == set(found)


@pytest.mark.parametrize(
    ("changes", "given", "sentence"),
    [
        ({}, {"nbw": 9}, "nbw is 9; the RTL allows 1..6."),
        ({}, {"abits": 0}, "abits is 0; the RTL allows 1..16."),
        ({}, {"batch": 0}, "batch is 0; the RTL allows 1..256 rows of a tile."),
        ({"cols": 4}, {}, "cols is 4: one output takes 6 cells of a row"),
        ({"arrays": 0}, {}, "arrays is 0"),
        ({"convert": "memory"}, {}, "convert is memory; the RTL allows cores or unit."),
        ({"dfms": 2}, {}, "dfms is 2; the RTL allows one DFM."),
        ({"t_zero": 0}, {}, "t_zero is 0; the RTL allows at least one cycle."),
        ({"t_prt": 0}, {}, "t_prt is 0; the RTL allows at least one cycle of a hit."),
        ({"port_bytes": 6}, {}, "port_bytes is 6; the RTL allows whole words of 4 bytes."),
        ({"port_bytes": 4096, "convert": "cores"}, {}, "port_bytes is 4096; the RTL allows at most 4 "),
        ({"accumulator_bits": 48}, {}, "accumulator_bits is 48; the RTL allows at most 32."),
        ({"convert_units": 12}, {}, "convert_units is 12; the RTL allows whole beats of 8 words."),
        ({"convert_latency": 17}, {}, "convert_latency is 17; the RTL allows 4..16 cycles."),
        ({"substrate": "row_dfm:write=2"}, {}, "phase.stage is 2; the RTL allows one cycle."),
        ({"substrate": "bit_serial", "convert": "cores"}, {}, "substrate is bit_serial; the RTL allows"),
        ({"substrate": "bit_parallel", "convert": "cores"}, {}, "substrate is bit_parallel; the RTL allows"),
    ],
)
def test_what_the_rtl_cannot_have_is_one_sentence(
    changes: dict[str, Any], given: dict[str, int], sentence: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(sentence)) as refused:
        package(
            unit(**changes), WeightCode.twos(4), signed=True, **({"abits": 8, "nbw": 4, "batch": 8} | given)
        )
    assert str(refused.value).startswith(sentence)


def test_a_tile_is_one_chunk_of_a_batch_and_has_minima_on_cores_alone() -> None:
    config = _core.SliceConfig(unit())
    fields = tile_fields(config, TileShape(70, 700, 8, 4, 4, 8, 4, 32), scaled=True)
    assert (fields["words"], fields["block"], fields["passes"]) == (18 * 8, 32, 2)
    with pytest.raises(ValueError, match=r"^batch is 900; the RTL allows \d+ rows of this shape\.$"):
        tile_fields(config, TileShape(70, 700, 900, 4, 4, 8, 4, 32))
    with pytest.raises(ValueError, match=r"^minimum is True; the RTL allows minima where the cores convert"):
        tile_fields(config, TileShape(70, 700, 8, 4, 4, 8, 4, 32), scaled=True, minimum=True)
