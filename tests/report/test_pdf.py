"""Renumbering a PDF: the same objects under other numbers, an index that holds, one form for one picture."""

from __future__ import annotations

import re

import pytest
import vl_convert

from astraios.report.pdf import settled

SVG = """<svg xmlns="http://www.w3.org/2000/svg" width="200" height="60"><text x="5" y="20">plain</text>
<text x="5" y="40" font-weight="bold">bold</text><g opacity="0.5"><rect width="9" height="9"/></g>
<g opacity="0.3"><rect x="20" width="9" height="9"/></g></svg>"""


def test_one_picture_is_one_file() -> None:
    files = {vl_convert.svg_to_pdf(SVG) for _ in range(12)}
    assert len({settled(file) for file in files}) == 1


def test_its_own_form_stays() -> None:
    once = settled(vl_convert.svg_to_pdf(SVG))
    assert settled(once) == once


def test_every_object_is_where_the_index_says() -> None:
    raw = vl_convert.svg_to_pdf(SVG)
    pdf = settled(raw)
    start = int(re.search(rb"startxref\n(\d+)", pdf)[1])  # type: ignore[index]
    places = re.findall(rb"^(\d{10}) 00000 n \n", pdf[start:], re.MULTILINE)
    assert len(places) == len(re.findall(rb"^\d+ 0 obj", raw, re.MULTILINE))
    for number, place in enumerate(places, start=1):
        assert pdf[int(place) :].startswith(b"%d 0 obj\n" % number)
    streams = re.compile(rb"stream\n(.*?)\nendstream", re.DOTALL)
    assert sorted(streams.findall(pdf)) == sorted(streams.findall(raw))


def test_another_kind_of_file_is_refused() -> None:
    with pytest.raises(ValueError, match="no plain index"):
        settled(b"%PDF-1.7\nnothing")
