"""Contexts beyond what a model was made for are refused unless they are asked for."""

import pytest
from click.testing import CliRunner

from sailsim.analysis.results.runs import named, problems, runs
from sailsim.base.errors import SailsimError
from sailsim.cli import main
from sailsim.sim.engine import simulate, simulate_step
from sailsim.sim.files import load_system
from sailsim.sim.keys import point_key
from sailsim.sim.point import Point
from sailsim.sim.study.folder import Store
from sailsim.workloads.load import load_model

SMALL = load_model("smollm2-135m")


@pytest.mark.parametrize("ask", [simulate, runs, problems])
def test_more_is_one_sentence_and_as_much_is_not(ask: object) -> None:
    assert callable(ask)
    for fields, word in (({"context": 8193}, "context"), ({"phase": "prefill", "prompt": 8193}, "prompt")):
        with pytest.raises(SailsimError, match=rf"^{word} is 8193; allowed for smollm2-135m is at most 8192"):
            ask(Point(model=SMALL.name, **fields))  # type: ignore[arg-type]
    ask(Point(model=SMALL.name, context=8192))


def test_who_asks_for_more_gets_it() -> None:
    point = Point(model=SMALL.name, context=10_000, beyond_limit=True)
    found = simulate(point)
    assert found == simulate_step(load_system("sail-n1"), SMALL, point)
    assert runs(point, runners=named("sail"))[0].step_s == found.step_s
    assert point_key(Point(beyond_limit=False)) == point_key(Point()) != point_key(Point(beyond_limit=True))
    with pytest.raises(SailsimError, match=r"beyond_limit is 1; allowed are true and false\."):
        Point(beyond_limit=1)  # type: ignore[arg-type]


def test_a_model_that_does_not_say_takes_any_context(tmp_path) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "mine.toml"
    path.write_text(
        'name = "mine"\ntitle = "Mine"\nsource = "here"\nn_layers = 1\nd_model = 64\nn_heads = 4\n'
        "n_kv_heads = 2\nhead_dim = 16\nd_ffn = 64\nvocab = 64\n"
    )
    assert load_model(str(path)).max_context == 0
    simulate(Point(model=str(path), context=100_000))


def test_commands_say_how_to_ask(tmp_path) -> None:  # type: ignore[no-untyped-def]
    command = ["run", "--model", SMALL.name, "--context", "9000"]
    refused = CliRunner().invoke(main, command)
    assert (refused.exit_code, len(refused.stderr.splitlines())) == (2, 1)
    assert "--beyond-limit" in refused.stderr
    assert CliRunner().invoke(main, [*command, "--beyond-limit"]).exit_code == 0
    sweep = ["sweep", *command[1:3], "--context", "64,9000", "--out", str(tmp_path / "out")]
    CliRunner().invoke(main, sweep)
    assert set(Store(tmp_path / "out").frame()["context"]) == {64}
    asked = CliRunner().invoke(main, [*sweep, "--set", "beyond_limit=on"])
    assert asked.exit_code == 0, asked.stderr
    assert set(Store(tmp_path / "out").frame()["context"]) == {64, 9000}
