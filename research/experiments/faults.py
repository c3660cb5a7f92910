"""What faults do to studies: they are stopped, their folders and files are harmed, and what they give is
compared with undisturbed ones. The table of docs/studies.md has what this finds.

Usage: faults.py FAULT [TIMES] [OUT]   (run in the root of the checkout, with its environment's Python)

FAULT is `kill:KIND` with the command of a study, or another name of `FAULTS`; OUT gets a line of JSON more
(default: standard output). A full disk and a read-only folder need root: they mount some hundred KiB.
`file_faults.py` stops studies at single operations on files.
"""

from __future__ import annotations

import json
import os
import random
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from sailsim.base.errors import SailsimError
from sailsim.sim.study.store import FILE, RESERVED, Store

SAILSIM = str(Path(sys.executable).parent / "sailsim")
GONE_S = 10.0
"""How long a process may live after the one that started it was stopped."""
STOPS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
KILLED = {status for number in STOPS for status in (-number, 128 + number)}
"""Exit statuses of a command that was stopped: negative ones by SIGKILL, or while it starts."""
FAKE_GEM5 = Path(__file__).parents[2] / "tests" / "fake_gem5.py"


class Study(NamedTuple):
    """A command, files that have to be the same to the byte, whether it takes `--jobs`, its exit status."""

    command: str
    files: tuple[str, ...] = ()
    in_parallel: bool = True
    status: int = 0


STUDIES = {
    "sweep": Study("sweep --model smollm2-135m --wbits 2:4 --batch 1:16"),
    "reproduce": Study("claims reproduce --samples 4", ("reproduction.json",)),
    "joint": Study("claims joint --samples 64 --prior sail", ("joint.json",)),
    "explore": Study(
        "explore --samples 60",
        ("trials.csv", "front.csv", "front/point-01.toml"),
    ),
    "quality": Study("quality --chunks 2 --length 16 --weights 4g32,3g32 --abits 6,8"),
    "gem5": Study("gem5 validate --gem5 GEM5 --tiles 6", in_parallel=False, status=1),
}
"""By kind. GEM5 is a program that answers as gem5 does, at once, with made-up phases (status 1)."""
TOLD = {*RESERVED, "host_s", "folder"} - {"key"}
"""Columns that tell when and where something was found and how long that took."""


class Counts(Counter[str]):
    """What was lost, doubled, different or left behind, and how often it was tried."""

    COLUMNS = ("tries", "lost", "doubled", "different", "left behind")


def rows(folder: Path) -> list[tuple[str, str]]:
    """Key and content of every record of the answer, without what tells when it was found."""
    return [
        (str(row["key"]), repr({name: value for name, value in row.items() if name not in TOLD}))
        for row in Store(folder).records()
    ]


def compare(found: list[tuple[str, str]], right: list[tuple[str, str]], counts: Counts) -> None:
    """Count what is not as it should be."""
    have, want = Counter(found), Counter(right)
    keys, wanted = Counter(key for key, _ in found), Counter(key for key, _ in right)
    counts["lost"] += sum((wanted - keys).values())
    counts["doubled"] += sum((keys - wanted).values())
    counts["different"] += max(sum((have - want).values()) - sum((keys - wanted).values()), 0)
    counts["different"] += have == want and found != right


def leftovers(folder: Path, session: int, counts: Counts) -> None:
    """Processes of a session that are still there after a while, and a manifest that says that one runs."""
    end = time.monotonic() + GONE_S
    while (_of_session(session) or _runs(folder)) and time.monotonic() < end:
        time.sleep(0.05)
    counts["left behind"] += len(_of_session(session)) + _runs(folder)


def _runs(folder: Path) -> bool:
    """Whether the manifest says that a study runs. A child of the one that was killed may hold its lock for
    an instant longer: until it has become the program that it was made for."""
    return Store(folder).manifest.get("state") == "running"


def halves(folder: Path, counts: Counts) -> None:
    """Files half written in a folder whose study has ended, and logs of its database."""
    for pattern in ("*.partial", f"{FILE}-*"):
        counts["left behind"] += sum(1 for path in folder.rglob(pattern))


