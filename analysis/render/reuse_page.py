"""The tables of docs/reuse.md and its figures, made from the measurements of `reuse`."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from sailsim.analysis.render.marks import MarkError, filled, parts
from sailsim.analysis.render.reuse_figures import FIGURES
from sailsim.analysis.render.reuse_tables import TABLES, compact
from sailsim.analysis.render.style import save, style
from sailsim.analysis.reuse.measure import Reuse, inputs_digest, measure
from sailsim.analysis.reuse.patterns import UNIT, shares
from sailsim.base.atomic import write_whole
from sailsim.base.errors import SailsimError
from sailsim.workloads import Activations

PAGE = "reuse.md"


def measured_parts(out: Path) -> dict[str, str]:
    """The parts that rest on the capture of a folder of results; what that keeps is not measured again.

    Raises SailsimError for a folder without `activations.npz`.
    """
    found = _measured(out)
    return {name: write(found) for name, write in TABLES.items()}


def shipped_parts() -> dict[str, str]:
    """The part that rests on the compact capture, which ships."""
    return {"compact": compact()}


def stamp() -> str:
    """What the page holds where it was made from the present inputs."""
    return f"Inputs `{inputs_digest()}`"


def draw_measured(figures: Path, out: Path) -> list[Path]:
    """Draw the page's figures from what `measured_parts` measures; returns the paths."""
    return write_figures(_measured(out), figures)


@lru_cache(maxsize=1)
def _measured(out: Path) -> Reuse:
    return measure(Activations.load(out / "activations.npz"), out / "reuse", progress=True)


def _texts(found: Reuse) -> dict[str, str]:
    """Every part of the page by the name in its marks."""
    texts = {f"reuse/{name}": write(found) for name, write in TABLES.items()}
    return texts | {f"reuse-shipped/{name}": text for name, text in shipped_parts().items()}


def check_docs(folder: str | Path) -> Path:
    """The page in a docs folder.

    Raises SailsimError for a folder without the page, or a page without the marks of a part.
    """
    path = Path(folder) / PAGE
    if not path.is_file():
        raise SailsimError(f"docs is {folder}; allowed is a folder that holds {PAGE}.")
    try:
        missing = {f"reuse/{name}" for name in TABLES} - set(parts(path.read_text("utf-8")))
    except MarkError as error:
        raise SailsimError(f"{path}: {error}; allowed is every part once, between its marks.") from error
    if missing:
        raise SailsimError(f"{path} has no part {min(missing)!r}; allowed is a page with the marks of all.")
    return path


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
        with style():
            figure = draw(found)
        written += save(figure, Path(folder) / f"{name}.png")
    return written


def write_docs(found: Reuse, folder: str | Path) -> list[Path]:
    """Renew the marked parts of `reuse.md` in a docs folder, and its figures; returns the paths.

    Raises SailsimError as `check_docs`.
    """
    path = check_docs(folder)
    page = filled(path.read_text("utf-8"), _texts(found))
    written = write_figures(found, Path(folder) / "figures")
    write_whole(path, page.encode())
    return [path, *written]
