"""The summary of public measurements is made from a checkout, checked here on a tiny one."""

import json
import subprocess

import pytest

from calibration import held_out, held_out_check
from sailsim.base.errors import SailsimError

N1 = '{"field": "Model name:", "data": "Neoverse-N1"}'
LOG = "2025-04-19 18:00:05,001 - DEBUG - Downloaded model {} (1.0 MB) in 1.0 sec\n"


def run(model="llama-7b.Q4_K_M.gguf", pp=0, tg=0, threads=16, ngl=0, card="", rate=1.0, at="18:10:00"):
    return json.dumps(
        {
            "model_filename": f"/models/{model}",
            "gpu_info": card,
            "n_threads": threads,
            "n_gpu_layers": ngl,
            "n_prompt": pp,
            "n_gen": tg,
            "test_time": f"2025-04-19T{at}Z",
            "avg_ts": rate,
        }
    )


def machine(root, name, lines, described=N1, log=""):
    for part, text in (("llm/stdout", "\n".join(lines)), ("llm/stderr", log), ("lscpu/stdout", described)):
        file = root / "data" / name / part
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "sc"
    noise = ["warming up", run("SmolLM-135M.Q4_K_M.gguf", tg=128)]
    for name, rate in (("m6gd.4xlarge", 9.0), ("r6gd.4xlarge", 12.0), ("c6gd.4xlarge", 10.0)):
        machine(root, f"aws/{name}", [*noise, run(tg=128, rate=rate), run(tg=16, rate=rate)])
    machine(root, "azure/D4ps", [run(tg=16, threads=4, rate=3.0)])
    machine(root, "aws/c6g.4xlarge", [run(tg=128), run("phi-4-q4.gguf", pp=16, rate=7.0)])
    machine(root, "alicloud/ecs.g6r_B", [run(tg=128)])
    machine(root, "gcp/t2a-standard-2", [run(tg=128, threads=2)])
    machine(root, "gcp/c2", [run(tg=128)], described="Xeon")
    busy = [run(tg=128, threads=8, at="18:00:01"), run(pp=16, threads=8, at="18:00:01")]
    machine(root, "hcloud/cax41", busy, log=LOG.format("llama-7b.Q4_K_M.gguf"))
    card = {"ngl": 999, "card": "Tesla T4"}
    fits_own = [run(tg=128, **card), run(pp=16, rate=450.0, **card), run("phi-4-q4.gguf", tg=128, **card)]
    machine(root, "aws/g4dn.xlarge", fits_own, described="Xeon")
    machine(root, "aws/g4dn.2xlarge", [run(tg=128, rate=40.0, **card)], described="Xeon")
    machine(root, "aws/g4dn.4xlarge", [run(tg=128, ngl=20, card="Tesla T4")], described="Xeon")
    return root


def test_instances_of_one_chip_become_a_row_with_their_median(tree):
    rows = held_out.summarise(tree)
    got = {
        (r["machine"], r["model"], r["test"], r["n"], r["threads"], r["disturbed"]): (
            r["tok_s"],
            r["instances"],
        )
        for r in rows
    }
    assert got == {
        ("aws Graviton2", "llama-7b", "tg", "128", "16", "0"): ("10", "3"),
        ("aws Graviton2", "phi-4", "pp", "16", "16", "0"): ("7", "1"),  # another model on the fit's machine
        ("azure Altra", "llama-7b", "tg", "16", "4", "0"): ("3", "1"),  # 128 tokens took too long
        ("hetzner Altra", "llama-7b", "tg", "128", "8", "1"): (
            "1",
            "1",
        ),  # prompts during downloads: left out
        ("T4", "llama-7b", "tg", "128", "0", "0"): ("40", "1"),
        ("T4", "phi-4", "tg", "128", "0", "0"): ("1", "1"),
        ("T4 of the fit", "llama-7b", "pp", "16", "0", "0"): ("450", "1"),
    }
    three = next(r for r in rows if r["instances"] == "3")
    assert (three["lowest"], three["highest"]) == ("9", "12")
    assert tuple(three) == held_out.COLUMNS


def test_a_git_directory_gives_the_same_rows(tree, tmp_path):
    def git(*arguments):
        who = ("-c", "user.name=t", "-c", "user.email=t@t.invalid")
        subprocess.run(["git", *who, *arguments], check=True, capture_output=True, cwd=tree)

    git("init", "-q", "-b", "main")
    git("add", ".")
    git("commit", "-q", "-m", "data")
    git("clone", "-q", "--bare", ".", str(tmp_path / "bare"))
    assert held_out.summarise(tmp_path / "bare") == held_out.summarise(tree)
    assert "unknown" not in held_out.summarise(tree)[0]["source"]


def test_rows_of_amperes_fork_are_those_of_other_threads(tree, tmp_path):
    for name in held_out.FORK_FORMATS.values():
        file = tmp_path / "fork" / held_out.FORK_FILE.format(name)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(
            "n_proc,n_threads,batch_size,tg_throughput_tps\n1,80,1,47\n1,48,4,70.125\n2,48,4,90\n1,64,8,80\n"
        )
    added = held_out.summarise(tree, tmp_path / "fork")[-4:]
    assert [(r["format"], r["threads"], r["batch"], r["tok_s"]) for r in added] == [
        ("q4_k_4", "48", "4", "70.12"),
        ("q4_k_4", "64", "8", "80"),
        ("q8r16", "48", "4", "70.12"),
        ("q8r16", "64", "8", "80"),
    ]


def test_command_writes_what_the_check_reads(tree, tmp_path, capsys):
    out = tmp_path / "held_out.csv"
    held_out.main([str(tree), "--out", str(out)])
    assert capsys.readouterr().out == f"7 rows written to {out}\n"
    assert held_out_check.read_rows(out) == held_out.summarise(tree)


def test_what_is_missing_is_said(tree, tmp_path, monkeypatch):
    with pytest.raises(SailsimError, match="is no checkout"):
        held_out.summarise(tmp_path)
    (tmp_path / "empty" / "data").mkdir(parents=True)
    with pytest.raises(SailsimError, match=r"holds no llama-bench run.*allowed is SpareCores' data"):
        held_out.summarise(tmp_path / "empty")
    with pytest.raises(SailsimError, match=r"does not exist, allowed is the file that"):
        held_out.held_out_path(tmp_path / "nothing.csv")
    monkeypatch.delenv(held_out.VARIABLE, raising=False)
    assert held_out.held_out_path() is None
    monkeypatch.setenv(held_out.VARIABLE, str(tmp_path / "nothing.csv"))
    with pytest.raises(SailsimError, match="does not exist"):
        held_out.held_out_path()
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(SailsimError, match="has no machine"):
        held_out_check.read_rows(tmp_path / "other.csv")
