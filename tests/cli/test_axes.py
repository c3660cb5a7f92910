"""`sailsim sweep --set` and `--plan`: what was asked for are columns, and the numbers are those of `run`."""

import json
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from sailsim.analysis.results.runs import COLUMNS, runners
from sailsim.cli import main
from sailsim.sim.study.folder import RESERVED, Store, command_of

SMALL = ["--model", "smollm2-135m", "--context", "64"]


def sailsim(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def summary(*arguments: str) -> dict[str, object]:
    result = sailsim(*arguments, "--json")
    assert result.exit_code == 0, result.output
    found: dict[str, object] = json.loads(result.stdout)
    return found


def test_swept_fields_are_columns_of_every_record(tmp_path: Path) -> None:
    axes = ["--set", "llc.slices=16,32", "--set", "pim.clock=2:3:0.5", "--set", "row_dfm:add=2,8n-2"]
    assert summary("sweep", *SMALL, *axes, "--out", str(tmp_path))["points"] == 12
    frame = Store(tmp_path).frame()
    assert len(frame) == 12 * len(runners())
    own = ["llc.slices", "pim.clock", "pim.substrate.add"]
    assert list(frame.columns) == [*COLUMNS, *own, *RESERVED]
    asked = [(s, c, a) for s in (16, 32) for c in (2, 2.5, 3) for a in ("2", "8n-2")]
    found = list(frame[own].itertuples(index=False, name=None))
    assert found == [each for each in asked for _ in runners()]
    assert set(frame["substrate"]) == {"row_dfm:add=2", "row_dfm:add=8n-2"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "setting",
    ["llc.slices=16", "memory.channels=4", "pim.dfm_split=k", "pim.clock=2.75", "pim.double_buffer=false"],
)
def test_a_point_of_an_axis_has_the_result_of_run_set(tmp_path: Path, setting: str) -> None:
    summary("sweep", *SMALL, "--set", setting, "--out", str(tmp_path))
    frame = Store(tmp_path).frame()
    told = json.loads(sailsim("run", *SMALL, "--set", setting, "--json").stdout)
    saved = tmp_path / "saved.toml"
    saved.write_text(sailsim("show", "system", f"sail-n1:{setting}", "--toml").stdout)
    by_file = json.loads(sailsim("run", *SMALL, "--system", str(saved), "--json").stdout)
    plain = json.loads(sailsim("run", *SMALL, "--json").stdout)
    for row in frame.to_dict("records"):
        for answer in (told, by_file):
            run = answer["runs"][row["runner"]]
            for name in ("tokens_per_s", "step_s", "memory_bytes"):
                assert run[name] == row[name]
            assert run["tokens_per_usd"] == told["runs"][row["runner"]]["tokens_per_usd"]
    assert told["point"]["system"] == f"sail-n1:{setting}"
    assert told["runs"]["sail"] != plain["runs"]["sail"]


@pytest.mark.slow
def test_several_systems_models_and_substrates(tmp_path: Path) -> None:
    options = ["--system", "sail-n1,sail-n1-fast-host", "--system", "sail-n1-free-hits", "--substrate",
               "row_dfm", "--substrate", "bit_serial", "--set", "weights=4g32,q4_k_m", *SMALL]  # fmt: skip
    assert summary("sweep", *options, "--out", str(tmp_path))["points"] == 12
    frame = Store(tmp_path).frame()
    assert set(frame["system"]) == {"sail-n1", "sail-n1-fast-host", "sail-n1-free-hits"}
    assert set(frame["substrate"]) == {"row_dfm", "bit_serial"}
    assert set(zip(frame["weights"], frame["wbits"], frame["group_size"], strict=True)) == {
        ("", 4, 32), ("q4_k_m", 0, 0)
    }  # fmt: skip


def test_a_record_without_a_column_of_the_study_is_made_anew(tmp_path: Path) -> None:
    out = ["--out", str(tmp_path)]
    one, other = "sail-n1:llc.slices=16", "sail-n1:pim.clock=2"
    summary("sweep", *SMALL, "--system", one, *out)
    assert summary("sweep", *SMALL, "--system", one, "--system", other, *out)["held_before"] == 0
    frame = Store(tmp_path).frame().drop_duplicates("system")
    assert list(frame["llc.slices"]) == [16, 32]
    assert list(frame["pim.clock"]) == [1.8, 2]
    assert summary("sweep", *SMALL, "--system", f"{one},{other}", *out)["held_before"] == 2


def test_several_beside_and_one_with_other_values(tmp_path: Path) -> None:
    beside = ["--beside", "aim-n1", "--beside", "l4:memory_size=48", "--beside", "sail-n1:llc.slices=16"]
    summary("sweep", *SMALL, *beside, "--out", str(tmp_path))
    names = list(Store(tmp_path).frame()["runner"])
    assert names[-3:] == ["aim-n1", "l4-memory_size-48", "sail-n1-llc.slices-16"]


PLAN = """
beside = ["card.toml"]
[fixed]
model = "smollm2-135m"
context = 64
[axes]
wbits = [2, 4]
batch = [1, 4, 8]
llc.slices = { from = 16, to = 32, points = 2, scale = "log" }
"""


def test_a_plan_is_swept_and_its_command_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("there").mkdir()
    Path("there/plan.toml").write_text(PLAN)
    Path("there/card.toml").write_text('extends = "l4"\nname = "mine"\ntitle = "My card"\n')
    first = summary("sweep", "--plan", "there/plan.toml", "--out", "out")
    assert (first["points"], first["held_before"]) == (12, 0)
    frame = Store("out").frame()
    assert set(frame["runner"]) >= {"sail", "mine"}
    assert set(frame["llc.slices"]) == {16, 32}
    manifest = Store("out").manifest
    assert manifest["config"]["plan"] == {"file": "there/plan.toml", "text": PLAN}
    program, *words = shlex.split(command_of(manifest))
    assert (program, words) == ("sailsim", ["sweep", "--plan", "there/plan.toml"])
    assert summary(*words, "--out", "out")["held_before"] == 12


@pytest.mark.slow
def test_a_sample_of_machines_has_figures_and_a_report(tmp_path: Path) -> None:
    """No two of its points share a machine, and hardly one has what is most frequent of every field."""
    plan, out = tmp_path / "plan.toml", tmp_path / "out"
    plan.write_text("""
    [fixed]
    model = "smollm2-135m"
    context = 64
    [axes]
    pim.clock = { from = 1, to = 4 }
    wbits = { from = 2, to = 8 }
    batch = { from = 1, to = 32 }
    threads = { from = 4, to = 32 }
    [sample]
    method = "lhs"
    points = 7
    """)
    assert summary("sweep", "--plan", str(plan), "--out", str(out))["points"] == 7
    shown = sailsim("report", str(out))
    assert shown.exit_code == 0, shown.output
    assert (out / "report.html").is_file()


def test_the_command_of_axes_goes_on(tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    options = [*SMALL, "--set", "llc.slices=16,32", "--set", r"pim.dfm_split=n", "--system", "sail-n1"]
    assert summary("sweep", *options, "--out", out)["held_before"] == 0
    words = shlex.split(command_of(Store(out).manifest))[1:]
    assert summary(*words, "--out", out)["held_before"] == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--set", "pim.slices=16"], ("pim.slices", "llc.slices")),
        (["--set", "llc.slices"], ("set is 'llc.slices'", "FIELD=VALUES")),
        (["--set", "=1"], ("set is '=1'",)),
        (["--set", "llc.slices=0"], ("llc.slices is 0", "at least 1")),
        (["--set", "llc.slices=16,many"], ("llc.slices is 'many'",)),
        (["--set", "pim.dfm_split=n,q"], ("pim.dfm_split is 'q'", "'n', 'k'")),
        (["--set", "llc.slices=32:16"], ("llc.slices is '32:16'", "0.5:2:0.5")),
        (["--set", "wbits=2", "--wbits", "4"], ("wbits is given twice",)),
        (["--set", "llc.slices=16", "--set", "llc.slices=32"], ("llc.slices is given twice",)),
        (["--set", "prt=maybe"], ("prt is 'maybe'",)),
        (["--set", "wbits=2.5"], ("wbits is '2.5'",)),
        (["--plan", "missing.toml"], ("missing.toml",)),
        (["--preset", "paper", "--set", "wbits=2"], ("--set", "--preset paper", "--activations")),
    ],
)
def test_bad_axes_are_one_sentence_before_anything_runs(
    tmp_path: Path, arguments: list[str], words: tuple[str, ...]
) -> None:
    result = sailsim("sweep", *SMALL, *arguments, "--out", str(tmp_path / "out"))
    if "--preset" in arguments:
        result = sailsim("sweep", *arguments, "--out", str(tmp_path / "out"))
    assert result.exit_code == 2
    assert len(result.stderr.strip().splitlines()) == 1
    assert all(word in result.stderr for word in words)
    assert not (tmp_path / "out").exists()


