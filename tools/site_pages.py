"""A hook of MkDocs: the menu, pages of the site that do not lie in docs/, and links to files of the checkout.

The menu is the list of docs/index.md. README and its neighbours become pages of the site. A file outside
docs/ that a page links to is copied into the site. The reference of the Python API is made from docstrings.
Notebooks are executed. A version has a folder of its own, and those of other versions stay.
"""

from __future__ import annotations

import posixpath
import re
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mkdocs.structure.files import Files

ROOT = Path(__file__).resolve().parents[1]
PAGES = {
    "index.md": "README.md",
    "documents.md": "docs/index.md",
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
    "research.md": "research/README.md",
}
"""Pages of the site that have another place in the checkout."""
COPIES = "checkout"
"""Where files of the checkout lie in the site."""
GALLERY: list[str] = []
"""The last plot of every notebook, behind the documents' list."""
LINK = re.compile(r"(\]\()([^)\s#]+)(#[^)\s]*)?(\))")
ENTRY = re.compile(r"## (.*)|\| \[[^]]*\]\(([^)]+)\)")
"""A group of the list of pages, or one of its pages."""


def on_config(config: Any) -> Any:
    """Sets the menu, and the version in the title and the folder."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    config["site_name"] += f" {version}"
    config["site_dir"] = str(Path(config["site_dir"]) / version)
    config["nav"] = [{group: pages} for group, pages in menu().items()]
    return config


def on_post_build(config: Any) -> None:
    """Writes the page that leads to every version, the last first."""
    site = Path(config["site_dir"]).parent
    (site / "index.html").write_text(versions([page.parent.name for page in site.glob("[0-9]*/index.html")]))


def versions(names: list[str]) -> str:
    """That page."""
    ordered = sorted(names, key=lambda name: [int(part) for part in re.findall(r"\d+", name)], reverse=True)
    links = "".join(f'<li><a href="{name}/index.html">{name}</a></li>' for name in ordered)
    return f'<!DOCTYPE html><meta charset="utf-8"><title>sailsim</title><h1>sailsim</h1><ul>{links}</ul>\n'


def menu() -> dict[str, list[str]]:
    """The pages of the site by group: those of docs/index.md in its order, and made pages."""
    group, groups = "Start", dict[str, list[str]]()
    for line in (ROOT / "docs" / "index.md").read_text("utf-8").splitlines():
        if found := ENTRY.match(line):
            group = found[1] or group
            path = _target("docs/index.md", found[2]) if found[2] else None
            if path is not None and (page := _in_the_site(path)) is not None:
                groups.setdefault(group, []).append(page)
    return groups | {"Reference": ["api.md", "documents.md", "changelog.md"]}


def on_files(files: Files, config: Any) -> Files:
    """Adds the pages and the files that pages link to."""
    # What the site alone needs; MkDocs takes away the path that loading a hook has added.
    sys.path.insert(0, str(Path(__file__).parent))
    import nbformat
    from mkdocs.structure.files import File
    from notebooks import all_executed

    files.remove(files.get_file_from_path("index.md"))
    for name, path in PAGES.items():
        files.append(File.generated(config, name, content=(ROOT / path).read_text("utf-8")))
    files.append(File.generated(config, "api.md", content=api()))
    for each in all_executed():
        files.remove(files.get_file_from_path(f"notebooks/{each.name}.py"))
        page = f"{each.page}\n\n[As a notebook]({each.name}.ipynb)\n"
        whole = {f"{each.name}.ipynb": nbformat.writes(each.notebook), f"{each.name}.md": page}
        for name, content in (each.pictures | whole).items():
            files.append(File.generated(config, f"notebooks/{name}", content=content))
        GALLERY.append(
            f"[![{each.title}](notebooks/{[*each.pictures][-1]}){{ width=30% }}](notebooks/{each.name}.md)"
        )
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

    gallery = "\n".join(["\n", *GALLERY]) if page.file.src_uri == "documents.md" else ""
    return LINK.sub(turned, markdown) + gallery


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


def _place(src_uri: str) -> str:
    """Where a page lies in the checkout."""
    return PAGES.get(src_uri, f"docs/{src_uri}")


def _in_the_site(path: str) -> str | None:
    """What a place of the checkout is called in the site, if it is one of its pages or lies in docs/."""
    for name, of in PAGES.items():
        if path == of:
            return name
    path = re.sub(r"^(docs/notebooks/\w+)\.py$", r"\1.md", path)
    return path.removeprefix("docs/") if path.startswith("docs/") else None


def _target(place: str, target: str) -> str | None:
    """The file of the checkout that a link of a page leads to; None for another kind of link."""
    if re.match(r"[a-z]+:", target):
        return None
    path = posixpath.normpath(posixpath.join(posixpath.dirname(place), target))
    return path if (ROOT / path).is_file() else None
