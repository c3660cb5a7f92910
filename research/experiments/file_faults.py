"""What happens to a study at its n-th file operation: it is stopped there, or the disk is full from there on.

`file_faults.c` counts and interferes, preloaded into one process which has loaded all commands of sailsim and
keeps what tasks give. Each command runs in a child of that process, so that hundreds take minutes: what they
evaluate is no matter here, what they do to files is. `faults.py` has the rest.

Usage: file_faults.py KIND [TIMES] [OUT], as of `faults.py`, with the name of a study in `STUDIES`.
"""

from __future__ import annotations

import json
import os
import pickle
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, NamedTuple, NoReturn, TextIO

from faults import Counts, compare, halves, leftovers, record, rows, semaphores

from sailsim.base.errors import SailsimError
from sailsim.cli import main
from sailsim.sim.study import open_study as running
from sailsim.sim.study.open_study import Evaluate, TaskOutcome, evaluate_all
from sailsim.sim.study.store import Store

HERE = Path(__file__).parent
SERVE = "serve"
"""The first word of the process that runs commands."""
FULL = 0
"""Instead of a signal: the disk is full."""
STOPS = (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT, FULL)
ENDS = {signal.SIGKILL: -signal.SIGKILL, FULL: 2}
"""Exit statuses; of the other signals 128 and the number."""


class Study(NamedTuple):
    """A command, another one that its folder may hold, and files that are the same each time."""

    command: str
    earlier: str = ""
    files: tuple[str, ...] = ()


STUDIES = {
    "sweep": Study(
        "sweep --model smollm2-135m --wbits 2:4 --batch 1:8", "sweep --model smollm2-135m --wbits 2,8"
    ),
    "explore": Study(
        "explore --samples 12",
        "explore --samples 6 --seed 1",
        ("trials.csv", "front.csv"),
    ),
    "reproduce": Study("claims reproduce --samples 4", files=("reproduction.json",)),
    "joint": Study("claims joint --samples 64 --prior sail", files=("joint.json",)),
    "quality": Study("quality --chunks 2 --length 16 --weights 4g32,3g32 --abits 8"),
}


class Ended(NamedTuple):
    """A command that has ended."""

    process: int
    status: int
    out: str
    err: str
    operations: list[str]
    """Operations on files, and "fault" where it happened."""


