"""What `--json` prints: one object with the number of its layout, and the names of the dictionary."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from sailsim.analysis.results.columns import groups
from sailsim.analysis.results.runs import MAPS
from sailsim.cli import _json, main
from sailsim.sim.gem5.binary import VARIABLE

BY_NAME = {*MAPS, "runs", "notes", "price_notes", "phases", "refused"}
"""What holds values by names that are no columns: of runners, phases, sentences."""
SMALL = ["--model", "smollm2-135m", "--context", "64"]


def answer(*words: object) -> dict[str, Any]:
    done = CliRunner().invoke(main, [*map(str, words), "--json"])
    assert done.exit_code in (0, 1), done.output
    found: dict[str, Any] = json.loads(done.stdout, parse_constant=pytest.fail)
    assert isinstance(found, dict)
    assert next(iter(found.items())) == ("schema", _json.SCHEMA), words
    return found


def names(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, each in value.items():
            yield name
            yield from names(list(each.values()) if name in BY_NAME and isinstance(each, dict) else each)
    elif isinstance(value, list):
        for each in value:
            yield from names(each)


def unknown(found: dict[str, Any]) -> set[str]:
    known = [column for group in groups() for column in group.columns]
    return {name for name in names(found) if not any(column.names(name) for column in known)}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    asked = (*SMALL, "--wbits", "2,4")
    found = answer("sweep", *asked, "--out", folder)
    assert unknown(found) == set()
    assert found["points"] == 2
    return folder


@pytest.mark.parametrize(
    "words",
    [
        ["run", *SMALL],
        ["run", *SMALL, "--system", "graviton2", "--cost"],
    ],
    ids=" ".join,
)
def test_answers_about_points_have_the_names_of_records(words: list[str]) -> None:
    assert unknown(answer(*words)) == set()


def test_answers_about_folders_have_them_too(study: Path, tmp_path: Path) -> None:
    for words in (
        ["ls", study],
        ["show", study],
        ["query", study, "SELECT runner, phases FROM runs"],
        ["export", study, "--out", tmp_path / "x.csv"],
        ["diff", study, study],
        ["gc", study, "--dry-run"],
    ):
        assert unknown(answer("results", *words)) == set(), words


def test_one_that_the_dictionary_lacks_is_found() -> None:
    assert unknown({"runs": {"sail": {"tokens_per_second": 1.0, "phases": {"any": 1}}}}) == {
        "tokens_per_second"
    }


def test_a_replay_on_gem5(
    fake_gem5: Path, trace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(fake_gem5))
    monkeypatch.delenv("FAKE_GEM5", raising=False)
    assert unknown(answer("gem5", "replay", trace, "--units", "1", "--out", tmp_path)) == set()


@pytest.mark.slow
def test_a_search(tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    found = answer(
        "claims", "explore", "--out", tmp_path, "--samples", "2", "--model", "smollm2-135m", "--jobs", "1"
    )
    assert unknown(found) == set()


@pytest.mark.parametrize(
    "words",
    [
        ["list", "system"],
        ["show", "system", "sail-n1"],
        ["show", "system", "v100"],
        ["list", "substrate"],
        ["show", "substrate", "row_dfm"],
        ["list", "model"],
        ["show", "model", "llama-2-7b"],
        ["list", "format"],
        ["activations"],
    ],
    ids=" ".join,
)
def test_every_answer_is_one_object_with_its_layout(words: list[str]) -> None:
    answer(*words)


def test_no_command_prints_json_in_another_way() -> None:
    """`print_json` alone; a JSON schema is no answer."""
    folder = Path(_json.__file__).parent
    for path in folder.rglob("*.py"):
        text = path.read_text("utf-8")
        others = text.count("echo(json.dumps(") - text.count("echo(json.dumps(json_schema()")
        assert others == (path.name == "_json.py"), path


def test_what_json_does_not_have_is_nothing_or_a_text(capsys: pytest.CaptureFixture[str]) -> None:
    _json.print_json({"x": [float("nan"), float("inf"), 1.5, True, None], "path": Path("a")})
    found = json.loads(capsys.readouterr().out)
    assert found == {"schema": _json.SCHEMA, "x": [None, None, 1.5, True, None], "path": "a"}
