"""`sailsim run`: the keys that scripts rely on, and one sentence for bad input."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from sailsim.analysis.results.runs import runners
from sailsim.cli import main
from sailsim.sim.backends.cores import SIMULATED
from sailsim.sim.engine import simulate_step
from sailsim.sim.files import load_system
from sailsim.sim.point import Point
from sailsim.workloads.load import load_model


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["run", *arguments])


ISSUE = [
    "--system",
    "sail-n1",
    "--model",
    "llama-2-7b",
    "--wbits",
    "4",
    "--abits",
    "8",
    "--batch",
    "8",
    "--threads",
    "16",
    "--context",
    "512",
]


def test_nbw_auto_says_what_it_chose() -> None:
    told = run("--model", "smollm2-135m", "--nbw", "auto").output
    assert "NBW of sail's tensors" in told
    assert "token_embd" in told or "output" in told
    found = json.loads(run("--model", "smollm2-135m", "--nbw", "auto", "--json").stdout)
    assert found["point"]["nbw"] == 0
    assert sum(found["runs"]["sail"]["chosen"].values()) == 211
    for word in ("best", "0", "2.5"):
        refused = run("--nbw", word)
        assert refused.exit_code == 2
        assert len(refused.stderr.splitlines()) == 1


def test_json_has_a_run_for_every_runner() -> None:
    found = json.loads(run(*ISSUE, "--json").stdout)
    runs = found["runs"]
    assert list(runs) == [runner.name for runner in runners()]
    assert len({tuple(entry) for entry in runs.values()}) == 1
    sail, cores = runs["sail"], runs["cores"]
    point = Point(wbits=4, abits=8, batch=8, threads=16, context=512)
    result = simulate_step(load_system("sail-n1"), load_model("llama-2-7b"), point)
    assert sail["tokens_per_s"] == pytest.approx(result.tokens_per_s)
    assert sail["step_s"] == pytest.approx(8 / sail["tokens_per_s"])
    assert sum(sail["phases"].values()) == pytest.approx(sail["step_s"])
    assert found["point"] == result.point.as_dict()
    assert cores["cores"] == 16
    assert cores["speedup"] == pytest.approx(sail["tokens_per_s"] / cores["tokens_per_s"])
    own, other = (entry["tokens_per_usd_used"] for entry in (sail, cores))
    assert cores["usd_ratio_used"] == pytest.approx(own / other)
    for entry in runs.values():
        if entry["tokens_per_s"] is None:
            assert entry["reason"]
            assert entry["speedup"] is None is entry["tokens_per_usd"]
        else:
            assert entry["step_s"] == pytest.approx(8 / entry["tokens_per_s"])
    # A 16 GB card cannot hold this model in 16 bits beside the cache: a reason stands where numbers would.
    assert "GB" in runs["v100-f16"]["reason"]
    assert any("SmolLM2" in note for note in found["notes"])
    assert found["notes"]["Batched decoding was measured on Altra with a cache shared by all sequences: the "
                          "band's lower end has it."] == [
        r.name for r in runners() if r.kind == "cores" and r.software not in SIMULATED]  # fmt: skip


@pytest.mark.parametrize(("more", "said"), [("--wide", "no room"), ("--cost", "does not fit")])
def test_a_point_that_fits_nothing_says_so(more: str, said: str) -> None:
    big = ["run", "--model", "llama-2-70b", "--batch", "1024", "--context", "4096"]
    found = json.loads(CliRunner().invoke(main, [*big, "--json"]).stdout)["runs"]
    assert all(entry["tokens_per_s"] is None is entry["tokens_per_usd"] for entry in found.values())
    assert "needs 1410.0 GB, allowed is 549.8 GB" in found["sail"]["reason"]
    shown = CliRunner(env={"COLUMNS": "140"}).invoke(main, [*big, more])
    assert shown.exit_code == 0, shown.output
    assert shown.output.count(said) == len(runners())


def test_a_ratio_is_of_dollars_paid_in_one_way() -> None:
    runs = json.loads(run("--batch", "1", "--json").stdout)["runs"]
    own, other = runs["sail"], runs["cores"]
    ways = ("used", "bandwidth", "whole")
    ratios = [other[f"usd_ratio_{way}"] for way in ways]
    assert ratios == pytest.approx(
        [own[f"tokens_per_usd_{way}"] / other[f"tokens_per_usd_{way}"] for way in ways]
    )
    assert (
        len({round(ratio, 3) for ratio in ratios}) == 2
    )  # used and whole are SAIL's speedup over its overhead
    assert own["tokens_per_usd"] == own["tokens_per_usd_bandwidth"]


CARD = 'extends = "l4"\nname = "mine"\ntitle = "My card"\n'


def test_a_card_of_the_users_is_a_runner_like_any(tmp_path: Path) -> None:
    path = tmp_path / "card.toml"
    fast = 'memory_bandwidth = { value = 600, unit = "GB/s", source = "a test", kind = "paper" }\n'
    path.write_text(CARD + fast)
    shown = CliRunner().invoke(main, ["run", *ISSUE, "--beside", str(path), "--json"])
    assert shown.exit_code == 0, shown.output
    found = json.loads(shown.stdout)["runs"]
    assert list(found)[-1] == "mine"
    assert found["mine"]["title"] == "My card"
    assert found["mine"]["tokens_per_s"] > found["l4"]["tokens_per_s"]
    assert found["mine"]["instance"] == "aws/g6.xlarge"
    plain = CliRunner(env={"COLUMNS": "100"}).invoke(main, ["run", *ISSUE, "--beside", str(path)])
    assert "My card" in plain.output


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (CARD.replace('"mine"', '"l4"'), "two runners have the name 'l4'"),
        ('[[runner]]\nname = "x"\n', "title is missing"),
        ('title = "x"\n', "no [[runner]]"),
    ],
)
def test_a_bad_file_beside_is_one_sentence(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(text)
    shown = CliRunner().invoke(main, ["run", *ISSUE, "--beside", str(path)])
    assert shown.exit_code == 2
    assert shown.stdout == ""
    assert words in shown.stderr
    assert len(shown.stderr.strip().splitlines()) == 1


def test_a_system_of_three_lines(tmp_path: Path) -> None:
    """A user's variation runs by its path, and is priced as what it extends."""
    wide = tmp_path / "wide.toml"
    wide.write_text(
        'extends = "sail-n1"\nname = "wide"\n[pim]\n'
        'arrays = { value = 32, unit = "arrays", source = "here", kind = "assumed", low = 16, high = 64, '
        'note = "half a megabyte a slice" }\n'
    )
    found = json.loads(run("--system", str(wide), "--json").stdout)
    assert found["runs"]["sail"]["instance"] == "aws/c6g.16xlarge"
    assert found["runs"]["sail"]["tokens_per_s"] > 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--model", "llama-9"], ("model", "llama-9", "llama-2-7b")),
        (["--system", "sail-n9"], ("system", "sail-n9", "sail-n1")),
        (["--wbits", "9"], ("wbits", "9", "1..8")),
        (["--wbits", "0"], ("wbits", "0", "1..8")),
        (["--abits", "17"], ("abits", "17", "1..16")),
        (["--threads", "65"], ("threads", "65", "64")),
        (["--substrate", "optical"], ("substrate", "optical", "row_dfm")),
        (["--convert", "nowhere"], ("convert", "nowhere", "memory")),
        (["--nbw", "6", "--substrate", "bit_serial"], ("rows",)),
    ],
)
def test_bad_input_is_one_sentence(arguments: list[str], words: tuple[str, ...]) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert len(result.stderr.strip().splitlines()) == 1
    for word in words:
        assert word in result.stderr


