# SPDX-License-Identifier: BSD-3-Clause
"""Checkpoints that say what they are of, and are gone on from by nothing else.

gem5 takes any folder: a program of another name gets the memory of the one that was stopped, and a machine
with other cores, or a file that was cut off, waits for ever. So beside gem5's own files lies a note of what
was running, of how long these files are and of what is in the first of them.
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


def write(name, of):
    """A checkpoint of the simulation as it stands, in gem5's output directory; `of` is what runs, by names,
    JSON-able."""
    folder = Path(m5.options.outdir) / "checkpoints" / str(name)
    m5.checkpoint(str(folder))
    note = {"of": of, "files": _files(folder), STATE: digest(folder / STATE)}
    (folder / NOTE).write_text(json.dumps(note, indent=1) + "\n", encoding="utf-8")
    say(f"checkpoint at {m5.curTick()} ps in {folder}")


def instantiate(folder, of, until):
    """`m5.instantiate`, from the checkpoint in a folder where one is named.

    Ends gem5 with a sentence where the folder holds no whole checkpoint of what is to go on, or one behind
    the time `until`.
    """
    if folder:
        _require(Path(folder), of)
    m5.instantiate(folder)
    if until <= m5.curTick():
        give_up(f"--until is {until}ps, and the checkpoint is of {m5.curTick()} ps")


def _require(folder, of):
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
    for name in sorted(of | noted):
        if of.get(name) != noted.get(name):
            asked = f"what is to go on has {of.get(name)!r}"
            give_up(f"the checkpoint in {folder} is of {name} {noted.get(name)!r}; {asked}")
