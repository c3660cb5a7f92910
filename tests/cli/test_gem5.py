"""`sailsim gem5` with a stand-in for gem5: results are stored and not simulated again."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np

from sailsim.lut_gemv.trace_file import write_trace
from sailsim.sim.gem5.binary import extras_path, machine_json
from sailsim.sim.gem5.validation import DrawnTile, drawn, drawn_tiles, random_tile
from sailsim.sim.machine.substrate import substrate_names
from sailsim.sim.machine.system_files import load_system
from sailsim.sim.study.store import Store

from .gem5_stand_in import elf, one_sentence, runs, sailsim

SMALL = DrawnTile(16, 8, 1, 4, 8, 4)


def test_machine_says_which_gem5_it_is_and_prints_the_machine(log: Path, fake_gem5: Path) -> None:
    answer = json.loads(sailsim("machine", "--check", "--json").stdout)
    which = {"path": str(fake_gem5), "version": "24.0.0.1", "compiled": "Nov 24 2026"}
    assert answer == {"schema": 1, **which, "extras": str(extras_path())}
    assert "24.0.0.1 with sailsim's module" in sailsim("machine", "--check").stdout
    assert json.loads(sailsim("machine").stdout) == json.loads(machine_json(load_system("sail-n1")))


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


def test_validate_resumes(log: Path, tmp_path: Path) -> None:
    words = ("validate", "--seed", 7, "--tiles", 4, "--streams", 4, "--out", tmp_path / "out")
    first = sailsim(*words)
    assert first.exit_code == 1  # the stand-in's phases are made up
    assert "DIFFER" in first.stdout
    # Three substrates; one and five units beside readers at two places, and five alone.
    assert len(runs(log)) == 8
    data = json.loads(sailsim(*words, "--json").stdout)
    assert len(runs(log)) == 8
    assert (data["gem5_version"], data["seed"]) == ("24.0.0.1", 7)
    assert {row["substrate"] for row in data["tiles"]} == set(substrate_names())
    loaded = [row for row in data["tiles"] if row["units"] > 1 or row["streams"]]
    loads = {(row["units"], row["streams"], row["stream_offset"]) for row in loaded}
    assert loads == {(1, 4, 0), (1, 4, 1 << 20), (5, 4, 0), (5, 4, 1 << 20), (5, 0, 0)}
    assert {row["substrate"] for row in loaded} == {"row_dfm"}
    shapes = [tile.name for tile in drawn_tiles(drawn(7, 4), 0)]
    alone = [row["tile"] for row in data["tiles"] if row not in loaded and row["substrate"] == "row_dfm"]
    assert alone == shapes
    assert {row["tile"] for row in loaded} == set(shapes[:2])
    assert not list(tmp_path.rglob("*.trace"))
    assert "tiles drawn with seed 8" in sailsim(*words, "--seed", 8).stdout
    assert len(runs(log)) == 16


def test_parts_of_a_program_are_part_of_the_question_and_told(log: Path, tmp_path: Path) -> None:
    program = elf(tmp_path / "program")
    out, atomic = ("--out", tmp_path / "out", "--", program), ("--cpu", "atomic")
    told = sailsim("run", *atomic, "--simpoint-interval", 10, "--checkpoint", "5,70", *out)
    assert told.exit_code == 0, told.output
    folder = tmp_path / "out" / runs(log)[0].split()[1]
    assert "2 basic-block vectors in" in told.output
    assert "checkpoint in" in told.output
    assert sailsim("run", "--until", 9, *out).exit_code == 0
    frame = Store(tmp_path / "out").frame().set_index("options")
    first = frame.loc["--checkpoint 5,70 --simpoint-interval 10"]
    assert first["basic_block_vectors"] == 2
    assert list(first["checkpoints"]) == [str(folder / "checkpoints" / i) for i in ("5", "70")]
    assert list(frame.loc["--until 9"]["checkpoints"]) == []


def test_checkpoints_that_are_gone_are_written_again_and_are_part_of_the_question(
    log: Path, trace: Path, tmp_path: Path
) -> None:
    out, program = ("--out", tmp_path / "out"), elf(tmp_path / "program")
    takes = ("replay", trace, "--checkpoint", 5, "--units", 1, *out)
    stops = ("run", "--cpu", "atomic", "--checkpoint", 5, *out, "--", program)
    for words in (takes, takes, stops, stops):
        assert sailsim(*words).exit_code == 0
    assert len(runs(log)) == 2
    (folder,) = (tmp_path / "out").glob("run-*")
    for name, words in (("replay-*", takes), ("run-*", stops)):
        (gone,) = (tmp_path / "out").glob(f"{name}/checkpoints")
        shutil.rmtree(gone)
        before = len(runs(log))
        for _ in range(2):
            assert sailsim(*words).exit_code == 0
        assert len(runs(log)) == before + 1
        assert gone.is_dir()
    checkpoint = folder / "checkpoints" / "5"
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
    tiles = [random_tile(random, SMALL) for _ in names]
    write_trace(path, [replace(tile, name=name) for tile, name in zip(tiles, names, strict=True)])
    out = ("--units", 3, "--out", tmp_path / "out")
    told = sailsim("replay", path, "--order", "step", *out)
    assert told.exit_code == 0, told.output
    assert re.search(r"^ +0.000 \.\. +40.000 us +2 tiles  blk.0.attn_q, attn_k, attn_v$", told.output, re.M)
    assert re.search(r"us +1 tiles  blk.0.attn_output$", told.output, re.M)
    assert sailsim("replay", path, *out).exit_code == 0
    frame = Store(tmp_path / "out").frame().set_index("order")
    assert (len(frame.loc["step"]["phases"]), len(frame.loc[""]["phases"])) == (2, 0)
    write_trace(path, [replace(tiles[0], name="")])
    assert "tiles without a name" in one_sentence(sailsim("replay", path, "--order", "step", *out))


def test_a_timeline_is_drawn_and_stored(log: Path, trace: Path, tmp_path: Path) -> None:
    words = ("replay", trace, "--timeline", 0, "--out", tmp_path / "a")
    answer = json.loads(sailsim(*words, "--json").stdout)
    assert [each["source"] for each in answer["timelines"]] == ["gem5 24.0.0.1", "fast engine"]
    assert (tmp_path / "a" / "timeline.png").stat().st_size > 1000
    assert sailsim(*words).stdout.startswith("gem5 24.0.0.1: 16 cycles, 1 groups\nfast engine: ")
    assert len(runs(log)) == 1


def test_validate_takes_the_tiles_of_a_trace(log: Path, tmp_path: Path) -> None:
    trace = tmp_path / "model.trace"
    write_trace(trace, drawn_tiles([SMALL] * 7, 1))
    words = ("validate", trace, "--units", 3, "--out", tmp_path / "out")
    data = json.loads(sailsim(*words, "--json").stdout)
    assert len(runs(log)) == 2
    assert [(each["load"], each["tiles"]) for each in data["summaries"]] == [
        ("alone", 7),
        ("3 at a time alone", 3),
    ]
    assert data["seed"] is None
    write_trace(trace, drawn_tiles([SMALL] * 7, 2))
    sailsim(*words)
    assert len(runs(log)) == 4
