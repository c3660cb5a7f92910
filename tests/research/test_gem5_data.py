"""`python research/gem5_data.py`, with a stand-in for gem5."""

from pathlib import Path

import gem5_data
import pytest
from click.testing import CliRunner

from sailsim.base.atomic import read_records
from sailsim.base.errors import SailsimError
from sailsim.sim.files import load_system
from sailsim.sim.gem5.binary import VARIABLE

from ..cli.gem5_stand_in import elf


def test_a_share_of_the_machine_with_small_caches() -> None:
    whole, part = load_system("sail-n1"), gem5_data.scaled(load_system("sail-n1"))
    assert (part.llc.slices.whole, part.memory.channels.whole) == (8, 2)
    assert part.memory.peak_bandwidth.si == pytest.approx(whole.memory.peak_bandwidth.si / 4)
    assert part.llc.latency == whole.llc.latency
    assert part.digest != whole.digest
    for threads, size in gem5_data.BANDWIDTH_RUNS:
        assert size > 2 * (threads * (part.l1d.size.si + part.l2.size.si) + part.llc.size)
    bytes_of = {"q8_0": 34, "q4_0": 18, "q4_1": 20, "q2": 21}  # 32 weights, 64 for q2
    for name, outputs in gem5_data.STREAMED_OUTPUTS.items():
        weights = outputs * 4096 * bytes_of[name] / (64 if name == "q2" else 32)
        assert weights > 4 * (part.l1d.size.si + part.l2.size.si) + part.llc.size
    with pytest.raises(SailsimError, match=r"memory\.channels is 8"):
        gem5_data.scaled(load_system("sail-n1"), gem5_data.CORES // 8 * 2)


def test_validation_has_latencies_bandwidths_and_its_origin(
    tmp_path: Path, fake_gem5: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(fake_gem5))
    monkeypatch.delenv("FAKE_GEM5", raising=False)
    for program in ("pointer_chase", "bandwidth"):
        elf(tmp_path / program)
    words = ["validation", "--tiles", "2", "--kernels", tmp_path, "--out", tmp_path / "out"]
    (tmp_path / "gem5").mkdir()
    done = CliRunner().invoke(
        gem5_data.main, [*map(str, words), "--data", str(tmp_path), "--build", "by hand"]
    )
    assert done.exit_code == 0, done.output
    data = read_records(tmp_path / "gem5" / "validation.jsonl")
    assert (data["seed"], data["run"]["build"], data["gem5_version"]) == (3, "by hand", "24.0.0.1")
    assert set(data["run"]) == {"commit", "date", "gem5_sha256", "build", "options"}
    assert [row["level"] for row in data["latencies"]] == ["L1", "L2", "LLC", "DRAM"]
    rows = {(row["level"], row["threads"]): row for row in data["bandwidths"]}
    assert rows.keys() == {("L2", 1), ("DRAM", 1), ("DRAM", 4), ("DRAM", 16)}
    assert rows["DRAM", 16]["published_gb_s"] == 42.62  # a quarter of 170.5
    assert rows["DRAM", 4]["published_gb_s"] is None
    assert rows["L2", 1]["published_gb_s"] == 48.25  # 19.3 bytes a cycle at 2.5 GHz
    assert {row["gem5_gb_s"] for row in data["bandwidths"]} == {20.0}