def test_a_machine_that_cannot_be_does_not_stop_the_others(tmp_path: Path) -> None:
    """Values that are allowed one by one and do not go together: listed, and the rest has its results."""
    result = sailsim("sweep", *SMALL, "--set", "pim.rows=8,512", "--out", str(tmp_path))
    assert result.exit_code == 2
    assert "1 of 2 points were refused (the first: sail-n1:pim.rows=8: pim does not fit" in result.stderr
    store = Store(tmp_path)
    assert set(store.frame()["pim.rows"]) == {512}
    assert (store.manifest["points"], len(store.manifest["refused"])) == (2, 1)
    (row,) = json.loads(sailsim("results", "ls", str(tmp_path), "--json").stdout)["folders"]
    assert row["refused"] == store.manifest["refused"]
    alone = sailsim("sweep", *SMALL, "--set", "pim.rows=8", "--out", str(tmp_path / "alone"))
    assert alone.exit_code == 2
    assert alone.stderr.startswith("Error: sail-n1:pim.rows=8: pim does not fit")
    assert not (tmp_path / "alone").exists()
    typo = sailsim("sweep", *SMALL, "--set", "pim.rows=0,512", "--out", str(tmp_path / "typo"))
    assert typo.stderr.startswith("Error: sail-n1:pim.rows=0: pim.rows is 0; allowed is")
    assert not (tmp_path / "typo").exists()
