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
    words = ["--on", "cores,l4", "--rate", "20", "--seed", "3", "--json", "--out", "times.csv"]
    result, answer = serve(*words), json.loads(serve(*words).output)
    assert result.exit_code == 0
    assert json.loads(result.output) == answer
    rows = list(csv.DictReader(Path("times.csv").read_text().splitlines()))
    assert [row["runner"] for row in rows] == ["cores"] * 50 + ["l4"] * 50
    first = sorted(float(row["first_s"]) - float(row["arrival_s"]) for row in rows[:50])
    assert answer["machines"][0]["times_s"]["ttft"]["p50"] == pytest.approx((first[24] + first[25]) / 2)


def test_the_table_says_who_is_too_slow_and_what_the_cheapest_servers_are() -> None:
    said = serve("--on", "l4", "--fleet", "100", "--level", "1,0.1,0.9").output
    assert "Cheapest for 100 requests/s: " in said
    assert "no rate meets 1e-06 s" in serve("--on", "l4", "--find-rate", "--level", "1e-6,1").output
    assert (
        "the queue has no end"
        in serve("--on", "cores", "--rate", "5000", "--scheduler", "vllm:budget=64").output
    )


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
        (["--servers", "1:readers=1"], "link_gb_s is 0.0 beside 1 readers"),
        (["--servers", "x"], "servers is 'x'; allowed is a whole number 1..4096."),
        (["--servers", "2:routing=near"], "routing is 'near'; allowed are turns, least, prefix."),
        (["--on", "nobody"], "nobody"),
    ],
)
def test_what_is_wrong_is_one_sentence_and_exit_status_2(words: list[str], said: str) -> None:
    result = serve(*words, "--out", "times.csv")
    assert result.exit_code == 2
    assert said in result.output
    assert result.output.count("\n") == 1
    assert not Path("times.csv").exists()
