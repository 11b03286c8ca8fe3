"""The gallery: everything that either source has data for is drawn, the rest is named."""

from __future__ import annotations

import re
from pathlib import Path

import duckdb
import pytest

from astraios.importers.paper import frames
from astraios.report.base import FIGURES, TABLES
from astraios.report.gallery import write_gallery

from . import synthetic
from .conftest import Query


@pytest.mark.slow
@pytest.mark.promise("the gallery is whole")
def test_every_figure_and_table_is_drawn_or_named(query: Query, tmp_path: Path) -> None:
    with duckdb.connect() as con:
        synthetic.create(con)
        for table, rows in frames().items():
            con.register("incoming", rows)
            con.execute(f"insert into {table} by name select * from incoming")
            con.unregister("incoming")
        page = write_gallery({"tiny": query, "paper": synthetic.answers(con)}, tmp_path).read_text()
    drawn = set(re.findall(r"\(gallery/([\w-]+)\.svg\)", page))
    assert {path.stem for path in (tmp_path / "gallery").iterdir()} == drawn
    for thing in [*FIGURES, *TABLES]:
        assert thing.title in page
    assert len(drawn) >= 20
    assert len(re.findall(r"Name: `table-", page)) == len(list(TABLES))


def test_the_gallery_in_the_docs_shows_what_exists() -> None:
    docs = synthetic.ROOT / "docs"
    page = (docs / "gallery.md").read_text()
    names = set(re.findall(r"Name: `([\w-]+)`", page))
    assert {name for name in names if not name.startswith("table-")} <= set(FIGURES.names())
    assert {name.removeprefix("table-") for name in names if name.startswith("table-")} <= set(TABLES.names())
    for picture in re.findall(r"\((gallery/[\w-]+\.svg)\)", page):
        assert (docs / picture).read_text().startswith("<svg")
