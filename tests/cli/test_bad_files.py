"""Every kind of file that a command reads: what is wrong is one sentence, exit status 2, nothing written."""

import os
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from sailsim.cli import main

from ..workloads.conftest import model_text

READERS = {
    "system": ["run", "--system"],
    "substrate": ["run", "--substrate"],
    "policy": ["run", "--weights"],
    "runner": ["run", "--beside"],
    "constants": ["run", "--constants"],
    "prices": ["run", "--prices"],
    "model": ["run", "--model"],
    "activations": ["run", "--activations"],
    "claims": ["claims", "reproduce", "--out", "out", "--paper"],
    "machine": ["run", "--model", "llama-2-7b", "--system"],
    "sweep of a system": ["sweep", "--out", "out", "--system"],
    "sweep of a policy": ["sweep", "--out", "out", "--weights"],
    "prior": ["claims", "reproduce", "--out", "out", "--prior"],
    "priors": ["claims", "joint", "--out", "out", "--prior"],
    "combinations": ["claims", "joint", "--out", "out", "--combinations"],
    "trace of a policy": ["trace", "--model", "smollm2-135m", "--out", "out", "--weights"],
}
"""A command for each kind of file, and for some kinds several; the file's path comes last."""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def refused(*words: str) -> str:
    before = set(Path().iterdir())
    result = CliRunner().invoke(main, list(words))
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    (sentence,) = result.stderr.splitlines()
    assert set(Path().iterdir()) == before
    return sentence


def written(text: str | bytes, name: str = "mine.toml") -> str:
    Path(name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return name


@pytest.mark.parametrize("reader", READERS)
def test_what_is_no_file_of_any_kind(reader: str) -> None:
    command = READERS[reader]
    Path("folder.toml").mkdir()
    assert "folder.toml" in refused(*command, "folder.toml")
    assert "missing.toml" in refused(*command, "missing.toml")
    nested = b"x = " + b"[" * 2000 + b"]" * 2000
    for text in (b"", b'name = "\xe9"\n', b"\xff\xfe\x00", b"name = [", b"\x00" * 100, nested):
        assert "mine.toml" in refused(*command, written(text))


OTHER_READERS = {
    "plan": ["sweep", "--dry-run", "--plan"],
    "trace": ["replay"],
    "capture": ["activations"],
    "weights": ["gemv", "--activations", "x.npy", "--wbits", "2", "--abits", "2", "--weights"],
    "activations of gemv": ["gemv", "--weights", "x.npy", "--wbits", "2", "--abits", "2", "--activations"],
    "GGUF": ["show", "model"],
    "image of a GGUF": ["image", "--out", "out"],
    "text": ["quality", "--text"],
    "machine of a command": ["show", "system"],
    "substrate of a command": ["show", "substrate"],
}
"""Readers of files that are no TOML or may be empty, and of more commands."""
EVERY_READER = READERS | OTHER_READERS


@pytest.mark.parametrize("reader", EVERY_READER)
def test_a_pipe_or_a_device_is_refused_at_once(reader: str) -> None:
    """A pipe waited for ever for somebody who writes, and a device has no end."""
    np.save("x.npy", np.ones((2, 2), int))
    os.mkfifo("pipe.toml")
    Path("zero.toml").symlink_to("/dev/zero")
    for name in ("pipe.toml", "zero.toml"):
        assert name in refused(*EVERY_READER[reader], name)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "study.sqlite"])
def test_a_folder_s_files_are_regular_ones(name: str) -> None:
    folder = Path("folder")
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)
    command = ["results", "show"] if name == "study.sqlite" else ["show", "model"]
    assert f"{name} cannot be read: it is a pipe" in refused(*command, "folder")


LARGE = "9" * 400


@pytest.mark.parametrize("reader", ["system", "substrate", "runner", "constants", "model", "prior", "plan"])
def test_a_whole_number_without_end(reader: str) -> None:
    for line in (f"value = {LARGE}", f'pim.clock = {{ value = {LARGE}, unit = "GHz" }}', f"x = [{LARGE}]"):
        assert "whole number of more than 64 bits" in refused(*EVERY_READER[reader], written(f"{line}\n"))


