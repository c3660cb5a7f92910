"""The pages are HTML by a parser that forgives nothing, and every link within one leads somewhere."""

from collections import Counter

import pytest

from sailsim.analysis.costs.dollars import prices
from sailsim.analysis.render.report import page

html5lib = pytest.importorskip("html5lib", reason="html5lib is not installed")


def problems(text):
    """What a strict parser says of a page, identities that are there twice, and links to none."""
    parser = html5lib.HTMLParser(namespaceHTMLElements=False)
    tree = parser.parse(text)
    said = [f"{place}: {kind} {more}" for place, kind, more in parser.errors]
    names = Counter(each.get("id") for each in tree.iter() if each.get("id"))
    said += [f"id {name} is there {count} times" for name, count in names.items() if count > 1]
    for each in tree.iter():
        for attribute in ("href", "aria-controls", "for", "aria-labelledby"):
            target = each.get(attribute) or ""
            inside = target[1:] if target.startswith("#") else "" if attribute == "href" else target
            said += [f"{attribute} {target} leads nowhere" for name in inside.split() if name not in names]
    return said


@pytest.mark.slow
@pytest.mark.parametrize("paper", [None, "sail"])
def test_the_report_is_valid(swept, paper):
    assert problems(page(swept.frame(), swept.manifest, prices(), paper=paper)) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("<p><b>a</p>", "unexpected-end-tag"),
        ("<table><tr><td>a</table><div id=a></div><div id=a></div>", "id a is there 2 times"),
        ("<a href='#b'>a</a>", "href #b leads nowhere"),
    ],
)
def test_what_is_wrong_is_seen(text, said):
    found = problems(f"<!doctype html><html><head><title>a</title></head><body>{text}</body></html>")
    assert any(said in each for each in found), found
