"""`sailsim gem5` where something is wrong: each ends in one sentence, and loses nothing."""

import errno
import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sailsim.sim.study.store import Store

from .gem5_stand_in import Behave, elf, one_sentence, runs, sailsim


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        ("panic", ("stopped before the end (it went wrong)", "gem5.log")),
        ("killed", ("stopped before the end (ended by SIGKILL, perhaps for want of memory)",)),
        ("truncated", ("its statistics are not complete",)),
        ("full", ("no space left on the disk",)),
        ("hang", ("took longer than 0.5 s", "gem5.log")),
    ],
)
def test_a_run_that_ends_badly_is_one_sentence_and_stores_nothing(
    log: Path,
    trace: Path,
    tmp_path: Path,
    behave: Behave,
    monkeypatch: pytest.MonkeyPatch,
    behaviour: str,
    words: tuple[str, ...],
) -> None:
    behave(behaviour)
    monkeypatch.setenv("FAKE_GEM5_SEGMENTS", "/dev/shm")
    out = tmp_path / "gem5"
    # The one that hangs never ends by itself; the others have all the time that they need.
    limit = ("--timeout", 0.5) if behaviour == "hang" else ()
    sentence = one_sentence(sailsim("replay", trace, "--units", 1, "--out", out, *limit))
    for word in words:
        assert word in sentence
    assert not Store(out).keys()
    for pid in out.rglob("pid"):  # what took too long is ended
        with pytest.raises(ProcessLookupError):
            os.kill(int(pid.read_text()), 0)
        assert not Path(f"/dev/shm/sailsim-gem5-{pid.read_text()}").exists()
    behave("good")
    assert sailsim("replay", trace, "--units", 1, "--out", out).exit_code == 0


def test_a_wrong_result_is_stored_and_status_1(
    log: Path, trace: Path, tmp_path: Path, behave: Behave
) -> None:
    behave("wrong")
    result = sailsim("replay", trace, "--units", 2, "--out", tmp_path)
    assert (result.exit_code, result.stdout.split(",")[0]) == (1, "0 of 2 tiles as expected")


def test_another_binary_is_another_result(log: Path, trace: Path, tmp_path: Path, fake_gem5: Path) -> None:
    other = tmp_path / "other.opt"
    other.write_text(fake_gem5.read_text() + "\n")
    other.chmod(0o755)
    for binary in (fake_gem5, other, fake_gem5):
        result = sailsim("replay", trace, "--units", 1, "--out", tmp_path / "out", "--gem5", binary, "--json")
        assert result.exit_code == 0
    assert len(runs(log)) == 2


def test_what_cannot_be_run_is_one_sentence(tmp_path: Path) -> None:
    path = elf(tmp_path / "gem5.opt")
    path.chmod(0o755)
    sentence = one_sentence(sailsim("machine", "--check", "--gem5", path))
    assert "Exec format error" in sentence
    assert "EXTRAS" in sentence


@pytest.mark.parametrize(
    ("behaviour", "words"), [("no_module", "has no sailsim module"), ("silent", "does not answer as gem5")]
)
def test_a_gem5_without_the_module_is_one_sentence_before_any_work(
    log: Path, tmp_path: Path, behave: Behave, behaviour: str, words: str
) -> None:
    behave(behaviour)
    for command in (["machine", "--check"], ["validate", "--out", tmp_path / "out"]):
        sentence = one_sentence(sailsim(*command))
        assert words in sentence
        assert "EXTRAS" in sentence
    assert not (tmp_path / "out").exists()


REFUSED = [
    ("validate --system graviton2", "no enabled [pim] section"),
    ("validate --system aim-n1", "its accelerator has backend dram_pim"),
    ("validate --timeout 0", "--timeout"),
    ("validate --streams 65", "1<=x<=64"),
    ("validate --units 49", "1<=x<=48"),
    ("machine aim-n1", "backend dram_pim, which gem5 does not have"),
    ("replay HERE --timeline 0 --order step", "order is given with timeline"),
    ("run /no/such/program", "make kernels"),
    ("run --memory 2GB program", "memory is '2GB'; allowed is a whole number of MiB or GiB"),
    ("run --cpu o4 program", "cpu is 'o4'; allowed is atomic, timing, minor, o3, two of them as in atomic,"),
    ("run --simpoint-interval 5 program", "simpoint-interval is given with 1 o3 cores; allowed"),
    ("run --cpu atomic --cores 2 --checkpoint 5 program", "given with 2 atomic cores"),
    ("run --cpu atomic --checkpoint 5,5 program", "checkpoint is '5,5'; allowed are numbers"),
    ("run --cpu atomic --checkpoint 1 program", "checkpoint is '1'; allowed is numbers of instructions"),
    ("run --cpu atomic,o3 --simpoint-interval 5 p", "given with 1 atomic,o3 cores; allowed"),
    ("run --cpu atomic --simpoint-interval 5 --restore . p", "given with restore; allowed"),
    ("run --until 5 --cpu atomic,o3 p", "until is 5 with cpu atomic,o3; allowed is"),
    ("run --restore . p", "no checkpoint of sailsim gem5: it has no m5.cpt"),
    ("run --units 0 --capacity-mode p", "capacity-mode is given with units 0; allowed"),
    ("replay HERE --checkpoint there", "checkpoint is 'there'; allowed is numbers of simulated ps"),
    ("replay HERE --until 5", "until is '5'; allowed is a number of simulated ps such as 5000ps"),
    (f"replay HERE --until {2**63}ps", "until is '9223372036854775808ps'; allowed"),
    ("replay HERE --checkpoint 5 --until 5ps", "checkpoint is 5 and until 5ps; allowed is a checkpoint"),
    ("replay HERE --streams 0:3", "streams is '0:3'; allowed is 1..64"),
    ("replay HERE --streams 1:nan", "streams is '1:nan'; allowed is 1..64, and after a colon"),
    ("replay HERE --streams 1:0.0", "streams is '1:0.0'; allowed is 1..64, and after a colon"),
    ("decode --model m --steps 0", "'--steps': 0 is not in the range"),
    ("decode --model m --nbw 7", "'--nbw': 7 is not in the range"),
]


