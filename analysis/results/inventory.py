"""Which folders of studies there are, and what each holds."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from sailsim.base.errors import SailsimError
from sailsim.sim.study.collect import unasked_records
from sailsim.sim.study.folder import Store


def inventory(folders: Iterable[Path]) -> list[dict[str, Any]]:
    """A row for each study in some folders and below: folder, kind, state, points, finished_at, code_version,
    bytes (of all files in the folder that are the study's), unasked (records that are not part of the
    answer), reason (of a damaged one a sentence, else empty).

    What cannot be known of a damaged one is None. Raises
    SailsimError for a folder that is none, and where there is no study at all.
    """
    given = list(folders)
    for folder in given:
        if not folder.is_dir():
            raise SailsimError(f"{folder} is no folder; allowed is one with studies in it or below.")
    found = [_row(folder) for folder in dict.fromkeys(each for top in given for each in _studies(top))]
    if not found:
        named = ", ".join(map(str, given))
        raise SailsimError(f"{named} has no results, in it or below; allowed is the folder of a study.")
    return found


def _studies(top: Path) -> Iterator[Path]:
    """The folders of studies, in the order of their names; what lies in a study's folder is looked at too."""
    for name, below, files in os.walk(top):
        below.sort()
        if "manifest.json" in files and "chunks" in below:
            below.remove("chunks")
            yield Path(name)


def _row(folder: Path) -> dict[str, Any]:
    store = Store(folder)
    size = sum(
        path.stat().st_size for path in [*store.chunks(), *folder.glob("asked-*"), folder / "manifest.json"]
    )
    row = dict.fromkeys(("kind", "state", "points", "finished_at", "code_version"))
    unasked, reason = None, ""
    try:
        row |= {name: store.manifest.get(name) for name in row}
        unasked = unasked_records(store)
    except SailsimError as error:
        row["state"], reason = "damaged", str(error)
    return {"folder": str(folder), **row, "bytes": size, "unasked": unasked, "reason": reason}
