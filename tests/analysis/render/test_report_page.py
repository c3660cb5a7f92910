"""The report as a file: self-contained, whole, honest to the store, and safe with anybody's names."""

import base64
import gzip
import json
import re
from collections import Counter
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from sailsim.analysis.costs.dollars import prices
from sailsim.analysis.render.report_page import page_file, report
from sailsim.analysis.runs.compare import COMPARISON_COLUMNS, POINT, with_comparisons
from sailsim.analysis.runs.runs import LEGEND, SIGN, evaluate, runners_by_name
from sailsim.analysis.studies.stored_runs import RunTable
from sailsim.analysis.studies.sweep_study import run_sweep
from sailsim.base.errors import SailsimError
from sailsim.sim.point import Point

from .conftest import HOSTILE, page_of


@pytest.fixture(scope="module")
def results(frame):
    return RunTable.of(frame, prices())


class Reader(HTMLParser):
    """What a browser would load, the nesting of elements, their names, and the letters of each section."""

    VOID = ("meta", "br", "img", "link", "input", "hr")

    def __init__(self, text):
        super().__init__()
        self.loaded, self.open, self.names, self.scripts = [], [], [], []
        self.letters = {}
        self.section = None
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.names += [found["id"]] if "id" in found else []
        for name, value in attrs:
            assert not name.startswith("on")
            if name in ("src", "href", "xlink:href", "srcset", "data", "action") and not value.startswith(
                "#"
            ):
                self.loaded.append((tag, value))
        if tag == "script":
            self.scripts.append(found.get("type"))
        if tag == "section":
            self.section = found["id"]
            self.letters[self.section] = ""
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.section and self.open[-1] not in ("script", "style"):
            self.letters[self.section] += data


def held(text):
    """The records that the page holds."""
    packed = re.search(r'<script type="text/plain" id="records">(.*?)</script>', text, re.DOTALL)[1]
    return pd.DataFrame(json.loads(gzip.decompress(base64.b64decode(packed))))


def test_nothing_is_loaded_and_every_element_is_closed(text):
    reader = Reader(text)
    assert reader.loaded == []
    assert reader.open == []
    assert len(set(reader.names)) == len(reader.names)
    assert sorted(reader.scripts) == ["application/json", "module", "text/plain"]
    assert not re.search(r"url\(|@import", page_file("report.css"))
    assert not re.search(r"https?:|\bfetch\(|\bimport\(|innerHTML", page_file("report.js"))


def test_the_report_begins_with_the_studys_own_verdict_and_has_nothing_of_another(swept, results, only):
    """Without a word, a price or a figure of another workload, and no paper is graded that nobody named."""
    only("speedup", "gem5", "timeline", "gem5_tokens")
    text = page_of(swept.frame(), swept.manifest)
    letters = Reader(text).letters["answer"]
    asked = swept.frame()["point_key"].nunique()
    assert f"This study has {asked} points" in letters
    assert "4-bit weights, batch 8, 64 tokens of context, 16 threads" in letters
    start = results.start
    assert (start["wbits"], start["batch"], start["threads"], start["group_size"]) == (4, 8, 16, 128)
    for sentence in results.verdict()["sentences"]:
        assert sentence in letters
    rows = results.at((), unable=True, **start)
    for name in ("cores", "cores-all-best", "v100"):
        row = results.at_points_of(rows, name).iloc[0]
        assert f"{row['speedup_median']:.2f}x" in letters, name
    assert "My GPU" in letters  # what stood beside it
    assert "Who wins where" in letters
    every = Reader(text).letters
    assert not any("Llama" in every[name] for name in every if name not in ("rests", "constants"))
    assert "2509.25853" not in letters
    for each in ("gem5", "quality"):
        assert f'<section id="{each}">' not in text
    assert "What the paper claims" not in text
    assert "paper: " not in re.sub(r"<style>.*?</style>", "", text, flags=re.DOTALL)  # a colour's name


