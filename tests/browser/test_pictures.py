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
SCALE = 0.25
QUALITY = 0.4
TOLERANCE = {
    "size": 0.05,  # share by which the height of a figure may differ
    "pixels": 0.03,  # share of a figure's pixels that may differ
}
FONT = """() => {
    const text = Object.assign(document.createElement("span"), { textContent: "Projected loss, nats 0123456789" });
    document.body.append(text);
    const width = text.getBoundingClientRect().width;
    text.remove();
    return Math.round(width);
}"""
PARTS = """() => Object.fromEntries([...document.querySelectorAll("figure[id], .summary, .control")].map((part) => {
    const { x, y, width, height } = part.getBoundingClientRect();
    return [part.id, [x + scrollX, y + scrollY, width, height].map(Math.round)];
}))"""
SMALLER = """async ([png, quality]) => {
    const bitmap = await createImageBitmap(new Blob([Uint8Array.from(atob(png), (c) => c.charCodeAt(0))]));
    const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
    canvas.getContext("2d").drawImage(bitmap, 0, 0);
    const bytes = new Uint8Array(await (await canvas.convertToBlob({ type: "image/webp", quality })).arrayBuffer());
    let text = "";
    for (const byte of bytes) text += String.fromCharCode(byte);
    return btoa(text);
}"""
# Of each part the share of pixels whose brightness differs by a quarter of all there is. A picture is halved once more
# first, so that a line that moved by a pixel of the page is no difference.
DIFFERENCES = """async ([before, now, parts, scale]) => {
    const pictures = [];
    for (const text of [before, now])
        pictures.push(await createImageBitmap(new Blob([Uint8Array.from(atob(text), (c) => c.charCodeAt(0))])));
    const grey = (picture, [x, y, width, height], w, h) => {
        const context = new OffscreenCanvas(w, h).getContext("2d", { willReadFrequently: true });
        context.imageSmoothingQuality = "high";
        context.drawImage(picture, x * scale, y * scale, width * scale, height * scale, 0, 0, w, h);
        const { data } = context.getImageData(0, 0, w, h);
        const [red, green, blue] = [0, 1, 2].map((k) => data.filter((_, i) => i % 4 === k));
        return Array.from(red, (value, i) => 0.3 * value + 0.6 * green[i] + 0.1 * blue[i]);
    };
    return Object.fromEntries(Object.entries(parts).map(([name, [old, fresh]]) => {
        const w = Math.max(1, Math.round((old[2] * scale) / 2)), h = Math.max(1, Math.round((old[3] * scale) / 2));
        const [a, b] = [grey(pictures[0], old, w, h), grey(pictures[1], fresh, w, h)];
        return [name, a.filter((value, i) => Math.abs(value - b[i]) > 64).length / a.length];
    }));
}"""


def places() -> dict[str, Any]:
    return json.loads(PLACES.read_text()) if PLACES.exists() else {"font": None, "parts": {}}


def shot(page: Page) -> str:
    """The whole page as PNG, base64."""
    return base64.b64encode(page.screenshot(full_page=True, animations="disabled")).decode()


def renew(page: Page, name: str, parts: dict[str, Any]) -> None:
    PICTURES.mkdir(exist_ok=True)
    picture = page.evaluate(SMALLER, [shot(page), QUALITY])
    (PICTURES / f"{name}.webp").write_bytes(base64.b64decode(picture))
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
        if abs(height - was) > max(12, TOLERANCE["size"] * was) or abs(now[name][2] - before[name][2]) > 4:
            found.append(f"{name} was {before[name][2]} x {was} and is {now[name][2]} x {height} pixels")
    return sorted(found)


@pytest.mark.promise("every chart is drawn, readable and offline")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 768, 1280])
@pytest.mark.parametrize("which", ["demo", "published", "tokens"])
def test_a_page_looks_as_it_did(fitted: dict[str, Path], opened: Open, which: str, width: int, scheme: str) -> None:
    page = opened(fitted[which], width, scheme, device_scale_factor=SCALE)
    name, now, known = f"{which}-{width}-{scheme}", page.evaluate(PARTS), places()
    if os.environ.get(RENEW):
        renew(page, name, now)
        pytest.skip(f"{name} was made anew: look at it")
    if page.evaluate(FONT) != known["font"]:
        pytest.skip("the pictures were made with another font: make them anew on this machine (make pictures)")
    before = known["parts"][name]
    assert changed(before, now) == [], "look at the page; if it is meant, `make pictures`"
    picture = base64.b64encode((PICTURES / f"{name}.webp").read_bytes()).decode()
    shares = page.evaluate(DIFFERENCES, [picture, shot(page), {k: [before[k], now[k]] for k in now}, SCALE])
    other = {part: share for part, share in shares.items() if share > TOLERANCE["pixels"]}
    assert other == {}, "share of pixels that differ; look at the page; if it is meant, `make pictures`"


def test_a_page_that_looks_otherwise_is_noticed(fitted: dict[str, Path], opened: Open) -> None:
    """A chart without its marks, one with another's colours, and a figure that grew: each is named, and no other."""
    page = opened(fitted["tokens"], 768, device_scale_factor=SCALE)
    parts = page.evaluate(PARTS)
    before = page.evaluate(SMALLER, [shot(page), QUALITY])
    page.evaluate("""() => {
        for (const mark of document.querySelectorAll('#projection-data .mark-line path')) mark.remove();
        document.querySelector('#ranking svg').style.filter = 'invert(1)';
    }""")
    same = {name: [place, place] for name, place in parts.items()}
    shares = page.evaluate(DIFFERENCES, [before, shot(page), same, SCALE])
    other = {part for part, share in shares.items() if share > TOLERANCE["pixels"]}
    assert other == {"projection-data", "ranking"}
    page.evaluate("document.querySelector('#residuals .chart').style.paddingBottom = '80px'")
    assert [line.split()[0] for line in changed(parts, page.evaluate(PARTS))] == ["residuals"]