class Commands:
    """A process that runs commands of sailsim in children of its own."""

    def __init__(self, kind: str, work: Path) -> None:
        self.work = work
        library = work / "file_faults.so"
        subprocess.run(
            ["cc", "-O1", "-shared", "-fPIC", "-o", str(library), str(HERE / "file_faults.c"), "-ldl"],
            check=True,
        )
        self.server = subprocess.Popen(
            [sys.executable, __file__, SERVE, kind, str(work)],
            env=os.environ | {"LD_PRELOAD": str(library)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, *words: str, below: Path | None = None, at: int = 0, do: int = 0, to: str = "") -> Ended:
        """Run a command to its end; at an operation below a folder something happens."""
        (self.work / "log").write_text("")
        fault = {"BELOW": str(below or ""), "AT": str(at), "DO": str(int(do)), "TO": to}
        fault["LOG"] = str(self.work / "log")
        request = {"words": words, "environment": {f"FAULT_{name}": value for name, value in fault.items()}}
        assert self.server.stdin is not None
        assert self.server.stdout is not None
        self.server.stdin.write(json.dumps(request) + "\n")
        self.server.stdin.flush()
        process, status = json.loads(self.server.stdout.readline())
        out, err, log = ((self.work / name).read_text() for name in ("out", "err", "log"))
        return Ended(process, status, out, err, log.splitlines())


@contextmanager
def commands(kind: str, work: Path) -> Iterator[Commands]:
    """For a study, which has run undisturbed into `work`; ends with the context."""
    started = Commands(kind, work)
    try:
        started.run("--version")  # it answers when the undisturbed studies are there
        yield started
    finally:
        started.server.kill()
        started.server.wait()


def serve(study: Study, work: Path, answers: TextIO) -> None:
    """Run a study undisturbed, then what is asked for, and tell number and exit status."""
    running.evaluate_all = Kept()
    for name, command in (("right", study.command), ("earlier", study.earlier)):
        if command:
            main([*command.split(), "--jobs", "1", "--out", str(work / name)], standalone_mode=False)
    for line in sys.stdin:
        request = json.loads(line)
        process = os.fork()
        if process == 0:
            _command(work, **request)
        status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        print(json.dumps([process, status]), file=answers, flush=True)


class Kept:
    """`evaluate_all`, but each task is evaluated once; for another process it is no more than that."""

    def __init__(self) -> None:
        self.found: dict[bytes, bytes] = {}

    def __call__(self, chunk: tuple[Evaluate, Sequence[Any]]) -> list[TaskOutcome]:
        """As `evaluate_all`."""
        evaluate, given = chunk
        return [self._outcome(evaluate, what) for what in given]

    def _outcome(self, evaluate: Evaluate, what: Any) -> TaskOutcome:
        key = pickle.dumps((evaluate, what))
        if key not in self.found:
            self.found[key] = pickle.dumps(evaluate_all((evaluate, [what]))[0])
        outcome: TaskOutcome = pickle.loads(self.found[key])
        return outcome

    def __reduce__(self) -> tuple[Any, ...]:
        return resolve_name, (f"{evaluate_all.__module__}:{evaluate_all.__name__}",)


def _command(work: Path, words: list[str], environment: dict[str, str]) -> NoReturn:
    """Become a command in a session of its own, which hears signals that a background command ignores."""
    os.setsid()
    for name, descriptor in (("out", 1), ("err", 2)):
        file = os.open(work / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(file, descriptor)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.update(environment)
    sys.argv = ["sailsim", *words]
    main(words)
    sys.exit()


def kinds_of_files(folder: Path) -> set[str]:
    """Names of files."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def stored(folder: Path) -> int:
    """How many records a folder holds, asked for or not."""
    store = Store(folder)
    try:
        return sum(map(len, store.records_of([*store.keys()])))
    except SailsimError:
        return 0


class Start(NamedTuple):
    """A folder as a study finds it, what it holds, and how many operations the study takes there."""

    folder: Path | None
    records: int
    operations: int


def operations(kind: str, times: int, work: Path, draw: random.Random) -> Counts:
    """Stop a study, or fill the disk, at any operation on its files; the same command then goes on."""
    study, counts, out = STUDIES[kind], Counts(), work / "below" / "out"
    words = [*study.command.split(), "--out", str(out)]
    with commands(kind, work) as run:
        starts = []
        for folder in (None, *(work / name for name in ("right", "earlier") if (work / name).exists())):
            _prepare(out, folder)
            records = stored(out) if folder else 0
            ended = run.run(*words, "--jobs", "1", below=out.parent)
            starts.append(Start(folder, records, len(ended.operations)))
        right, names = rows(work / "right"), kinds_of_files(work / "right")
        while counts["tries"] < times:
            start = draw.choice(starts)
            at, do = draw.randint(1, start.operations), draw.choice(STOPS)
            to = draw.choice(("process", "group"))
            jobs = draw.choice((*[1] * 9, 2)) if kind == "sweep" else 1  # new processes take their time
            _prepare(out, start.folder)
            ended = run.run(*words, "--jobs", str(jobs), below=out.parent, at=at, do=do, to=to)
            if not any(line.startswith("fault ") for line in ended.operations):
                continue  # it had fewer operations this time: transactions depend on the speed
            found = Counts({"tries": 1, signal.Signals(do).name if do else "full disk": 1})
            _judge(run, out, ended, do, start.records, right, found)
            again = run.run(*words, "--jobs", "1")
            leftovers(out, ended.process, found)
            halves(out, found)
            semaphores((ended.process,), found)
            if again.status:
                found["different"] += 1
            else:
                compare(rows(out), right, found)
                found["left behind"] += len(kinds_of_files(out) ^ names)
                for name in study.files:
                    found["different"] += (out / name).read_bytes() != (work / "right" / name).read_bytes()
            if sum(found[name] for name in Counts.COLUMNS) > 1:
                what = (start, jobs, at, do, to, dict(found), ended.status, ended.err, ended.operations[-5:])
                print(*what, again.status, again.err, sep="\n", file=sys.stderr)
            counts.update(found)
    return counts


def _prepare(out: Path, folder: Path | None) -> None:
    shutil.rmtree(out, ignore_errors=True)
    out.parent.mkdir(exist_ok=True)
    if folder is not None:
        shutil.copytree(folder, out)


def _judge(
    run: Commands,
    folder: Path,
    ended: Ended,
    do: int,
    before: int,
    right: list[tuple[str, str]],
    counts: Counts,
) -> None:
    """How the study ended, and whether the folder still tells what it holds."""
    late = do == FULL and ended.status == 0 and rows(folder) == right  # full when all was stored
    as_told = ended.status == ENDS.get(do, 128 + do) or late
    counts["different"] += not as_told or "Traceback" in ended.err
    shown = run.run("results", "show", str(folder))
    told = shown.status == 0 or (before == 0 and "holds no results" in shown.err) or not folder.exists()
    counts["lost"] += not told
    if before:
        counts["lost"] += max(0, before - stored(folder))


if __name__ == "__main__":
    word, *others = sys.argv[1:]
    if word == SERVE:
        answers = os.fdopen(os.dup(1), "w")
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what the undisturbed studies print
        serve(STUDIES[others[0]], Path(others[1]), answers)
    else:
        times = int(others[0]) if others else 200
        record(f"files:{word}", times, "".join(others[1:2]) or "-", partial(operations, word))