def test_a_study_that_sail_cannot_run_is_refused_in_one_sentence(tmp_path):
    point = Point(model="llama-2-70b", batch=512, context=4096)
    store = run_sweep([point], evaluate, tmp_path, progress=False)
    with pytest.raises(SailsimError, match=r"has no point that can be run \(.*needs 722.8 GB"):
        report(store)


@pytest.mark.slow
def test_runners_may_differ_by_point(tmp_path, only):
    only("answer", "step_time")
    beside = {1: ("sail", "cores"), 2: ("cores", "l4"), 4: ("l4",)}
    points = [Point(model="smollm2-135m", batch=batch, context=64) for batch in beside]
    points.append(points[1].replace(system="graviton4"))  # without units
    store = run_sweep(
        points, lambda point: evaluate(point, runners_by_name(*beside[point.batch])), tmp_path, progress=False
    )
    letters = Reader(report(store)[0].read_text("utf-8")).letters
    assert (
        "This study has 4 points; the first sentences are of one: 4-bit weights, batch 1" in letters["answer"]
    )
    assert "L4" not in letters["answer"]
    assert "NBW 4," in letters["answer"]


def test_what_nobody_ran_is_marked(only):
    only("answer", "energy")
    point = Point(model="smollm2-135m", batch=8, context=64, convert="auto")
    text = page_of(pd.DataFrame([record | {"point_key": "one"} for record in evaluate(point)]), {})
    letters = Reader(text).letters["answer"]
    for title in ("SAIL", "SAIL, fork attention", "SAIL, NEON attention", "cores, gem5 NEON"):
        assert f"{title} {SIGN}" in letters
    for title in ("cores, llama.cpp", "cores, T-MAC", "V100"):
        assert f"{title} {SIGN}" not in text
    assert "gem5 NEON, only simulated" in letters
    assert text.count(f"{LEGEND}.") == 1 + 2  # the answer's, and that of each figure


def test_the_records_in_the_page_are_those_of_the_store(text, swept):
    """Number by number: what a reader saves as CSV is what the store has."""
    want = with_comparisons(swept.frame().drop_duplicates([*POINT, "runner"]), prices())
    want = want[want["tokens_per_s"].notna()]
    found = held(text)
    key = [*POINT, "runner"]
    both = found.merge(want, on=key, suffixes=("", "_stored"))
    # A choice that is spelt out and the same one that the system file makes are one point to a figure.
    assert not found.duplicated(key).any()
    assert len(both) == len(found) == len(want)
    assert "My GPU" in set(found["title"])  # a user's, whose constants are listed too
    assert "mine.memory_bandwidth" in text or "gpu.memory_bandwidth" in text
    for name in ("step_s", "energy_j", "low", "high", *COMPARISON_COLUMNS):
        if name in ("instance", "price_date", "price_source", "paid", "speedup_of"):
            assert (both[name].fillna("") == both[f"{name}_stored"].fillna("")).all()
        else:
            stored = both[f"{name}_stored"].astype(float).to_numpy()
            assert np.array_equal(both[name].astype(float).to_numpy(), stored, equal_nan=True), name
    for name in ("phases", "energy"):
        for part in ("cores", "dram"):
            stored = [dict(each).get(part, np.nan) for each in both[name]]
            assert np.array_equal(found[f"{name}.{part}"].astype(float), stored, equal_nan=True)


@pytest.mark.slow
def test_anybodys_names_are_text_and_nothing_else(swept, only):
    only("answer", "speedup", "prt")
    frame = swept.frame()
    frame = frame.assign(
        title=frame["title"].where(frame["runner"] != "mine", HOSTILE),
        system_title=frame["system_title"] + HOSTILE,
        model_title=HOSTILE,
        reason=HOSTILE,
    )
    text = page_of(frame, {"code_version": HOSTILE, "finished_at": HOSTILE})
    reader = Reader(text)
    assert reader.loaded == []
    assert len(reader.scripts) == 3
    assert "<img" not in text
    assert "<script>alert" not in text
    assert HOSTILE in reader.letters["answer"]
    assert HOSTILE in reader.letters["rests"]


