"""The pages as pictures: each figure and control looks as it did when somebody looked at it.

The pictures were looked at when they were made. `make pictures` makes them anew: look at those that git says have
changed before they are committed.
"""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from .conftest import Open

if TYPE_CHECKING:
    from playwright.sync_api import Page

PICTURES = Path(__file__).parent / "pictures"
PLACES = PICTURES / "places.json"
RENEW = "ASTRAIOS_RENEW_PICTURES"
SCALE, SHADES = 1 / 8, 8
STRIP = 8_000
"""Pixels of a page's height that a browser pictures at once."""
SIZE = 0.05
"""Share by which the height of a part may differ."""
APART = 0.15
"""Share of what stands out in a part that may differ: the same page twice has 0.05, a chart without its lines 0.18."""
LEAST = 8
"""Difference in brightness, of 255, that is none."""
FONT = """() => {
    const text = Object.assign(document.createElement("span"), { textContent: "Projected loss, nats 0123456789" });
    document.body.append(text);
    const width = text.getBoundingClientRect().width;
    text.remove();
    return Math.round(width);
}"""
# Parts by name with their places; the page draws itself anew no more when it is made higher for its picture.
PARTS = """() => {
    Object.defineProperty(window, "innerWidth", { value: innerWidth, configurable: true });
    return Object.fromEntries([...document.querySelectorAll(".chart, .card, .summary, .control")].map((part) => {
        const { x, y, width, height } = part.getBoundingClientRect();
        return [part.id || part.closest("figure").id, [x + scrollX, y + scrollY, width, height].map(Math.round)];
    }));
}"""
# A page as small as it can be told by: each part is made smaller from its own corner, so that it looks the same
# wherever on the page it stands, and has few shades, so that it takes little room. Lossless.
SMALLER = """async ([strips, parts, size, scale, shades]) => {
    const page = new OffscreenCanvas(...size), context = page.getContext("2d");
    for (const [top, png] of strips) {
        const strip = new Blob([Uint8Array.from(atob(png), (c) => c.charCodeAt(0))]);
        context.drawImage(await createImageBitmap(strip), 0, top);
    }
    const small = (value) => Math.max(1, Math.round(value * scale));
    const canvas = new OffscreenCanvas(...size.map(small));
    const picture = canvas.getContext("2d", { willReadFrequently: true });
    picture.imageSmoothingQuality = "high";
    picture.drawImage(page, 0, 0, canvas.width, canvas.height);
    for (const [x, y, width, height] of Object.values(parts)) {
        const own = new OffscreenCanvas(width, height);
        own.getContext("2d").drawImage(page, -x, -y);
        picture.drawImage(own, ...[x, y, width, height].map(small));
    }
    const image = picture.getImageData(0, 0, canvas.width, canvas.height);
    const step = 255 / (shades - 1);
    for (let i = 0; i < image.data.length; i += 1) image.data[i] = Math.round(Math.round(image.data[i] / step) * step);
    picture.putImageData(image, 0, 0);
    const bytes = new Uint8Array(await (await canvas.convertToBlob({ type: "image/webp", quality: 1 })).arrayBuffer());
    let text = "";
    for (const byte of bytes) text += String.fromCharCode(byte);
    return btoa(text);
}"""
# Of each part the difference in brightness, as a share of all that stands out from its background.
DIFFERENCES = """async ([before, now, parts, scale, least]) => {
    const [old, fresh] = await Promise.all([before, now].map(async (text) => {
        const picture = await createImageBitmap(new Blob([Uint8Array.from(atob(text), (c) => c.charCodeAt(0))]));
        const canvas = new OffscreenCanvas(picture.width, picture.height);
        const context = canvas.getContext("2d", { willReadFrequently: true });
        context.drawImage(picture, 0, 0);
        return context;
    }));
    const grey = (context, part, w, h) => {
        const [x, y] = part.map((v) => Math.round(v * scale));
        const { data } = context.getImageData(x, y, w, h);
        const bright = (i) => 0.3 * data[i] + 0.6 * data[i + 1] + 0.1 * data[i + 2];
        return Array.from({ length: w * h }, (_, i) => bright(4 * i));
    };
    const ink = (values) => {
        const ground = [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];
        return values.reduce((sum, value) => sum + Math.abs(value - ground), 0);
    };
    return Object.fromEntries(Object.entries(parts).map(([name, [was, is]]) => {
        const [w, h] = [2, 3].map((k) => Math.max(1, Math.round(Math.min(was[k], is[k]) * scale)));
        const [a, b] = [grey(old, was, w, h), grey(fresh, is, w, h)];
        const apart = a.reduce((sum, value, i) => sum + Math.max(0, Math.abs(value - b[i]) - least), 0);
        return [name, apart / Math.max(1, (ink(a) + ink(b)) / 2)];
    }));
}"""


