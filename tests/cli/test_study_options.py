"""Who evaluates a study and how its progress is told: the same options on every command that is one."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from sailsim.cli import main

GRID = ["--model", "smollm2-135m", "--wbits", "2,4", "--batch", "1:4"]


@pytest.mark.parametrize("command", ["sweep", "claims reproduce", "claims explore"])
def test_every_study_has_them(command: str) -> None:
    said = CliRunner().invoke(main, [*command.split(), "--help"]).stdout
    assert all(name in said for name in ("--jobs", "--dask", "--slurm", "--log-json"))


def test_one_of_them(tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ["sweep", *GRID, "--jobs", "2", "--dask", "tcp://x:1", "--out", str(out)]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 2
    assert "--dask is given beside --jobs; allowed is one of them." in result.output
    assert not out.exists()


def test_a_scheduler_that_is_not_there(tmp_path: Path) -> None:
    pytest.importorskip("distributed", reason="a cluster needs the extra `cluster`")
    out = tmp_path / "out"
    result = CliRunner().invoke(main, ["sweep", *GRID, "--dask", "nonsense", "--out", str(out)])
    assert result.exit_code == 2
    assert "dask is 'nonsense'; allowed is an address such as tcp:" in result.output
    assert not out.exists()


def test_progress_as_json(tmp_path: Path) -> None:
    log, out = tmp_path / "log.jsonl", str(tmp_path / "out")
    words = ["sweep", *GRID, "--out", out, "--log-json", str(log)]
    assert CliRunner().invoke(main, words).exit_code == 0
    events = [json.loads(line) for line in log.read_text().splitlines()]
    assert events[0]["event"] == "started"
    assert events[-1]["event"] == "done"
    assert [event["done"] for event in events] == sorted(event["done"] for event in events)
    assert (events[-1]["done"], events[-1]["total"], events[-1]["failed"]) == (8, 8, 0)
    assert CliRunner().invoke(main, words).exit_code == 0
    again = [json.loads(line) for line in log.read_text().splitlines()][len(events) :]
    assert again[-1]["held_before"] == 8
    assert {event["what"] for event in again} == {"points"}