OTHER_KINDS = {
    "system": 'extends = "l4"\nname = "x"\n',
    "machine": 'extends = "row_dfm"\nname = "x"\n',
    "substrate": 'format = 1\nkind = "gpu"\nname = "x"\ntitle = "x"\n[sources]\n',
    "policy": 'extends = "row_dfm"\nname = "x"\n',
    "runner": 'extends = "row_dfm"\nname = "x"\n',
    "constants": 'kind = "cpu"\n',
    "model": 'extends = "l4"\nname = "x"\n',
    "claims": 'extends = "l4"\nname = "x"\n',
}


@pytest.mark.parametrize("reader", OTHER_KINDS)
def test_a_file_of_another_kind(reader: str) -> None:
    assert "mine.toml" in refused(*READERS[reader], written(OTHER_KINDS[reader]))


def sourced(value: object, unit: str, more: str = 'source = "x", kind = "paper"') -> str:
    return f'{{ value = {value}, unit = "{unit}", {more} }}'


NO_SOURCE = 'kind = "paper"'
BLANK_SOURCE = 'source = " ", kind = "paper"'
BASES = {
    "substrate": 'extends = "row_dfm"\nname = "mine"\n',
    "system": 'extends = "sail-n1"\nname = "mine"\n',
    "runner": 'extends = "l4"\nname = "mine"\n',
    "machine": 'extends = "l4"\nname = "mine"\n',
    "constants": 'extends = "cost"\n',
}
"""What ships, which a file changes; the file of a card is one of runners too."""


@pytest.mark.parametrize(
    ("reader", "line", "words"),
    [
        # A missing source.
        ("substrate", f"costs.read = {sourced(1, 'cycles', NO_SOURCE)}", "costs.read.source is missing"),
        (
            "substrate",
            f"costs.read = {sourced(1, 'cycles', BLANK_SOURCE)}",
            "needs a source that is not empty",
        ),
        ("system", f"pim.arrays = {sourced(8, 'arrays', NO_SOURCE)}", "pim.arrays.source is missing"),
        ("runner", f"tdp = {sourced(70, 'W', NO_SOURCE)}", "tdp.source is missing"),
        ("machine", f"tdp = {sourced(70, 'W', NO_SOURCE)}", "tdp.source is missing"),
        (
            "constants",
            f"constants.overhead = {sourced(0.1, 'ratio', NO_SOURCE)}",
            "overhead.source is missing",
        ),
        # An operation, a phase or a field that there is not.
        ("substrate", f"costs.fly = {sourced(1, 'cycles')}", "costs.fly is no operation; allowed are read,"),
        ("substrate", 'phases.lookup = ["fly"]', "phases.lookup has 'fly'"),
        ("substrate", 'phases.lookup = ["read elephant"]', "'elephant' is no number"),
        ("substrate", 'phases.fly = ["read"]', "phases.fly is not a field"),
        ("system", "pim.wings = 2", "pim.wings is not a field"),
        ("runner", f"wheels = {sourced(4, 'W')}", "wheels is not a field"),
        ("constants", f"wheels = {sourced(4, 'W')}", "wheels is not"),
        # A cost or a size that is negative, or nothing.
        ("substrate", f"costs.read = {sourced(-1, 'cycles')}", "a cost is never negative"),
        ("substrate", f"costs.read = {sourced([9, -1], 'cycles')}", "a cost is never negative"),
        (
            "system",
            f"pim.t_prt = {sourced(-1, 'cycles')}",
            "pim.t_prt is -1; allowed is",
        ),
        ("system", f"pim.arrays = {sourced(0, 'arrays')}", "pim.arrays is 0"),
        ("runner", f"memory_bandwidth = {sourced(-300, 'GB/s')}", "memory_bandwidth is -300; allowed is"),
        ("machine", f"tdp = {sourced(0, 'W')}", "tdp is 0; allowed is a number above 0 in W"),
        ("constants", f"constants.overhead = {sourced(-0.1, 'ratio')}", "overhead is -0.1"),
        # Other values.
        ("system", f"pim.rows = {sourced(8, 'rows')}", "pim does not fit: rows is 8"),
        ("system", 'pim.nbw = "best"', "pim.nbw is 'best'; allowed is a number of weights, or 'auto'"),
        ("system", "pim = 3", "pim is 3; allowed is a table"),
        ("system", f"pim.arrays = {sourced('inf', 'arrays')}", "finite"),
        ("runner", f"tdp = {sourced(70, 'GB')}", "has the unit 'GB'; allowed is 'W'"),
        ("runner", "tdp = 70", "tdp is 70; allowed is a table"),
        ("system", 'name = ""', "name is ''; allowed is a text that is not empty"),
        ("runner", 'name = " "', "name is ' '; allowed is a text that is not empty"),
        ("system", f"memory.latency = {sourced(1e15, 'ns')}", "memory.latency is 1e+15; allowed is a number"),
        ("system", f"pim.clock = {sourced(1e-12, 'GHz')}", "pim.clock is 1e-12; allowed is a number"),
    ],
)
def test_a_wrong_value_names_file_and_field(reader: str, line: str, words: str) -> None:
    base = BASES[reader].replace('name = "mine"\n', "") if line.startswith("name") else BASES[reader]
    sentence = refused(*READERS[reader], written(f"{base}{line}\n"))
    assert "mine.toml" in sentence
    assert words in sentence


