"""`sailsim gem5` with a stand-in for gem5: results are stored and not simulated again."""

import json
import os
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sailsim.base.atomic import read_records
from sailsim.lut_gemv.trace import write_trace
from sailsim.sim.gem5 import records, validation
from sailsim.sim.gem5.binary import VARIABLE
from sailsim.sim.gem5.cases import drawn, drawn_tiles, random_tile
from sailsim.sim.gem5.outcome import Gem5Run
from sailsim.sim.study.folder import Store

from .gem5_stand_in import SMALL, elf, one_sentence, runs, sailsim


def test_check_says_which_gem5_it_is(log: Path, fake_gem5: Path) -> None:
    found = json.loads(sailsim("check", "--json").stdout)
    which = {"path": str(fake_gem5), "version": "24.0.0.1", "compiled": "Nov 24 2026"}
    assert found == {"schema": 1, **which}
    assert "24.0.0.1 with sailsim's module" in sailsim("check").stdout


def test_a_sweep_is_stored_resumed_and_grows(log: Path, tmp_path: Path) -> None:
    out = tmp_path / "gem5"
    written = tmp_path / "tiles.json"
    first = sailsim("sweep", *SMALL, "--out", out, "--json", "--write", written, "--build", "by hand")
    assert first.exit_code == 1  # the stand-in's phases are made up
    found = json.loads(first.stdout)
    said = [found[name] for name in ("points", "held_before", "correct", "phases_equal")]
    assert said == [6, 0, True, False]
    assert len(runs(log)) == 5  # three bits; four bits; the whole matrix, packed and rows apart; the timeline
    assert (out / "timeline.json").is_file()
    frame = Store(out).frame()
    alone, whole = frame[frame["slices"] == 1], frame[frame["slices"] == 32]
    assert (len(alone), len(whole)) == (4, 2)
    assert set(whole["layout"]) == {"packed", "rows"}
    assert (frame["bare_cycles"] <= frame["engine_cycles"]).all()
    assert set(alone["gem5_cycles"]) == {70000, 70001}
    assert list(whole["gem5_cycles"]) == [70031] * 2
    assert set(frame["engine"]) == {"gem5"}
    assert (list(alone["n"]), list(whole["n"])) == ([18] * 4, [576] * 2)
    assert (frame["engine_cycles"] >= frame["unhindered_cycles"]).all()
    assert set(frame["gem5_build"]) == {len("buildCycles")}
    assert not list(out.rglob("*.trace"))
    data = read_records(written)
    assert (data["run"]["gem5"], data["run"]["build"]) == ("24.0.0.1", "by hand")
    assert data["run"]["options"].startswith("sailsim gem5 sweep --system sail-n1 --model smollm2-135m")
    assert (len(data["tiles"]), len(data["timelines"])) == (6, 2)

    again = sailsim("sweep", *SMALL, "--out", out, "--json")
    assert json.loads(again.stdout)["held_before"] == 6
    assert len(runs(log)) == 5
    grown = sailsim("sweep", *SMALL, "--nbw", "2,3,4", "--out", out, "--json")
    assert json.loads(grown.stdout)["held_before"] == 6
    assert len(runs(log)) == 7


