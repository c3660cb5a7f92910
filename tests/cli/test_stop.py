"""Ctrl-C, SIGTERM, SIGHUP: one sentence, finished points are kept, and the command that goes on is said."""

import fcntl
import os
import shlex
import signal
import subprocess
import sys
import termios
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from sailsim.sim.study.store import Store


@pytest.mark.slow
@pytest.mark.usefixtures("hears_hang_up")
@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_stopped_sweep_says_how_to_go_on(
    tmp_path: Path, wait_until: Callable[..., None], number: int, status: int
) -> None:
    out = tmp_path / "out"
    words = ["sweep", "--model", "smollm2-135m", "--batch", "1:4000", "--jobs", "2", "--out", str(out)]
    command = [str(Path(sys.executable).parent / "sailsim"), *words]
    elsewhere = os.environ | {"PATH": os.defpath}  # the command is named as it was called
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, start_new_session=True, env=elsewhere
    )
    try:
        wait_until(process, lambda: bool(Store(out).keys()))
        os.killpg(process.pid, number)  # as a terminal does: to the workers too
        os.killpg(process.pid, number)  # and once more
        _, said = process.communicate()
    finally:
        process.kill()
    assert process.returncode == status
    last = said.splitlines()[-1]
    assert last.startswith("Stopped. ")
    assert f"of 4000 points are stored in {out}; `{shlex.join(command)}` goes on from there." in last
    assert "Traceback" not in said
    assert Store(out).manifest["state"] == "stopped"
    assert 0 < len(Store(out).frame()["point_key"].unique()) < 4000


@pytest.mark.slow
@pytest.mark.usefixtures("hears_hang_up")
def test_a_sweep_whose_terminal_is_gone_stops_too(tmp_path: Path, wait_until: Callable[..., None]) -> None:
    out = tmp_path / "out"
    words = ["sweep", "--model", "smollm2-135m", "--batch", "1:4000", "--jobs", "1", "--out", str(out)]
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        [str(Path(sys.executable).parent / "sailsim"), *words],
        stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )  # fmt: skip
    os.close(theirs)
    with suppress(OSError):  # it has ended
        wait_until(process, lambda: bool(os.read(ours, 1 << 16)) and bool(Store(out).keys()))
    os.close(ours)
    assert process.wait() == 129
    assert Store(out).manifest["state"] == "stopped"
    assert not list(out.rglob("*.partial"))
