"""What faults did to studies: the table of docs/studies.md."""

from __future__ import annotations

import json
from importlib.resources import files

from sailsim.analysis.render.markdown import table

WORDS = {
    "kill:sweep": "`sweep` stopped at any moment: kill -9, SIGTERM, Ctrl-C, alone or with its workers",
    "kill:explore": "the same of `explore`, its files compared to the byte",
    "kill:reproduce": "the same of `reproduce`, its file compared to the byte",
    "kill:joint": "the same of `joint`, its files compared to the byte",
    "kill:reuse": "the same of `reuse`, its file compared to the byte",
    "kill:quality": "the same of `quality`",
    "kill:gem5": "the same of `gem5 sweep`, on a program that answers as gem5 does",
    "files:sweep": "`sweep` stopped, or the disk full, at any operation on a file; SIGHUP too",
    "files:explore": "the same of `explore`, its files compared to the byte",
    "files:reproduce": "the same of `reproduce`, its file compared to the byte",
    "files:joint": "the same of `joint`, its file compared to the byte",
    "files:quality": "the same of `quality`",
    "workers": "a worker process killed",
    "cluster": "a worker of a cluster killed, and another in its place",
    "edits": "the machine's file edited, edited back, its time set to any other",
    "flips": "a bit of a file of the folder turned",
    "two at once": "two of one command on one folder",
    "full disk": "the disk full at any moment, then with room again",
    "read-only": "the folder read-only from any moment on, then not any more",
}
"""Faults as tools/faults.py calls them, and in words."""
COUNTS = ("tries", "lost", "doubled", "different", "left behind")


def studies_parts() -> dict[str, str]:
    """The table by fault, from what tools/faults.py found."""
    text = files("sailsim.analysis").joinpath("data", "faults.jsonl").read_text("utf-8")
    lines = [json.loads(line) for line in text.splitlines()]
    by_fault = {line["fault"]: line for line in lines}
    rows = [
        (words, *(by_fault[name][count] for count in COUNTS))
        for name, words in WORDS.items()
        if name in by_fault
    ]
    return {"faults": table(("fault", *COUNTS), rows, "lrrrrr")}
