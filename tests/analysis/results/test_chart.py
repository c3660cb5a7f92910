"""A picture as numbers: what falls where, and what is said of all that it does not show."""

from pathlib import Path
from typing import Any

import pytest

from sailsim.analysis.results.chart import MOST_SERIES, Ask, chart
from sailsim.analysis.results.folder import Results
from sailsim.base.errors import SailsimError
from sailsim.sim.study import Task, run_study


def rate(wbits: int, batch: int, threads: int) -> float:
    return 1000.0 * batch / wbits + threads


def record(what: tuple[int, int, int]) -> list[dict[str, Any]]:
    wbits, batch, threads = what
    point = {
        "model": "m",
        "wbits": wbits,
        "batch": batch,
        "threads": threads,
        "prt": True,
        "model_title": "A model",
    }
    sail = {"runner": "sail", "title": "SAIL", "tokens_per_s": rate(*what), "phases": {"dram": 2.0 * wbits}}
    card = {"runner": "card", "title": "My card", "tokens_per_s": None if wbits == 4 else 7.0, "reason": "x"}
    return [point | sail | {"reason": ""}, point | card]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    folder = tmp_path_factory.mktemp("study")
    points = [(w, b, t) for w in (4, 2) for b in (8, 1) for t in (4, 16)]
    tasks = [Task(str(p), str(p), p) for p in points]
    run_study(tasks, record, folder, progress=False)
    return Results(folder)


def marks(results: Results, **ask: Any) -> dict[tuple[Any, Any, Any], float]:
    return {
        (panel.title, series.title, x): y
        for panel in chart(results, Ask(**ask)).panels
        for series in panel.series
        for x, y in zip(series.x, series.y, strict=True)
    }


def test_every_record_is_at_its_place(results: Results) -> None:
    found = marks(
        results, x="wbits", y="tokens_per_s", color="batch", facet="threads", where="runner = 'sail'"
    )
    assert found == {(f"threads: {t}", b, w): rate(w, b, t) for w in (2, 4) for b in (1, 8) for t in (4, 16)}
    drawn = chart(results, Ask("wbits", "tokens_per_s", "runner", "batch", "threads = 4"))
    assert [panel.title for panel in drawn.panels] == [
        "sequences decoded together: 1",
        "sequences decoded together: 8",
    ]
    assert [series.title for series in drawn.panels[0].series] == ["SAIL", "My card"]
    assert drawn.panels[0].series[0].x == (2, 4)
    assert drawn.said == ("Where threads = 4.", "2 records have no tokens_per_s.")
    assert (drawn.kind, drawn.records, drawn.title) == ("line", 6, "Tokens per second by bits of a weight")


@pytest.mark.parametrize(
    ("agg", "expected"),
    [("median", rate(2, 8, 10)), ("mean", rate(2, 8, 10)), ("max", rate(2, 8, 16))],
)
def test_several_records_on_one_mark_are_put_together_or_refused(
    results: Results, agg: str, expected: float
) -> None:
    ask = {"x": "wbits", "y": "tokens_per_s", "color": "batch", "where": "runner = 'sail'"}
    with pytest.raises(
        SailsimError, match=r"^2 records fall on one mark, as threads varies; allowed is a where"
    ):
        marks(results, **ask)
    with pytest.raises(SailsimError, match=r"4 records fall on one mark, as batch and threads vary"):
        marks(results, **ask | {"color": "runner", "where": ""})
    assert marks(results, **ask, agg=agg)["", 8, 2] == pytest.approx(expected)
    said = chart(results, Ask(**ask, agg=agg)).said  # type: ignore[arg-type]
    assert said == ("Where runner = 'sail'.", f"The {agg} over threads (4, 16).")


def test_what_varies_and_is_not_shown_is_said(results: Results) -> None:
    where = "runner = 'sail' and ((wbits = 4 and batch = 1) or (wbits = 2 and batch = 8)) and threads = 4"
    said = chart(results, Ask("wbits", "tokens_per_s", where=where)).said
    assert said[1:] == ("Varies and is not shown: batch (8, 1).",) or said[1:] == (
        "Varies and is not shown: batch (1, 8).",
    )


def test_kinds(results: Results) -> None:
    where = "runner = 'sail' and threads = 4"
    assert chart(results, Ask("wbits", "tokens_per_s", "batch", where=where)).kind == "line"
    assert chart(results, Ask("tokens_per_s", "phases.dram", where="runner = 'sail'")).kind == "scatter"
    bars = chart(results, Ask("runner", "tokens_per_s", "batch", where="threads = 4 and wbits = 2"))
    assert (bars.kind, bars.panels[0].series[0].x) == ("bar", ("SAIL", "My card"))
    bars = chart(results, Ask("prt", "tokens_per_s", where=f"{where} and wbits = 2 and batch = 1"))
    assert bars.panels[0].series[0].x == ("yes",)
    drawn = chart(results, Ask("wbits", "phases.dram", "batch", where=where))
    assert drawn.y.label == "time by phase, dram (s)"
    assert drawn.panels[0].series[0].y == (4.0, 8.0)


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        ({"x": "wbit"}, "column 'wbit' is not in the results; near are wbits"),
        ({"y": "token_per_s"}, "near are tokens_per_s"),
        ({"color": "batches"}, "near are batch"),
        ({"facet": "phases"}, "column 'phases' is not in the results"),
        ({"y": "phases.drum"}, ""),
        ({"y": "title"}, "y is 'title', which is no number"),
        ({"y": "prt"}, "y is 'prt', which is no number"),
        ({"y": "phases"}, "y is 'phases', which is no number"),
        ({"where": "wbits = 9"}, "no record"),
        ({"where": "wbits ="}, "where is 'wbits ='"),
        (
            {"x": "runner", "kind": "line"},
            "kind is 'line' and x 'runner' is no number; allowed for it is bar",
        ),
        ({"kind": "pie"}, "kind is 'pie'; allowed are auto, line, bar, scatter"),
        ({"agg": "sum"}, "agg is 'sum'; allowed are none, median, mean, max"),
    ],
)
def test_what_cannot_be_drawn_is_one_sentence(results: Results, ask: dict[str, Any], said: str) -> None:
    whole: dict[str, Any] = {"x": "wbits", "y": "tokens_per_s", "agg": "max"} | ask
    with pytest.raises(SailsimError, match=f"^[^\n]*{said}"):
        chart(results, Ask(**whole))


def test_more_colours_than_can_be_told_apart_are_refused(tmp_path: Path) -> None:
    def one(n: int) -> dict[str, Any]:
        return {"seed": n, "wbits": 1, "tokens_per_s": 1.0}

    tasks = [Task(str(n), str(n), n) for n in range(MOST_SERIES + 1)]
    run_study(tasks, one, tmp_path, progress=False)
    with pytest.raises(SailsimError, match="seed has 50 values; allowed are 49"):
        chart(Results(tmp_path), Ask("wbits", "tokens_per_s", "seed"))


def test_questions_that_mean_the_same_are_one_mark(tmp_path: Path) -> None:
    tasks = [Task(str(i), str(i), (2, 1, 4)) for i in range(2)]
    run_study(tasks, record, tmp_path, progress=False)
    asked = Ask("wbits", "tokens_per_s", where="runner = 'sail'")
    assert chart(Results(tmp_path), asked).records == 1
