"""`sailsim serve`: a table, JSON, times of each request; one sentence for what is wrong."""

import csv
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from sailsim.cli import main

TRACE = "arrived_at,num_prefill_tokens,num_decode_tokens\n" + "".join(f"{at},64,8\n" for at in range(50))


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("few.csv").write_text(TRACE)


def serve(*words: str) -> Result:
    return CliRunner().invoke(main, ["serve", "--model", "smollm2-135m", "--trace", "few.csv", *words])


def test_json_and_the_times_of_each_request_are_of_one_run_and_the_same_again() -> None:
    words = ["--runners", "cores,l4", "--rate", "20:seed=3", "--json", "--out", "times.csv"]
    result, answer = serve(*words), json.loads(serve(*words).stdout)
    assert result.exit_code == 0
    assert json.loads(result.stdout) == answer
    rows = list(csv.DictReader(Path("times.csv").read_text().splitlines()))
    assert [row["runner"] for row in rows] == ["cores"] * 50 + ["l4"] * 50
    first = sorted(float(row["first_s"]) - float(row["arrival_s"]) for row in rows[:50])
    assert answer["machines"][0]["times_s"]["ttft"]["p50"] == pytest.approx((first[24] + first[25]) / 2)


def test_the_table_says_who_is_too_slow_and_what_the_cheapest_servers_are() -> None:
    said = serve("--runners", "l4", "--fleet", "100", "--level", "1,0.1,0.9").output
    assert "Cheapest for 100 requests/s: " in said
    assert "no rate meets 1e-06 s" in serve("--runners", "l4", "--find-rate", "--level", "1e-6,1").output
    assert (
        "the queue has no end"
        in serve("--runners", "cores", "--rate", "5000", "--scheduler", "vllm:budget=64").output
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "model", "near"), [("l4", "smollm2-135m", 0.02), ("a100", "mixtral-8x7b", 0.05)]
)
def test_a_machine_written_for_another_simulator_serves_as_itself(name: str, model: str, near: float) -> None:
    of = "--model", model, "--rate", "20"
    assert f"has the step times of {name}" in serve(*of, "--runners", name, "--bundle", "mine").output
    rows = json.loads(serve(*of, "--runners", f"{name},mine", "--json").stdout)["machines"]
    ours, theirs = (row["times_s"] for row in rows)
    for of_what in ours:
        assert theirs[of_what]["mean"] == pytest.approx(ours[of_what]["mean"], rel=near), of_what
    assert rows[1]["usd_per_million_tokens"] is None is rows[1]["j_per_million_tokens"]
    found = json.loads(serve(*of[:2], "--runners", "mine", "--find-rate", "--json").stdout)
    assert found["machines"][0]["rate"] > 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--scheduler", "fifo"], "scheduler is 'fifo'; allowed are vllm, slots, static."),
        (["--scheduler", "vllm:depth=3"], "scheduler is 'vllm:depth=3', which sets depth; allowed are"),
        (["--scheduler", "vllm:budget="], "scheduler is 'vllm:budget=', where budget has no value"),
        (["--level", "a,1"], "level is 'a,1'; allowed are up to three numbers"),
        (["--level", "-1,2"], "level's ttft_s is -1.0; allowed is a number above 0."),
        (["--rate", "0"], "rate is 0; allowed is a number above 0, at most 1e6."),
        (["--trace", "none.csv"], "requests none.csv cannot be read"),
        (["--servers", "1:readers=1"], "link_gb_s is 0.0 with 1 readers"),
        (["--servers", "x"], "servers is 'x'; allowed is a whole number 1..4096."),
        (["--servers", "2:routing=near"], "routing is 'near'; allowed are turns, least, prefix."),
        (["--runners", "nobody"], "nobody"),
        (["--rate", "1:seed=-1"], "seed is -1; allowed is a whole number 0..4294967295."),
        (["--runners", "other"], "a bundle; allowed after its folder is :blocks=1..1048576, each of 16 to"),
        (
            ["--runners", "other:blocks=9:blocks=8"],
            "runners is 'other:blocks=9:blocks=8', which sets blocks twice; all",
        ),
        (
            ["--runners", "other:blocks=9"],
            "bundle other is of the model 'a/gpt'; allowed is one of smollm2-135m.",
        ),
    ],
)
def test_what_is_wrong_is_one_sentence_and_exit_status_2(words: list[str], said: str) -> None:
    Path("other").mkdir()
    Path("other/meta.yaml").write_text("model: a/gpt\n")
    result = serve(*words, "--out", "times.csv")
    if "other:blocks=9" in words:  # of one machine among others
        assert said in result.output
        return
    assert result.exit_code == 2
    assert said in result.output
    assert result.output.count("\n") == 1
    assert not Path("times.csv").exists()
