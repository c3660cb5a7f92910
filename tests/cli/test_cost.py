"""`sailsim run --cost`, price files, and the energy of a token."""

import json
import re

import pytest
from click.testing import CliRunner

from sailsim.cli import main

STEP = ["--model", "smollm2-135m", "--context", "64"]
HEADER = "instance,machines,chip,kind,units,memory_gib,usd_per_hour,source,date\n"


def call(*arguments):
    return CliRunner().invoke(main, list(arguments))


@pytest.fixture
def own_prices(tmp_path):
    path = tmp_path / "prices.csv"
    path.write_text(HEADER + "mine,sail-n1,chip,cpu,64,128,6.4,me,2030\nyours,v100,chip,gpu,1,,1.0,me,2030\n")
    return path


def test_every_runner_has_a_range_or_says_why_not():
    shown = call("run", *STEP, "--json")
    assert shown.exit_code == 0, shown.output
    found = json.loads(shown.stdout)["runs"]
    assert {"sail", "cores", "cores-all", "v100", "v100-serving"} <= set(found)
    for name, row in found.items():
        if row["tokens_per_usd"] is None:
            assert name.startswith("h100")
            continue
        low, high = row["tokens_per_usd_low"], row["tokens_per_usd_high"]
        assert low < row["tokens_per_usd"] <= high * (1 + 1e-9)
        assert row["usd_per_million_tokens"] == pytest.approx(1e6 / row["tokens_per_usd"])
        assert row["tokens_per_usd"] == pytest.approx(row["tokens_per_s"] * 3600 / row["usd_per_hour"])
        assert row["paid"]
    plain = call("run", *STEP, "--cost")
    assert "ktok/USD" in plain.output
    assert "no price" in plain.output
    assert "pays for" in plain.output
    assert "2025-03-02" in plain.output


def test_own_prices_stand_for_the_shipped_ones(own_prices):
    shown = json.loads(call("run", *STEP, "--prices", str(own_prices), "--json").stdout)
    assert shown["runs"]["sail"]["instance"] == "mine"
    assert shown["runs"]["t4"]["tokens_per_usd"] is None
    assert shown["prices"] == "mine 6.4 USD/h (me, 2030); yours 1 USD/h (me, 2030)"


@pytest.mark.parametrize("options", [[], ["--batch", "64"], ["--no-prt", "--threads", "48"]])
def test_run_and_cost_print_the_same_dollars_and_what_they_pay_for(options):
    """In the lines of their tables: a runner's tokens/s, thousands of tokens a dollar, and who is paid."""

    def lines(more):
        words = ["run", "--model", "llama-2-7b", *options, more]
        told = CliRunner().invoke(main, words, env={"COLUMNS": "160"}).output.splitlines()
        found = {}
        for cells in (re.split(r"  +", line.strip()) for line in told):
            if len(cells) > 2:
                found.setdefault(cells[0], []).append(cells[1:])
        return found

    run, cost = lines("--wide"), lines("--cost")
    paid = {name: cells for name, (cells, *_) in cost.items() if re.search("vCPUs|1 card", cells[-1])}
    assert len(paid) > 10
    for name, (rate, hourly, dollars, _, who) in paid.items():
        numbers, payment, *_ = run[name]
        assert (numbers[0], numbers[-3], payment) == (rate, dollars, [hourly, who])


def test_run_splits_the_energy_of_a_token():
    shown = json.loads(call("run", *STEP, "--batch", "2", "--json").stdout)["runs"]
    for run in (shown["sail"], shown["cores"], shown["cores-all"]):
        assert run["energy_j"] == pytest.approx(sum(run["energy"].values()))
        assert run["j_per_token"] == pytest.approx(run["energy_j"] / 2)
        low, high = run["j_per_token_low"], run["j_per_token_high"]
        assert low < run["j_per_token"] < high
        assert run["power_w"] == pytest.approx(run["energy_j"] / run["step_s"])
    # A board's power over its rate: V100 has 300 W.
    v100 = shown["v100"]
    assert v100["j_per_token_low"] is None
    assert v100["j_per_token_high"] == pytest.approx(300 / v100["tokens_per_s"])
    assert v100["j_per_token"] is None
    plain = call("run", *STEP, "--wide")
    assert "mJ a token" in plain.output
    assert "At most, by board power" in plain.output
    assert "not modelled in the energy" in plain.output


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (HEADER, "no rows"),
        (HEADER + "x,sail-n1,chip,cpu,64,128,0,me,2030\n", "usd_per_hour"),
        ("a,b\n1,2\n", "lacks the column"),
    ],
)
def test_bad_price_files_are_one_sentence(tmp_path, content, sentence):
    path = tmp_path / "bad.csv"
    path.write_text(content)
    shown = call("run", *STEP, "--prices", str(path))
    assert shown.exit_code == 2
    assert sentence in shown.output
    assert "Traceback" not in shown.output
