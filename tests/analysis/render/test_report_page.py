"""The report as a file: self-contained, whole, honest to the store, and safe with anybody's names."""

import json
import re
from html import escape
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from sailsim.analysis.costs.dollars import prices
from sailsim.analysis.render import report_data
from sailsim.analysis.render.html import page_file
from sailsim.analysis.render.report import SCRIPTS, STYLES, page, start, tables_of, titles
from sailsim.analysis.render.report_charts import FRONT, Chart
from sailsim.analysis.render.report_sections import by_width
from sailsim.analysis.results.joins import JOINED, POINT, joined
from sailsim.analysis.results.results import Runs
from sailsim.analysis.results.runs import evaluate
from sailsim.base.errors import SailsimError
from sailsim.sim.point import Point
from sailsim.sim.sweep import run_sweep

SECTIONS = (
    *("answer", "speed", "dollars", "energy", "area", "quality", "time", "reuse", "gem5", "reproduction"),
    *("rests", "constants"),
)
HOSTILE = 'a[/bold]b</script><script>alert("x")</script><img src=x onerror=alert(1)> & $x$'


@pytest.fixture(scope="module")
def results(frame):
    return Runs.of(frame, prices())


@pytest.fixture(scope="module")
def text(swept):
    return page(swept.frame(), swept.manifest, prices(), paper="sail")


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


def data_of(text, name):
    """What an element of the page holds."""
    return re.search(rf'<script type="[^"]+" id="{name}">(.*?)</script>', text, re.DOTALL)[1]


def whole(column):
    """The values of a column as the page has it."""
    return column["numbers"] if "numbers" in column else [column["values"][i] for i in column["at"]]


def held(text):
    """The tables that the page holds, as frames."""
    found = json.loads(report_data.unpacked(data_of(text, "records")))
    return {
        table: pd.DataFrame(
            {
                name: column["numbers"]
                if "numbers" in column
                else [column["values"][i] for i in column["at"]]
                for name, column in columns.items()
            }
        )
        for table, columns in found.items()
    }


def test_nothing_is_loaded_and_every_element_is_closed(text):
    reader = Reader(text)
    assert reader.loaded == []
    assert reader.open == []
    assert len(set(reader.names)) == len(reader.names)
    assert sorted(reader.scripts) == ["application/json", "module", "text/plain", "text/plain"]
    for name in STYLES:
        assert "url(" not in page_file(name)
        assert "@import" not in page_file(name)
    for name in SCRIPTS:
        assert not re.search(r"https?:|\bfetch\(|\bimport\(|innerHTML", page_file(name))


def test_every_section_has_a_place_in_the_menu_and_something_to_read(text):
    reader = Reader(text)
    assert tuple(reader.letters) == SECTIONS
    assert re.findall(r'<li><a href="#([\w-]+)">', text) == list(SECTIONS)
    for name, letters in reader.letters.items():
        assert len(letters.split()) > 20, name


def test_every_runner_that_has_a_speedup_at_the_reference_has_one_at_equal_quality(results, text):
    rows = by_width(results)
    others = [name for name in results.runners["runner"] if name != "sail"]
    chosen = rows.loc[[i for name in others for i in results.at((), name).index]]
    assert len(chosen) > 10
    assert chosen["speedup_equal_quality"].notna().all()
    assert (chosen["speedup_equal_quality"] <= chosen["speedup"] * (1 + 1e-12)).all()
    table = text[text.index("What runs the points") :]
    table = table[: table.index("</table>")]
    for _, row in chosen.iterrows():
        title = escape(row["title"]).replace("&#x27;", "&#39;")
        line = table[table.index(f">{title}<") :]
        assert f'data-number="{row["speedup_equal_quality"]}"' in line[: line.index("</tr>")]


def test_cores_that_are_not_the_papers_are_named_beside_its_claims(text, tmp_path):
    said = "own cores stand for them: SAIL on a Neoverse-V2 server (Graviton4): neoverse-v2."
    store = run_sweep(
        [Point(system="sail-v2", model="smollm2-135m", context=64)], evaluate, tmp_path, progress=False
    )
    assert said in page(store.frame(), store.manifest, prices(), paper="sail")
    assert "stand for them" not in text


def test_the_first_page_has_three_figures_and_a_row_a_claim(text):
    first = text[text.index('<section id="answer">') : text.index('<section id="speed">')]
    assert re.findall(r'data-chart="([\w-]+)"', first) == [chart.name for chart in FRONT]
    assert len(FRONT) == 3
    shown = first[first.index('id="claims"') : first.index('<details class="printed" id="readings">')]
    rows = shown[shown.index("<tbody>") :].count("<tr>")
    assert rows == 7


def test_the_answer_is_of_the_study_and_no_paper_is_graded_that_nobody_named(swept, results):
    """Number by number at the point that it names, without a word of another model."""
    text = page(swept.frame(), swept.manifest, prices())
    said = Reader(text).letters["answer"]
    asked = swept.frame()["point_key"].nunique()
    assert f"This study has {asked} points." in said
    assert "SmolLM2 135M Instruct, 4-bit weights, batch 8, 64 tokens of context, 16 threads" in said
    rows = results.at((), unable=True, **start(results))
    sail = rows.iloc[0]
    assert f"SAIL decodes {sail['tokens_per_s']:.1f} tokens/s" in said
    for name in ("cores", "cores-all-best", "v100"):
        row = results.beside(rows, name).iloc[0]
        assert f"{sail['tokens_per_s'] / row['tokens_per_s']:.2f}x" in said, name
    assert "My card" in said  # what stood beside it
    assert "Llama" not in said.partition("No paper is compared with")[0]
    assert "What the paper claims" not in text
    assert 'id="reproduction"' not in text
    assert "paper: " not in re.sub(r"<style>.*?</style>", "", text, flags=re.DOTALL)  # a colour's name
    assert all(not chart["marks"] for chart in json.loads(data_of(text, "page"))["charts"])


def test_a_study_of_one_workload_says_so_and_of_a_model_of_the_paper_is_graded(tmp_path):
    store = run_sweep(
        [Point(model="llama-2-7b", wbits=3, batch=2, context=96)], evaluate, tmp_path, progress=False
    )
    text = page(store.frame(), store.manifest, prices())
    said = Reader(text).letters["answer"]
    assert "This study has one point: Llama 2 7B, 3-bit weights, batch 2, 96 tokens of context" in said
    assert "What the paper claims" in said
    assert 'id="reproduction"' in text


def test_a_study_of_prompts_of_that_model_is_not(tmp_path):
    point = Point(model="llama-2-7b", phase="prefill", prompt=64)
    store = run_sweep([point], evaluate, tmp_path, progress=False)
    said = Reader(page(store.frame(), store.manifest, prices())).letters["answer"]
    assert "64 tokens of prompt" in said
    assert "SAIL reads prompts at" in said
    assert "What the paper claims" not in said


def test_a_study_that_sail_cannot_run_is_refused_in_one_sentence(tmp_path):
    point = Point(model="llama-2-70b", batch=512, context=4096)
    store = run_sweep([point], evaluate, tmp_path, progress=False)
    with pytest.raises(SailsimError, match=r"has no point that SAIL can run \(.*needs 722.8 GB"):
        page(store.frame(), store.manifest, prices())


def test_the_records_in_the_page_are_those_of_the_store(text, swept):
    """Number by number: what a reader saves as CSV is what the store has."""
    want = joined(swept.frame().drop_duplicates([*POINT, "runner"]), prices())
    want = want[want["tokens_per_s"].notna()]
    found = held(text)["runs"]
    key = [*POINT, "runner"]
    both = found.merge(want, on=key, suffixes=("", "_stored"))
    # A choice that is spelt out and the same one that the system file makes are one point to a figure.
    assert not found.duplicated(key).any()
    assert len(both) == len(found) == len(want)
    for name in ("step_s", "energy_j", "low", "high", *JOINED):
        if name in ("instance", "price_date", "price_source", "paid"):
            assert (both[name].fillna("") == both[f"{name}_stored"].fillna("")).all()
        else:
            stored = both[f"{name}_stored"].astype(float).to_numpy()
            assert np.array_equal(both[name].astype(float).to_numpy(), stored, equal_nan=True), name
    for name in ("phases", "energy"):
        for part in ("cores", "dram"):
            stored = [dict(each).get(part, np.nan) for each in both[name]]
            assert np.array_equal(found[f"{name}.{part}"].astype(float), stored, equal_nan=True)


def test_the_first_page_counts_points_as_readme_does(text, swept):
    """Every question of the sweep, a choice that is spelt out beside the same one that is not."""
    asked = swept.frame()["point_key"].nunique()
    assert asked > len(swept.frame().drop_duplicates(POINT))
    assert f"This sweep: {asked} points." in Reader(text).letters["answer"]


def test_quality_names_the_model_that_was_measured(text, swept):
    """Here it is the sweep's own."""
    assert set(swept.frame()["model"]) == {"smollm2-135m"}
    said = "on SmolLM2-135M-Instruct; what a width loses depends on the model."
    assert said in Reader(text).letters["quality"]
    assert "another model" not in Reader(text).letters["quality"]


def test_a_column_that_nobody_has_named_goes_into_the_page(swept):
    frame = swept.frame().assign(ttft_s=0.25, tasks=[["a"]] * len(swept.frame()))
    found = held(page(frame, {}, prices()))["runs"]
    assert (found["ttft_s"] == 0.25).all()
    assert "tasks" not in found  # it holds more than one value a row


