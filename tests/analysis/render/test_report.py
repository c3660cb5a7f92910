"""Claims and the report: complete, self-contained, honest about misses."""

import html
import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from sailsim.analysis.costs.dollars import prices
from sailsim.analysis.paper.claim import load_paper
from sailsim.analysis.paper.stored_claims import COLUMNS, claims
from sailsim.analysis.render.report_page import report
from sailsim.analysis.render.sweep_figures import FIGURES
from sailsim.analysis.runs.compare import with_comparisons
from sailsim.analysis.runs.equal_quality import losses
from sailsim.analysis.runs.runs import evaluate, runners
from sailsim.analysis.studies.stored_runs import RunTable, stored_runs
from sailsim.analysis.studies.sweep_study import run_sweep
from sailsim.cli import main
from sailsim.sim.point import Point
from sailsim.sim.software.fitted import fitted_constants
from sailsim.sim.study.store import Store

from ...refusals import refusal


@pytest.fixture(scope="module")
def table(frame):
    return claims(RunTable.of(frame, prices()))


@pytest.fixture(scope="module")
def rows_of(frame):
    """The rows of a runner, with their ratios and dollars."""
    return dict(list(with_comparisons(frame, prices()).groupby("runner"))).__getitem__


def test_every_claim_has_a_row(table):
    assert list(table.columns) == list(COLUMNS)
    assert {said.title for said in (*load_paper().claim, *load_paper().fact)} == set(table["claim"])
    assert set(table["verdict"]) <= {"reached", "missed", "no data", "consistent", "differs", ""}


def test_a_speedup_at_equal_quality_leaves_the_other_side_its_width(tmp_path):
    """Three bits lose most, so that cores may take any of the three, which are faster on them."""
    points = [Point(model="llama-2-7b", wbits=bits, batch=32, threads=16, context=64) for bits in (3, 4, 8)]
    store = run_sweep(points, evaluate, tmp_path, progress=False)
    rows = (
        claims(RunTable.of(stored_runs(store), prices())).set_index("reading").dropna(subset="equal_quality")
    )
    found, here = rows["equal_quality"], rows["here"].astype(float)
    assert (found <= here * (1 + 1e-12)).all()
    rates = store.frame().query("runner == 'cores-all'").set_index("wbits")["tokens_per_s"]
    assert losses()["3g128"] > losses()["4g128"] > losses()["8g128"]
    name = "llama.cpp on all cores, however few SAIL uses"
    assert max(rates) > rates[3]
    assert found[name] == pytest.approx(here[name] * rates[3] / max(rates))


@pytest.mark.parametrize(
    ("reading", "runner", "column"),
    [
        ("same threads, llama.cpp on the cores .8 threads or more", "cores", "speedup"),
        ("^the fastest measured software on all cores", "cores-all-best", "speedup"),
        ("same threads, both pay the vCPUs", "cores", "usd_ratio_used"),
        ("as the first, Ampere's fork", "cores-ampere", "usd_ratio_used"),
        ("both pay the bandwidth", "cores", "usd_ratio_bandwidth"),
        ("llama.cpp all cores and the whole server", "cores-all", "usd_ratio_used"),
        ("^same bits on V100, SAIL pays the vCPUs", "v100", "usd_ratio_used"),
        ("serving stack's kernels, SAIL pays the bandwidth", "v100-serving", "usd_ratio_bandwidth"),
        ("16 bits on V100, SAIL pays its whole", "v100-f16", "usd_ratio_whole"),
        ("A10G", "a10g", "usd_ratio_used"),
    ],
)
def test_a_reading_is_the_highest_value_of_its_runner(table, rows_of, reading, runner, column):
    """Of points with as many threads as the fit has; variants of the machine count against the fork alone."""
    rows = rows_of(runner)
    if runner != "cores-ampere":
        rows = rows[rows["system"] == "sail-n1"]
    if runner in ("cores", "cores-ampere", "cores-lut", "cores-best"):
        rows = rows[rows["threads"] >= fitted_constants().fewest_threads]
    shown = table[table["reading"].str.contains(reading)]
    assert list(shown["here"]) == pytest.approx([rows[column].max()])


