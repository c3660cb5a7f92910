"""`sailsim gem5` with a stand-in for gem5: results stored, resumed, failures in one sentence."""

import errno
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from sailsim.base.records import read_records
from sailsim.cli import main
from sailsim.lut_gemv import Tile, WeightCode, write_trace
from sailsim.sim import Store
from sailsim.sim.gem5 import VARIABLE, Gem5Run, cases, records, validation


@pytest.fixture
def log(tmp_path: Path, fake_gem5: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file in which every run of the stand-in leaves a line."""
    path = tmp_path / "runs.log"
    monkeypatch.setenv(VARIABLE, str(fake_gem5))
    monkeypatch.setenv("FAKE_GEM5_LOG", str(path))
    monkeypatch.delenv("FAKE_GEM5", raising=False)
    return path


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import numpy as np

    path = tmp_path_factory.mktemp("trace") / "one.trace"
    x, codes = np.ones((1, 8), np.int8), np.ones((8, 4), np.uint8)
    write_trace(path, [Tile(x=x, codes=codes, code=WeightCode.twos(4), abits=8, nbw=4)])
    return path


def elf(path: Path, machine: int = 183, bits: int = 64) -> Path:
    """The head of a program's file; 183 is AArch64."""
    path.write_bytes(b"\x7fELF" + bytes([bits // 32, 1, 1]) + bytes(11) + machine.to_bytes(2, "little"))
    return path


def sailsim(*words: object) -> Result:
    return CliRunner().invoke(main, ["gem5", *map(str, words)])


def runs(log: Path) -> list[str]:
    return log.read_text().splitlines() if log.exists() else []


def one_sentence(result: Result) -> str:
    assert result.exit_code == 2, result.output
    lines = [line for line in result.stderr.splitlines() if not line.startswith("runs of tiles on gem5 ")]
    assert len(lines) == 1, result.stderr
    return lines[0]


MODEL = ("--model", "smollm2-135m", "--group-size", "32")
SMALL = (*MODEL, "--wbits", "3,4", "--nbw", "2,4", "--batch", "1", "--whole", "4")


def test_check_says_which_gem5_it_is(log: Path, fake_gem5: Path) -> None:
    found = json.loads(sailsim("check", "--json").stdout)
    assert found == {"schema": 1, "path": str(fake_gem5), "version": "24.0.0.1", "compiled": "Nov 24 2026"}
    assert "24.0.0.1 with sailsim's module" in sailsim("check").stdout


def test_a_sweep_is_stored_resumed_and_grows(log: Path, tmp_path: Path) -> None:
    out = tmp_path / "gem5"
    written = tmp_path / "tiles.json"
    first = sailsim("sweep", *SMALL, "--out", out, "--json", "--write", written, "--build", "by hand")
    assert first.exit_code == 1  # the stand-in's phases are made up
    found = json.loads(first.stdout)
    said = [found[name] for name in ("points", "held_before", "correct", "phases_equal")]
    assert said == [5, 0, True, False]
    assert len(runs(log)) == 4  # three bits; four bits; the whole matrix; the timeline
    assert (out / "timeline.json").is_file()
    frame = Store(out).frame()
    alone, whole = frame[frame["slices"] == 1], frame[frame["slices"] == 32]
    assert (len(alone), len(whole)) == (4, 1)
    assert set(alone["gem5_cycles"]) == {70000, 70001}
    assert list(whole["gem5_cycles"]) == [70031]
    assert set(frame["engine"]) == {"gem5"}
    assert (list(alone["n"]), list(whole["n"])) == ([18] * 4, [576])
    assert (frame["engine_cycles"] >= frame["unhindered_cycles"]).all()
    assert set(frame["gem5_build"]) == {len("buildCycles")}
    assert not list(out.rglob("*.trace"))
    data = read_records(written)
    assert (data["run"]["gem5"], data["run"]["build"]) == ("24.0.0.1", "by hand")
    assert data["run"]["options"].startswith("sailsim gem5 sweep --system sail-n1 --model smollm2-135m")
    assert (len(data["tiles"]), len(data["timelines"])) == (5, 2)

    again = sailsim("sweep", *SMALL, "--out", out, "--json")
    assert json.loads(again.stdout)["held_before"] == 5
    assert len(runs(log)) == 4
    grown = sailsim("sweep", *SMALL, "--nbw", "2,3,4", "--out", out, "--json")
    assert json.loads(grown.stdout)["held_before"] == 5
    assert len(runs(log)) == 6


def test_a_sweep_over_substrates_keeps_them_apart(log: Path, tmp_path: Path) -> None:
    out = tmp_path / "gem5"
    words = ("sweep", *SMALL, "--substrate", "row_dfm,row_dfm:add=2n", "--out", out, "--json")
    assert json.loads(sailsim(*words).stdout)["points"] == 10
    frame = Store(out).frame()
    assert frame.groupby("substrate").size().to_dict() == {"row_dfm": 5, "row_dfm:add=2n": 5}
    builds = frame.groupby("substrate")["core_build"].sum()
    assert builds["row_dfm:add=2n"] > builds["row_dfm"]
    assert json.loads(sailsim(*words).stdout)["held_before"] == 10
    plain = sailsim("sweep", *SMALL, "--out", out, "--json")
    assert json.loads(plain.stdout)["held_before"] == 5


def test_a_timeline_is_drawn_with_gem5_and_without(
    log: Path, trace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = json.loads(sailsim("timeline", trace, "--out", tmp_path / "a", "--json").stdout)
    assert [each["source"] for each in found["timelines"]] == ["gem5 24.0.0.1", "fast engine"]
    assert (tmp_path / "a" / "timeline.png").stat().st_size > 1000
    monkeypatch.delenv(VARIABLE)
    result = sailsim("timeline", trace, "--engine", "--out", tmp_path / "b")
    assert (result.exit_code, result.stdout.split(":")[0]) == (0, "fast engine")
    assert "no gem5 is named" in one_sentence(sailsim("timeline", trace, "--out", tmp_path / "c"))
    assert "tile is 1; allowed are 0..0" in one_sentence(sailsim("timeline", trace, "--tile", 1))
    assert "groups is '5'" in one_sentence(sailsim("timeline", trace, "--groups", "5"))


def test_points_that_fail_leave_the_others(
    log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "gem5"
    sailsim("sweep", *MODEL, "--wbits", "4", "--nbw", "4", "--batch", "1", "--whole", "0", "--out", out)
    monkeypatch.setenv("FAKE_GEM5", "panic")
    sentence = one_sentence(sailsim("sweep", *SMALL, "--out", out))
    assert "3 of 4 runs of tiles on gem5 were refused (the first: gem5 stopped" in sentence
    assert "it went wrong" in sentence
    monkeypatch.setenv("FAKE_GEM5", "good")
    assert json.loads(sailsim("sweep", *SMALL, "--out", out, "--json").stdout)["held_before"] == 1


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        ("panic", ("stopped before the end (it went wrong)", "gem5.log")),
        ("killed", ("stopped before the end (ended by SIGKILL, perhaps for want of memory)",)),
        ("truncated", ("its statistics are not complete",)),
        ("full", ("no space left on the disk",)),
        ("hang", ("took longer than 0.5 s", "gem5.log")),
    ],
)
def test_a_run_that_ends_badly_is_one_sentence_and_stores_nothing(
    log: Path,
    trace: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    behaviour: str,
    words: tuple[str, ...],
) -> None:
    monkeypatch.setenv("FAKE_GEM5", behaviour)
    out = tmp_path / "gem5"
    # The one that hangs never ends by itself; the others have all the time that they need.
    limit = ("--timeout", 0.5) if behaviour == "hang" else ()
    sentence = one_sentence(sailsim("replay", trace, "--units", 1, "--out", out, *limit))
    for word in words:
        assert word in sentence
    assert not list(out.glob("chunks/*"))
    for pid in out.rglob("pid"):  # what took too long is ended
        with pytest.raises(ProcessLookupError):
            os.kill(int(pid.read_text()), 0)
    monkeypatch.setenv("FAKE_GEM5", "good")
    assert sailsim("replay", trace, "--units", 1, "--out", out).exit_code == 0


def test_a_wrong_result_is_stored_and_status_1(
    log: Path, trace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_GEM5", "wrong")
    result = sailsim("replay", trace, "--units", 2, "--out", tmp_path)
    assert (result.exit_code, result.stdout.split(",")[0]) == (1, "0 of 2 tiles as expected")


def test_statistics_of_run_and_replay_go_into_one_store_and_are_not_run_again(
    log: Path, trace: Path, tmp_path: Path
) -> None:
    for _ in range(2):
        assert sailsim("replay", trace, "--units", 1, "--out", tmp_path).exit_code == 0
        program = elf(tmp_path / "program")
        assert sailsim("run", "--out", tmp_path, "--", program, "--colour", "red").exit_code == 0
    frame = Store(tmp_path).frame()
    assert set(frame["command"]) == {"run", "replay"}
    assert set(frame["gem5_version"]) == {"24.0.0.1"}
    assert len(runs(log)) == 2
    replayed = frame[frame["command"] == "replay"].iloc[0]
    assert (replayed["unit_buildCycles"], replayed["unit_operandsTicks"]) == (11, 1000000)


def test_totals_of_the_statistics() -> None:
    stats = {
        "simInsts": 7.0,
        "system.cpus0.numCycles": 5.0,
        "system.cpus1.numCycles": 9.0,
        "system.units00.tiles": 1.0,
        "system.units01.tiles": 2.0,
        "system.units00.prtHitRate": 0.5,
        "system.units00.queueLength": 0.1,
        "system.units01.stageTicks::groups": 4.0,
        "system.memory0.dram.bytesRead::total": 64.0,
        "system.memory1.dram.bytesRead::total": 64.0,
        "system.llc0.demandMisses::units": 3.0,
        "system.units00.errors::fault": 1.0,
    }
    assert Gem5Run(0, "", 1, 1.0, stats, Path()).totals() == {
        "instructions": 7,
        "core_cycles": 9,
        "unit_tiles": 3,
        "unit_groupsTicks": 4,
        "dram_bytesRead": 128,
    }


def test_another_binary_is_another_result(log: Path, trace: Path, tmp_path: Path, fake_gem5: Path) -> None:
    other = tmp_path / "other.opt"
    other.write_text(fake_gem5.read_text() + "\n")
    other.chmod(0o755)
    for binary in (fake_gem5, other, fake_gem5):
        result = sailsim("replay", trace, "--units", 1, "--out", tmp_path / "out", "--gem5", binary, "--json")
        assert result.exit_code == 0
    assert len(runs(log)) == 2


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda path: None, "there is no such file"),
        (lambda path: path.mkdir(), "it is no file"),
        (lambda path: path.write_text("#!/bin/sh\n"), "it is not executable"),
        (lambda path: (path.write_bytes(b"\x7fELF junk"), path.chmod(0o755)), "Exec format error"),
    ],
)
def test_what_cannot_be_run_is_one_sentence(tmp_path: Path, make, why: str) -> None:
    path = tmp_path / "gem5.opt"
    make(path)
    sentence = one_sentence(sailsim("check", "--gem5", path))
    assert why in sentence
    assert "EXTRAS" in sentence


@pytest.mark.parametrize(
    ("behaviour", "words"), [("no_module", "has no sailsim module"), ("silent", "does not answer as gem5")]
)
@pytest.mark.parametrize("command", ["check", "sweep", "validate", "kernels"])
def test_a_gem5_without_the_module_is_one_sentence_before_any_work(
    log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, behaviour: str, words: str, command: str
) -> None:
    monkeypatch.setenv("FAKE_GEM5", behaviour)
    out = ["--out", tmp_path / "out"] if command != "check" else []
    sentence = one_sentence(sailsim(command, *out))
    assert words in sentence
    assert "EXTRAS" in sentence
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("sweep", "--wbits", "9"), "wbits"),
        (("sweep", "--wbits", "x"), "wbits is 'x'"),
        (("sweep", "--tensor", "blk.0.nothing"), "tensor is 'blk.0.nothing'"),
        (("sweep", "--system", "graviton2"), "graviton2 has no enabled [pim] section; allowed is"),
        (("sweep", "--system", "aim-n1"), "section, its accelerator has backend dram_pim; allowed is"),
        (("validate", "--system", "graviton2"), "no enabled [pim] section"),
        (("validate", "--system", "aim-n1"), "its accelerator has backend dram_pim"),
        (("dram", "--system", "aim-n1"), "its accelerator has backend dram_pim"),
        (("kernels", "--system", "aim-n1"), "backend dram_pim, which gem5 does not have"),
        (("sweep", "--timeout", "0"), "--timeout"),
        (("kernels", "--programs", "/no/such/folder"), "make kernels"),
        (("run", "/no/such/program"), "make kernels"),
        (("replay", __file__, "--window", "-1"), "'--window': -1 is not in the range"),
    ],
)
def test_bad_words_are_one_sentence(log: Path, tmp_path: Path, words: tuple[str, ...], sentence: str) -> None:
    command, *rest = words
    assert sentence in one_sentence(sailsim(command, "--out", tmp_path / "out", *rest))
    assert not runs(log)