@pytest.mark.slow
def test_who_serves_for_least_is_said_of_the_studys_own_answers_alone(tmp_path, only):
    only("answer")
    store = run_sweep([Point(model="smollm2-135m", threads=8)], evaluate, tmp_path, progress=False)
    assert "for a dollar" not in report(store)[0].read_text()
    machine = {"title": HOSTILE, "kind": "gpu", "rate": 2.0, "rate_low": 1.0, "rate_high": 2.0}
    machine["usd_per_million_tokens"] = 3.0
    answer = {"trace": "mine", "level": "1 s", "point": {"model": "smollm2-135m"}, "machines": [machine]}
    (tmp_path / "serving").mkdir()
    (tmp_path / "serving/mine.json").write_text(json.dumps(answer))
    said = Reader(report(store)[0].read_text()).letters["answer"]
    assert f"{HOSTILE} serves a million tokens for 3 USD (3..6) at 2 requests/s, the most" in said


def problems(text):
    """What a strict parser says of a page, identities that are there twice, and links to none."""
    html5lib = pytest.importorskip("html5lib", reason="html5lib is not installed")
    parser = html5lib.HTMLParser(namespaceHTMLElements=False)
    tree = parser.parse(text)
    said = [f"{place}: {kind} {more}" for place, kind, more in parser.errors]
    names = Counter(each.get("id") for each in tree.iter() if each.get("id"))
    said += [f"id {name} is there {count} times" for name, count in names.items() if count > 1]
    for each in tree.iter():
        for attribute in ("href", "aria-controls", "for", "aria-labelledby"):
            target = each.get(attribute) or ""
            inside = target[1:] if target.startswith("#") else "" if attribute == "href" else target
            said += [f"{attribute} {target} leads nowhere" for name in inside.split() if name not in names]
    return said


@pytest.mark.slow
@pytest.mark.parametrize("paper", [None, "sail"])
def test_the_report_is_valid(swept, paper):
    assert problems(page_of(swept.frame(), swept.manifest, paper)) == []


def test_a_run_has_its_speedup_at_equal_quality_where_losses_were_measured(results, text):
    key = ["runner", *(name for name in POINT if name not in ("seed", "activations"))]
    rows = pd.concat([results.at((), name) for name in results.runners["runner"] if name != "sail"])
    found = held(text).merge(rows[key], on=key)
    assert len(found) == len(rows) > 10
    assert found["speedup_equal_quality"].notna().all()
    assert (found["speedup_equal_quality"] <= found["speedup"] * (1 + 1e-12)).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("point", "words"),
    [
        (
            Point(model="llama-2-7b", wbits=3, batch=2, context=96),
            "3-bit weights, batch 2, 96 tokens of context",
        ),
        (Point(model="llama-2-7b", phase="prefill", prompt=64), "64 tokens of prompt"),
    ],
)
@pytest.mark.parametrize("plan", [None, "paper", "mine.toml"])
def test_a_study_is_graded_where_it_is_the_papers_plan(point, words, plan, tmp_path, only):
    only("gem5")
    config = {"plan": plan and {"file": plan, "text": ""}}
    store = run_sweep([point], evaluate, tmp_path, progress=False, config=config)
    text = report(store, tmp_path / "r.html")[0].read_text("utf-8")
    letters = Reader(text).letters["answer"]
    assert f"This study has one point: {words}" in letters.replace("4-bit weights, batch 1, ", "")
    assert (f"Who {'reads prompts of' if point.phase == 'prefill' else 'decodes'}") in letters
    assert ("What the paper claims" in letters) == (plan == "paper")
    assert ('id="figure-gem5"' in text) == (plan == "paper")
