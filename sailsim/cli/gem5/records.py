"""What a run on gem5 leaves: its folder, its origin, and how progress is told."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from rich.text import Text

from sailsim.base.errors import SailsimError, escaped
from sailsim.base.input_file import sha256_of
from sailsim.base.screen import screen
from sailsim.sim.gem5.binary import Gem5
from sailsim.sim.gem5.outcome import Gem5Run
from sailsim.sim.study.origin import commit

CHECKPOINT_FILES = ("m5.cpt", "sailsim.json")
"""Of gem5-configs/checkpoints.py: gem5's state of all objects, and the note of what they are of."""


def provenance_of(simulator: Gem5, build: str, options: str) -> dict[str, str]:
    """What a committed measurement says about its origin."""
    code = commit()
    named = "no checkout" if code is None else code["id"][:12] + (" with changes" if code["changed"] else "")
    return {
        "commit": named,
        "date": datetime.now(UTC).date().isoformat(),
        "gem5_sha256": simulator.digest[:16],
        "build": build or "not stated",
        "options": options,
    }


@contextmanager
def telling() -> Iterator[Callable[[str], None]]:
    """Says on standard error what is under way: in one changing line on a terminal, else line by line."""
    console = screen(stderr=True)
    if console.is_terminal:
        with console.status("gem5") as status:
            yield lambda text: status.update(Text(escaped(f"gem5: {text}")))
    else:
        yield lambda text: print(escaped(f"gem5: {text}"), file=sys.stderr, flush=True)


def seen_by(tell: Callable[[str], None]) -> Callable[[Any], None]:
    """Tells of a measured row."""
    return lambda row: tell(", ".join(f"{name} {value}" for name, value in row.items() if value is not None))


def record_of(done: Gem5Run) -> dict[str, Any]:
    """What is stored of a run: how it ended, and its totals."""
    ended = {"status": done.status, "ticks": done.ticks, "host_s": done.host_s, "folder": str(done.folder)}
    return ended | done.totals()


def digest_of(path: str) -> str:
    """SHA-256 of a file. Raises SailsimError where it cannot be read."""
    return sha256_of(Path(path), "file")


def restored(checkpoint: Path | None) -> dict[str, list[str]]:
    """What a result says of the checkpoint that it went on from: what is in it, not where it lies.

    Raises SailsimError where the folder holds none of `sailsim gem5`.
    """
    if checkpoint is None:
        return {}
    for name in CHECKPOINT_FILES:
        if not (checkpoint / name).is_file():
            raise SailsimError(
                f"restore is {checkpoint}, which is no checkpoint of sailsim gem5: it has no {name}."
            )
    return {"restored": [digest_of(str(checkpoint / name)) for name in CHECKPOINT_FILES]}


def folder_of(out: Path, point: dict[str, Any]) -> Path:
    """The folder of one run among the results."""
    name = sha256(json.dumps(point, sort_keys=True).encode()).hexdigest()[:12]
    return (out / f"{point['command']}-{name}").resolve()
