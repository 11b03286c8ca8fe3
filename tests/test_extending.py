"""What docs/extending.md shows works as it stands there, installed beside astraios."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from astraios import registry
from tests.conftest import REPOSITORY, assert_one_line, run_process, sweep_toml

DOC = (REPOSITORY / "docs" / "extending.md").read_text(encoding="utf-8")


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """The example as pip would leave it: modules, and metadata with the entry points."""
    folder = tmp_path / "site"
    (folder / "my_package").mkdir(parents=True)
    (folder / "my_package" / "__init__.py").write_text("")
    for file, code in re.findall(r"`my_package/(\w+\.py)`.*?```python\n(.*?)```", DOC, re.DOTALL):
        (folder / "my_package" / file).write_text(code)
    [toml] = re.findall(r"```toml\n(.*?)```", DOC, re.DOTALL)
    groups = tomllib.loads(toml)["project"]["entry-points"]
    lines = [f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in points.items()) for group, points in groups.items()]
    info = folder / "my_package-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my_package\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("\n".join(lines))
    return folder


def run_with(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """A command in a process that finds the package."""
    return run_process(*arguments, PYTHONPATH=os.pathsep.join([str(folder), str(REPOSITORY)]))


def test_the_example_is_known_to_every_command(
    package: Path, small_models: list[str], pairs_file: Path, tmp_path: Path
) -> None:
    sweep, db = tmp_path / "small.toml", tmp_path / "a.duckdb"
    sweep.write_text(sweep_toml(small_models[:1], pairs_file, methods=["lora", "wide"]))
    done = run_with(package, "collect", sweep, "--db", db, "--out", tmp_path / "runs")
    assert done.returncode == 0, done.stderr
    sql = "select title, max(n_trainable) as n_trainable from run join tuning_method using (method_id) group by title"
    rows = run_with(package, "sql", "--db", db, "--format", "json", sql)
    sizes = {row["title"]: row["n_trainable"] for row in json.loads(rows.stdout)}
    assert sizes["Wide LoRA"] == 8 * sizes["LoRA"]
    chart = tmp_path / "cost.json"
    drawn = run_with(package, "report", "--db", db, "--figure", "cost-by-method", "-o", chart)
    assert drawn.returncode == 0, drawn.stderr
    assert '"wide"' in chart.read_text()


def test_a_package_that_cannot_be_imported_is_one_line(package: Path, small_sweep: Path) -> None:
    (package / "my_package" / "wide.py").write_text("import no_such_thing")
    pattern = r"package my_package adds my_package.wide to astraios \(astraios.methods\).*no_such_thing.*uninstall it"
    assert_one_line(run_with(package, "collect", small_sweep, "--dry-run"), 2, pattern)


def test_the_table_names_every_group() -> None:
    sources = "".join(path.read_text() for path in Path(registry.__file__).parent.rglob("*.py"))
    assert set(re.findall(r'group="(astraios\.\w+)"', sources)) == set(re.findall(r"^\| `(astraios\.\w+)`", DOC, re.M))
