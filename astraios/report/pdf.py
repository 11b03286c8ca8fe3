"""The same chart as the same PDF file: objects in an order of their own.

The writer takes fonts and resources from hash tables, so two files of one picture differ in the order and the numbers
of their objects. Here they are numbered as a walk from the file's root meets them.
"""

from __future__ import annotations

import re

REFERENCE = re.compile(rb"\b(\d+) 0 R\b")
RESOURCES = re.compile(rb"(?:^ */\w+ \d+ 0 R\n)+", re.MULTILINE)


def settled(pdf: bytes) -> bytes:
    """The file with its objects renumbered and its index written anew; it shows the same.

    Raises:
        ValueError: the file has no plain index of its objects.
    """
    objects = _objects(pdf)
    trailer = pdf[pdf.rindex(b"trailer") :].split(b"startxref")[0]
    order: list[int] = []
    waiting = _references(trailer)
    while waiting:
        number = waiting.pop(0)
        if number not in order:
            order.append(number)
            waiting = _references(_head(objects[number])) + waiting
    numbers = {old: new for new, old in enumerate(order, start=1)}
    out = pdf[: pdf.index(b"\n", pdf.index(b"\n") + 1) + 1] + b"\n"
    places = []
    for old in order:
        head, body = _head(objects[old]), _body(objects[old])
        places.append(len(out))
        out += b"%d 0 obj\n" % numbers[old] + _renumbered(head, numbers) + body + b"\nendobj\n\n"
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(order) + 1)
    out += b"".join(b"%010d 00000 n \n" % place for place in places)
    trailer = re.sub(rb"/Size \d+", b"/Size %d" % (len(order) + 1), _renumbered(trailer, numbers))
    trailer = re.sub(rb"/ID \[[^\]]*\]\s*", b"", trailer)
    return out + trailer + b"startxref\n%d\n%%%%EOF\n" % start


def _objects(pdf: bytes) -> dict[int, bytes]:
    """What stands between "obj" and "endobj" of each object, found by the file's own index."""
    found = re.search(rb"startxref\s+(\d+)\s+%%EOF\s*$", pdf)
    if not found or not pdf[int(found[1]) :].startswith(b"xref"):
        raise ValueError("the file has no plain index of its objects")
    start = int(found[1])
    places = [int(m[1]) for m in re.finditer(rb"^(\d{10}) \d{5} n", pdf[start:], re.MULTILINE)]
    ends = sorted([*places, start])
    objects = {}
    for place in places:
        whole = pdf[place : ends[ends.index(place) + 1]]
        number, rest = whole.split(b" 0 obj\n", 1)
        objects[int(number)] = rest[: rest.rindex(b"\nendobj")]
    return objects


def _head(body: bytes) -> bytes:
    """The dictionary of an object, its resources in order of name, without its stream."""
    head = body.split(b"\nstream\n", 1)[0]
    return RESOURCES.sub(lambda m: b"".join(sorted(m[0].splitlines(keepends=True))), head)


def _body(body: bytes) -> bytes:
    parts = body.split(b"\nstream\n", 1)
    return b"\nstream\n" + parts[1] if len(parts) == 2 else b""


def _references(head: bytes) -> list[int]:
    return [int(number) for number in REFERENCE.findall(head)]


def _renumbered(head: bytes, numbers: dict[int, int]) -> bytes:
    return REFERENCE.sub(lambda m: b"%d 0 R" % numbers[int(m[1])], head)