def test_what_a_file_extends_is_named_with_it() -> None:
    for reader, name in (("system", "system"), ("substrate", "substrate"), ("constants", "constants")):
        sentence = refused(*READERS[reader], written('extends = "nosuch"\nname = "mine"\n'))
        assert f"{name} file mine.toml: extends is 'nosuch'; allowed are " in sentence


@pytest.mark.parametrize(
    "command", [["run", "--model"], ["show", "model"], ["sweep", "--out", "out", "--model"]]
)
@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("params = inf", "published.params is inf; allowed is a whole number"),
        ("params = nan", "published.params is nan; allowed is a whole number"),
        ('params = "x"', "published.params is 'x'; allowed is a whole number"),
        ("params = [1]", "published.params is [1]; allowed is a whole number"),
        ("params = {}", "published.params is {}; allowed is a whole number"),
        ("params = true", "published.params is True; allowed is a whole number"),
        ("params = -1", "published.params is -1; allowed is a whole number"),
        ("params = 9223372036854775807", "published.params is 9223372036854775807; allowed is"),
        ("source = 3", "published.source is 3; allowed is a text"),
        ("parameters = 3", "published.parameters is unknown; allowed are params, active and source"),
    ],
)
def test_what_a_model_says_is_published(command: list[str], line: str, words: str) -> None:
    sentence = refused(*command, written(f"{model_text()}[published]\n{line}\n"))
    assert "mine.toml" in sentence
    assert words in sentence


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("max_context", "0", "max_context is 0; allowed is a number from 1 on"),
        ("name", '""', "name is ''; allowed is a text that is not empty"),
        ("vocab", LARGE, "more than 64 bits"),
    ],
)
def test_a_bad_shape(field: str, value: str, words: str) -> None:
    lines = [line for line in model_text().splitlines() if not line.startswith(f"{field} =")]
    for command in (["run", "--model"], ["show", "model"]):
        assert words in refused(*command, written("\n".join([*lines, f"{field} = {value}\n"])))


@pytest.mark.parametrize("reader", ["prior", "priors"])
@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("batch", "-1", "batch is -1; allowed is a whole number 1..65535"),
        ("wbits", "-1", "wbits is -1; allowed"),
        ("context", "-1", "context is -1; allowed"),
        ("threads", "0", "threads is 0; allowed"),
        ("model", '"llama2"', "model is 'llama2'; allowed"),
    ],
)
def test_a_bad_workload(reader: str, field: str, value: str, words: str) -> None:
    point = {"model": '"llama-2-7b"', "wbits": 4, "batch": 8, "threads": 16, "context": 512} | {field: value}
    said = "\n".join(f"{name} = {each}" for name, each in point.items())
    text = f'extends = "sail"\n[[workload]]\nname = "x"\nreason = "x"\nfixed = true\n{said}\n'
    assert words in refused(*READERS[reader], written(text))


