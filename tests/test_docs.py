"""The documents: the index has every page, links and anchors lead somewhere, figures are shown."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from .by_path import tool

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.py"))
LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE = re.compile(r"^```.*?^```|`[^`\n]*`", re.DOTALL | re.MULTILINE)


def links(page: Path) -> list[str]:
    """The targets of a page's links and pictures, those of other sites left out."""
    found = LINK.findall(CODE.sub("", page.read_text("utf-8")))
    return [target for target in found if not re.match(r"[a-z]+:", target)]


def anchors(text: str) -> set[str]:
    """The anchors of a page's headlines, as GitHub makes them."""
    prose = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    found: set[str] = set()
    for line in re.findall(r"^#+ +(.*?) *$", prose, re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", line).lower()
        anchor = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        count = 1
        while (again := anchor if count == 1 else f"{anchor}-{count - 1}") in found:
            count += 1
        found.add(again)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_to_a_file_and_a_headline(page: Path) -> None:
    for target in links(page):
        name, _, anchor = target.partition("#")
        file = page.parent / name if name else page
        assert file.exists(), target
        if anchor and file.suffix == ".md":
            assert anchor in anchors(file.read_text("utf-8")), target


def test_the_index_has_every_page_once() -> None:
    indexed = [target for target in links(ROOT / "docs" / "index.md") if "/" not in target]
    pages = {page.name for page in PAGES if page.parent.name == "docs"} - {"index.md"}
    assert sorted(indexed) == sorted(pages)
    assert "docs/index.md" in links(ROOT / "README.md")


def test_every_figure_is_shown_on_a_page() -> None:
    shown = {Path(target).name for page in PAGES for target in links(page) if "figures/" in target}
    assert shown == {path.name for path in (ROOT / "docs" / "figures").iterdir()}


NAMED = re.compile(r"`([\w./-]+/[\w.-]+\.(?:py|cc|hh|h|toml|csv|jsonl))`")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_file_that_a_page_names_is_there(page: Path) -> None:
    """By its path from the checkout, from the page, or from a folder that pages leave out."""
    named = {name for name in NAMED.findall(page.read_text("utf-8")) if not name.startswith((".", "out/"))}
    places = (
        ROOT,
        page.parent,
        *(ROOT / below for below in ("analysis", "analysis/paper", "sim_ext", "workloads/kernels")),
    )
    assert [name for name in sorted(named) if not any((place / name).is_file() for place in places)] == []


def test_anchors_are_those_of_the_headlines() -> None:
    text = "# A title\n## `code`, and *more*\n```\n# no headline\n```\n## A title\n### A [link](x.md)\n"
    assert anchors(text) == {"a-title", "code-and-more", "a-title-1", "a-link"}


def test_the_menu_of_the_site_has_every_page_once() -> None:
    listed = [page for pages in tool("site_pages").menu().values() for page in pages]
    pages = {page.name for page in (ROOT / "docs").glob("*.md")}
    made = {"api.md", "documents.md", "contributing.md", "research.md", "changelog.md"}
    assert sorted(listed) == sorted(
        pages | made | {f"notebooks/{notebook.stem}.md" for notebook in NOTEBOOKS}
    )


def test_the_site_leads_to_every_version_the_last_first() -> None:
    page = tool("site_pages").versions(["0.9.0", "0.10.0"])
    assert re.findall('href="([^"]*)"', page) == ["0.10.0/index.html", "0.9.0/index.html"]


@pytest.mark.slow
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_run(notebook: Path, tmp_path: Path) -> None:
    if "distributed" in notebook.read_text("utf-8"):
        pytest.importorskip("distributed", reason="Dask is not installed")
    environment = os.environ | {"MPLBACKEND": "agg", "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, notebook], capture_output=True, text=True, check=False, env=environment, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout
