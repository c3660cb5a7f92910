"""A hook of MkDocs: the menu, pages of the site that do not lie in docs/, and links to files of the checkout.

The menu is the list of docs/index.md. README and its neighbours become pages of the site. A file outside
docs/ that a page links to is copied into the site. The reference of the Python API is made from docstrings.
"""

from __future__ import annotations

import posixpath
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mkdocs.structure.files import Files

sys.path.insert(0, str(Path(__file__).parent))
from staged import ROOT, stage

PAGES = {
    "index.md": "README.md",
    "documents.md": "docs/index.md",
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
}
"""Pages of the site that have another place in the checkout."""
COPIES = "checkout"
"""Where files of the checkout lie in the site."""
LINK = re.compile(r"(\]\()([^)\s#]+)(#[^)\s]*)?(\))")


ENTRY = re.compile(r"## (.*)|\| \[[^]]*\]\(([^)]+)\)")
"""A group of the list of pages, or one of its pages."""


def on_config(config: Any) -> Any:
    """Sets the menu."""
    config["nav"] = [{group: pages} for group, pages in menu().items()]
    return config


def menu() -> dict[str, list[str]]:
    """The pages of the site by group: those of docs/index.md in its order, notebooks, and made pages."""
    group, groups = "Start", dict[str, list[str]]()
    for line in (ROOT / "docs" / "index.md").read_text("utf-8").splitlines():
        if found := ENTRY.match(line):
            group = found[1] or group
            path = _target("docs/index.md", found[2]) if found[2] else None
            if path is not None and (page := _in_the_site(path)) is not None:
                groups.setdefault(group, []).append(page)
    notebooks = sorted((ROOT / "docs" / "notebooks").glob("*.py"))
    return groups | {
        "Notebooks": [f"{path.stem}.md" for path in notebooks],
        "Reference": ["api.md", "documents.md", "changelog.md"],
    }


def on_files(files: Files, config: Any) -> Files:
    """Adds the pages and the files that pages link to."""
    from mkdocs.structure.files import File

    stage()
    files.remove(files.get_file_from_path("index.md"))
    for name, path in PAGES.items():
        files.append(File.generated(config, name, content=(ROOT / path).read_text("utf-8")))
    files.append(File.generated(config, "api.md", content=api()))
    for path in sorted((ROOT / "docs" / "notebooks").glob("*.py")):
        files.remove(files.get_file_from_path(f"notebooks/{path.name}"))
        files.append(File.generated(config, f"{path.stem}.md", content=notebook(path.read_text("utf-8"))))
    linked = set()
    for file in files.documentation_pages():
        place = _place(file.src_uri)
        for _, target, *_ in LINK.findall(file.content_string):
            path = _target(place, target)
            if path is not None and not _in_the_site(path):
                linked.add(path)
    for path in sorted(linked):
        files.append(File.generated(config, f"{COPIES}/{path}", abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Turns links between places of the checkout into links between places of the site."""
    place = _place(page.file.src_uri)
    here = posixpath.dirname(page.file.src_uri)

    def turned(found: re.Match[str]) -> str:
        path = _target(place, found[2])
        if path is None:
            return found[0]
        to = _in_the_site(path) or f"{COPIES}/{path}"
        return f"{found[1]}{posixpath.relpath(to, here or '.')}{found[3] or ''}{found[4]}"

    return LINK.sub(turned, markdown)


def api() -> str:
    """The reference of what `import sailsim` offers."""
    import sailsim

    lines = [
        "# Python API",
        "",
        "Made from the docstrings; [start.md](start.md) has examples of every name.",
        "",
    ]
    for name in sorted(sailsim.__all__, key=str.lower):
        offered = getattr(sailsim, name)
        lines += [f"::: {offered.__module__}.{offered.__qualname__}", ""]
    return "\n".join(lines)


def notebook(text: str) -> str:
    """A notebook in jupytext's percent format as a page: prose, and code to run."""
    parts = []
    for cell in re.split(r"^# %%", text, flags=re.MULTILINE)[1:]:
        kind, _, content = cell.partition("\n")
        if "markdown" in kind:
            parts.append(re.sub(r"^# ?", "", content.strip(), flags=re.MULTILINE))
        else:
            parts.append(f"```python\n{content.strip()}\n```")
    return "\n\n".join(parts) + "\n"


def _place(src_uri: str) -> str:
    """Where a page lies in the checkout."""
    return PAGES.get(src_uri, f"docs/{src_uri}")


def _in_the_site(path: str) -> str | None:
    """What a place of the checkout is called in the site, if it is one of its pages or lies in docs/."""
    for name, of in PAGES.items():
        if path == of:
            return name
    return path.removeprefix("docs/") if path.startswith("docs/") else None


def _target(place: str, target: str) -> str | None:
    """The file of the checkout that a link of a page leads to; None for another kind of link."""
    if re.match(r"[a-z]+:", target):
        return None
    path = posixpath.normpath(posixpath.join(posixpath.dirname(place), target))
    return path if (ROOT / path).is_file() else None