PRICES = "instance,machines,chip,kind,units,memory_gib,usd_per_hour,source,date\n"
ROW = "a,graviton3,G3,cpu,64,128,2.3,s,2026-01-01\n"


@pytest.mark.parametrize("command", [["run"]])
@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (ROW.replace("2.3", "1e308"), "usd_per_hour is '1e308', allowed is a number above 0"),
        (ROW.replace("2.3", "1e-320"), "usd_per_hour is '1e-320', allowed is a number above 0"),
        (ROW.replace("64", "9" * 400), "units is '999"),
        (ROW + ROW.replace("2.3", "4"), "'a' twice"),
        ("a,graviton3\n", "kind is ''"),
        (ROW.replace("a,", ",", 1), "instance is empty"),
        (ROW.replace("G3", "x" * 200_000), "field larger than"),
    ],
)
def test_bad_prices(command: list[str], rows: str, words: str) -> None:
    assert words in refused(*command, "--prices", written(PRICES + rows))


POLICY = 'name = "p"\nsource = "a test"\ndefault = "4g32"\n[tensors]\n'


@pytest.mark.parametrize("reader", ["policy", "sweep of a policy", "trace of a policy"])
@pytest.mark.parametrize(
    ("text", "words"),
    [
        (POLICY + '"nothing.*" = "8g32"\n', "pattern 'nothing.*' matches no tensor"),
        (POLICY + '"blk.*" = "8g32"\n"blk.0.attn_q" = "4"\n', "pattern 'blk.0.attn_q' matches no tensor"),
        (POLICY + '"blk.*" = "q9"\n', "mine.toml: tensors 'blk.*' is 'q9'"),
        (POLICY + '"blk.*" = "9g32"\n', "mine.toml: tensors 'blk.*' is '9g32': wbits is 9"),
        (POLICY + '"blk.*" = "4g99999"\n', "group_size is 99999"),
        (POLICY + '"blk.*" = 4\n', "no table of patterns and formats"),
        (POLICY + '"blk.*" = "mine.toml"\n', "names another policy"),
        (POLICY.replace("4g32", "file"), "mine.toml: default is 'file'"),
        (POLICY.replace('source = "a test"\n', ""), "source is missing"),
        (POLICY.replace("a test", " "), "source is ' '"),
        ("speed = 3\n" + POLICY, "field 'speed' is unknown"),
    ],
)
def test_a_bad_policy(reader: str, text: str, words: str) -> None:
    sentence = refused(*READERS[reader], written(text))
    assert "mine.toml" in sentence
    assert words in sentence


RUNNER = """[[runner]]
name = "mine"
title = "M"
kind = "cores"
hardware = "altra"
software = "ampere"
source = "x"
"""


@pytest.mark.parametrize("command", [["run"], ["sweep", "--out", "out"]])
@pytest.mark.parametrize(
    ("text", "words"),
    [
        (RUNNER + RUNNER, "two runners have the name 'mine'"),
        (RUNNER.replace('"mine"', '"sail"'), "two runners have the name 'sail'"),
        (RUNNER.replace('source = "x"\n', ""), "source is missing"),
        (RUNNER + 'format = "iq9"\n', "format is 'iq9'; allowed is one of"),
        (RUNNER + "speed = 3\n", "speed is not a field of a runner"),
    ],
)
def test_a_bad_runner(command: list[str], text: str, words: str) -> None:
    sentence = refused(*command, "--beside", written(text))
    assert "mine.toml" in sentence
    assert words in sentence


def test_a_format_without_kernel_is_a_reason() -> None:
    told = CliRunner().invoke(main, ["run", "--model", "smollm2-135m", "--weights", "q8_0", "--notes"])
    assert told.exit_code == 0
    assert "v100-serving: format is q8_0, allowed with software 'serving'" in " ".join(told.stdout.split())
