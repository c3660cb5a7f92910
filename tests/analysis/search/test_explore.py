"""The search: the front is what none beats, `sailsim run` says the same, a stopped search goes on."""

import json
from dataclasses import replace
from math import isnan, nan
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

from sailsim.analysis.runs.equal_quality import cache_widths
from sailsim.analysis.runs.runs import runs
from sailsim.analysis.search.design_search import SOFTWARE, DesignSearch, trial_record
from sailsim.analysis.search.exploration import explore
from sailsim.analysis.studies.sweep_study import run_sweep
from sailsim.analysis.uncertainty.interval import drawn_systems
from sailsim.analysis.uncertainty.prior import PRIOR
from sailsim.base.errors import SailsimError
from sailsim.cli import main
from sailsim.sim.machine.system_files import leaves, load_system, value_of, vary
from sailsim.sim.point import Point

SMALL = """
system = "sail-n1"
runner = "sail-neon"
opponent = "cores-neon"
[limits]
area = { value = 4.0, reason = "r" }
power = { value = 105.0, reason = "r" }
loss = { value = 0.01, reason = "r" }
[[workload]]
name = "long"
model = "smollm2-135m"
weights = "4g128"
batch = 2
context = 2048
share = 2
reason = "r"
[[workload]]
name = "short"
model = "smollm2-135m"
weights = "2g32"
batch = 1
context = 64
share = 1
reason = "r"
[choices."pim.arrays"]
values = [4, 16, 48]
reason = "r"
[choices."pim.convert"]
values = ["memory", "unit"]
reason = "r"
[choices."pim.dfms"]
values = [1, 4]
reason = "r"
[choices.attention]
values = ["cores", "units"]
reason = "r"
[choices.overlap]
values = [false]
late = [true]
reason = "r"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(SMALL)
    return path


def changed(file: Path, old: str, new: str) -> str:
    assert old in SMALL
    file.write_text(SMALL.replace(old, new, 1))
    return str(file)


@pytest.mark.slow
def test_the_whole_space_has_this_front_and_run_says_its_numbers(tmp_path: Path, file: Path) -> None:
    search = DesignSearch(str(file), seed=3)
    found = explore(search, tmp_path / "out", samples=100, progress=False)
    space = _space(found.trials, search)
    every = [search.task("trial_record", 0, (dict(values), None)).argument for values in space]
    assert len(found.trials) == len(every) == 24  # all that there are
    exact = pd.DataFrame([trial_record(search, asked) for asked in every])
    for row in found.trials.to_dict("records"):
        same = exact[(exact[list(search.names)] == [row[name] for name in search.names]).all(axis=1)].iloc[0]
        if isnan(row["score"]) and not row["reason"]:
            assert same["score"] <= row["at_most"] * (1 + 1e-12)  # nobody passes the roofline
        elif not row["reason"]:
            assert same["score"] == pytest.approx(row["score"], rel=1e-12)
    able = exact[(exact["score"] > 0) & (exact["area_percent"] <= 8)]
    front = [
        row.score
        for row in able.itertuples()
        if not ((able["area_percent"] <= row.area_percent) & (able["score"] > row.score)).any()
        and not ((able["area_percent"] < row.area_percent) & (able["score"] >= row.score)).any()
    ]
    assert sorted(set(found.front["score"])) == pytest.approx(sorted(set(front)), rel=1e-12)
    # The best machine's file gives its numbers, by the command.
    falls, mix = found.waterfall, found.workloads
    start = trial_record(search, (search.start, None))
    assert falls["score"].iloc[0] == pytest.approx(start["score"], rel=1e-12)
    assert falls["gain"].prod() * falls["score"].iloc[0] == pytest.approx(falls["score"].iloc[-1])
    assert falls["area_percent"].iloc[-1] <= 4
    for load, row in zip(search.content.workload, mix.to_dict("records"), strict=False):
        system = str(tmp_path / "out" / "front" / "best.toml")
        assert load_system(system).name == "best"
        halves = ["--set", "overlap=on"] if row["best_overlap"] else []
        attention = "units" if "attention=units" in " ".join(falls["change"]) else "cores"
        words = f"run --system {system} --model {load.model} --weights {load.weights} --batch {load.batch}"
        words += f" --context {load.context} --kv-bits {row['best_kv']:.0f} --attention {attention} --json"
        said = CliRunner().invoke(main, [*words.split(), *halves])
        assert said.exit_code == 0, said.output
        answer = json.loads(said.output)["runs"]
        assert answer["sail-neon"]["tokens_per_s"] == pytest.approx(row["best_tokens_per_s"], rel=1e-12)
        assert row["best_speedup"] <= row["bound"]
        assert row["best_low"] <= row["best_median"] <= row["best_high"]
        opponent = answer["cores-neon"]["tokens_per_s"]
        if row["opponent_kv"] == row["best_kv"]:
            assert opponent == pytest.approx(row["opponent_tokens_per_s"], rel=1e-12)


def _space(trials: pd.DataFrame, search: DesignSearch) -> list[dict[str, object]]:
    return [{name: row[name] for name in search.names} for row in trials.to_dict("records")]


@pytest.mark.slow
def test_a_search_goes_on_and_jobs_change_nothing(
    tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sailsim.analysis.search.exploration.GENERATION", 3)
    search = DesignSearch(str(file), seed=1)
    explore(search, tmp_path / "a", samples=6, progress=False)
    resumed = explore(search, tmp_path / "a", samples=9, jobs=2, progress=False)
    whole = explore(search, tmp_path / "b", samples=9, progress=False)
    for name in ("trials", "front", "waterfall", "workloads"):
        pd.testing.assert_frame_equal(getattr(resumed, name), getattr(whole, name))
        assert (tmp_path / "a" / f"{name}.csv").read_bytes() == (tmp_path / "b" / f"{name}.csv").read_bytes()
    other = explore(replace(search, seed=2), tmp_path / "c", samples=9, progress=False)
    assert not other.trials.equals(whole.trials)


def test_a_machine_that_cannot_beat_another_is_given_up_and_one_that_cannot_be_says_why(file: Path) -> None:
    search = DesignSearch(str(file))
    found = trial_record(search, (search.start, [(0.5, 100.0)]))
    assert isnan(found["score"])
    assert found["at_most"] < 100
    wide = trial_record(search, ({**search.start, "pim.arrays": 48}, []))
    assert wide["reason"] == "its area is more than 8 %"
    rows = replace(
        search,
        file=changed(
            file,
            '[choices."pim.dfms"]',
            '[choices."pim.rows"]\nvalues = [8]\nreason = "r"\n[choices."pim.dfms"]',
        ),
    )
    few = trial_record(rows, ({**rows.start, "pim.rows": 8, "attention": "units"}, None))
    assert "rows" in few["reason"]


def test_machines_around_a_found_one_have_its_choices_but_not_its_clock(file: Path) -> None:
    more = '[choices."pim.clock"]\nvalues = [1.2]\nreason = "r"\n[choices."pim.dfms"]'
    search = DesignSearch(changed(file, '[choices."pim.dfms"]', more))

    def drawn(whole: bool) -> set[str]:
        machine = search.machine({**search.start, "pim.convert": "unit"}, whole=whole)
        return set(drawn_systems(machine, Point(), PRIOR)[1])

    assert drawn(False) - drawn(True) == {"pim.arrays", "pim.dfms"}
    assert "pim.clock" in drawn(True)


def test_widths_that_lose_little() -> None:
    assert cache_widths("cores", 0.01) == (16, 8)
    assert cache_widths("units", 0.01) == (8,)
    assert cache_widths("units", 0.3) == (8, 4)
    assert cache_widths("units", 0.001) == ()


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("context = 2048", "context = 9000", "'long' has a context is 9000"),
        ('weights = "2g32"', 'weights = "9"', "'short' has a"),
        ('"pim.arrays"', '"pim.speed"', "choices has 'pim.speed'"),
        ("[4, 16, 48]", "[4, 0]", "pim.arrays"),
        ('values = ["cores", "units"]', "values = []", "choices.attention.values"),
        ('values = ["cores", "units"]', 'values = ["GPUs"]', "attention is 'GPUs'"),
        ("value = 4.0", "value = 0.0", "limits.area.value"),
        ('opponent = "cores-neon"', 'opponent = "nobody"', "runner is 'nobody'"),
        ('system = "sail-n1"', 'system = "graviton2"', "no enabled [pim] section"),
        ("share = 2", "share = -1", "share"),
    ],
)
def test_a_bad_file_is_one_sentence(file: Path, old: str, new: str, words: str) -> None:
    with pytest.raises(SailsimError) as error:
        DesignSearch(changed(file, old, new))
    assert words in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (
            {"area": 0.01},
            r"area is 0\.01 %, which none of 1 machines meets: the smallest takes 3\.\d+ %, 3\.\d+ more",
        ),
        (
            {"power": 1.5},
            r"power is 1\.5 W, which none of 1 machines meets: the thriftiest draws \d\d\.\d W, ",
        ),
    ],
)
def test_a_limit_that_nothing_meets_says_by_how_much(
    tmp_path: Path, file: Path, limits: dict[str, float], words: str
) -> None:
    with pytest.raises(SailsimError, match=words):
        explore(DesignSearch(str(file), **limits), tmp_path / "out", samples=1, progress=False)


def test_bad_samples_jobs_and_folders(tmp_path: Path, file: Path) -> None:
    search = DesignSearch(str(file))
    run_sweep([Point()], Point.as_dict, tmp_path / "sweep", progress=False)
    (tmp_path / "file").write_text("x")
    other = r"holds results of `sailsim sweep`; allowed for `sailsim explore`"
    for folder, samples, jobs, words in (
        *(("new", n, 1, "samples is") for n in (0, -1, 10**9)),
        ("new", 1, 0, "jobs is 0"),
        ("file", 1, 1, "cannot be written"),
        ("sweep", 1, 1, other),
    ):
        with pytest.raises(SailsimError, match=words):
            explore(search, tmp_path / folder, samples, jobs, progress=False)
    for limit in (0, -1, nan):
        with pytest.raises(SailsimError, match="allowed is a number above 0"):
            DesignSearch(str(file), area=limit)
    assert set(SOFTWARE) <= {*search.names}


@pytest.mark.slow
def test_sail_next_is_what_was_found_and_gives_the_committed_numbers() -> None:
    docs, search = Path(__file__).parents[3] / "docs" / "data", DesignSearch()
    falls = pd.read_csv(docs / "next-waterfall.csv", thousands=",")
    said = dict(change.split("=") for change in falls["change"][1:])
    machine = load_system("sail-next")
    own = {path: value_of(leaf) for path, leaf in leaves(machine).items()}
    assert {name: str(own[name]) for name in said if name in own} == {
        n: v for n, v in said.items() if n in own
    }
    # The waterfall leaves out what brings little: the machine is the last of the front within 4 %.
    front = pd.read_csv(docs / "next-front.csv", thousands=",")
    within = front["area, %"][front["area, %"] <= 4.0]
    assert search.area_of(machine)[0] == pytest.approx(within.iloc[-1], rel=1e-3)
    plain = vary(machine, {"pim.convert_units": load_system("sail-n1").pim.convert_units.value})
    assert search.area_of(plain)[0] == pytest.approx(falls["area, %"].iloc[-1], rel=1e-3)
    table = pd.read_csv(docs / "next-workloads.csv", thousands=",", na_values="-")
    for load, (rate, kv), row in zip(
        search.content.workload[:4], search.opponents, table.to_dict("records"), strict=False
    ):
        points = (load.point(8, attention=said["attention"], overlap=each) for each in (False, True))
        own_rate = max(runs(each, plain, [search.runner], prior=None)[0].tokens_per_s for each in points)
        assert own_rate == pytest.approx(row["sail-next"], rel=1e-3)
        assert (rate, kv) == (pytest.approx(row["NEON, tokens/s"], rel=1e-3), row["its cache, bits"])
        assert own_rate <= search.roofline(load, 8)
