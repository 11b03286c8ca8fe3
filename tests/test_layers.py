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

from tests.conftest import REPOSITORY

PACKAGE = REPOSITORY / "astraios"
# What each room may import of the others. Rooms that are missing here may be imported by all.
ALLOWED = {
    "collect": {"collect"},
    "store": {"collect.spool", "store"},
    "fit": {"fit", "report.figures.fit_plot"},
    "report": {"report"},
    "workflow": {"collect", "store", "fit", "report", "workflow"},
    "cli": {"console", "store", "workflow", "collect.execute.isolation", "cli"},
    "console": {"collect.launch", "console"},
}
SHARED_ROOMS = {"errors", "records", "registry", "__init__"}
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


def run_imports(path: Path) -> set[str]:
    """Modules that are imported when the file runs, inside its functions too; not those for type checkers alone."""
    tree = ast.parse(path.read_text())
    hints = [node for node in tree.body if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)]
    lines = {line for node in hints for line in range(node.lineno, (node.end_lineno or 0) + 1)}
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {node: [alias.name for alias in node.names] for node in nodes if node.lineno not in lines}
    return {
        f"{node.module}.{name}" if isinstance(node, ast.ImportFrom) else name for node in names for name in names[node]
    }


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def files() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def test_imports_follow_the_flow() -> None:
    wrong = []
    for path in files():
        room = room_of(path)
        if room in SHARED_ROOMS:
            continue
        for name, _ in imports(path):
            if not name.startswith("astraios."):
                continue
            inner = name.removeprefix("astraios.")
            if inner.split(".")[0] in SHARED_ROOMS | {"__version__"}:
                continue
            if not any(inner == allowed or inner.startswith(f"{allowed}.") for allowed in ALLOWED[room]):
                wrong.append(f"{path.relative_to(REPOSITORY)} imports {name}")
    assert not wrong


def test_only_collect_knows_torch() -> None:
    for path in files():
        for name, at_top in imports(path):
            package = name.split(".")[0]
            if package in HEAVY:
                assert room_of(path) == "collect", f"{path} imports {name}"
                in_type_checking = "TYPE_CHECKING" in path.read_text()
                assert not at_top or in_type_checking or path.stem in ("bottleneck", "_preload"), (
                    f"{path} imports {name} at its top"
                )


def test_only_the_store_opens_the_database() -> None:
    for path in files():
        if room_of(path) != "store":
            assert all(name != "duckdb.connect" for name, _ in imports(path))
            assert "duckdb.connect" not in path.read_text()


def test_no_import_circles() -> None:
    graph: dict[str, set[str]] = {}
    known = {".".join(p.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__"): p for p in files()}
    for name, path in known.items():
        graph[name] = set()
        for module in run_imports(path):
            target = module if module in known else module.rsplit(".", 1)[0]
            if target in known and target != name:
                graph[name].add(target)
    state: dict[str, int] = {}

    def visit(name: str, trail: list[str]) -> None:
        assert state.get(name) != 1, " -> ".join([*trail[trail.index(name) :], name])
        if name in state:
            return
        state[name] = 1
        for other in graph[name]:
            visit(other, [*trail, name])
        state[name] = 2

    for name in graph:
        visit(name, [])


@pytest.mark.must(2, 5)
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
import pathlib, polars as pl, astraios, astraios.workflow, astraios.store, astraios.fit.scaling, astraios.report.page
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
