"""What `--json` prints: one object with the number of its layout, and the names of the dictionary."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from sailsim.analysis.runs.columns import columns_of
from sailsim.analysis.runs.runs import MAPS
from sailsim.cli import main
from sailsim.cli.common import json_output as _json

from .commands import answer

BY_NAME = {*MAPS, "runs", "notes", "price_notes", "phases", "refused"}
"""What holds values by names that are no columns: of runners, phases, sentences."""
SMALL = ["--model", "smollm2-135m", "--context", "64"]


def names(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, each in value.items():
            yield name
            if name == "verdict":  # its names are its own (`verdict.verdict`)
                continue
            yield from names(list(each.values()) if name in BY_NAME and isinstance(each, dict) else each)
    elif isinstance(value, list):
        for each in value:
            yield from names(each)


def unknown(found: dict[str, Any]) -> set[str]:
    known = columns_of("")
    return {name for name in names(found) if not any(column.names(name) for column in known)}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    asked = (*SMALL, "--wbits", "2,4")
    found = answer("sweep", *asked, "--out", folder)
    assert unknown(found) == set()
    assert found["points"] == 2
    return folder


def test_answers_about_points_and_folders_have_the_names_of_records(study: Path, tmp_path: Path) -> None:
    for words in (
        ["run", *SMALL],
        ["run", *SMALL, "--system", "graviton2", "--cost"],
        ["results", "ls", study],
        ["results", "show", study],
        ["results", "show", study, "--out", tmp_path / "x.csv"],
    ):
        assert unknown(answer(*words)) == set(), words


def test_a_replay_on_gem5(log: Path, trace: Path, tmp_path: Path) -> None:
    assert unknown(answer("gem5", "replay", trace, "--units", "1", "--out", tmp_path)) == set()


def test_what_json_does_not_have_is_nothing_or_a_text() -> None:
    @click.command()
    @_json.as_json_option
    def asked() -> None:
        told = _json.answered({"x": [float("nan"), float("inf"), 1.5, True, None], "path": Path("a")})
        assert told == _json.as_json()

    assert CliRunner().invoke(asked).stdout == ""
    found = json.loads(CliRunner().invoke(asked, ["--json"]).stdout)
    assert found == {"schema": _json.SCHEMA, "x": [None, None, 1.5, True, None], "path": "a"}


def test_the_list_of_commands_imports_none_and_fits_80_columns() -> None:
    code = "import sys; from click.testing import CliRunner; from sailsim.cli import main; "
    code += "print(CliRunner().invoke(main, ['--help']).output); "
    code += "heavy = ('sailsim.sim', 'numpy', 'pandas'); "
    code += "print('modules', *sorted(name for name in sys.modules if name.startswith(heavy)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    *lines, modules = done.stdout.rstrip("\n").split("\n")
    assert modules == "modules"
    listed = [line.split()[0] for line in lines if re.match(r"  [a-z]", line)]
    assert set(main.list_commands(click.Context(main))) <= set(listed)
    assert max(map(len, lines)) <= 80
    assert not any(line.endswith("...") for line in lines if line.startswith("  "))


def test_completion_offers_commands_and_choices() -> None:
    def offered(words: str, count: int) -> set[str]:
        asked = {"_SAILSIM_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(count)}
        done = CliRunner().invoke(main, [], env=asked, prog_name="sailsim")
        return {line.partition(",")[2] for line in done.stdout.split()}

    assert offered("sailsim re", 1) == {"results", "report", "replay"}
    assert offered("sailsim run --phase ", 3) == {"decode", "prefill"}
    assert offered("sailsim run --convert u", 3) == {"unit"}
    assert offered("sailsim run --model llama-2", 3) >= {"llama-2-7b", "llama-2-13b"}
