# SPDX-License-Identifier: BSD-3-Clause
"""Checkpoints with a note of their run, which only the same run can continue.

gem5 continues from any folder. Another program would get the memory of the stopped one, and a machine with
other cores, or a truncated file, would wait for ever. The note next to gem5's files therefore has the run,
the sizes of the files, and a digest of gem5's state.
"""

import hashlib
import json
from pathlib import Path

import m5
from preload import give_up, say

NOTE = "sailsim.json"
STATE = "m5.cpt"  # gem5's file of all objects' state


def digest(path):
    """SHA-256 of a file."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def _files(folder):
    files = (path for path in sorted(folder.iterdir()) if path.is_file() and path.name != NOTE)
    return {path.name: path.stat().st_size for path in files}


def write(name, run):
    """Write a checkpoint into gem5's output directory; `run` is a JSON-able mapping that identifies the
    run."""
    folder = Path(m5.options.outdir) / "checkpoints" / str(name)
    m5.checkpoint(str(folder))
    note = {"of": run, "files": _files(folder), STATE: digest(folder / STATE)}
    (folder / NOTE).write_text(json.dumps(note, indent=1) + "\n", encoding="utf-8")
    say(f"checkpoint at {m5.curTick()} ps in {folder}")


def instantiate(folder, run, until):
    """Call `m5.instantiate`, with the checkpoint in `folder` if one is given.

    Ends gem5 with a sentence if the folder has no whole checkpoint of the same run, or one after the time
    `until`.
    """
    if folder:
        _require(Path(folder), run)
    m5.instantiate(folder)
    if until <= m5.curTick():
        give_up(f"--until is {until}ps, and the checkpoint is of {m5.curTick()} ps")


def _require(folder, run):
    try:
        note = json.loads((folder / NOTE).read_text(encoding="utf-8"))
        whole = _files(folder) == note["files"] and digest(folder / STATE) == note[STATE]
        noted = dict(note["of"])
    except FileNotFoundError as error:
        give_up(f"{folder} is no checkpoint of sailsim gem5: it has no {Path(error.filename).name}")
    except (OSError, ValueError, KeyError, TypeError):
        give_up(f"the checkpoint in {folder} is damaged: {NOTE} cannot be read")
    if not whole:
        give_up(f"the checkpoint in {folder} is damaged: its files are not what {NOTE} says")
    for name in sorted(run | noted):
        if run.get(name) != noted.get(name):
            own = f"what is to go on has {run.get(name)!r}"
            give_up(f"the checkpoint in {folder} is of {name} {noted.get(name)!r}; {own}")
