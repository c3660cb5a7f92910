"""`sailsim sweep`: what was asked for are columns, the numbers are those of `run`, and a study grows."""

import json
import shlex
from pathlib import Path

import pytest

from sailsim.analysis.costs.dollars import is_missing
from sailsim.analysis.runs.runs import COLUMNS, runners
from sailsim.sim.study.store import RESERVED, Store, command_of

from .commands import answer, sailsim

SMALL = ["--model", "smollm2-135m", "--context", "64"]
GRID = ["--model", "smollm2-135m", "--batch", "1,8", "--threads", "4,16", "--group-size", "32"]


def summary(*words: str) -> dict[str, object]:
    return answer("sweep", *words)


def test_a_sweep_is_stored_once_and_grows(tmp_path: Path) -> None:
    log, told = tmp_path / "log.jsonl", 0
    out = ["--out", str(tmp_path / "out"), "--log-json", str(log)]
    for wbits, points, held in (("2:4", 12, 0), ("2:4", 12, 12), ("2:5", 16, 12)):
        found = summary(*GRID, "--wbits", wbits, *out)
        assert (found["points"], found["held_before"], found["state"]) == (points, held, "complete")
        first, *_, last = (json.loads(line) for line in log.read_text().splitlines()[told:])
        assert (first["event"], first["total"], last["event"], last["failed"]) == (
            "started",
            points,
            "done",
            0,
        )
        assert (last["done"], last["held_before"], last["total"]) == (points, held, points)
        told = len(log.read_text().splitlines())
    frame = Store(tmp_path / "out").frame()
    assert len(frame) == 16 * len(runners())
    assert sorted(set(frame["wbits"])) == [2, 3, 4, 5]


def test_a_dry_run_shows_the_points_and_stores_nothing(tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = sailsim("sweep", *GRID, "--wbits", "2:4", "--out", str(out), "--dry-run")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[-1] == "12 points."
    assert not out.exists()
    assert len(answer("sweep", *GRID, "--dry-run")["points"]) == 4


def test_phase_and_prompt_are_axes(tmp_path: Path) -> None:
    small, out = ["--model", "smollm2-135m"], ["--out", str(tmp_path)]
    summary(*small, "--phase", "decode,prefill", "--context", "16", *out)
    found = summary(*small, "--phase", "prefill", "--prompt", "16,32", *out)
    assert (found["points"], found["held_before"]) == (2, 1)
    assert sorted(set(Store(tmp_path).frame()["prompt"])) == [16, 32]


@pytest.mark.slow
def test_swept_fields_are_columns_of_every_record(tmp_path: Path) -> None:
    axes = ["--set", "llc.slices=16,32", "--set", "pim.clock=2:3:0.5", "--set", "row_dfm:add=2,8n-2"]
    assert summary(*SMALL, *axes, "--out", str(tmp_path))["points"] == 12
    frame = Store(tmp_path).frame()
    own = ["llc.slices", "pim.clock", "pim.substrate.add"]
    assert list(frame.columns) == [*COLUMNS, *own, *RESERVED]
    asked = [(s, c, a) for s in (16, 32) for c in (2, 2.5, 3) for a in ("2", "8n-2")]
    found = list(frame[own].itertuples(index=False, name=None))
    assert found == [each for each in asked for _ in runners()]
    assert set(frame["substrate"]) == {"row_dfm:add=2", "row_dfm:add=8n-2"}


@pytest.mark.slow
@pytest.mark.parametrize("setting", ["llc.slices=16", "memory.channels=4", "pim.dfm_split=k"])
def test_a_point_of_an_axis_has_the_result_of_run_set(tmp_path: Path, setting: str) -> None:
    summary(*SMALL, "--set", setting, "--out", str(tmp_path))
    told = answer("run", *SMALL, "--set", setting)
    saved = tmp_path / "saved.toml"
    saved.write_text(sailsim("show", "system", f"sail-n1:{setting}", "--as", "toml").stdout)
    by_file = answer("run", *SMALL, "--system", str(saved))
    for row in Store(tmp_path).frame().to_dict("records"):
        for each in (told, by_file):
            run = each["runs"][row["runner"]]
            for name in ("tokens_per_s", "step_s", "memory_bytes"):
                assert run[name] == (None if is_missing(row[name]) else row[name])
    assert told["runs"]["sail"] != answer("run", *SMALL)["runs"]["sail"]


def test_a_record_without_a_column_of_the_study_is_made_anew(tmp_path: Path) -> None:
    out = ["--out", str(tmp_path)]
    one, other = "sail-n1:llc.slices=16", "sail-n1:pim.clock=2"
    summary(*SMALL, "--system", one, *out)
    assert summary(*SMALL, "--system", one, "--system", other, *out)["held_before"] == 0
    frame = Store(tmp_path).frame().drop_duplicates("system")
    assert list(frame["llc.slices"]) == [16, 32]
    assert list(frame["pim.clock"]) == [1.8, 2]
    assert summary(*SMALL, "--system", f"{one},{other}", *out)["held_before"] == 2


PLAN = """
against = ["gpu.toml"]
[fixed]
model = "smollm2-135m"
context = 64
[axes]
wbits = [2, 4]
batch = [1, 4, 8]
llc.slices = { from = 16, to = 32, points = 2, scale = "log" }
"""


@pytest.mark.slow
def test_a_plan_is_swept_and_its_command_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("there").mkdir()
    Path("there/plan.toml").write_text(PLAN)
    Path("there/gpu.toml").write_text('extends = "l4"\nname = "mine"\ntitle = "My GPU"\n')
    first = summary("--plan", "there/plan.toml", "--out", "out")
    assert (first["points"], first["held_before"]) == (12, 0)
    frame = Store("out").frame()
    assert set(frame["runner"]) >= {"sail", "mine"}
    assert set(frame["llc.slices"]) == {16, 32}
    manifest = Store("out").manifest
    assert manifest["config"]["plan"] == {"file": "there/plan.toml", "text": PLAN}
    words = shlex.split(command_of(manifest))
    assert words == ["sailsim", "sweep", "--plan", "there/plan.toml"]
    assert summary(*words[2:], "--out", "out")["held_before"] == 12


def test_a_machine_that_cannot_be_does_not_stop_the_others(tmp_path: Path) -> None:
    """Values that are allowed one by one and do not go together: listed, and the rest has its results."""
    result = sailsim("sweep", *SMALL, "--set", "pim.rows=8,512", "--out", str(tmp_path))
    assert result.exit_code == 2
    assert "1 of 2 points were refused (the first: sail-n1:pim.rows=8: pim does not fit" in result.stderr
    store = Store(tmp_path)
    assert set(store.frame()["pim.rows"]) == {512}
    assert (store.manifest["points"], len(store.manifest["refused"])) == (2, 1)
    (row,) = answer("results", "ls", str(tmp_path))["folders"]
    assert row["refused"] == store.manifest["refused"]
    for rows, said in (("8", "pim does not fit"), ("0,512", "pim.rows is 0; allowed is")):
        alone = sailsim("sweep", *SMALL, "--set", f"pim.rows={rows}", "--out", str(tmp_path / "alone"))
        assert alone.exit_code == 2
        assert alone.stderr.startswith(f"Error: sail-n1:pim.rows={rows[0]}: {said}")
        assert not (tmp_path / "alone").exists()
