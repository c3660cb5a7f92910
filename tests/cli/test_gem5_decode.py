"""`sailsim gem5 decode` with a stand-in for gem5: a study that is stored, resumed, stopped, refused."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result

from sailsim.sim.gem5.decode import REGIONS, prompt_tokens
from sailsim.sim.study.store import Store
from sailsim.workloads.images.image_decode import ImageDecoder
from sailsim.workloads.images.image_file import Image, plan_image
from sailsim.workloads.inference.tokenizer import Tokenizer
from sailsim.workloads.model_files.gguf_model import open_gguf

from ..workloads.conftest import model_text
from .gem5_stand_in import Behave, elf, one_sentence, runs, sailsim


@pytest.fixture(autouse=True)
def inputs(tmp_path: Path) -> None:
    """The model and the program."""
    (tmp_path / "tiny.toml").write_text(model_text())
    elf(tmp_path / "decode")


def decode(log: Path, *words: object) -> Result:
    """The command; options in `words` come last, so they win."""
    here = log.parent
    given = ("--model", here / "tiny.toml", "--weights", "4g32", "--program", here / "decode")
    return sailsim("decode", *given, "--out", here / "out", "--threads", "1,2", "--json", *words)


def test_a_study_is_stored_resumed_and_grows(log: Path, tmp_path: Path) -> None:
    first = json.loads(decode(log).stdout)
    assert (len(first["rows"]), first["held_before"], first["differing"], len(runs(log))) == (6, 0, [], 6)
    order = [(row["threads"], row["linears"]) for row in first["rows"]]
    assert order == [(t, kind) for t in (1, 2) for kind in ("neon", "lut", "lutmm")]
    row = first["rows"][2]
    assert sum(row[f"{region}_cycles"] for region in REGIONS) == row["step_cycles"] == 80000
    assert (row["barrier_cycles"], row["units_cycles"]) == (7, 11)
    # Of the measured part alone: neither before nor after it.
    assert (row["instructions"], row["host_before_s"], row["host_measured_s"]) == (4000, 2.0, 8.0)
    assert (row["cpu_before_s"], row["cpu_measured_s"], row["instructions_per_s"]) == (3, 8, 500)
    assert (row["dram_bytesRead"], row["dram_gb_s"]) == (1000000, 1000.0)
    assert row["unit_buildCycles"] == 160
    assert row["tokens_per_s"] == 2.5e9 / 80000
    assert (row["pim"], first["rows"][0]["pim"]) == (True, False)
    assert first["rows"][0].get("unit_buildCycles") is None
    assert len(list((tmp_path / "out" / "images").glob("*.image"))) == 1
    again = json.loads(decode(log).stdout)
    assert (again["held_before"], again["rows"]) == (6, first["rows"])
    grown = json.loads(decode(log, "--batch", "1,2", "--linears", "neon").stdout)
    assert (len(grown["rows"]), grown["held_before"], len(runs(log))) == (4, 2, 8)
    assert len(Store(tmp_path / "out").frame()) == 8


@pytest.mark.slow
def test_what_takes_too_long_is_stored_without_numbers(log: Path, tmp_path: Path, behave: Behave) -> None:
    behave("hang")
    one = ("--threads", "1", "--linears", "neon")
    for _ in range(2):
        result = decode(log, *one, "--timeout", "4")
        (row,) = json.loads(result.stdout)["rows"]
        assert (result.exit_code, row.get("step_cycles"), row["host_s"]) == (0, None, 4)
        assert row["reason"].startswith("gem5 took longer than 4 s")
    assert len(runs(log)) == 1
    # With other limits it is tried again, and what is found takes the place of what was not.
    behave("good")
    assert json.loads(decode(log, *one, "--timeout", "600").stdout)["rows"][0]["step_cycles"] == 160000
    assert len(runs(log)) == 2
    assert list(Store(tmp_path / "out").frame()["step_cycles"]) == [160000]


def test_a_run_that_fails_leaves_the_others(log: Path, tmp_path: Path, behave: Behave) -> None:
    decode(log, "--threads", "1", "--linears", "lutmm")
    for behaviour, words in {
        "refused": "the program ended without a result (a unit did not answer within --timeout-ms)",
        "panic": "gem5 stopped before the end (it went wrong)",
        "no_units": "the program found no PIM units and emulated them",
        "unmarked": "gem5's statistics have no measured part",
        "other_clock": "cores.clock is 2.5; allowed is 3, that of the machine which the program was",
    }.items():
        behave(behaviour)
        sentence = one_sentence(decode(log, "--linears", "lutmm"))
        assert "1 of 2 runs of decode on gem5 failed (the first: tiny 4g32, lutmm, 2 threads" in sentence
        assert words in sentence
        assert f"; the others are stored in {tmp_path / 'out'}." in sentence
    assert len(Store(tmp_path / "out").frame()) == 1
    alone = one_sentence(decode(log, "--threads", "2", "--linears", "lutmm"))
    assert "1 of 1 runs of decode on gem5 failed" in alone
    assert "the others" not in alone


def test_kinds_that_decode_other_tokens_are_status_1(log: Path, behave: Behave) -> None:
    behave("wrong")
    result = decode(log, "--threads", "1")
    assert result.exit_code == 1
    found = json.loads(result.stdout)["differing"]
    assert len(found) == 2
    assert (
        found[0] == "logits of lut with --threads 1 are 63lut, of neon with --threads 1 63neon (batch 1, "
        "context 64)."
    )


def answer_as_numpy(log: Path, monkeypatch: pytest.MonkeyPatch, batch: int, other: float = 0) -> list[int]:
    """Have the stand-in answer the prompt 5,6,7 with two steps of the running model, whose last logit is
    larger by `other`; the tokens."""
    here = log.parent
    plan_image(here / "tiny.toml", weights="4g32", slices=32).write(here / "own.image")
    decoder = ImageDecoder(Image(here / "own.image"))
    for token in (5, 6):
        decoder.step([token])
    first = decoder.logits([7])[0]
    second = decoder.logits([int(first.argmax())])[0]
    tokens = [int(first.argmax()), int(second.argmax())]
    logits = np.stack([[first] * batch, [second] * batch])
    logits[1, batch - 1, 0] += other
    (here / "logits").write_bytes(logits.astype(np.float32).tobytes())
    monkeypatch.setenv("FAKE_GEM5_LOGITS", str(here / "logits"))
    monkeypatch.setenv("FAKE_GEM5_TOKENS", ",".join(map(str, tokens)))
    return tokens


PROMPTED = ("--prompt", " 5, 6,7", "--steps", "2", "--threads", "1")


def test_a_prompt_is_decoded_and_compared_with_the_running_model(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = ",".join(map(str, answer_as_numpy(log, monkeypatch, 2, other=0.25)))
    result = decode(log, *PROMPTED, "--batch", "2")
    assert result.exit_code == 0, result.stderr
    answer = json.loads(result.stdout)
    assert [found["linears"] for found in answer["rows"]] == ["neon", "lut", "lutmm"]
    assert answer["differing"] == []
    for found in answer["rows"]:
        assert (found["prompt_tokens"], found["context"], found["warm"]) == ("5,6,7", 2, 2)
        assert found["model_tokens"] == found["tokens"] == f"{row};{row}"
        assert found["logit_difference"] == pytest.approx(0.25)
        assert found["logit_largest"] > 0.25
    # What is stored is not simulated or compared again, and other prompts are other questions.
    assert json.loads(decode(log, *PROMPTED, "--batch", "2").stdout)["rows"] == answer["rows"]
    assert len(runs(log)) == 3
    assert json.loads(decode(log, "--threads", "1").stdout)["held_before"] == 0


def test_tokens_that_the_running_model_does_not_choose_are_status_1(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = answer_as_numpy(log, monkeypatch, 1)
    other = [tokens[0], (tokens[1] + 1) % 48]
    monkeypatch.setenv("FAKE_GEM5_TOKENS", ",".join(map(str, other)))
    result = decode(log, *PROMPTED, "--linears", "neon")
    assert result.exit_code == 1
    (found,) = json.loads(result.stdout)["differing"]
    assert found == (
        f"tokens of neon with --threads 1 are {other[0]},{other[1]}; the running model chooses "
        f"{tokens[0]},{tokens[1]} after the same tokens (logits differ by up to 0; batch 1)."
    )


def test_logits_that_the_program_did_not_write_whole(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer_as_numpy(log, monkeypatch, 1)
    (log.parent / "logits").write_bytes(b"1234")
    assert "the program did not write its logits to " in one_sentence(decode(log, *PROMPTED))


def test_a_prompt_as_text_is_its_tokens(smollm2_path: Path) -> None:
    model = str(smollm2_path)
    assert prompt_tokens(model, "The capital of France is") == [504, 3575, 282, 4649, 314]
    assert prompt_tokens(model, "504, 3575") == [504, 3575]
    assert prompt_tokens(model, "504, 3575,") == Tokenizer(open_gguf(model)).encode("504, 3575,")


REFUSED = [
    ("--prompt|", "tiny.toml has no tokenizer; allowed are token numbers such as 1,2,3."),
    ("--prompt|1,-2", "prompt is '1,-2', and model "),
    ("--prompt|3,48", "prompt has token 48; allowed are 0..47."),
    (f"--prompt|{'9' * 5000}", "prompt has token 99999999999999999999; allowed are 0..47."),
    (f"--prompt|{','.join(['1'] * 1025)}", "prompt has 1025 tokens; allowed are 1..1024."),
    ("--prompt|1,2|--context|64", "context is given with prompt; allowed is one of them"),
    ("--units|33", "units is 33; allowed are 1..32: a matrix has a tile a slice."),
    (
        "--units|4|--linears|neon,lut",
        "units is 4 and linears is neon,lut; allowed with units is lutmm, or ",
    ),
    ("--prefill-tokens|4", "prefill-tokens is given with linears neon,lut,lutmm; allowed is lutmm alone."),
    ("--attention|units", "kv_bits is 16 with attention on the units; allowed there is 2..8."),
    ("--kv-bits|4", "kv_bits is 4 with attention on the cores; allowed there is 8 or 16."),
    ("--model|llama-2-7b|--context|64,4097", "context is 4097; allowed for llama-2-7b is at most 4096"),
    ("--attention|units|--kv-bits|8|--system|graviton2", "no enabled [pim] section"),
    ("--linears|neon,gpu", "linears is 'neon,gpu'; allowed are neon, lut, lutmm"),
    ("--linears|,", "linears is ''; allowed are neon, lut, lutmm"),
    ("--threads|65", "threads is 65; allowed are 1..64"),
    ("--batch|65", "batch is 65; allowed are 1..64"),
    ("--context|x", "context is 'x'"),
    ("--context|0", "context is 0; allowed are 1..1048576"),
    ("--blocks|3", "blocks is 3; allowed is 1..1"),
    ("--weights|9g32", "wbits is 9; allowed is 1..8"),
    ("--model|/no/such.gguf", "model is '/no/such.gguf'; allowed is a path"),
    ("--program|/no/such/decode", "make kernels"),
    ("--system|aim-n1", "its accelerator has backend dram_pim"),
    ("--system|graviton2", "no enabled [pim] section"),
    ("--gem5|/no/gem5", "No such file or directory"),
]


@pytest.mark.parametrize(("words", "sentence"), REFUSED, ids=[each[0][:40] for each in REFUSED])
def test_bad_words_are_one_sentence(log: Path, words: str, sentence: str) -> None:
    said = one_sentence(decode(log, *words.split("|")))
    assert sentence in said
    assert "runs of decode" not in said  # no run was begun
    assert len(runs(log)) == 0


def test_a_head_that_does_not_fit_the_arrays(log: Path) -> None:
    """Of both tiles, a look-up table of 6 weights and its staging rows."""
    small = log.parent / "small.toml"
    serial = '{ value = "bit_serial", source = "a test", kind = "paper" }'
    small.write_text(f'extends = "sail-n1"\nname = "small"\npim.substrate = {serial}\n')
    words = ("--attention", "units", "--kv-bits", "4", "--nbw", "6", "--system", small)
    said = one_sentence(decode(log, *words))
    assert "attention is units, and small has no room for a head's 16 x 64 tile: " in said
    assert len(runs(log)) == 0


def test_units_are_those_of_the_machine_and_of_the_program(log: Path) -> None:
    words = ("--threads", "1", "--linears", "neon,lutmm", "--units")
    rows = json.loads(decode(log, *words, "4").stdout)["rows"]
    assert [(row["units"], row.get("unit_buildCycles")) for row in rows] == [(0, None), (4, 4 * 5)]
    # Cores multiply alike beside any number of units.
    found = json.loads(decode(log, *words, "8").stdout)
    assert (found["held_before"], len(runs(log))) == (1, 3)
