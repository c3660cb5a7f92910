"""`sailsim run`: the keys that scripts rely on, and where their numbers come from."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from sailsim.analysis.runs.runs import LEGEND, SIGN, runners
from sailsim.sim.machine.system_files import load_system
from sailsim.sim.point import Point
from sailsim.sim.step.engine import simulate_step
from sailsim.workloads.model_files.load import load_model

from ..refusals import quantity
from .commands import answer as answer_of
from .commands import sailsim

ISSUE = ["--model", "llama-2-7b", "--batch", "8", "--threads", "16", "--context", "512"]
SMALL = ["--model", "smollm2-135m", "--context", "64"]


def told(*words: str) -> str:
    result = sailsim("run", *words, columns=240)
    assert result.exit_code == 0, result.output
    return result.stdout


answer = partial(answer_of, "run")


def test_json_has_a_run_for_every_runner() -> None:
    found = answer(*ISSUE)
    runs = found["runs"]
    assert list(runs) == [runner.name for runner in runners()]
    assert len({tuple(entry) for entry in runs.values()}) == 1
    point = Point(wbits=4, abits=8, batch=8, threads=16, context=512)
    result = simulate_step(load_system("sail-n1"), load_model("llama-2-7b"), point)
    assert found["point"] == result.point.as_dict()
    for entry in runs.values():
        if entry["tokens_per_s"] is None:
            assert entry["reason"]
            assert entry["speedup"] is None is entry["tokens_per_usd"]
        else:
            assert entry["step_s"] == pytest.approx(8 / entry["tokens_per_s"])
    # A 16 GB GPU cannot hold this model in 16 bits beside the cache: a reason stands where numbers would.
    assert "GB" in runs["v100-f16"]["reason"]
    shared = "Batches were measured with one cache for all sequences: the interval's lower end has it."
    assert found["notes"][shared] == [
        runner.name
        for runner in runners()
        if runner.kind == "cores"
        and runner.provenance == "measured"
        and not (runner.record and runner.record.serves)
        and runs[runner.name]["instances"] < point.batch
    ]


def test_nbw_auto_says_what_it_chose() -> None:
    found = answer("--model", "smollm2-135m", "--nbw", "auto")
    assert found["point"]["nbw"] == 0
    assert sum(found["runs"]["sail"]["chosen"].values()) == 211


def test_the_table_marks_what_nobody_ran_and_says_where_sums_are_converted(tmp_path: Path) -> None:
    words = [*SMALL, "--batch", "8", "--convert", "auto"]
    runs, printed = answer(*words)["runs"], " ".join(told(*words).split())
    for name, entry in runs.items():
        assert entry["title"].endswith(f" {SIGN}") == (entry["provenance"] != "measured"), name
        assert (entry["kind"] == "accelerator") <= (entry["provenance"] == "simulated")
        assert entry["rests_on"]
    assert f"{LEGEND}." in printed
    assert f"{LEGEND}." in " ".join(told(*words, "--cost").split())
    assert f"conversion: {runs['sail']['converted']}" in printed
    assert "cores, fastest" not in printed.replace("all cores, fastest", "")  # one of the rows above it
    assert "SAIL runs other attention" not in printed
    # Neoverse V2's cores do not run the fork; another server beside it does.
    (tmp_path / "fork.toml").write_text(
        '[[runner]]\nname = "fork"\ntitle = "Altra"\nkind = "cores"\nhardware = "altra"\n'
        'software = "ampere"\nsource = "a test"\n'
    )
    mixed = told(*SMALL, "--system", "sail-v2", "--against", str(tmp_path / "fork.toml"))
    assert "SAIL runs other attention than these rows: fork." in mixed


def test_prefill_says_the_time_to_the_first_token() -> None:
    assert "TTFT" in told("--model", "smollm2-135m", "--phase", "prefill", "--prompt", "48")


def test_on_a_machine_without_units_cores_and_cards_stand_alone() -> None:
    words = ["--system", "graviton2", "--model", "llama-7b", "--weights", "q4_k_m", "--threads", "48"]
    found = answer(*words, "--context", "64")["runs"]
    assert {entry["kind"] for entry in found.values()} == {"cores", "gpu"}
    # Measured: 19.7 tokens/s (c6g.12xlarge).
    assert found["cores"]["tokens_per_s"] == pytest.approx(19.7, rel=0.15)
    assert found["cores"]["speedup"] is None
    assert "cores, llama.cpp" in told(*words, "--cost")


@pytest.mark.parametrize(("more", "said"), [(["--wide"], "no room"), (["--cost"], "does not fit")])
def test_a_point_that_fits_nothing_has_no_number_and_a_reason(more: list[str], said: str) -> None:
    large = ["--model", "llama-2-70b", "--batch", "512", "--context", "4096"]
    printed = told(*large, *more)
    needs = "llama-2-70b in w4g128 with batch 512 and context 4096 needs 722.8 GB, allowed is 549.8 GB"
    for name in ("sail", "cores", "cores-ampere", "cores-all"):
        assert f"- {name}: system sail-n1: {needs}\n" in printed
    assert printed.count(said) == len(runners())
    for entry in answer(*large)["runs"].values():
        assert entry["tokens_per_s"] is None is entry["tokens_per_usd"]
        assert entry["reason"]


def test_dollars_and_joules_are_said_by_their_units() -> None:
    """What they follow from: tests/analysis/runs/test_compare.py."""
    found = answer(*SMALL, "--batch", "2")["runs"]
    for row in found.values():
        if row["tokens_per_usd"] is not None:
            assert row["usd_per_million_tokens"] == pytest.approx(1e6 / row["tokens_per_usd"])
            assert row["paid"]
    for run in (found["sail"], found["cores"], found["cores-all"]):
        assert run["j_per_token_low"] < run["j_per_token"] < run["j_per_token_high"]
        assert run["power_w"] == pytest.approx(run["energy_j"] / run["step_s"])
    assert "2025-03-02" in told(*SMALL, "--cost")
    assert "not modelled in the energy" in told(*SMALL, "--wide")


BESIDE = ("neural-cache-n1", "aim-n1", "hbm-pim-n1")
"""Accelerators that are not SAIL."""


def runs_beside(*names: str) -> dict[str, Any]:
    words = [word for name in names for word in ("--against", name)]
    runs: dict[str, Any] = answer(*SMALL, "--threads", "4", *words)["runs"]
    return runs


def test_run_has_them_in_the_table_and_says_where_their_steps_go() -> None:
    runs = runs_beside(*BESIDE)
    for name in BESIDE:
        entry = runs[name]
        assert entry["tokens_per_s"] > 0
        assert sum(entry["phases"].values()) == pytest.approx(entry["step_s"])
        assert entry.get("energy_j") is None
        assert any(f"the energy of system {name}'s accelerator" in note for note in entry["notes"])
    assert runs["sail"]["tokens_per_s"] == runs_beside()["sail"]["tokens_per_s"]


@pytest.mark.parametrize(
    ("model", "system", "limit"), [("llama-2-13b", "aim-n1", "17.2"), ("llama-2-7b", "hbm-pim-n1", "8.6")]
)
def test_what_does_not_fit_its_own_memory_has_a_reason_and_no_number(
    model: str, system: str, limit: str
) -> None:
    entry = answer("--model", model, "--against", system)["runs"][system]
    assert entry["tokens_per_s"] is None
    assert f"the accelerator of system {system}" in entry["reason"]
    assert f"allowed is {limit} GB" in entry["reason"]


def test_a_file_of_the_users_is_a_runner_like_any_other(tmp_path: Path) -> None:
    gpu, half = tmp_path / "gpu.toml", tmp_path / "half.toml"
    gpu.write_text('extends = "l4"\nname = "mine"\ntitle = "My GPU"\n')
    channels = quantity(16, "channels")
    half.write_text(f'extends = "aim-n1"\nname = "half"\n[accelerator]\nchannels = {channels}\n')
    runs = runs_beside("aim-n1", str(half), str(gpu))
    assert list(runs)[-2:] == ["half", "mine"]
    assert runs["half"]["phases"]["rows"] > runs["aim-n1"]["phases"]["rows"]
    assert runs["mine"]["tokens_per_s"] == runs["l4"]["tokens_per_s"]
    assert (runs["mine"]["title"], runs["mine"]["instance"]) == ("My GPU", "aws/g6.xlarge")
    assert "My GPU" in told(*SMALL, "--against", str(gpu))


@pytest.mark.parametrize(
    ("kind", "hardware", "software", "words"),
    [
        ("gpu", "l40s", "serving", "q3_k_m, allowed"),
        ("cores", "altra", "vllm", "not measured on neoverse-n1"),
    ],
)
def test_a_runner_that_was_asked_for_says_why_it_has_no_number(
    tmp_path: Path, kind: str, hardware: str, software: str, words: str
) -> None:
    names = {"name": "odd", "title": "Odd", "kind": kind, "hardware": hardware, "software": software}
    fields = names | {"format": "q3_k_m", "source": "a test"}
    lines = "\n".join(f'{name} = "{value}"' for name, value in fields.items())
    (tmp_path / "odd.toml").write_text(f"[[runner]]\n{lines}\n")
    text = " ".join(told(*SMALL, "--against", str(tmp_path / "odd.toml")).split())
    assert "- odd: " in text
    assert words in text.partition("- odd: ")[2]


def test_what_reaches_a_target_does_and_the_cheapest_comes_first() -> None:
    words = ["--model", "llama-2-7b", "--wbits", "4", "--target", "20"]
    rows = answer(*words)["reached"]
    assert {row["wbits"] for row in rows} == {4}
    assert min(row["tokens_per_s"] for row in rows) >= 20
    usd = [row["usd_per_million_tokens"] for row in rows]
    assert usd == sorted(usd)
    one = next(row for row in rows if (row["runner"], row["batch"]) == ("sail", 8))
    at = ["--model", "llama-2-7b", "--wbits", "4", "--batch", "8"]
    run = answer(*at, "--threads", str(one["threads"]))["runs"]["sail"]
    assert run["tokens_per_s"] == pytest.approx(one["tokens_per_s"])
    assert run["usd_per_million_tokens"] == pytest.approx(one["usd_per_million_tokens"])
    fewer = answer(*at, "--threads", str(one["fewest_threads"] // 2))["runs"]["sail"]
    assert fewer["tokens_per_s"] < 20
    assert "Fewest threads of SAIL" in told(*words)
    assert "No width, batch or number of threads" in told(*words[:4], "--target", "1e9")
