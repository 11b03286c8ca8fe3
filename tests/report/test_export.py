"""Single figures as files: every format, offline, in time, the same bytes again."""

from __future__ import annotations

import io
import json
import time
from pathlib import Path

import polars as pl
import pytest

from astraios.errors import DataError, UsageError
from astraios.report.export import FIGURE_FORMATS, TABLE_FORMATS, export, render_markdown, save_figure

from .conftest import Query

BEGINNINGS = {
    "html": b"<!doctype html>", "svg": b"<svg", "png": b"\x89PNG", "pdf": b"%PDF", "json": b"{", "csv": b"origin,",
    "markdown": b"### Final loss", "latex": b"\\begin{table}",
}  # fmt: skip


@pytest.mark.promise("a figure comes in every format")
@pytest.mark.parametrize("format", FIGURE_FORMATS)
def test_a_figure_in_every_format(format: str, query: Query, tmp_path: Path) -> None:
    first = save_figure(3, query, tmp_path / "a", format).read_bytes()
    start = time.process_time()  # of this process: what else runs on the machine does not count
    second = save_figure("final-loss", query, tmp_path / "b", format).read_bytes()
    assert time.process_time() - start < 5
    assert first == second
    assert first.startswith(BEGINNINGS[format])


def test_the_format_follows_the_name_of_the_file(query: Query, tmp_path: Path) -> None:
    assert save_figure(3, query, tmp_path / "fig3.svg").read_bytes().startswith(b"<svg")
    assert save_figure(3, query, tmp_path / "fig3.md").read_bytes().startswith(b"###")
    with pytest.raises(UsageError, match="unknown format of a figure 'gif'"):
        save_figure(3, query, tmp_path / "fig3.gif")


def test_the_csv_is_what_the_database_says(query: Query) -> None:
    shown = pl.read_csv(io.BytesIO(export("final-loss", query, "csv"))).filter(split="test loss")
    stored = query("select method_id, n_params, loss_nats from method_size_grid where split = 'test'")
    joined = shown.join(stored, on=["method_id", "n_params"], suffix="_stored")
    assert joined.height == stored.height
    assert (joined["loss_nats"] - joined["loss_nats_stored"]).abs().max() < 1e-12


@pytest.mark.parametrize(("width", "pixels"), [("column", 317), ("page", 662)])
def test_a_picture_fits_its_column(width: str, pixels: int, query: Query) -> None:
    import re

    for name in ("final-loss", "ranking", "mean-score"):
        svg = export(name, query, "svg", width=width).decode()
        found = re.search(r' width="([\d.]+)"', svg)
        assert found
        assert abs(float(found[1]) - pixels) <= 6, name


def test_the_json_is_vega_lite_with_its_data(query: Query) -> None:
    spec = json.loads(export("ranking", query, "json"))
    assert "vega-lite" in spec["$schema"]
    assert spec["datasets"]


@pytest.mark.parametrize("format", TABLE_FORMATS)
def test_a_table_in_every_format(format: str, query: Query) -> None:
    first = export("table-1", query, format)
    assert first == export("trainable", query, format)
    assert b"FFT" in first


def test_what_can_not_be_drawn_says_why(query: Query, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="astraios import paper"):
        save_figure(5, query, tmp_path / "fig5.svg")
    with pytest.raises(UsageError, match="unknown width 'poster'"):
        save_figure(3, query, tmp_path / "x.svg", width="poster")
    with pytest.raises(UsageError, match="--study other is no study"):
        save_figure(3, query, tmp_path / "x.svg", study="other")
    with pytest.raises(DataError, match="can't be written"):
        save_figure(3, query, tmp_path / "none" / "x.csv")


def test_the_report_as_markdown(query: Query) -> None:
    text = render_markdown(query, title="A *study*")
    assert text.startswith("# A \\*study\\*")
    assert "**What wins.** At 3.4M parameters FFT is projected" in text
    assert "| LoRA | 4,720 |" in text
    assert "<details><summary>Final loss" in text
