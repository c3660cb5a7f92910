"""Accelerators that are not SAIL beside it in run, sweep, figures and report, by name and by file."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from sailsim.cli import main
from sailsim.sim.study.folder import Store

BESIDE = ("neural-cache-n1", "aim-n1", "hbm-pim-n1")
POINT = ("--model", "smollm2-135m", "--context", "64", "--threads", "4")


def sailsim(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def beside(*names: str) -> list[str]:
    return [word for name in names for word in ("--beside", name)]


def run_json(*arguments: str) -> dict[str, Any]:
    result = sailsim("run", *POINT, *arguments, "--json")
    assert result.exit_code == 0, result.output
    runs: dict[str, Any] = json.loads(result.stdout)["runs"]
    return runs


def test_run_has_them_in_the_table_and_says_where_their_steps_go() -> None:
    runs = run_json(*beside(*BESIDE))
    for name in BESIDE:
        entry = runs[name]
        assert entry["tokens_per_s"] > 0
        assert sum(entry["phases"].values()) == pytest.approx(entry["step_s"])
        assert entry.get("energy_j") is None
        assert any(f"the energy of system {name}'s accelerator" in note for note in entry["notes"])
    assert runs["sail"]["tokens_per_s"] == run_json()["sail"]["tokens_per_s"]
    text = " ".join(sailsim("run", *POINT, *beside(*BESIDE)).output.split())
    assert "where the step of aim-n1 goes" in text
    assert "no price" in text


@pytest.mark.parametrize(
    ("model", "system", "limit"), [("llama-2-13b", "aim-n1", "17.2"), ("llama-2-7b", "hbm-pim-n1", "8.6")]
)
def test_what_does_not_fit_its_own_memory_has_a_reason_and_no_number(
    model: str, system: str, limit: str
) -> None:
    result = sailsim("run", "--model", model, *beside(system), "--json")
    entry = json.loads(result.stdout)["runs"][system]
    assert entry["tokens_per_s"] is None
    assert f"the accelerator of system {system}" in entry["reason"]
    assert f"allowed is {limit} GB" in entry["reason"]


@pytest.mark.slow
def test_what_the_server_keeps_beside_the_accelerator_must_fit_the_server() -> None:
    """The KV cache: 2 GiB a sequence of 4096 tokens of Llama 2 7B, in 512 GiB."""
    point = ("--context", "4096", *beside("aim-n1"), "--json")
    fits = json.loads(sailsim("run", *point, "--batch", "250").stdout)["runs"]["aim-n1"]
    assert fits["tokens_per_s"] > 0
    entry = json.loads(sailsim("run", *point, "--batch", "300").stdout)["runs"]["aim-n1"]
    assert entry["tokens_per_s"] is None
    assert "system aim-n1, beside its accelerator: llama-2-7b" in entry["reason"]
    assert "needs 644.3 GB, allowed is 549.8 GB" in entry["reason"]


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a small sweep with all of them."""
    out = str(tmp_path_factory.mktemp("swept") / "out")
    grid = ("--wbits", "2,8", "--batch", "1,8")
    assert sailsim("sweep", *POINT, *grid, *beside(*BESIDE), "--out", out).exit_code == 0
    return out


def test_a_sweep_has_them(swept: str) -> None:
    frame = Store(swept).frame()
    for name in BESIDE:
        rows = frame[frame["runner"] == name]
        assert len(rows) == 4
        assert (rows["tokens_per_s"] > 0).all()
        assert rows["energy_j"].isna().all()


def test_a_report_has_them(swept: str, tmp_path: Path) -> None:
    has_them(sailsim("report", swept, "--out", str(tmp_path / "report.html")), tmp_path)


def has_them(result: Result, folder: Path) -> None:
    """That a report was made and names every accelerator."""
    assert result.exit_code == 0, result.output
    report = (folder / "report.html").read_text("utf-8")
    for title in ("Neural Cache on a", "GDDR6-AiM beside a", "HBM-PIM beside a"):
        assert f"{title} Neoverse-N1 server" in report


def test_a_file_of_the_users_is_an_accelerator_like_any_other(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    half = 'channels = { value = 16, unit = "channels", source = "a test", kind = "paper" }'
    path.write_text(f'extends = "aim-n1"\nname = "half"\ntitle = "Half"\n[accelerator]\n{half}\n')
    runs = run_json(*beside("aim-n1", str(path)))
    assert runs["half"]["phases"]["rows"] > runs["aim-n1"]["phases"]["rows"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            'extends = "aim-n1"\nname = "x"\n[accelerator]\nbackend = "none"\n',
            "backend is 'none'; allowed are",
        ),
        (
            'extends = "sail-n1"\nname = "x"\n[accelerator]\nbackend = "dram_pim"\n',
            "is missing",
        ),
    ],
)
def test_a_bad_file_is_one_sentence_and_exit_status_2(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(text)
    result = sailsim("run", *POINT, "--beside", str(path))
    assert result.exit_code == 2
    assert words in result.output
    assert len(result.output.strip().splitlines()) <= 2
    assert "Traceback" not in result.output


@pytest.mark.parametrize("command", ["run", "sweep"])
@pytest.mark.parametrize("system", BESIDE)
def test_the_points_own_system_cannot_be_one_where_sail_is_asked_for(
    command: str, system: str, tmp_path: Path
) -> None:
    out = ("--out", str(tmp_path / "out")) if command == "sweep" else ()
    # Whether the model would fit it is not the question.
    result = sailsim(command, "--model", "llama-2-13b", "--system", system, *out)
    assert result.exit_code == 2
    assert (
        f"not lut-gemv; allowed is to put it beside another one, as in `--beside {system}`" in result.output
    )
    # Which the same command takes.
    assert "--beside" in sailsim(command, "--help").output


@pytest.mark.parametrize(
    ("system", "its"),
    [("aim-n1", ", its accelerator has backend dram_pim"), ("graviton2", "")],
)
def test_a_command_of_pim_units_refuses_a_machine_without_in_one_sentence(
    system: str, its: str, tmp_path: Path
) -> None:
    trace = str(tmp_path / "trace")
    model = ("trace", "--model", "smollm2-135m", "--layers", "0:1", "--tensors", "*attn_k*", "--out", trace)
    assert sailsim(*model).exit_code == 0
    matrix, rows = str(tmp_path / "w.npy"), str(tmp_path / "x.npy")
    np.save(matrix, np.ones((8, 4), np.int8))
    np.save(rows, np.ones((1, 8), np.int8))
    words = f"Error: system {system} has no enabled [pim] section{its}; allowed is one with PIM units.\n"
    for command in (
        (*model[:-1], str(tmp_path / "other")),
        ("replay", trace),
        ("claims", "explore", "--out", str(tmp_path / "explored")),
        ("gemv", "--activations", rows, "--weights", matrix, "--wbits", "2", "--abits", "4"),
    ):
        result = sailsim(*command, "--system", system)
        assert (result.exit_code, result.output) == (2, words), command
    assert sailsim("show", "system", system, "--unit").output == words
    assert not (tmp_path / "other").exists()