def test_columns_come_back_as_they_were():
    frame = pd.DataFrame(
        {
            "x": [0.1 + 0.2, np.nan, 1e-300],
            "name": ["a", None, "a"],
            "on": [True, False, True],
            "n": [1, 1, 2],
        }
    )
    frame = pd.concat([frame] * 5, ignore_index=True)
    packed = report_data.packed(report_data.as_json({"t": frame}))
    again = json.loads(report_data.unpacked(packed))["t"]
    want = {
        "x": [0.30000000000000004, None, 1e-300],
        "name": ["a", None, "a"],
        "on": [True, False, True],
        "n": [1, 1, 2],
    }
    assert {name: whole(column) for name, column in again.items()} == {
        name: 5 * each for name, each in want.items()
    }
    assert again["name"] == {"values": ["a", None], "at": 5 * [0, 1, 0]}


def test_every_figure_draws_columns_that_the_page_holds(text):
    tables = held(text)
    about = json.loads(data_of(text, "page"))
    drawn = re.findall(r'data-chart="([\w-]+)"', text)
    assert set(drawn) == {chart["name"] for chart in about["charts"]}
    assert len(drawn) == len(set(drawn))
    for chart in about["charts"]:
        known = set(tables[chart["data"]])
        measures = [
            each[name]
            for each in chart["measures"]
            for name in ("column", "low", "high", "over")
            if each[name]
        ]
        stacked = [name for part in chart["parts"] for name in part["columns"]]
        used = [
            *measures,
            *stacked,
            *chart["x"],
            chart["line"],
            chart["facet"],
            chart["labels"],
            *chart["choose"],
        ]
        assert set(filter(None, used)) <= known, chart["name"]
        # Along what tells lines or panels apart each of them would be a single point.
        assert not {chart["line"], chart["facet"]} & set(chart["x"]), chart["name"]


def test_what_has_one_title_is_told_apart_by_its_name(results):
    runs = results.frame
    again = runs["runner"].isin(["mine", "h100"])
    found = titles(runs.assign(title=runs["title"].where(~again, "A card")))["runner"]
    assert (found["mine"], found["h100"]) == ("A card (mine)", "A card (h100)")
    assert found["sail"] == "SAIL"
    assert len(set(found.values())) == len(found) > 10


def test_it_starts_at_the_ordinary_workload_as_far_as_the_store_has_it(results):
    first = start(results)
    assert (first["wbits"], first["batch"], first["threads"], first["group_size"]) == (4, 8, 16, 128)
    assert first["model"] == "smollm2-135m"
    rows = results.frame
    for column, value in first.items():
        rows = rows[rows[column] == value]
    assert set(rows["runner"]) >= {"sail", "cores", "mine"}


@pytest.mark.slow
def test_a_sweep_of_one_point_has_a_report_whose_figures_say_what_is_missing(frame):
    own = frame[frame["prt"].astype(bool)]
    text = page(own[own["point_key"] == own["point_key"].iloc[0]], {}, prices())
    letters = Reader(text).letters
    assert "needs points with the PRT on and off" in letters["reuse"]
    assert 'data-chart="prt"' not in text
    assert 'data-chart="speedup"' in text


def test_anybodys_names_are_text_and_nothing_else(swept):
    frame = swept.frame()
    frame = frame.assign(
        title=frame["title"].where(frame["runner"] != "mine", HOSTILE),
        system_title=frame["system_title"] + HOSTILE,
        model_title=HOSTILE,
        reason=HOSTILE,
    )
    text = page(frame, {"code_version": HOSTILE, "finished_at": HOSTILE}, prices())
    reader = Reader(text)
    assert reader.loaded == []
    assert len(reader.scripts) == 4
    assert "<img" not in text
    assert "<script>alert" not in text
    assert HOSTILE in reader.letters["answer"]
    assert HOSTILE in reader.letters["speed"]


@pytest.mark.slow
def test_the_file_is_a_few_megabytes_and_the_same_every_time(text, swept):
    assert len(text) < 4e6
    assert page(swept.frame(), swept.manifest, prices(), paper="sail") == text


def test_tables_are_whole_without_a_pair_to_compare(results):
    poor = Runs.of(
        results.frame[results.frame["prt"].astype(bool) & (results.frame["convert"] == "memory")], prices()
    )
    tables = tables_of(poor)
    assert len(tables["reuse"]) == 0
    assert len(tables["conversion"]) == 0
    assert len(tables["runs"]) > 0


def test_a_chart_marks_only_what_its_measures_are_about():
    chart = Chart("a", "A", "", "lines", "runs", ())
    assert chart.marked({"speedup": (10.7, "paper")}).marks == {}


def test_the_point_of_the_first_page_is_a_point():
    assert set(POINT) == set(Point().as_dict())


def test_whole_tokens_of_gem5_stand_beside_its_tiles(text):
    said = Reader(text).letters["gem5"]
    assert "Whole tokens: one program decodes" in said
    assert "These are the runs that ship" in said
    assert text.count('id="figure-gem5-tokens"') == 1
