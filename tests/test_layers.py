"""The house: imports go one way, heavy packages stay where they belong, and help is quick."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY, docs_script

PACKAGE = REPOSITORY / "astraios"
# The flow: each room and what it may import of the others, from the ground up.
FLOW = {
    "errors": set(),
    "registry": {"errors"},
    "files": {"errors"},
    "records": set(),
    "settings": {"errors"},
    "hub": {"errors", "files"},
    "ray_cluster": {"errors"},
    "runs": {"files", "records", "errors"},
    "data": {"runs"},
    "train": {"data", "runs"},
    "models": {"train", "data"},
    "evaluate": {"models", "data", "ray_cluster"},
    "importers": {"evaluate", "models", "runs"},
    "track": {"importers", "models", "runs", "train"},
    "collect/plan": {"evaluate", "models", "train", "data", "runs"},
    "collect/cell": {"collect/plan", "evaluate", "models", "train", "data", "runs"},
    "collect/launch": {"collect/cell", "collect/plan", "models", "train", "runs", "ray_cluster"},
    "collect/run": {"collect/launch", "collect/plan", "models", "train", "runs"},
    "collect/schema": {"collect/launch", "collect/plan", "evaluate", "models", "train", "data"},
    "fit": set(),
    "report": set(),
    "store": {"runs"},
    "workflow": {
        "collect/run", "collect/cell", "collect/plan", "collect/launch", "collect/schema", "track", "importers",
        "evaluate", "models", "runs", "store", "fit", "report", "ray_cluster",
    },
    "mcp": {"workflow", "store"},
    "completion": {"store", "collect/plan", "collect/launch", "models", "evaluate", "importers", "report", "fit"},
    "cli": {"workflow", "store", "collect/plan", "collect/launch", "mcp", "completion"},
}  # fmt: skip
GROUND = {"errors", "registry", "files", "records", "settings", "hub"}
"""Rooms that all others may import."""
TORCH = {"data", "train", "models", "evaluate", "collect"}
HEAVY = {"torch", "transformers", "peft", "accelerate", "bitsandbytes"}


def imports(path: Path) -> list[tuple[str, bool]]:
    """(module, whether at the top of the file) of every import."""
    tree = ast.parse(path.read_text())
    top = {id(node) for node in tree.body}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, id(node) in top) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found += [(name, id(node) in top) for name in names]
    return found


def room_of(name: str) -> str:
    """The room of a module, by its dotted name."""
    first, *rest = name.removeprefix("astraios.").split(".")
    return f"{first}/{rest[0]}" if first == "collect" and rest else first


def files() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def modules() -> dict[str, Path]:
    return {".".join(p.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__"): p for p in files()}


def graph() -> dict[str, set[str]]:
    """What each module imports of the package, inside functions and for type hints too."""
    known = modules()
    found: dict[str, set[str]] = {}
    for name, path in known.items():
        asked = {module for module, _ in imports(path)}
        targets = {module if module in known else module.rpartition(".")[0] for module in asked}
        found[name] = {target for target in targets if target in known and target not in (name, "astraios")}
    return found


def circle_in(arrows: dict[str, set[str]]) -> list[str]:
    """A way from a module back to itself, or nothing."""
    state: dict[str, int] = {}

    def visit(name: str, trail: list[str]) -> list[str]:
        if state.get(name) == 1:
            return [*trail[trail.index(name) :], name]
        if name in state:
            return []
        state[name] = 1
        for other in sorted(arrows[name]):
            if circle := visit(other, [*trail, name]):
                return circle
        state[name] = 2
        return []

    return next((circle for name in sorted(arrows) if (circle := visit(name, []))), [])


def test_imports_follow_the_flow() -> None:
    wrong = []
    for name, targets in graph().items():
        if name in ("astraios", "astraios.collect"):
            continue
        room = room_of(name)
        for target in targets:
            other = room_of(target)
            if other not in {room, *GROUND, *FLOW[room]} or (room in GROUND and other not in {room, *FLOW[room]}):
                wrong.append(f"{name} imports {target}")
    assert not sorted(wrong)


def test_the_flow_goes_one_way() -> None:
    rooms = list(FLOW)
    assert all(rooms.index(other) < rooms.index(room) for room, others in FLOW.items() for other in others)


def test_only_rooms_that_train_or_generate_know_torch() -> None:
    """A hook in `track` is named for the library that it hooks into, and may import that one."""
    for path in files():
        room = path.relative_to(PACKAGE).parts[0]
        for name, at_top in imports(path):
            if name.split(".")[0] in HEAVY and not (room == "track" and path.stem == name.split(".")[0]):
                assert room in TORCH, f"{path} imports {name}"
                in_type_checking = "TYPE_CHECKING" in path.read_text()
                assert not at_top or in_type_checking or path.stem in ("bottleneck", "_preload"), (
                    f"{path} imports {name} at its top"
                )


def test_only_the_store_opens_the_database() -> None:
    for path in files():
        if path.relative_to(PACKAGE).parts[0] != "store":
            assert all(name != "duckdb.connect" for name, _ in imports(path))
            # A connection without a file holds no database: strangers' files are read on such a one.
            assert not re.search(r"duckdb\.connect\([^)]", path.read_text())


def test_no_import_circles() -> None:
    arrows = graph()
    assert not circle_in(arrows), " -> ".join(circle_in(arrows))
    arrows["astraios.errors"].add("astraios.cli")
    assert circle_in(arrows), "a circle that is there is found"


def test_the_picture_of_the_rooms_is_current() -> None:
    script = docs_script("draw_architecture")
    assert script.PICTURE.read_text() == script.drawn(), "run docs/draw_architecture.py"


def test_no_room_holds_a_quarter_of_the_code() -> None:
    lines: dict[str, int] = {}
    for path in files():
        room = path.relative_to(PACKAGE).parts[0]
        lines[room] = lines.get(room, 0) + len(path.read_text().splitlines())
    total = sum(lines.values())
    assert {room: round(n / total, 3) for room, n in lines.items() if n > 0.25 * total} == {}


@pytest.mark.promise("every command helps by an example, answers at once, and says what is wrong in one line")
def test_help_is_quick_and_light() -> None:
    script = "import sys; import astraios.cli; print(sorted({m.split('.')[0] for m in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    for heavy in ("torch", "transformers", "polars", "duckdb", "numpy", "altair"):
        assert f"'{heavy}'" not in loaded
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "astraios.cli", "--help"], capture_output=True, check=True)
        seconds.append(time.perf_counter() - start)
    # Five times a bare interpreter's start is far from what any heavy import costs, on a busy machine too.
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import typer"], capture_output=True, check=True)
    assert min(seconds) < max(0.3, 5 * (time.perf_counter() - start))


def test_core_works_without_torch(tmp_path: Path) -> None:
    script = """
