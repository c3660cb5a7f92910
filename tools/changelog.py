"""Make a section of CHANGELOG.md of the fragments in changelog.d, and take the fragments away.

Usage: changelog.py VERSION DATE   (run in the root of the checkout; DATE as in 2026-11-26)

A fragment is a Markdown file of lines that begin with ``- ``, the name says nothing: changes that are made
side by side do not meet in one file.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

FRAGMENTS = "changelog.d"
CHANGELOG = "CHANGELOG.md"


def fragments(root: Path) -> list[Path]:
    """The files of changes that no release has yet, by name. Ends where one is no list."""
    found = sorted(path for path in (root / FRAGMENTS).glob("*.md") if path.name != "README.md")
    for path in found:
        if not path.read_text("utf-8").startswith("- "):
            raise SystemExit(f"{path} begins with something else; allowed are lines that begin with '- '.")
    return found


def released(text: str, version: str, date: str, changes: list[str]) -> str:
    """The changelog with a section more, above the others."""
    head, mark, rest = text.partition("\n## ")
    lines = "".join(f"{each.rstrip()}\n" for each in changes)
    return f"{head}\n## {version} ({date})\n{lines}{mark}{rest}"


def main(root: Path, version: str, date: str) -> None:
    """Write the section. Ends where there is nothing to release, or a version that is none."""
    if not re.fullmatch(r"\d+\.\d+\.\d+", version) or not re.fullmatch(r"\d{4}-\d\d-\d\d", date):
        raise SystemExit(f"version and date are {version} and {date}; allowed are such as 0.3.0 2027-01-31.")
    found = fragments(root)
    if not found:
        raise SystemExit(f"{FRAGMENTS} has no fragment; allowed is a release of at least one.")
    page = root / CHANGELOG
    changes = [path.read_text("utf-8") for path in found]
    page.write_text(released(page.read_text("utf-8"), version, date, changes), "utf-8")
    for path in found:
        path.unlink()


if __name__ == "__main__":
    main(Path.cwd(), *sys.argv[1:])