PREFILL = ["--model", "smollm2-135m", "--phase", "prefill", "--prompt", "48"]


def test_prefill_says_the_time_to_the_first_token() -> None:
    said = run(*PREFILL, "--notes").output
    assert "prefill of 48 tokens" in said
    assert "TTFT: time to the first token" in said
    assert "No prompt in f16 was measured on card h100" in said
    found = json.loads(run(*PREFILL, "--json").stdout)
    assert (found["point"]["phase"], found["point"]["prompt"], found["point"]["context"]) == (
        "prefill",
        48,
        48,
    )
    sail = found["runs"]["sail"]
    assert sail["ttft_s"] == sail["step_s"] == pytest.approx(48 / sail["tokens_per_s"])
    assert found["runs"]["cores-lut"]["ttft_s"] is None
    assert "TTFT" not in run("--model", "smollm2-135m").output


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--prompt", "8"], "prompt is 8 beside phase decode"),
        (["--phase", "chat"], "phase is 'chat'; allowed are decode, prefill"),
        (["--phase", "prefill", "--prompt", "8", "--context", "9"], "context is 9 beside a prompt of 8"),
        (["--phase", "prefill", "--prompt", "0"], "prompt is 0; allowed is a whole number 1..16777216"),
        (
            ["--phase", "prefill", "--prompt", "65536", "--beyond-limit"],
            "batch x prompt is 65536; allowed is at most 65535 rows",
        ),
    ],
)
def test_bad_phases_are_one_sentence(options: list[str], said: str) -> None:
    refused = run("--model", "smollm2-135m", *options)
    assert refused.exit_code == 2
    assert said in refused.stderr
    assert len(refused.stderr.splitlines()) == 1


def test_of_each_card_the_fastest_software_is_shown() -> None:
    found = json.loads(CliRunner().invoke(main, ["run", *ISSUE, "--json"]).stdout)["runs"]
    shown = CliRunner(env={"COLUMNS": "80"}).invoke(main, ["run", *ISSUE]).output
    for card in {entry["hardware"] for entry in found.values() if entry["kind"] == "card"}:
        titles = {
            entry["title"]: entry["tokens_per_s"] or 0
            for entry in found.values()
            if entry["hardware"] == card and entry["kind"] == "card"
        }
        best = max(titles, key=lambda title: titles[title])
        assert [title for title in titles if f" {title}  " in shown] == [best]


@pytest.mark.parametrize("command", ["--cost", "--wide"])
def test_on_a_machine_without_units_cores_and_cards_stand_alone(command: str) -> None:
    asked = ["--system", "graviton2", "--model", "llama-7b", "--weights", "q4_k_m", "--threads", "48"]
    found = json.loads(run(*asked, "--context", "64", "--json").stdout)["runs"]
    assert {entry["kind"] for entry in found.values()} == {"cores", "card"}
    # Measured: 19.7 tokens/s (c6g.12xlarge).
    assert found["cores"]["tokens_per_s"] == pytest.approx(19.7, rel=0.15)
    assert found["cores"]["speedup"] is None
    told = run(*asked, command).output
    assert "cores, llama.cpp" in told
    assert ("kv_cache" in told) == (command == "--wide")
