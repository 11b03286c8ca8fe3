"""A real browser without a network: Debian's Chromium, or the one that $ASTRAIOS_CHROMIUM names."""

from __future__ import annotations

import contextlib
import io
import math
import os
import random
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import polars as pl
import pytest

from astraios import store
from astraios.importers.paper import frames
from astraios.report.page import render_page
from tests.report import synthetic

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

AXE = "4.14.1"
PATIENCE = 180_000
"""Milliseconds that a page may take on a busy machine; what must be fast is measured by tests of its own."""
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]
Open = Callable[..., "Page"]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    playwright = pytest.importorskip("playwright.sync_api", reason="the package playwright is not installed")
    chromium = os.environ.get("ASTRAIOS_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if not chromium:
        pytest.skip("no Chromium on this machine: install it, or name it in ASTRAIOS_CHROMIUM")
    with playwright.sync_playwright() as manager:
        browser = manager.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        yield browser
        browser.close()


class Watch:
    """What a page did that it should not: console errors, exceptions, requests that leave the file."""

    def __init__(self, page: Page) -> None:
        self.errors: list[str] = []
        self.requests: list[str] = []
        page.on("console", lambda message: self.errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("dialog", lambda dialog: self.errors.append(f"dialog {dialog.message}"))
        page.on("request", lambda request: self.requests.append(request.url))

    def left(self) -> list[str]:
        """Requests for anything but the file itself."""
        return [url for url in self.requests if not url.startswith(("file:", "data:", "blob:"))]


@pytest.fixture
def opened(browser: Browser) -> Iterator[Open]:
    """Opens a file or address, waits until every chart is drawn, and watches the page: `page.watch`."""
    contexts = []

    def go(where: Path | str, width: int = 1100, scheme: str = "light", **options: Any) -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, accept_downloads=True, **options
        )
        contexts.append(context)
        context.set_default_timeout(PATIENCE)
        page = context.new_page()
        page.watch = Watch(page)  # type: ignore[attr-defined]
        page.goto(where.as_uri() if isinstance(where, Path) else where)
        ready(page)
        return page

    yield go
    for context in contexts:
        context.close()


def ready(page: Page) -> None:
    page.wait_for_function("document.documentElement.dataset.ready === 'yes'", timeout=PATIENCE)


def database(con: duckdb.DuckDBPyConnection, which: str) -> Callable[[str], pl.DataFrame]:
    synthetic.create(con)
    if which == "tiny":
        failing = {
            "prompt": ("Prompt Tuning", "prompt", 0.002, (4.75, 4.70, 4.72, 4.78)),
            "adalora": ("AdaLoRA", "low-rank", 0.1, (4.6, 4.65, 4.7, 4.8)),
        }
        synthetic.fill(con, methods={**synthetic.METHODS, **failing})
    if which == "paper":
        for table, frame in frames().items():
            con.register("frame", frame)
            con.execute(f"insert into {table} by name select * from frame")
            con.unregister("frame")
    return synthetic.answers(con)


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The page of the tiny ladder, of the paper's numbers, and of an empty database."""
    folder = tmp_path_factory.mktemp("pages")
    pages = {}
    for which in ("tiny", "paper", "empty"):
        with duckdb.connect() as con:
            pages[which] = folder / f"{which}.html"
            pages[which].write_text(render_page(database(con, which), title=f"The {which} study"), encoding="utf-8")
    return pages


def run(*arguments: str) -> None:
    from astraios.cli import app

    with contextlib.redirect_stdout(io.StringIO()):
        code = app(list(arguments), standalone_mode=False)
    assert not code, arguments


@pytest.fixture(scope="session")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Pages with real fits: made-up runs on the demo's ladder, the published scores, a study of sizes and tokens."""
    folder = tmp_path_factory.mktemp("fitted")
    pages = {name: folder / f"{name}.html" for name in ("demo", "published", "tokens")}
    with store.writing(folder / "demo.duckdb") as connection:
        synthetic.fill(connection, fits=False)
    run("fit-scaling", "--db", str(folder / "demo.duckdb"), "--target", "1.7M", "--target", "3.4M")
    run("report", "--db", str(folder / "demo.duckdb"), "-o", str(pages["demo"]))
    run("demo", "--quick", "--db", str(folder / "published.duckdb"), "-o", str(pages["published"]))
    rng, lines = random.Random(1), ["model_id,method_id,n_params,n_tokens,seed,loss"]
    for method, a, b, floor in (("fft", 400, 2500, 1.7), ("lora", 480, 2400, 1.75)):
        for n in (10**7, 3 * 10**7, 10**8, 3 * 10**8, 10**9):
            for d in (10**9, 4 * 10**9, 16 * 10**9):
                loss = floor + a / math.pow(n, 0.34) + b / math.pow(d, 0.37) + rng.gauss(0, 0.006)
                lines.append(f"toy-{n},{method},{n},{d},0,{loss:.5f}")
    table, database = folder / "tokens.csv", str(folder / "tokens.duckdb")
    table.write_text("\n".join(lines) + "\n", encoding="utf-8")
    run("import", str(table), "--db", database)
    run("fit-scaling", "--db", database, "--target", "8B", "--target-tokens", "64B")
    run("report", "--db", database, "-o", str(pages["tokens"]))
    return pages


@pytest.fixture(scope="session")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The script of axe-core, from npm."""
    if not shutil.which("npm"):
        pytest.skip("npm is not installed, so axe-core can't be had")
    folder = tmp_path_factory.mktemp("axe")
    command = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", f"axe-core@{AXE}"]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip("npm did not bring axe-core within two minutes")
    if done.returncode:
        pytest.skip(f"npm could not bring axe-core: {done.stderr.strip().splitlines()[-1][:200]}")
    return (folder / "node_modules/axe-core/axe.min.js").read_text(encoding="utf-8")