def test_a_gem5_without_tracing_sweeps_without_a_timeline(
    log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As gem5.fast is; what is to be committed needs one."""
    monkeypatch.setenv("FAKE_GEM5", "untraced")
    out = tmp_path / "gem5"
    result = sailsim("sweep", *SMALL, "--out", out, "--json")
    assert json.loads(result.stdout)["points"] == 6
    assert "No timeline: gem5 is" in result.stderr
    assert "allowed for a timeline is one with it, such as gem5.opt." in result.stderr
    assert not list(out.rglob("timeline.json"))
    assert not list(out.rglob("*.trace"))
    written = tmp_path / "tiles.json"
    said = one_sentence(sailsim("sweep", *SMALL, "--out", out, "--write", written))
    assert "compiled without tracing" in said
    assert not written.exists()


def test_a_sweep_over_substrates_keeps_them_apart(log: Path, tmp_path: Path) -> None:
    out = tmp_path / "gem5"
    words = ("sweep", *SMALL, "--substrate", "row_dfm,row_dfm:add=2n", "--out", out, "--json")
    assert json.loads(sailsim(*words).stdout)["points"] == 12
    frame = Store(out).frame()
    assert frame.groupby("substrate").size().to_dict() == {"row_dfm": 6, "row_dfm:add=2n": 6}
    builds = frame.groupby("substrate")["core_build"].sum()
    assert builds["row_dfm:add=2n"] > builds["row_dfm"]
    assert json.loads(sailsim(*words).stdout)["held_before"] == 12
    plain = sailsim("sweep", *SMALL, "--out", out, "--json")
    assert json.loads(plain.stdout)["held_before"] == 6


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


def test_the_key_has_the_scripts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = records.scripts_digest()
    (tmp_path / "machine.py").write_text("x = 1\n")
    monkeypatch.setattr(records, "configs_path", lambda: tmp_path)
    assert records.scripts_digest() != before


def test_validate_resumes_and_writes_its_origin(log: Path, tmp_path: Path) -> None:
    written = tmp_path / "validation.json"
    words = ("validate", "--build", "by hand", "--seed", 7, "--tiles", 4, "--streams", 4)
    words += ("--out", tmp_path / "out", "--write", written)
    first = sailsim(*words)
    assert first.exit_code == 1  # the stand-in's phases are made up
    assert "DIFFER" in first.stdout
    # Three substrates; one and five units beside readers at two places, and five alone.
    assert len(runs(log)) == 8
    data = read_records(written)
    assert data["gem5_version"] == "24.0.0.1"
    assert {row["substrate"] for row in data["tiles"]} == set(validation.SUBSTRATES)
    loaded = [row for row in data["tiles"] if row["units"] > 1 or row["streams"]]
    loads = {(row["units"], row["streams"], row["stream_offset"]) for row in loaded}
    assert loads == {(1, 4, 0), (1, 4, 1 << 20), (5, 4, 0), (5, 4, 1 << 20), (5, 0, 0)}
    assert {row["substrate"] for row in loaded} == {"row_dfm"}
    assert (data["latencies"], data["bandwidths"]) == ([], [])
    assert data["run"]["build"] == "by hand"
    options = "sailsim gem5 validate --system sail-n1 --seed 7 --tiles 4 --streams 4 --together 5"
    assert data["run"]["options"] == options
    assert data["seed"] == 7
    shapes = [tile.name for tile in drawn_tiles(drawn(7, 4), 0)]
    alone = [row["tile"] for row in data["tiles"] if row not in loaded and row["substrate"] == "row_dfm"]
    assert alone == shapes
    assert {row["tile"] for row in loaded} == set(shapes[:2])
    assert set(data["run"]) == {"commit", "date", "gem5_sha256", "build", "options"}
    assert json.loads(sailsim(*words, "--json").stdout)["tiles"] == data["tiles"]
    assert len(runs(log)) == 8
    assert "tiles drawn with seed 8" in sailsim(*words, "--seed", 8).stdout
    assert len(runs(log)) == 16


def test_validate_with_programs_adds_latencies_and_bandwidths(log: Path, tmp_path: Path) -> None:
    for program in ("pointer_chase", "bandwidth"):
        elf(tmp_path / program)
    words = ("validate", "--tiles", 2, "--kernels", tmp_path, "--out", tmp_path / "out", "--json")
    found = json.loads(sailsim(*words).stdout)
    assert [row["level"] for row in found["latencies"]] == ["L1", "L2", "LLC", "DRAM"]
    rows = {(row["level"], row["threads"]): row for row in found["bandwidths"]}
    assert rows.keys() == {("L2", 1), ("DRAM", 1), ("DRAM", 4), ("DRAM", 16)}
    assert rows["DRAM", 16]["published_gb_s"] == 42.62  # a quarter of 170.5
    assert rows["DRAM", 4]["published_gb_s"] is None
    assert rows["L2", 1]["published_gb_s"] == 48.25  # 19.3 bytes a cycle at 2.5 GHz
    assert {row["gem5_gb_s"] for row in found["bandwidths"]} == {20.0}


@pytest.mark.parametrize(
    ("option", "value", "allowed"),
    [("--streams", 0, "1<=x<=64"), ("--streams", 65, "1<=x<=64"), ("--together", 49, "1<=x<=48")],
)
def test_validate_says_what_is_allowed(log: Path, option: str, value: int, allowed: str) -> None:
    result = sailsim("validate", option, value)
    assert result.exit_code == 2
    assert f"Invalid value for '{option}': {value} is not in the range {allowed}" in result.output
    assert runs(log) == []


def test_one_unit_together_is_what_is_compared_anyway(log: Path, tmp_path: Path) -> None:
    words = ("validate", "--tiles", 2, "--together", 1, "--out", tmp_path / "out", "--json")
    data = json.loads(sailsim(*words).stdout)
    assert len(runs(log)) == 5
    assert [row["load"] for row in data["summaries"]] == [
        "alone", "beside 16 streams", "beside 16 streams from 1024 KiB on",
    ]  # fmt: skip


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
        "report out",
    )
    places = [text.index(step) for step in steps]
    assert places == sorted(places)
    assert "--out out/gem5" in text
    assert "gem5 check" not in make_sim()
    assert "gem5 sweep" not in make_sim()


def test_a_machines_size_and_streams_are_told_and_are_part_of_the_question(
    log: Path, trace: Path, tmp_path: Path
) -> None:
    program = elf(tmp_path / "program")
    given = ("--units", 2, "--memory", "512MiB", "--capacity-mode", "--max-ticks", 10**9)
    for words in (
        (
            "run",
            *given,
            "--start-with",
            "atomic",
            "--switch-after",
            5,
            "--out",
            tmp_path / "out",
            "--",
            program,
        ),
        ("run", "--units", 2, "--out", tmp_path / "out", "--", program),
        ("replay", trace, *given, "--stream", 3, "--stream-gb-s", 2.5, "--out", tmp_path / "out"),
    ):
        result = sailsim(*words)
        assert result.exit_code == 0, result.output
    same = "--capacity-mode --max-ticks 1000000000 --memory 512MiB"
    assert set(Store(tmp_path / "out").frame()["options"]) == {
        f"{same} --start-with atomic --switch-after 5 --units 2",
        "--units 2",
        f"{same} --stream 3 --stream-gb-s 2.5 --units 2",
    }
    assert len(runs(log)) == 3


def test_parts_of_a_program_are_part_of_the_question_and_told(log: Path, tmp_path: Path) -> None:
    program = elf(tmp_path / "program")
    out, atomic = ("--out", tmp_path / "out", "--", program), ("--cpu", "atomic")
    told = sailsim("run", *atomic, "--simpoint-interval", 10, "--checkpoint-at", "5,070", *out)
    assert told.exit_code == 0, told.output
    folder = tmp_path / "out" / runs(log)[0].split()[1]
    assert "2 basic-block vectors in" in told.output
    assert "checkpoint in" in told.output
    assert sailsim("run", "--stop-after", 9, *out).exit_code == 0
    frame = Store(tmp_path / "out").frame().set_index("options")
    first = frame.loc["--checkpoint-at 5,70 --simpoint-interval 10"]
    assert first["basic_block_vectors"] == 2
    assert list(first["checkpoints"]) == [str(folder / "checkpoints" / f"instruction-{i}") for i in (5, 70)]
    assert list(frame.loc["--stop-after 9"]["checkpoints"]) == []


def test_checkpoints_that_are_gone_are_written_again_and_are_part_of_the_question(
    log: Path, trace: Path, tmp_path: Path
) -> None:
    out, there = ("--out", tmp_path / "out"), tmp_path / "there"
    program = elf(tmp_path / "program")
    takes = ("replay", trace, "--checkpoint", there, "--checkpoint-tick", 5, *out)
    stops = ("run", "--cpu", "atomic", "--checkpoint-at", 5, *out, "--", program)
    for words in (takes, takes, stops, stops):
        assert sailsim(*words).exit_code == 0
    assert len(runs(log)) == 2
    (folder,) = (tmp_path / "out").glob("run-*")
    for gone, words in ((there, takes), (folder / "checkpoints", stops)):
        shutil.rmtree(gone)
        before = len(runs(log))
        for _ in range(2):
            assert sailsim(*words).exit_code == 0
        assert len(runs(log)) == before + 1
        assert gone.is_dir()
    checkpoint = folder / "checkpoints" / "instruction-5"
    goes_on = ("run", "--restore", checkpoint, *out, "--", program)
    before = len(runs(log))
    for content in ("5", "5", "other"):
        (checkpoint / "m5.cpt").write_text(content)
        assert sailsim(*goes_on).exit_code == 0
    assert len(runs(log)) == before + 2


def test_an_order_is_part_of_the_question_and_phases_are_told(log: Path, tmp_path: Path) -> None:
    path = tmp_path / "named.trace"
    random = np.random.default_rng(1)
    names = ("blk.0.attn_q.weight", "blk.0.attn_k.weight", "blk.0.attn_output.weight")
    tiles = [random_tile(random, 16, 8, 1, 4, 8, 4, 0, scaled=False, uniform=True) for _ in names]
    write_trace(path, [replace(tile, name=name) for tile, name in zip(tiles, names, strict=True)])
    out = ("--units", 3, "--out", tmp_path / "out")
    told = sailsim("replay", path, "--order", "step", *out)
    assert told.exit_code == 0, told.output
    assert re.search(r"^ +0.000 \.\. +40.000 us +2 tiles  blk.0.attn_q, attn_k, attn_v$", told.output, re.M)
    assert re.search(r"us +1 tiles  blk.0.attn_output$", told.output, re.M)
    assert sailsim("replay", path, *out).exit_code == 0
    frame = Store(tmp_path / "out").frame().set_index("options")
    assert len(frame.loc["--order step --units 3"]["phases"]) == 2
    assert len(frame.loc["--units 3"]["phases"]) == 0
    assert "tiles without a name" in one_sentence(
        sailsim("replay", unnamed(tmp_path), "--order", "step", *out)
    )


def unnamed(folder: Path) -> Path:
    """A trace of one tile that says no tensor."""
    tile = random_tile(np.random.default_rng(2), 16, 8, 1, 4, 8, 4, 0, scaled=False, uniform=True)
    write_trace(folder / "unnamed.trace", [replace(tile, name="")])
    return folder / "unnamed.trace"
