import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from sailsim.cli import main
from sailsim.workloads.activations import Activations


def run(*arguments):
    return CliRunner().invoke(main, ["activations", *map(str, arguments)])


def test_show_of_the_shipped_capture():
    found = json.loads(run("--json").stdout)
    assert found["id"] == Activations.load().id
    assert found["meta"]["model"] == "SmolLM2-135M-Instruct"
    text = run().output
    assert "sha256" in text
    assert "harbour" in text


@pytest.mark.slow
def test_capture_writes_what_show_reads(smollm2_path, tmp_path: Path):
    out = tmp_path / "c.npz"
    arguments = ("--model", smollm2_path, "--text", "The capital of France is")
    made = json.loads(run(*arguments, "--out", out, "--json").stdout)
    shown = json.loads(run(out, "--json").stdout)
    assert made == shown
    assert made["roles"]["ffn_out"]["tokens"] == 5


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--tokens", "1,x"), "tokens is '1,x'"),
        (("--tokens", "1,2", "--text", "a"), "text and tokens"),
        (("here.npz",), "PATH is here.npz beside --out"),
    ],
)
def test_bad_input_is_one_sentence_and_writes_nothing(smollm2_path, tmp_path: Path, arguments, words):
    out = tmp_path / "c.npz"
    result = run("--model", smollm2_path, *arguments, "--out", out)
    assert result.exit_code == 2
    assert len(result.output.strip().splitlines()) == 1
    assert words in result.output
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_capture(tmp_path: Path):
    path = tmp_path / "x.npz"
    path.write_bytes(b"PK\x03\x04 not really")
    result = run(path)
    assert result.exit_code == 2
    assert "cannot be read" in result.output
