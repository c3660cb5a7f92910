"""Which folders of studies there are, and what each holds."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from sailsim.base.errors import SailsimError
from sailsim.sim.study.folder import FILE, Store


def inventory(folders: Iterable[Path]) -> list[dict[str, Any]]:
    """A row for each study in some folders and below: folder, kind, state, points, finished_at, code_version,
    bytes (of all files in the folder that are the study's), unasked (records that are not part of the
    answer), refused (questions without a result, and why), reason (of a damaged one a sentence, else empty).

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
        if FILE in files:
            yield Path(name)


def _row(folder: Path) -> dict[str, Any]:
    store = Store(folder)
    row: dict[str, Any] = dict.fromkeys(("kind", "state", "points", "finished_at", "code_version"))
    refused: dict[str, str] = {}
    unasked, reason = None, ""
    try:
        manifest = store.manifest
        row |= {name: manifest.get(name) for name in row}
        refused = manifest.get("refused", {}) | manifest.get("failed", {})
        unasked, _ = store.drop_unasked(dry_run=True) if manifest else (0, 0)
    except SailsimError as error:
        row["state"], reason = "damaged", str(error)
    size = sum(path.stat().st_size for path in folder.glob(f"{FILE}*"))
    return {
        "folder": str(folder),
        **row,
        "bytes": size,
        "unasked": unasked,
        "refused": refused,
        "reason": reason,
    }
