"""README's table: a row a claim, its primary reading's numbers, and those of the other readings."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from sailsim.analysis import claims, evaluate, runners
from sailsim.analysis.paper.claims import load_paper
from sailsim.analysis.render.marks import parts
from sailsim.analysis.render.readme_page import results_parts
from sailsim.sim import load_preset, run_sweep
from sailsim.workloads import capture

ROOT = Path(__file__).parents[3]


def rows(table: str) -> list[list[str]]:
    return [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("|")][2:]


def test_a_row_has_the_primary_reading_of_its_claim_at_its_best_of_all_points(swept) -> None:
    frame, found = swept.frame(), claims(swept)
    text = results_parts(swept.path)["claims"]
    paper = load_paper()
    assert len(rows(text)) == len(paper.claim)
    for row, claim in zip(rows(text), paper.claim, strict=True):
        own = found[found["claim"] == claim.title]
        (main,) = own[own["reading"].str.startswith(claim.primary.words)].head(1).to_dict("records")
        assert row[0] == f"{claim.title}: {main['reading']}"
        assert row[2].rstrip("x %") == ("-" if main["ratio"] is None else f"{main['here']:.3g}")
        assert row[3] == main["verdict"]
    points = len(set(frame["point_key"]))
    assert 1 < points < len(frame)
    assert text.endswith(f"The highest values of {points} points.")


@pytest.mark.slow
def test_the_table_of_readme_is_that_of_make_sim(tmp_path: Path) -> None:
    captured = tmp_path / "activations.npz"
    capture().save(captured)
    points = [replace(point, activations=str(captured)) for point in load_preset("paper")]
    run_sweep(points, partial(evaluate, runners=runners()), tmp_path / "out", progress=False)
    shown = parts((ROOT / "README.md").read_text("utf-8"))["results/claims"]
    assert results_parts(tmp_path / "out")["claims"] == shown
