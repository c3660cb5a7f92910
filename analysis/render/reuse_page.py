"""The tables of docs/reuse.md and its figures, made from the measurements of `reuse`."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

from sailsim.analysis.render.reuse_figures import FIGURES
from sailsim.analysis.render.reuse_tables import TABLES
from sailsim.analysis.render.style import style
from sailsim.analysis.reuse.measure import Reuse
from sailsim.analysis.reuse.patterns import UNIT, shares
from sailsim.base.atomic import write_whole
from sailsim.base.errors import SailsimError

PAGE = "reuse.md"

MARKS = ("<!-- reuse {}: written by sailsim reuse --docs -->", "<!-- end of reuse {} -->")


def filled(page: str, found: Reuse) -> str:
    """The page with every marked part written anew; all marks must be there (`check_docs`)."""
    for name, write in TABLES.items():
        begin, end = (mark.format(name) for mark in MARKS)
        before, _, rest = page.partition(begin)
        page = f"{before}{begin}\n{write(found)}\n{end}{rest.partition(end)[2]}"
    return page


def check_docs(folder: str | Path) -> Path:
    """The page in a docs folder.

    Raises SailsimError for a folder without the page, or a page without the marks of a part.
    """
    path = Path(folder) / PAGE
    if not path.is_file():
        raise SailsimError(f"docs is {folder}; allowed is a folder that holds {PAGE}.")
    page = path.read_text("utf-8")
    for name in TABLES:
        begin, end = (mark.format(name) for mark in MARKS)
        if end not in page.partition(begin)[2]:
            raise SailsimError(f"{path} has no part {name!r}; allowed is a page with '{begin}' and '{end}'.")
    return path


def part(page: str, name: str) -> str:
    """What stands between the marks of one part."""
    begin, end = (mark.format(name) for mark in MARKS)
    return page.partition(begin)[2].partition(end)[0].strip()


def summary(found: Reuse) -> str:
    """A few lines for a terminal."""
    captured = found.activations
    lines = [f"{captured.id}, {captured.tokens} tokens, PRT of {UNIT.prt.entries} entries, LRU"]
    whole = shares(found.unit(), ["batch", "nbw"])
    for row in whole.to_dict("records"):
        lines.append(
            f"batch {row['batch']:>2} NBW {row['nbw']}: zero {row['zero']:6.1%}  hits {row['hits']:6.1%}  "
            f"read {row['misses']:6.1%}"
        )
    near = found.nearest
    for title, reading in (
        ("nearest", near.nearest),
        ("nearest with a PRT", near.nearest_prt),
        ("plain sense", near.literal),
    ):
        lines.append(f"{title}: {reading.value:.2f} % against {near.claim:g} %: {reading.words}")
    return "\n".join([*lines, near.remark])


def write_figures(found: Reuse, folder: str | Path) -> list[Path]:
    """Draw every figure as PNG into a folder; returns the paths."""
    written = []
    for name, draw in FIGURES.items():
        buffer = BytesIO()
        with style():
            draw(found).savefig(buffer, format="png", metadata={"Software": None})
        written.append(Path(folder) / f"{name}.png")
        write_whole(written[-1], buffer.getvalue())
    return written


def write_docs(found: Reuse, folder: str | Path) -> list[Path]:
    """Renew the marked parts of `reuse.md` in a docs folder, and its figures; returns the paths.

    Raises SailsimError as `check_docs`.
    """
    path = check_docs(folder)
    page = filled(path.read_text("utf-8"), found)
    written = write_figures(found, Path(folder) / "figures")
    write_whole(path, page.encode())
    return [path, *written]
