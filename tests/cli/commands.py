"""Commands as a shell calls them: what they print, answer and refuse."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from sailsim.cli import main
from sailsim.cli.common.json_output import SCHEMA


def sailsim(*words: object, columns: int = 80) -> Result:
    return CliRunner().invoke(main, [*map(str, words)], env={"COLUMNS": str(columns)})


def answer(*words: object, status: int = 0) -> dict[str, Any]:
    """What a command prints as JSON: one object with its layout first, of numbers that are some."""
    result = sailsim(*words, "--json")
    assert result.exit_code == status, result.output
    parsed: dict[str, Any] = json.loads(result.stdout, parse_constant=pytest.fail)
    assert next(iter(parsed.items())) == ("schema", SCHEMA), words
    return parsed


def sentence_of(result: Result) -> str:
    """The one sentence of a refusal, with status 2 and nothing on standard output."""
    assert result.exit_code == 2, result.output
    assert isinstance(result.exception, SystemExit)
    assert result.stdout == ""
    (sentence,) = result.stderr.splitlines()
    return sentence


def refused(*words: object) -> str:
    """The sentence that refuses a command, which has written nothing below the current folder."""

    def files() -> dict[Path, bytes | None]:
        return {path: path.read_bytes() if path.is_file() else None for path in Path().rglob("*")}

    before = files()
    sentence = sentence_of(sailsim(*words))
    assert files() == before
    return sentence
