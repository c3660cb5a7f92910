"""The marks between which the generated parts of a page lie: ``<!-- generated: cost/prices -->``."""

from __future__ import annotations

import re
from collections.abc import Mapping

_PART = re.compile(r"<!-- generated: (\S+) -->\n(.*?)<!-- end: (\S+) -->", re.DOTALL)
_MARK = re.compile(r"<!-- (?:generated|end): \S+ -->")


class MarkError(ValueError):
    """A mark that has no end, no other, or a name that is used twice."""


def parts(page: str) -> dict[str, str]:
    """The generated parts of a page by name, in its order. Raises MarkError."""
    found: dict[str, str] = {}
    for begin, text, end in _PART.findall(page):
        if begin != end or begin in found or _MARK.search(text):
            raise MarkError(f"the part {begin!r} does not end, or there are two")
        found[begin] = text.strip("\n")
    if len(_MARK.findall(page)) != 2 * len(found):
        raise MarkError("a mark stands alone")
    return found


def filled(page: str, texts: Mapping[str, str]) -> str:
    """The page with the parts of ``texts`` written anew, all others as they are.

    Raises MarkError for one that the page does not have.
    """
    missing = set(texts) - set(parts(page))
    if missing:
        raise MarkError(f"there is no part {min(missing)!r}")

    def written(match: re.Match[str]) -> str:
        name = match[1]
        if name not in texts:
            return match[0]
        return f"<!-- generated: {name} -->\n{texts[name]}\n<!-- end: {name} -->"

    return _PART.sub(written, page)
