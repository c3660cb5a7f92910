import json

import pytest
from click.testing import CliRunner

from sailsim.cli import main
from sailsim.workloads.load import load_model
from sailsim.workloads.shape_file import model_names


def run(*arguments):
    return CliRunner().invoke(main, ["models", *map(str, arguments)])


def test_list_names_every_model():
    result = run("list")
    assert result.exit_code == 0
    assert [line.split()[0] for line in result.output.splitlines()[1:]] == list(model_names())
    rows = json.loads(run("list", "--json").stdout)["models"]
    assert {row["name"]: row["n_params"] for row in rows} == {
        name: load_model(name).n_params for name in model_names()
    }
    assert all(row["source"] for row in rows)


def test_show_gives_shapes_and_the_size_in_a_format():
    found = json.loads(run("show", "llama-2-7b", "--format", "q8_0", "--json").stdout)
    assert found["d_ffn"] == 11008
    assert found["bytes"] == pytest.approx(found["n_params"] * 8.5 / 8, rel=1e-3)
    assert "q8_0" in run("show", "llama-2-7b", "--format", "q8_0").output


def test_show_of_a_file_lists_its_tensors(smollm2_path):
    found = json.loads(run("show", smollm2_path, "--json").stdout)
    assert len(found["tensors"]) == 272
    assert found["bytes"] == sum(tensor["bytes"] for tensor in found["tensors"])
    assert "210 q4_1" in run("show", smollm2_path).output
    assert run("show", smollm2_path, "--format", "q4_0").exit_code == 2


def test_formats_are_listed_with_sources():
    rows = {row["name"]: row for row in json.loads(run("formats", "--json").stdout)["formats"]}
    assert rows["q4_k_m"]["bits_per_weight"] == pytest.approx(4.84, abs=0.01)
    assert rows["f16"]["wbits"] is None
    assert "q4_k_m" in run("formats", "--model", "gemma-2b").output


@pytest.mark.parametrize("arguments", [("show", "nope"), ("show", "llama-2-7b", "--format", "q9")])
def test_bad_input_is_one_sentence_and_status_2(arguments):
    result = run(*arguments)
    assert result.exit_code == 2
    assert len(result.output.strip().splitlines()) == 1
    assert "allowed is" in result.output