def test_prt_saving_is_in_cycles_of_pairs(table, frame):
    row = table[table["reading"].str.contains("cycles of the PIM.*any machine")].iloc[0]
    key = ["system", "nbw", "batch", "group_size", "convert", "substrate", "wbits", "threads"]
    sail = frame[frame["runner"] == "sail"]
    sail = sail.assign(cycles=[counts["pim_cycles"] for counts in sail["counts"]])
    on, off = (sail[sail["prt"] == prt].groupby(key)["cycles"].first() for prt in (True, False))
    assert row["here"] == pytest.approx(100 * (1 - on / off).max())


def one_row(point):
    return point.as_dict() | {"sail_tokens_per_s": 1.0, "notes": ["a note"]}


def without_chosen(point):
    return [{name: value for name, value in row.items() if name != "chosen"} for row in evaluate(point)]


@pytest.mark.parametrize(("rows", "lacks"), [(one_row, "model_title"), (without_chosen, "chosen")])
def test_a_store_of_an_older_layout_says_how_to_make_it_anew(rows, lacks, tmp_path, monkeypatch):
    """What its manifest holds of the command is in the sentence, as a shell takes it."""
    point, old = Point(model="smollm2-135m", context=64), tmp_path / "old"
    config = {"preset": None, "prt": None, "batch": "1,8", "against": ["my gpu.toml", "b.toml"]}
    run_sweep([point], rows, old, progress=False, config=config)
    for read in (stored_runs, report):
        sentence = refusal(read, Store(old))
        command = f"sailsim sweep --batch 1,8 --against 'my gpu.toml' --against b.toml --out {old}"
        assert f"is of an older version, whose records have no '{lacks}'" in sentence
        assert f"; `{command}` makes it anew." in sentence
    # Rows of the old layout stay on disk beside those of the new one, of other code.
    for module in ("keys", "open_study"):
        monkeypatch.setattr(f"sailsim.sim.study.{module}.code_version", lambda: "next version 16")
    run_sweep([point], evaluate, old, progress=False)
    assert len(stored_runs(Store(old))) == len(runners())


TINY = Path(__file__).parents[1] / "paper" / "tiny_claims.toml"


@pytest.mark.slow
def test_another_papers_claims_take_the_place_of_the_shipped_ones(swept, text, only, tmp_path):
    only("speedup", "prt", "area")
    other = report(swept, tmp_path / "other.html", paper=str(TINY))[0].read_text("utf-8")
    for claim in load_paper(str(TINY)).claim:
        assert html.escape(claim.title) in other
    assert load_paper().by_name("speedup").title not in other
    # Nothing in the figures is marked as the paper's that it does not say; the shipped one's are.
    assert "paper: " not in re.sub(r"<style>.*?</style>", "", other, flags=re.DOTALL)  # a colour's name
    for words in ("paper: up to 10.7x", "paper: 13.8 %", "paper: 2 %"):
        assert words in text


@pytest.mark.slow
def test_the_command_writes_the_same_files_every_time_and_names_them(swept, tmp_path):
    made = []
    for name in "ab":
        out = tmp_path / name / "r.html"
        command = ["report", str(swept.path), "--out", str(out), "--paper", "sail", "--json"]
        shown = CliRunner().invoke(main, command)
        assert shown.exit_code == 0, shown.output
        answer = json.loads(shown.stdout)
        assert answer["report"] == str(out)
        assert len(answer["claims"]) > 10
        assert len(answer["figures"]) == 2 * len(FIGURES)
        made.append([path.read_bytes() for path in sorted(out.parent.rglob("*.*"))])
    assert made[0] == made[1]


def test_a_bad_file_of_claims_is_one_sentence_before_any_work(swept, tmp_path, monkeypatch):
    def begun(*_, **__):
        raise AssertionError("the report was begun")

    # Work of seconds tells how far it is, in lines of its own.
    monkeypatch.setattr("sailsim.analysis.render.report_page.drawn_figures", begun)
    monkeypatch.setattr("sailsim.analysis.render.report_page.stored_runs", begun)
    bad = tmp_path / "bad.toml"
    bad.write_text("colour = 3\n")
    for name in (str(bad), "nobody"):
        shown = CliRunner().invoke(
            main, ["report", str(swept.path), "--paper", name, "--out", str(tmp_path / "r.html")]
        )
        assert shown.exit_code == 2
        assert len(shown.output.strip().splitlines()) == 1
        assert name in shown.output
    assert not (tmp_path / "r.html").exists()
