"""Draws docs/architecture.svg from the imports of the package: `python docs/draw_architecture.py`.

A room is a folder (or a file) directly in astraios/, the stages of astraios/collect/ each by itself. A room stands one
floor above the highest room that it imports, so every thin arrow points down; one that longer ways imply is left out.
The broad arrows are the flow of data.
"""

from __future__ import annotations

import ast
from pathlib import Path
from xml.sax.saxutils import escape

REPOSITORY = Path(__file__).resolve().parent.parent
PACKAGE = REPOSITORY / "astraios"
PICTURE = REPOSITORY / "docs" / "architecture.svg"
GROUND = ("errors", "registry", "files", "records", "settings")
"""Rooms that all others may import: drawn, their arrows are not."""
FLOW = (
    ("collect/cell", "runs"), ("track", "runs"), ("runs", "store"), ("importers", "store"), ("store", "fit"),
    ("fit", "store"), ("fit", "report"), ("store", "report"),
)  # fmt: skip
"""Where data go: runs are written and read as files, the rest is handed on by the workflow."""
LANES = {
    "report": 0, "fit": 1, "store": 2, "importers": 2, "runs": 3, "track": 3, "workflow": 3, "cli": 3, "collect": 4,
    "train": 4, "models": 4, "data": 5, "evaluate": 5, "ray_cluster": 6,
    "errors": 1, "registry": 2, "files": 3, "records": 4, "settings": 5,
}  # fmt: skip
"""Where a room stands from left to right; a room that is not listed stands at the right."""
WIDTH, HEIGHT, ROW, LEFT = 128, 44, 84, 30


def room_of(module: str) -> str:
    """The room of a module by its dotted name."""
    first, *rest = module.removeprefix("astraios.").split(".")
    return f"{first}/{rest[0]}" if first == "collect" and rest else first


def arrows() -> dict[str, set[str]]:
    """Rooms and the rooms that they import, inside functions and for type hints too."""
    files = sorted(PACKAGE.rglob("*.py"))
    names = {".".join(f.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__"): f for f in files}
    found: dict[str, set[str]] = {}
    for name, file in names.items():
        if name in ("astraios", "astraios.collect"):
            continue
        room = room_of(name)
        found.setdefault(room, set())
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            asked = []
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("astraios"):
                asked = [f"{node.module}.{alias.name}" for alias in node.names]
            elif isinstance(node, ast.Import):
                asked = [alias.name for alias in node.names if alias.name.startswith("astraios.")]
            for module in asked:
                target = module if module in names else module.rpartition(".")[0]
                if target in names and target not in ("astraios", "astraios.collect") and room_of(target) != room:
                    found[room].add(room_of(target))
    return found


def floors(graph: dict[str, set[str]]) -> dict[str, int]:
    """The floor of each room: one above the highest that it imports."""
    found: dict[str, int] = {}

    def floor(room: str) -> int:
        if room not in found:
            found[room] = 1 + max((floor(other) for other in graph.get(room, ())), default=-1)
        return found[room]

    for room in graph:
        floor(room)
    return found


def not_implied(graph: dict[str, set[str]]) -> dict[str, set[str]]:
    """The arrows that no longer way implies."""

    def below(room: str) -> set[str]:
        return set().union(*({other} | below(other) for other in graph.get(room, ())))

    return {room: {o for o in others if not any(o in below(via) for via in others if via != o)}
            for room, others in graph.items()}  # fmt: skip


def places(graph: dict[str, set[str]]) -> tuple[dict[str, tuple[float, float]], int, int]:
    """Centre of each room, and the size of the picture."""
    level = floors(graph)
    top, most = max(level.values()), max(LANES.values()) + 1
    taken: set[tuple[int, int]] = set()
    found = {}
    for room in sorted(graph):
        lane, floor = LANES.get(room.partition("/")[0], most - 1), top - level[room]
        while (lane, floor) in taken:
            lane = (lane + 1) % most
        taken.add((lane, floor))
        found[room] = (LEFT + WIDTH / 2 + lane * (WIDTH + LEFT), 40.0 + floor * ROW)
    return found, LEFT + most * (WIDTH + LEFT), 70 + (top + 1) * ROW


def drawn() -> str:
    """The picture as SVG."""
    graph = arrows()
    centre, width, height = places(graph)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" role="img">',
        "<title>Rooms of astraios: thin arrows are imports, broad ones the flow of data</title>",
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerUnits="userSpaceOnUse" markerWidth="12" '
        'markerHeight="12" orient="auto">'
        '<path d="M0 0L8 4L0 8z" fill="context-stroke"/></marker></defs>',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
    ]
    for room, others in sorted(not_implied({r: o - set(GROUND) for r, o in graph.items()}).items()):
        for other in sorted(others):
            lines.append(_line(centre[room], centre[other], "#9aa0a6", 1.2))
    for one, other in FLOW:
        if one in centre and other in centre:
            lines.append(_curve(centre[one], centre[other]))
    for room, (x, y) in sorted(centre.items()):
        fill = "#f1f3f4" if room in GROUND else "#e8f0fe"
        lines.append(
            f'<rect x="{x - WIDTH / 2:.0f}" y="{y - HEIGHT / 2:.0f}" width="{WIDTH}" height="{HEIGHT}" rx="6" '
            f'fill="{fill}" stroke="#5f6368"/>'
            f'<text x="{x:.0f}" y="{y + 5:.0f}" text-anchor="middle" font-size="15" fill="#202124">'
            f"{escape(room)}</text>"
        )
    lines.append(
        f'<text x="{LEFT}" y="{height - 14}" font-size="13" fill="#202124">thin, grey: imports (those of '
        f"{escape(', '.join(r for r in GROUND if r in centre))} left out); broad, orange: the flow of data</text>"
    )
    return "\n".join([*lines, "</svg>", ""])


def _edge(one: tuple[float, float], other: tuple[float, float]) -> tuple[float, float, float, float]:
    down = HEIGHT / 2 if other[1] > one[1] else -HEIGHT / 2 if other[1] < one[1] else 0.0
    return one[0], one[1] + down, other[0], other[1] - down


def _line(one: tuple[float, float], other: tuple[float, float], colour: str, width: float) -> str:
    x1, y1, x2, y2 = _edge(one, other)
    return (
        f'<line x1="{x1:.0f}" y1="{y1:.0f}" x2="{x2:.0f}" y2="{y2:.0f}" stroke="{colour}" stroke-width="{width}" '
        'marker-end="url(#tip)"/>'
    )


def _curve(one: tuple[float, float], other: tuple[float, float]) -> str:
    x1, y1, x2, y2 = _edge(one, other)
    bend = 34.0 if abs(y2 - y1) < 1 else 20.0
    mx, my = (x1 + x2) / 2 + (bend if abs(y2 - y1) >= 1 else 0), (y1 + y2) / 2 - (bend if abs(y2 - y1) < 1 else 0)
    return (
        f'<path d="M{x1:.0f} {y1:.0f}Q{mx:.0f} {my:.0f} {x2:.0f} {y2:.0f}" fill="none" stroke="#e8710a" '
        'stroke-width="4" stroke-opacity="0.65" marker-end="url(#tip)"/>'
    )


if __name__ == "__main__":
    PICTURE.write_text(drawn(), encoding="utf-8")