def semaphores(processes: Iterable[int], counts: Counts) -> None:
    """Semaphores in shared memory that have the numbers of processes in their names."""
    for process in processes:
        counts["left behind"] += sum(1 for _ in Path("/dev/shm").glob(f"sem.*-{process}-*"))


def _of_session(session: int) -> list[int]:
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(words[3]) == session and words[0] != "Z":
            found.append(int(entry.name))
    return found


def start(kind: str, out: Path, jobs: str | int) -> subprocess.Popen[str]:
    """A study's command in a session of its own, with so many jobs, or those of a scheduler."""
    study = STUDIES[kind]
    words = [str(_fake_gem5(out.parent)) if word == "GEM5" else word for word in study.command.split()]
    if study.in_parallel:
        words += ["--jobs", str(jobs)]
    return begin(words, out)


def _fake_gem5(folder: Path) -> Path:
    """A program in a folder that runs tests/fake_gem5.py."""
    path = folder / "gem5.opt"
    if not path.exists():
        path.write_text(f'#!/bin/sh\nexec {shlex.join([sys.executable, "-S", str(FAKE_GEM5)])} "$@"\n')
        path.chmod(0o755)
    return path


def begin(words: list[str], out: Path) -> subprocess.Popen[str]:
    """A command of sailsim in a session of its own."""
    return subprocess.Popen(
        [SAILSIM, *words, "--out", str(out)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def undisturbed(kind: str, folder: Path) -> float:
    """Run a study to its end; returns the seconds that it took."""
    began = time.monotonic()
    process = start(kind, folder, 2)
    _, said = process.communicate()
    if process.returncode != STUDIES[kind].status:
        raise SystemExit(f"{kind} ended with {process.returncode}: {said}")
    return time.monotonic() - began


def kill(kind: str, times: int, work: Path, draw: random.Random) -> Counts:
    """SIGKILL, SIGTERM, SIGHUP or Ctrl-C at any moment, again and again until the study is through."""
    seconds = undisturbed(kind, work / "right")
    right, counts, at = rows(work / "right"), Counts(), 0
    while counts["tries"] < times:
        at += 1
        folder, through, stopped = work / f"out-{at}", False, []
        while not through:
            process = start(kind, folder, draw.choice((1, 2)))
            stopped.append(process.pid)
            try:
                process.wait(draw.uniform(0.3, max(2.0, 0.8 * seconds)))
                through = process.returncode == STUDIES[kind].status
            except subprocess.TimeoutExpired:
                counts["tries"] += 1
                number = draw.choice((signal.SIGKILL, *STOPS))
                os.kill(process.pid, number) if draw.random() < 0.5 else os.killpg(process.pid, number)
            _, said = process.communicate()
            if process.returncode not in (STUDIES[kind].status, *KILLED):
                raise SystemExit(f"{kind} ended with {process.returncode}: {said}")
            leftovers(folder, process.pid, counts)
        halves(folder, counts)
        semaphores(stopped, counts)
        compare(rows(folder), right, counts)
        for name in STUDIES[kind].files:
            counts["different"] += (folder / name).read_bytes() != (work / "right" / name).read_bytes()
        shutil.rmtree(folder)
    return counts


def workers(times: int, work: Path, draw: random.Random) -> Counts:
    """A worker process is killed, at any moment."""
    undisturbed("sweep", work / "right")
    right, counts = rows(work / "right"), Counts()
    while counts["tries"] < times:
        folder = work / f"out-{counts['tries']}"
        process = start("sweep", folder, 2)
        time.sleep(draw.uniform(1.0, 4.0))
        children = [pid for pid in _of_session(process.pid) if pid != process.pid]
        for pid in draw.sample(children, min(len(children), draw.choice((1, 2)))):
            os.kill(pid, signal.SIGKILL)
            counts["tries"] += 1
        process.communicate()
        leftovers(folder, process.pid, counts)
        compare(rows(folder), right, counts)
        shutil.rmtree(folder)
    return counts


def cluster(times: int, work: Path, draw: random.Random) -> Counts:
    """Of a scheduler with two workers over TCP, a worker is killed at any moment and another comes."""
    undisturbed("sweep", work / "right")
    right, counts, file = rows(work / "right"), Counts(), work / "scheduler.json"
    with _dask("scheduler", "--port", "0", "--scheduler-file", str(file), folder=work):
        while not file.exists() or "address" not in file.read_text():
            time.sleep(0.05)
        address = json.loads(file.read_text())["address"]

        def worker() -> AbstractContextManager[subprocess.Popen[bytes]]:
            return _dask("worker", address, "--nthreads", "1", "--no-nanny", folder=work)

        with ExitStack() as stack:
            alive = [stack.enter_context(worker()) for _ in range(2)]
            while counts["tries"] < times:
                folder = work / f"out-{counts['tries']}"
                process = start("sweep", folder, address)
                with suppress(subprocess.TimeoutExpired):
                    process.wait(draw.uniform(1.0, 5.0))
                    counts["too late"] += 1
                if process.returncode is None:
                    counts["tries"] += 1
                    alive.pop(draw.randrange(2)).kill()
                    time.sleep(draw.uniform(0.0, 1.0))
                    alive.append(stack.enter_context(worker()))
                _, said = process.communicate()
                if process.returncode:
                    raise SystemExit(f"sweep ended with {process.returncode}: {said}")
                leftovers(folder, process.pid, counts)
                compare(rows(folder), right, counts)
                shutil.rmtree(folder)
    return counts


@contextmanager
def _dask(part: str, *words: str, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A scheduler or worker of a cluster, which ends with the context."""
    module = [sys.executable, "-P", "-W", "ignore", "-m", f"distributed.cli.dask_{part}"]
    common = ["--host", "127.0.0.1", "--no-dashboard"]
    process = subprocess.Popen([*module, *words, *common], cwd=folder, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def edits(times: int, work: Path, draw: random.Random) -> Counts:
    """The machine's file is changed and changed back between sweeps, and the clock of the files with it."""
    counts, folder, file = Counts(), work / "out", work / "my.toml"
    machines = ("sail-n1", "sail-n1-nbw5", "sail-n1-free-hits")
    texts = {choice: f'extends = "{choice}"\nname = "my"\n' for choice in machines}
    words = ["sweep", "--system", str(file), "--model", "smollm2-135m", "--wbits", "2,4"]
    right = {}
    for choice, text in texts.items():
        file.write_text(text)
        begin(words, work / f"right-{choice}").communicate()
        right[choice] = rows(work / f"right-{choice}")
    assert len({tuple(answer) for answer in right.values()}) == len(right)
    for _ in range(times):
        choice = draw.choice(list(texts))
        file.write_text(texts[choice])
        moment = draw.uniform(0, time.time())
        os.utime(file, (moment, moment))
        begin(words, folder).communicate()
        compare(rows(folder), right[choice], counts)
        counts["tries"] += 1
    return counts


def flips(times: int, work: Path, draw: random.Random) -> Counts:
    """A bit of the folder's file is turned: reading has to refuse it or give the right answer."""
    undisturbed("sweep", work / "right")
    right, counts = rows(work / "right"), Counts()
    path = work / "right" / FILE
    for _ in range(times):
        content = bytearray(path.read_bytes())
        at = draw.randrange(8 * len(content))
        content[at // 8] ^= 1 << at % 8
        before = path.read_bytes()
        path.write_bytes(content)
        try:
            compare(rows(work / "right"), right, counts)
        except SailsimError:
            counts["noticed"] += 1
        path.write_bytes(before)
        counts["tries"] += 1
    return counts


def two_at_once(times: int, work: Path, draw: random.Random) -> Counts:
    """Two of one command on one folder: one is told so, and the answer is whole."""
    undisturbed("sweep", work / "right")
    right, counts = rows(work / "right"), Counts()
    for at in range(times):
        folder = work / f"out-{at}"
        first = start("sweep", folder, 1)
        time.sleep(draw.uniform(0.0, 0.5))
        second = start("sweep", folder, 2)
        said = [process.communicate()[1] for process in (first, second)]
        refused = sum("is in use by another study" in words for words in said)
        codes = sorted(process.returncode for process in (first, second))
        counts["different"] += (codes, refused) not in (([0, 2], 1), ([0, 0], 0))
        compare(rows(folder), right, counts)
        counts["tries"] += 1
        shutil.rmtree(folder)
    return counts


@contextmanager
def _mounted(folder: Path, size: int) -> Iterator[None]:
    folder.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def full_disk(times: int, work: Path, draw: random.Random) -> Counts:
    """The disk is full at some moment; then there is room again, and the same command goes on."""
    undisturbed("sweep", work / "right")
    right, counts, disk = rows(work / "right"), Counts(), work / "disk"
    need = sum(path.stat().st_size for path in (work / "right").rglob("*") if path.is_file())
    for _ in range(times):
        with _mounted(disk, 4096 * draw.randint(4, max(5, need // 4096))):
            process = start("sweep", disk / "out", 2)
            _, said = process.communicate()
            counts["different"] += "Traceback" in said or process.returncode not in (0, 2)
            counts["refused"] += process.returncode == 2
            subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
            start("sweep", disk / "out", 2).communicate()
            halves(disk, counts)
            compare(rows(disk / "out"), right, counts)
        counts["tries"] += 1
    return counts


def read_only(times: int, work: Path, draw: random.Random) -> Counts:
    """A study is stopped and its folder becomes read-only: it can be read, and not gone on with; later it is
    read-only no more."""
    undisturbed("sweep", work / "right")
    right, counts, disk = rows(work / "right"), Counts(), work / "disk"
    for _ in range(times):
        with _mounted(disk, 1 << 26):
            process = start("sweep", disk / "out", 2)
            with suppress(subprocess.TimeoutExpired):
                process.wait(draw.uniform(0.5, 4.0))
            if process.returncode is None:
                os.killpg(process.pid, draw.choice(STOPS))
            process.communicate()
            leftovers(disk / "out", process.pid, counts)
            subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
            process = start("sweep", disk / "out", 2)
            _, said = process.communicate()
            counts["different"] += "Traceback" in said or process.returncode != 2
            counts["refused"] += process.returncode == 2
            try:
                counts["different"] += len(Counter(rows(disk / "out")) - Counter(right))
            except SailsimError as error:
                counts["lost"] += "holds no results" not in str(error)
            subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
            start("sweep", disk / "out", 2).communicate()
            halves(disk, counts)
            compare(rows(disk / "out"), right, counts)
        counts["tries"] += 1
    return counts


FAULTS: dict[str, Callable[[int, Path, random.Random], Counts]] = {
    "workers": workers,
    "cluster": cluster,
    "edits": edits,
    "flips": flips,
    "two at once": two_at_once,
    "full disk": full_disk,
    "read-only": read_only,
}


def record(fault: str, times: int, out: str, of: Callable[[int, Path, random.Random], Counts]) -> None:
    """Do a fault some times, drawn by its name, and add a line to a file, or to the standard output ("-")."""
    with TemporaryDirectory() as work:
        counts = of(times, Path(work), random.Random(fault))
    line: dict[str, Any] = {"fault": fault} | {name: counts[name] for name in Counts.COLUMNS}
    line |= {name: counts[name] for name in counts if name not in line}
    text = json.dumps(line) + "\n"
    if out == "-":
        sys.stdout.write(text)
    else:
        with Path(out).open("a") as stream:
            stream.write(text)


def main(fault: str, times: int = 200, out: str = "-") -> None:
    """Do a fault by its name."""
    _, killed, kind = fault.partition("kill:")
    record(fault, times, out, partial(kill, kind) if killed else FAULTS[fault])


if __name__ == "__main__":
    main(sys.argv[1], *[int(word) for word in sys.argv[2:3]], *sys.argv[3:4])
