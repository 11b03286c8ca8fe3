"""What must stand beside a projection stands there in every format: a fit that is stale, and what fits warned of."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from astraios.report.export import export, render_markdown
from astraios.report.page import render_page
from tests.conftest import run_cli

from .conftest import Query
from .test_curves import FLOOR, SIZES, imported, loss_of

STALE = "the runs have changed since they were made"


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A projection with a warning, of the runs as they are."""
    path = tmp_path_factory.mktemp("fresh") / "a.duckdb"
    imported(path, [(m, n, 10**10, loss_of(m, n, 1e10)) for m in FLOOR for n in SIZES[:3]])
    assert run_cli("fit-scaling", "--db", path, "--target", "1B", "--law", "power_offset").returncode == 0
    return path


@pytest.fixture(scope="module")
def stale(fresh: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same after a run has come in."""
    path = tmp_path_factory.mktemp("stale") / "a.duckdb"
    path.write_bytes(fresh.read_bytes())
    imported(path, [("fft", SIZES[3], 10**10, loss_of("fft", SIZES[3], 1e10))])
    return path


Ask = Callable[[Path], Query]


def part(text: str, heading: str) -> str:
    """From a heading to the next one."""
    found = re.search(rf"^### {re.escape(heading)}.*?(?=^### |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, heading
    return found[0]


def test_the_markdown_report_warns_beside_the_projection(fresh: Path, ask: Ask) -> None:
    text = render_markdown(ask(fresh))
    assert STALE not in text
    for title in ("Projected loss, and what was then measured", "Who wins at the target size"):
        here = part(text, title)
        assert "(stale)" not in here
        assert re.search(r"^> \*\*Warning\.\*\* .*3 sizes for fft, lora", here, re.MULTILINE), title
        assert here.index("Warning") < here.index("<details>"), "above the fold"


def test_a_stale_fit_looks_stale_in_markdown(stale: Path, ask: Ask) -> None:
    text = render_markdown(ask(stale))
    here = part(text, "Projected loss, and what was then measured (stale)")
    assert re.search(rf"^> \*\*Stale\.\*\* .*{STALE}", here, re.MULTILINE)
    table = part(text, "Speed-ups (stale)")
    assert STALE in table
    assert "### Tuning methods and their trainable parameters (stale)" not in text, "what rests on no fit is not stale"


@pytest.mark.parametrize(
    ("format", "width"),
    [("svg", "column"), ("svg", "page"), ("json", "page"), ("markdown", "page"), ("html", "page")],
)
def test_a_single_figure_carries_its_warnings(fresh: Path, stale: Path, format: str, width: str, ask: Ask) -> None:
    def words(db: Path) -> str:
        return export("projection-loss", ask(db), format, width=width).decode()

    assert "3 sizes for fft" in words(fresh)
    assert "are stale: the" not in words(fresh)
    assert "are stale: the" in words(stale)
    assert "stale" not in export("final-loss", ask(stale), "svg", width=width).decode()


@pytest.mark.parametrize("format", ["markdown", "latex", "html"])
def test_a_single_table_says_that_it_is_stale(fresh: Path, stale: Path, format: str, ask: Ask) -> None:
    assert STALE in export("table-speed-ups", ask(stale), format).decode()
    assert STALE not in export("table-speed-ups", ask(fresh), format).decode()


def test_data_alone_come_with_the_warnings_on_the_terminal(stale: Path, tmp_path: Path) -> None:
    result = run_cli("report", "--db", stale, "--figure", "projection-loss", "-o", tmp_path / "a.csv")
    assert f"warning: These projections are stale: {STALE}" in result.stderr
    assert "stale" not in (tmp_path / "a.csv").read_text()


def test_the_page_keeps_its_badges(fresh: Path, stale: Path, ask: Ask) -> None:
    assert '<span class="badge">stale</span>' not in render_page(ask(fresh))
    page = render_page(ask(stale))
    targets = page[page.index('id="targets"') :][:400]
    assert '<span class="badge">stale</span>' in targets