def places() -> dict[str, Any]:
    return json.loads(PLACES.read_text()) if PLACES.exists() else {"font": None, "parts": {}}


def small(page: Page, parts: dict[str, Any]) -> str:
    """The whole page, made small: WebP, base64."""
    width, height = page.evaluate("[innerWidth, document.documentElement.scrollHeight]")
    strips = []
    for top in range(0, height, STRIP):
        clip = {"x": 0, "y": top, "width": width, "height": min(STRIP, height - top)}
        png = page.screenshot(full_page=True, animations="disabled", clip=clip)  # type: ignore[arg-type]
        strips.append([top, base64.b64encode(png).decode()])
    return page.evaluate(SMALLER, [strips, parts, [width, height], SCALE, SHADES])


def renew(page: Page, name: str, parts: dict[str, Any]) -> None:
    PICTURES.mkdir(exist_ok=True)
    (PICTURES / f"{name}.webp").write_bytes(base64.b64decode(small(page, parts)))
    known = places()
    known["font"] = page.evaluate(FONT)
    known["parts"] = dict(sorted({**known["parts"], name: parts}.items()))
    lines = ",\n".join(f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in known["parts"].items())
    PLACES.write_text(f'{{"font": {known["font"]},\n"parts": {{\n{lines}\n}}}}\n', encoding="utf-8")


def changed(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Parts that came, went, or have another size."""
    found = [f"{name} is new" for name in now if name not in before]
    found += [f"{name} is gone" for name in before if name not in now]
    for name in before.keys() & now.keys():
        was, height = before[name][3], now[name][3]
        if abs(height - was) > max(12, SIZE * was) or abs(now[name][2] - before[name][2]) > 4:
            found.append(f"{name} was {before[name][2]} x {was} and is {now[name][2]} x {height} pixels")
    return sorted(found)


def apart(page: Page, picture: str, before: dict[str, Any], now: dict[str, Any]) -> dict[str, float]:
    """Parts that look otherwise than in a picture (base64), and how much."""
    places = {name: [before[name], now[name]] for name in now}
    shares = page.evaluate(DIFFERENCES, [picture, small(page, now), places, SCALE, LEAST])
    return {name: share for name, share in shares.items() if share > APART}


@pytest.mark.slow
@pytest.mark.promise("every chart is drawn, readable and offline")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 768, 1280])
@pytest.mark.parametrize("which", ["demo", "published", "tokens"])
def test_a_page_looks_as_it_did(fitted: dict[str, Path], opened: Open, which: str, width: int, scheme: str) -> None:
    page = opened(fitted[which], width, scheme)
    name, now, known = f"{which}-{width}-{scheme}", page.evaluate(PARTS), places()
    if os.environ.get(RENEW):
        renew(page, name, now)
        pytest.skip(f"{name} was made anew: look at it")
    if page.evaluate(FONT) != known["font"]:
        pytest.skip("the pictures were made with another font: make them anew on this machine (make pictures)")
    before = known["parts"][name]
    assert changed(before, now) == [], "look at the page; if it is meant, `make pictures`"
    picture = base64.b64encode((PICTURES / f"{name}.webp").read_bytes()).decode()
    assert apart(page, picture, before, now) == {}, "look at the page; if it is meant, `make pictures`"


def test_a_page_that_looks_otherwise_is_noticed(fitted: dict[str, Path], opened: Open) -> None:
    """A chart without its lines, one without its words, and one that grew: each is named, and no other."""
    page = opened(fitted["tokens"], 768)
    parts = page.evaluate(PARTS)
    before = small(page, parts)
    page.evaluate("""() => {
        for (const mark of document.querySelectorAll('#projection-data .mark-line path')) mark.remove();
        for (const text of document.querySelectorAll('#residuals text')) text.remove();
    }""")
    assert set(apart(page, before, parts, page.evaluate(PARTS))) == {"projection-data", "residuals"}
    page.evaluate("document.querySelector('#ranking .chart').style.paddingBottom = '80px'")
    assert [line.split()[0] for line in changed(parts, page.evaluate(PARTS))] == ["ranking"]
    moved = apart(page, before, parts, page.evaluate(PARTS))
    assert set(moved) <= {"projection-data", "residuals", "ranking"}, "what only moved is as it was"
