"""The shared cases through the Python levels: reference, C++ core, traces."""

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from sailsim import lut_gemv
from sailsim.lut_gemv import read_trace, reference, replay, write_trace


def test_the_file_is_what_the_script_writes(oracles: ModuleType, make_cases: ModuleType) -> None:
    assert (oracles.FOLDER / "cases.json").read_text() == make_cases.cases_text()


def test_reference(oracles: ModuleType) -> None:
    for oracle in oracles.load_oracles():
        tile = oracle.tile
        y, counts, profile = reference.lut_gemv(tile.x, tile.codes, code=tile.code, **oracle.widths)
        assert np.array_equal(y, oracle.y), tile.name
        assert counts.as_dict() == oracle.counts, tile.name
        assert {key: getattr(profile, key).tolist() for key in oracle.profile} == oracle.profile, tile.name
        acc = reference.lut_gemv_blocks(tile.x, tile.codes, code=tile.code, **oracle.widths)
        assert tile.finish(acc).tobytes() == oracle.result.tobytes(), tile.name
        assert tile.expected().tobytes() == oracle.result.tobytes(), tile.name


@pytest.mark.parametrize("threads", [1, 3])
def test_core(oracles: ModuleType, threads: int) -> None:
    for oracle in oracles.load_oracles():
        tile = oracle.tile
        y = lut_gemv.lut_gemv(tile.x, tile.codes, code=tile.code, threads=threads, **oracle.widths)
        assert np.array_equal(y, oracle.y), tile.name
        acc = lut_gemv.lut_gemv_blocks(tile.x, tile.codes, code=tile.code, threads=threads, **oracle.widths)
        assert tile.finish(acc).tobytes() == oracle.result.tobytes(), tile.name
        profile = lut_gemv.pattern_profile(tile.x, threads=threads, **oracle.widths)
        assert {key: getattr(profile, key).tolist() for key in oracle.profile} == oracle.profile, tile.name


def test_trace(oracles: ModuleType, tmp_path: Path) -> None:
    cases = oracles.load_oracles()
    write_trace(tmp_path / "cases.trace", (oracle.tile for oracle in cases))
    for oracle, result in zip(cases, replay(read_trace(tmp_path / "cases.trace")), strict=True):
        assert result.matches, oracle.tile.name
        assert result.output is not None
        assert result.output.tobytes() == oracle.result.tobytes(), oracle.tile.name
        assert result.lookups == oracle.counts["lookups"], oracle.tile.name
        assert result.prt_hits == oracle.counts["prt_hits"], oracle.tile.name
