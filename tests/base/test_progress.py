"""ProgressReport of what is gone through one by one."""

import io
import itertools
import json

import pytest

from sailsim.base import progress
from sailsim.base.progress import logged_as_json, with_progress


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every look at the clock is 3 s later."""
    times = itertools.count(0.0, 3.0)
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(times))


def test_what_is_over_at_once_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(with_progress(range(5), "things")) == list(range(5))
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("clock")
def test_what_takes_longer_says_how_far_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(with_progress(iter(range(5)), "things", total=5)) == list(range(5))
    lines = capsys.readouterr().err.splitlines()
    assert lines
    assert all(line.startswith("things ") and "/5, about " in line for line in lines)
    assert list(with_progress(range(5), "things", wanted=False)) == list(range(5))
    assert capsys.readouterr().err == ""


def test_for_programs() -> None:
    stream = io.StringIO()
    with logged_as_json(stream):
        assert list(with_progress("abc", "letters")) == ["a", "b", "c"]
    events = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [event["event"] for event in events] == ["started", "progress", "progress", "done"]
    assert [event["done"] for event in events] == [0, 1, 2, 3]
