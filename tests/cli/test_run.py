"""`sailsim run`: the keys that scripts rely on, and one sentence for bad input."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from sailsim.cli import main
from sailsim.sim import Point, card_names, load_system, simulate_step
from sailsim.workloads import load_model


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


def test_json_has_rates_breakdown_costs_and_speedups() -> None:
    found = json.loads(run(*ISSUE, "--json").output)
    sail, cpu = found["sail"], found["cpu"]
    point = Point(wbits=4, abits=8, batch=8, threads=16, context=512)
    result = simulate_step(load_system("sail-n1"), load_model("llama-2-7b"), point)
    assert sail["tokens_per_s"] == pytest.approx(result.tokens_per_s)
    assert sail["step_s"] == pytest.approx(8 / sail["tokens_per_s"])
    assert sum(sail["breakdown"].values()) == pytest.approx(sail["step_s"])
    assert cpu["speedup"] == pytest.approx(sail["tokens_per_s"] / cpu["tokens_per_s"])
    assert cpu["tokens_per_usd_ratio"] == pytest.approx(sail["tokens_per_usd"] / cpu["tokens_per_usd"])
    assert sorted(found["gpu"]) == sorted(card_names())
    assert found["gpu"]["v100"]["tokens_per_s"] > 0
    # A 16 GB card cannot hold this model in 16 bits beside the cache: a reason stands where numbers would.
    assert "not_available" in found["gpu"]["v100"]["f16"]
    assert any("SmolLM2" in note for note in found["notes"])


def test_the_table_shows_every_machine() -> None:
    result = CliRunner(env={"COLUMNS": "100"}).invoke(main, ["run", *ISSUE])
    assert result.exit_code == 0
    for name in ("SAIL", "CPU llama.cpp", *(card.upper() for card in card_names())):
        assert name in result.output


def test_a_system_of_three_lines(tmp_path: Path) -> None:
    """A user's variation runs by its path, and is priced as what it extends."""
    wide = tmp_path / "wide.toml"
    wide.write_text(
        'extends = "sail-n1"\nname = "wide"\n[pim]\n'
        'arrays = { value = 32, unit = "arrays", source = "here", kind = "assumed", low = 16, high = 64, '
        'note = "half a megabyte a slice" }\n'
    )
    found = json.loads(run("--system", str(wide), "--json").output)
    assert found["price"]["instance"] == "aws/c6g.16xlarge"
    assert found["sail"]["tokens_per_s"] > 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--model", "llama-9"], ("model", "llama-9", "llama-2-7b")),
        (["--system", "sail-n9"], ("system", "sail-n9", "sail-n1")),
        (["--system", "graviton2"], ("graviton2", "pim")),
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
