"""The documentation site in a browser: its own search finds, and nothing is fetched from elsewhere."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.conftest import PATIENCE, Watch
from tests.conftest import docs_script

if TYPE_CHECKING:
    from playwright.sync_api import Browser

for package in ("zensical", "nbconvert"):
    pytest.importorskip(package)


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *about: Any) -> None:
        pass


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the site is served."""
    builder = docs_script("build_site")
    site: Path = tmp_path_factory.mktemp("docs") / "site"
    builder.build(site)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_search_finds_a_warning_by_its_code(browser: Browser, address: str) -> None:
    from playwright import sync_api

    page = browser.new_page()
    page.set_default_timeout(PATIENCE)
    watch = Watch(page)
    found = page.locator("a", has_text="What is compared").filter(has_text="undertuned").first
    for _ in range(3):  # What is typed before the search listens is lost, and nothing shows when it does.
        page.goto(f"{address}/index.html", wait_until="networkidle")
        page.keyboard.press("/")
        page.keyboard.type("undertuned")
        with contextlib.suppress(sync_api.TimeoutError):
            found.wait_for(timeout=PATIENCE / 3)
            break
    assert str(found.get_attribute("href")).startswith(f"{address}/fitting.html")
    assert watch.errors == []
    assert [url for url in watch.requests if not url.startswith((address, "data:", "blob:"))] == []
    page.close()


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("name", ["notebooks/from_wandb", "engineer", "fitting"])
def test_no_page_is_wider_than_the_window(browser: Browser, address: str, name: str, width: int) -> None:
    page = browser.new_page(viewport={"width": width, "height": 800})
    page.set_default_timeout(PATIENCE)
    page.goto(f"{address}/{name}.html")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.close()
