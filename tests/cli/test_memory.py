"""A point that does not fit a machine's memory has no number and a reason, whoever is asked."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from sailsim.cli import main
from sailsim.sim.study.folder import Store

TOO_LARGE = ["--model", "llama-2-70b", "--batch", "512", "--context", "4096"]
NEEDS = "llama-2-70b in w4g128 with batch 512 and context 4096 needs 722.8 GB"
SAIL = f"system sail-n1: {NEEDS}, allowed is 549.8 GB"


def call(*words: object) -> str:
    result = CliRunner().invoke(main, [str(word) for word in words], env={"COLUMNS": "240"})
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.parametrize(("more", "said"), [([], "no room"), (["--cost"], "does not fit")])
def test_run_names_each_runner_and_its_reason(more: list[str], said: str) -> None:
    told = call("run", *TOO_LARGE, *more)
    for name in ("sail", "cores", "cores-ampere", "cores-all"):
        assert f"- {name}: {SAIL}\n" in told
    assert "- v100: card v100: llama-2-70b in w4g128" in told
    rows = [line for line in told.splitlines() if line.startswith((" SAIL ", " cores, "))]
    assert rows
    assert all(said in line for line in rows)
    found = json.loads(call("run", *TOO_LARGE, "--json"))["runs"]
    assert {entry["tokens_per_s"] for entry in found.values()} == {None}
    assert {entry["tokens_per_usd"] for entry in found.values()} == {None}
    assert all(entry["reason"] for entry in found.values())


def test_each_machine_has_its_own_memory(tmp_path: Path) -> None:
    size = '{ value = 1, unit = "GiB", source = "x", kind = "paper" }'
    small = f'extends = "sail-n1"\nname = "small"\nmemory.size = {size}\n'
    (tmp_path / "small.toml").write_text(small)
    told = call("run", "--model", "llama-2-7b", "--system", tmp_path / "small.toml")
    assert "- sail: system small: llama-2-7b in w4g128 with batch 1 and context 512 needs" in told
    assert "- cores: system small:" in told
    assert " V100, serving " in told  # its own memory holds the model


@pytest.mark.slow
def test_a_sweep_its_figures_and_its_report_keep_the_reason(tmp_path: Path) -> None:
    words = ["--model", "llama-2-70b", "--batch", "1,512", "--context", "4096", "--out", tmp_path]
    assert call("sweep", *words).startswith("llama-2-70b, 4-bit weights: w4g128 561 tensors\n2 points")
    frame = Store(tmp_path).frame()
    large = frame[frame["batch"] == 512]
    assert large["tokens_per_s"].isna().all()
    assert (large["step_s"].isna() & large["energy_j"].isna()).all()
    assert set(large[large["runner"] == "sail"]["reason"]) == {SAIL}
    assert set(large[large["runner"] == "cores"]["reason"]) == {SAIL}
    assert not large["fits"].any()
    few = frame[(frame["batch"] == 1) & frame["runner"].isin(["sail", "cores"])]
    assert few["fits"].all()
    assert (few["tokens_per_s"] > 0).all()
    call("report", tmp_path)
    assert all(path.stat().st_size > 1000 for path in (tmp_path / "figures").iterdir())
    report = (tmp_path / "report.html").read_text("utf-8")
    assert SAIL in report


@pytest.mark.slow
def test_a_search_says_why_no_machine_can(tmp_path: Path) -> None:
    told = call("claims", "explore", *TOO_LARGE, "--samples", "2", "--jobs", "1", "--out", tmp_path)
    assert "2 machines tried, 2 cannot run it, 0 on the front" in told
    assert "needs 722.8 GB, allowed is 549.8 GB" in told
