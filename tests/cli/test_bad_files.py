"""Every kind of file that a command reads: what is wrong is one sentence, exit status 2, nothing written."""

import os
from pathlib import Path

import numpy as np
import pytest

from ..refusals import quantity
from .commands import refused

READERS = {
    "system": ["run", "--system"],
    "substrate": ["run", "--substrate"],
    "policy": ["run", "--weights"],
    "runner": ["run", "--against"],
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


def written(text: str | bytes, name: str = "mine.toml") -> str:
    Path(name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return name


@pytest.mark.parametrize("reader", READERS)
def test_what_is_no_file_of_any_kind(reader: str) -> None:
    command = READERS[reader]
    Path("folder.toml").mkdir()
    assert "folder.toml" in refused(*command, "folder.toml")
    assert "missing.toml" in refused(*command, "missing.toml")
    for text in (b"", b"name = ["):
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


@pytest.mark.parametrize(
    ("reader", "line", "words"),
    [
        ("runner", f"tdp = {quantity(70, 'W', source=None)}", "tdp.source is missing"),
        ("runner", f"tdp = {quantity(0, 'W')}", "tdp is 0; allowed is a number above 0 in W"),
        ("system", f"memory.latency = {quantity(1e15, 'ns')}", "memory.latency is 1e+15; allowed is"),
        ("system", 'name = ""', "name is ''; allowed is a text that is not empty"),
        ("system", f"pim.t_prt = {quantity(-1, 'cycles')}", "pim.t_prt is -1; allowed is"),
        ("system", 'pim.nbw = "best"', "pim.nbw is 'best'; allowed is a number of weights, or 'auto'"),
    ],
)
def test_a_wrong_value_names_file_and_field(reader: str, line: str, words: str) -> None:
    """Others: tests/sim/machine/test_systems.py, test_substrate.py, tests/analysis/runs/test_runners.py."""
    base = {"runner": 'extends = "l4"\nname = "mine"', "system": 'extends = "sail-n1"'}[reader]
    sentence = refused(*READERS[reader], written(f"{base}\n{line}\n"))
    assert "mine.toml" in sentence
    assert words in sentence


@pytest.mark.parametrize("reader", ["policy", "sweep of a policy", "trace of a policy"])
@pytest.mark.parametrize(
    ("table", "words"),
    [
        ('"blk.*" = "9g32"', "mine.toml: tensors 'blk.*' is '9g32': wbits is 9"),
        ('"x.*" = "8g32"', "no tensor"),
    ],
)
def test_a_bad_policy(reader: str, table: str, words: str) -> None:
    """Others: tests/workloads/models/test_formats.py."""
    policy = f'name = "p"\nsource = "a test"\ndefault = "4g32"\n[tensors]\n{table}\n'
    assert words in refused(*READERS[reader], written(policy))