import sys
for name in ("torch", "transformers", "peft"):
    sys.modules[name] = None  # importing it fails, looking for it finds nothing
import pathlib, polars as pl, astraios, astraios.workflow, astraios.store, astraios.fit.analysis, astraios.report.page
astraios.store.ingest(astraios.store.database_path(sys.argv[1]), pathlib.Path(sys.argv[2]))
print(len(astraios.open_db(sys.argv[1]).sql("from run").pl()))
"""
    result = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "a.duckdb"), str(tmp_path / "runs")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.stdout.strip() == "0", result.stderr


def test_extras_that_are_named_exist() -> None:
    """Those that errors, docs and the Makefile tell people to install."""
    known = set(tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["optional-dependencies"])
    named = set()
    for path in [*files(), *REPOSITORY.glob("docs/*.md"), REPOSITORY / "README.md", REPOSITORY / "Makefile"]:
        text = path.read_text()
        named |= set(re.findall(r'MissingExtraError\(\s*[^,]+,\s*"(\w+)"', text))
        for group in re.findall(r"(?:astraios|'\.)\[([a-z,]+)\]", text):
            named |= set(group.split(","))
    assert {"train", "ray", "slurm", "cloud", "ducklake", "vllm", "prompt"} <= named
    assert named <= known


def test_an_option_passes_each_file_of_its_walk_once(tmp_path: Path) -> None:
    """`--target` from the command line to the projection: the files that docs/architecture.md lists, and no others."""
    text = (REPOSITORY / "docs" / "architecture.md").read_text().partition("## The walk of `--target`")[2]
    walk = re.findall(r"^\d+\. `(astraios/[\w/]+\.py)`", text, re.MULTILINE)
    assert len(walk) == len(set(walk)) < 12
    asked = "123456789"
    frame = "n_params,loss\n" + "".join(f"{n},{2 + 60 * n**-0.35}\n" for n in (10_000, 30_000, 90_000, 270_000))
    (tmp_path / "runs.csv").write_text(frame)
    script = f"""
import os, sys
import astraios
from astraios.cli import main
seen, package = set(), os.path.dirname(astraios.__file__)
def held(value, deep=2):
    if isinstance(value, float | int | str) and not isinstance(value, bool):
        return str(value) in ("{asked}", "{asked}.0")
    if isinstance(value, list | tuple):
        return any(held(one, deep) for one in value)
    return deep > 0 and hasattr(value, "__dataclass_fields__") and held(list(vars(value).values()), deep - 1)
def trace(frame, event, argument):
    name = frame.f_code.co_filename
    if name.startswith(package + "/") and event == "call" and held(list(frame.f_locals.values())):
        seen.add("astraios" + name[len(package):])
sys.setprofile(trace)
sys.argv = ["astraios", "fit-scaling", "--data", "runs.csv", "--target", "{asked}", "--json", "--holdout", "none"]
try:
    main()
except SystemExit as done:
    assert not done.code
finally:
    sys.setprofile(None)
    print(*sorted(seen), sep="\\n", file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=tmp_path)
    passed = {line for line in done.stderr.splitlines() if line.startswith("astraios/")}
    told = {
        "astraios/cli/fit.py",
        "astraios/fit/request.py",
        "astraios/workflow/fitting.py",
        "astraios/fit/analysis.py",
    }
    assert told <= passed, "the trace sees the request go by"
    beside = set(re.findall(r"^- `(astraios/[\w/]+\.py)`", text, re.MULTILINE))
    assert passed <= set(walk) | beside, passed - set(walk) - beside
