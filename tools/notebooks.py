"""Execute the notebooks of docs/notebooks, which are text, and write them with their outputs.

Usage: notebooks.py OUT [NAME...]; the site has them as pages, and its gallery their last plots.
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from os import cpu_count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import jupytext
import nbformat
from nbclient import NotebookClient
from nbconvert import MarkdownExporter

TEXTS = Path(__file__).parents[1] / "docs" / "notebooks"
NAMES = (
    "first_run", "own_model", "own_machine", "own_array", "own_accelerator", "prices", "widths", "attention",
    "cluster", "into_gem5",
)  # fmt: skip
"""In the order in which they are read."""


class Executed(NamedTuple):
    """A notebook with its outputs."""

    name: str
    title: str
    notebook: Any
    page: str
    """As Markdown, with links to the pictures."""
    pictures: dict[str, bytes]
    """By their file names, in order."""


def executed(name: str) -> Executed:
    """One of `NAMES`, run in a folder of its own; raises nbclient's CellExecutionError where a cell does."""
    notebook = jupytext.read(TEXTS / f"{name}.py")
    with TemporaryDirectory() as folder:
        where, patience = {"metadata": {"path": folder}}, {"timeout": 600, "startup_timeout": 600}
        NotebookClient(
            notebook,
            kernel_name="python3",
            resources=where,
            extra_arguments=["--log-level=ERROR"],
            **patience,
        ).execute()
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if _says(output)]
    page, found = MarkdownExporter().from_notebook_node(notebook, {"unique_key": name})
    page = page.replace('class="dataframe"', "")  # a table as all others of the site
    title = page.partition("\n")[0].lstrip("# ")
    return Executed(name, title, notebook, page, dict(sorted(found["outputs"].items())))


def _says(output: Any) -> bool:
    """Not how far a sweep was, and not what a plot's function gave back."""
    data = output.get("data", {"image/png": ""})
    return output.get("name") != "stderr" and (len(data) > 1 or "<" not in data.get("text/plain", "")[:2])


def all_executed(names: tuple[str, ...] = NAMES) -> list[Executed]:
    """Several, side by side."""
    with ThreadPoolExecutor(cpu_count()) as pool:
        return list(pool.map(executed, names))


if __name__ == "__main__":
    out = Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    for each in all_executed(tuple(sys.argv[2:]) or NAMES):
        nbformat.write(each.notebook, out / f"{each.name}.ipynb")
        print(out / f"{each.name}.ipynb")
