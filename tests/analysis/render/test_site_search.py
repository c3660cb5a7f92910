"""The documentation's site, opened as files: its search finds pages without a network."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[3]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Two pages, one in a folder, made as mkdocs.yml says."""
    pytest.importorskip("material", reason="mkdocs-material is not installed (make docs installs it)")
    folder = tmp_path_factory.mktemp("site")
    shutil.copytree(ROOT / "docs" / "site", folder / "docs" / "site")
    (folder / "docs" / "below").mkdir()
    (folder / "docs" / "index.md").write_text("# Start\n\nNothing here.\n")
    (folder / "docs" / "below" / "cache.md").write_text("# Slices\n\nOf a last-level cache: wordlines.\n")
    config = yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))
    del config["hooks"]
    config["plugins"] = [each for each in config["plugins"] if isinstance(each, str)]
    (folder / "mkdocs.yml").write_text(yaml.safe_dump(config))
    command = [sys.executable, "-W", "ignore", "-m", "mkdocs", "build", "--quiet", "--site-dir", "built"]
    made = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    return folder / "built"


@pytest.mark.parametrize("opened", ["index.html", "below/cache.html"])
def test_a_page_is_found_without_a_network(browser, site, opened):
    page = browser.new_page()
    asked, said = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto((site / opened).as_uri())
    page.locator("input.md-search__input").click()
    page.locator("input.md-search__input").type("wordlines")
    page.locator(".md-search-result__link").first.click()
    page.wait_for_url("**/below/cache.html?h=*")
    assert "wordlines" in page.locator("article mark").first.inner_text()
    assert said == []
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
    page.close()