def test_a_program_of_another_machine_is_one_sentence(log: Path, tmp_path: Path) -> None:
    out = ("--out", tmp_path / "out", "--")
    for program, why in (
        (elf(tmp_path / "x86", 62), "whose ELF machine is 62 and not 183"),
        (elf(tmp_path / "arm32", 40, 32), "whose ELF machine is 40 and not 183"),
        (Path(__file__), "which is no ELF file"),
    ):
        said = one_sentence(sailsim("run", *out, program))
        assert said == f"Error: program is {program}, {why}; allowed is one for AArch64."
    assert not runs(log)


def test_lines_that_only_look_like_json_are_left_out() -> None:
    output = 'a line\n{not json\n{"x": 1}\n{\n' + '{"y":' * 100_000 + "\n"
    assert Gem5Run(0, output, 0, 0.0, {}, Path()).json_lines == [{"x": 1}]


def test_a_full_disk_is_one_sentence(
    log: Path, trace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Path, *_: object, **__: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", full)
        sentence = one_sentence(sailsim("replay", trace, "--units", 1, "--out", tmp_path / "out"))
    assert "cannot be written: No space left on device" in sentence


@pytest.mark.slow
def test_a_folder_whose_gem5_still_runs_is_left_alone(
    log: Path, trace: Path, tmp_path: Path, fake_gem5: Path, wait_until
) -> None:
    """sailsim killed in the middle leaves a gem5 behind, which the same command does not join."""
    command = [sys.executable, "-m", "sailsim", "gem5", "replay", str(trace), "--units", "1"]
    command += ["--out", str(tmp_path / "out")]
    killed = subprocess.Popen(command, env=os.environ | {"FAKE_GEM5": "hang"}, stderr=subprocess.DEVNULL)

    def pid() -> str:
        return "".join(path.read_text() for path in (tmp_path / "out").rglob("pid"))

    wait_until(killed, pid)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    orphan = int(pid())
    try:
        sentence = one_sentence(sailsim("replay", trace, "--units", 1, "--out", tmp_path / "out"))
        assert "is in use by a gem5 that still runs" in sentence
    finally:
        os.kill(orphan, signal.SIGKILL)
    with (next((tmp_path / "out").rglob("pid")).parent / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # what the killed one held: free as soon as it is gone
    assert sailsim("replay", trace, "--units", 1, "--out", tmp_path / "out").exit_code == 0


def test_the_key_has_the_scripts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = records.scripts_digest()
    (tmp_path / "machine.py").write_text("x = 1\n")
    monkeypatch.setattr(records, "configs_path", lambda: tmp_path)
    assert records.scripts_digest() != before


def few_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first of each list of tiles instead of all."""
    every = validation.tiles
    monkeypatch.setattr(validation, "tiles", lambda seed=1, shapes=cases.TILES: every(seed, shapes[:1]))


def test_validate_resumes_and_writes_its_origin(
    log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few_tiles(monkeypatch)
    written = tmp_path / "validation.json"
    words = ("validate", "--build", "by hand", "--streams", 4, "--out", tmp_path / "out", "--write", written)
    first = sailsim(*words)
    assert first.exit_code == 1  # the stand-in's phases are made up
    assert "DIFFER" in first.stdout
    assert len(runs(log)) == 4  # three substrates, and one beside streams
    data = read_records(written)
    assert data["gem5_version"] == "24.0.0.1"
    assert {row["substrate"] for row in data["tiles"] if row["streams"] == 0} == set(validation.SUBSTRATES)
    assert {row["substrate"] for row in data["tiles"] if row["streams"] == 4} == {"row_dfm"}
    assert (data["latencies"], data["bandwidths"]) == ([], [])
    assert data["run"]["build"] == "by hand"
    assert data["run"]["options"] == "sailsim gem5 validate --system sail-n1 --streams 4"
    assert set(data["run"]) == {"commit", "date", "gem5_sha256", "build", "options"}
    assert json.loads(sailsim(*words, "--json").stdout)["tiles"] == data["tiles"]
    assert len(runs(log)) == 4


def test_validate_with_programs_adds_latencies_and_bandwidths(
    log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few_tiles(monkeypatch)
    for program in ("pointer_chase", "bandwidth"):
        elf(tmp_path / program)
    found = json.loads(sailsim("validate", "--kernels", tmp_path, "--out", tmp_path / "out", "--json").stdout)
    assert [row["level"] for row in found["latencies"]] == ["L1", "L2", "LLC", "DRAM"]
    rows = {(row["level"], row["threads"]): row for row in found["bandwidths"]}
    assert rows.keys() == {("L2", 1), ("DRAM", 1), ("DRAM", 4), ("DRAM", 16)}
    assert rows["DRAM", 16]["published_gb_s"] == 42.62  # a quarter of 170.5
    assert rows["DRAM", 4]["published_gb_s"] is None
    assert rows["L2", 1]["published_gb_s"] == 48.25  # 19.3 bytes a cycle at 2.5 GHz
    assert {row["gem5_gb_s"] for row in found["bandwidths"]} == {20.0}


def make_sim(*words: str) -> str:
    """What `make sim` would run."""
    environment = {name: value for name, value in os.environ.items() if name != VARIABLE}
    command = ["make", "-n", "sim", *words]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=True)
    return done.stdout


@pytest.mark.skipif(shutil.which("make") is None, reason="no make")
def test_make_sim_asks_gem5_first_and_shows_its_tiles_with_the_others() -> None:
    text = make_sim("GEM5=/some/gem5.opt")
    steps = (
        "gem5 check --gem5 '/some/gem5.opt'",
        "sweep --preset",
        "gem5 sweep --gem5",
        "figures out",
        "report out",
    )
    places = [text.index(step) for step in steps]
    assert places == sorted(places)
    assert "--out out/gem5" in text
    assert "gem5 check" not in make_sim()
    assert "gem5 sweep" not in make_sim()
