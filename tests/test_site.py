"""The documentation site: it builds without a warning, has every page, its links lead somewhere, its search finds."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import ModuleType
from urllib.parse import unquote

import pytest

from tests.conftest import REPOSITORY, docs_script

for package in ("zensical", "nbconvert"):
    pytest.importorskip(package)
DOCS = REPOSITORY / "docs"


@pytest.fixture(scope="module")
def builder() -> ModuleType:
    return docs_script("build_site")


@pytest.fixture(scope="module")
def site(builder: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("docs") / "site"
    builder.build(folder)
    return folder


def listed(builder: ModuleType) -> list[str]:
    """The pages that mkdocs.yml lists."""
    return [path for inner in builder.pages().values() for path in inner.values()]


def test_every_page_is_there(builder: ModuleType, site: Path) -> None:
    there = [*DOCS.rglob("*.md"), *(path.with_suffix(".md") for path in DOCS.rglob("*.ipynb"))]
    assert sorted(listed(builder)) == sorted(str(path.relative_to(DOCS)) for path in there), "mkdocs.yml names all"
    for name in listed(builder):
        page = site / name.replace("README.md", "index.html").replace(".md", ".html")
        assert "<article" in page.read_text(), page


def test_links_lead_somewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        for link in re.findall(r'(?:href|src)="?([^"\s>]+)', page.read_text()):
            place, _, anchor = unquote(link).partition("#")
            if re.match(r"[a-z]+:|//", link) or page.name == "404.html":
                continue
            target = (page.parent / place).resolve() if place else page
            target = target / "index.html" if target.is_dir() else target
            assert target.is_file(), f"{page.relative_to(site)}: {link}"
            if anchor and target.suffix == ".html" and anchor != "__":
                assert f'id="{anchor}"' in target.read_text() or f"id={anchor}" in target.read_text(), (page, link)


def test_notebooks_show_what_came_out(site: Path) -> None:
    page = (site / "notebooks" / "fit_a_frame.html").read_text()
    assert "3 of 3 inside" in page
    [picture] = re.findall(r'src="?(fit_a_frame_files/[\w.]+)', page)
    assert (site / "notebooks" / picture).read_text().startswith("<svg")


def test_search_finds_what_a_warning_is_called(site: Path) -> None:
    [index] = site.rglob("search.json")
    found = [item["location"] for item in json.loads(index.read_text())["items"] if "undertuned" in item["text"]]
    assert any(place.startswith("fitting.html") for place in found), found


def test_the_list_for_language_models_has_every_page(builder: ModuleType, site: Path) -> None:
    text = (site / "llms.txt").read_text()
    assert text.startswith("# astraios\n\n> ")
    lines = re.findall(r"^- \[(.+)\]\((.+)\): (.+)$", text, re.MULTILINE)
    assert [path for _, path, _ in lines] == listed(builder)
    assert all((site / path).read_text().startswith("# ") for _, path, _ in lines)
    assert set(builder.about()) == {*listed(builder)} - {"README.md"}, "docs/README.md says what each page is about"