@pytest.mark.parametrize(("words", "sentence"), REFUSED, ids=[each[0][:40] for each in REFUSED])
def test_bad_words_are_one_sentence(log: Path, tmp_path: Path, words: str, sentence: str) -> None:
    command, *rest = (__file__ if word == "HERE" else word for word in words.split())
    assert sentence in one_sentence(sailsim(command, "--out", tmp_path / "out", *rest))
    assert not runs(log)


def test_a_program_of_another_machine_is_one_sentence(log: Path, tmp_path: Path) -> None:
    out = ("--out", tmp_path / "out", "--")
    for program, why in (
        (elf(tmp_path / "x86", 62), "whose ELF machine is 62 and not 183"),
        (elf(tmp_path / "arm32", 40, 32), "whose ELF machine is 40 and not 183"),
        (Path(__file__), "which is no ELF file"),
    ):
        said = one_sentence(sailsim("run", *out, program))
        assert said == f"Error: program is {program}, {why}; allowed is one for AArch64."
    assert not runs(log)


def test_a_full_disk_is_one_sentence(
    log: Path, trace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Path, *_: object, **__: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", full)
        sentence = one_sentence(sailsim("replay", trace, "--units", 1, "--out", tmp_path / "out"))
    assert "cannot be written: No space left on device" in sentence


@pytest.mark.slow
def test_a_folder_whose_gem5_still_runs_is_left_alone(
    log: Path, trace: Path, tmp_path: Path, fake_gem5: Path, wait_until
) -> None:
    """sailsim killed in the middle leaves a gem5 behind, which the same command does not join."""
    command = [sys.executable, "-m", "sailsim", "gem5", "replay", str(trace), "--units", "1"]
    command += ["--out", str(tmp_path / "out")]
    killed = subprocess.Popen(command, env=os.environ | {"FAKE_GEM5": "hang"}, stderr=subprocess.DEVNULL)

    def pid() -> str:
        return "".join(path.read_text() for path in (tmp_path / "out").rglob("pid"))

    wait_until(killed, pid)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    orphan = int(pid())
    try:
        sentence = one_sentence(sailsim("replay", trace, "--units", 1, "--out", tmp_path / "out"))
        assert "is in use by a gem5 that still runs" in sentence
    finally:
        os.kill(orphan, signal.SIGKILL)
    with (next((tmp_path / "out").rglob("pid")).parent / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # what the killed one held: free as soon as it is gone
    assert sailsim("replay", trace, "--units", 1, "--out", tmp_path / "out").exit_code == 0


def test_a_part_that_fails_leaves_the_others(log: Path, tmp_path: Path, behave: Behave) -> None:
    words = ("validate", "--tiles", 2, "--units", 1, "--out", tmp_path / "gem5")
    sailsim(*words, "--streams", 1)
    assert len(runs(log)) == 5
    behave("panic")
    assert "gem5 stopped before the end (it went wrong)" in one_sentence(sailsim(*words, "--streams", 2))
    behave("refused")
    assert "was refused with status 4" in one_sentence(sailsim(*words, "--streams", 2))
    behave("good")
    sailsim(*words, "--streams", 2)
    assert len(runs(log)) == 5 + 2 + 2


def test_a_gem5_without_tracing_draws_no_timeline(
    log: Path, trace: Path, tmp_path: Path, behave: Behave
) -> None:
    behave("untraced")
    why = one_sentence(sailsim("replay", trace, "--timeline", 0, "--out", tmp_path / "out"))
    assert "allowed for a timeline is one with it, such as gem5.opt." in why
    assert not list(tmp_path.rglob("*.trace"))
