"""The README and the guide to the letter: their commands run in their order, beside the files that they speak of."""

from __future__ import annotations

import io
import json
import re
import shlex
import shutil
import struct
from pathlib import Path

import polars as pl
import pytest

from astraios import store
from tests.conftest import REPOSITORY, run_cli
from tests.importers.conftest import FILES
from tests.store.made import make_ladder

GUIDE = REPOSITORY / "docs"
SHELL = ("", "sh", "bash", "console")
ELSEWHERE = {
    "pip install .": "tests/test_wheel.py",
    "astraios demo --quick": "tests/test_quick_demo.py",
    "make demo": "tests/test_demo.py",
    "make test": "what runs these tests",
    "lm_eval *": "lm-evaluation-harness's own; what it writes is in tests/importers/files",
    "astraios collect mine.toml": "tests/test_demo.py trains it; here it is planned",
    "pip install 'astraios[mcp]'": "tests/test_layers.py: the extra exists",
    "astraios mcp --db astraios.duckdb": "tests/test_mcp.py, from a real client",
    "pip install -c *": "DuckLake and Postgres: tests/store/test_lake.py in an environment of its own (make lake)",
    "createdb lab": "the same",
    "export *": "the same",
    "astraios ingest --out runs": "the same",
}
"""Commands of the pages that this file runs which are not run here, by their beginning, and what runs them."""
NOT_HERE = {
    ("bits.md", "sh"): "a quarter of an hour of training; what is asked of it, and the sweep: tests/test_studies.py, "
    "tests/collect/test_sweep_axes.py",
    ("CONTRIBUTING.md", "sh"): "make test, make demo and make verify",
    ("clusters.md", "sh"): "tests/collect/test_clusters.py, tests/collect/test_launch.py",
    ("evaluation.md", "sh"): "models and gold data: tests/tasks",
    ("evaluation.md", "python"): "gold data: tests/tasks",
    ("extending.md", "python"): "tests/test_extending.py",
    ("fitting.md", "sh"): "tests/test_gates.py; runs with samples",
    ("importing.md", "sh"): "tests/importers/test_docs.py",
    ("methods.md", "python"): "tests/methods/test_method_roundtrip.py",
    ("planning.md", "sh"): "tests/test_plan_cli.py",
    ("planning.md", "python"): "tests/test_plan_cli.py",
    ("studies.md", "sh"): "tests/collect/test_study_example.py",
    ("tracking.md", "sh"): "tests/track/test_tracking_docs.py",
    ("tracking.md", "diff"): "tests/track/test_tracking_docs.py",
    ("tracking.md", "python"): "the first block here; the others are in tests/track",
    ("training.md", "sh"): "tests/collect/test_training_group.py, tests/collect/test_scores_along_training.py",
}
"""Blocks of the guide that neither this file runs nor a test of all pages, by page and language, and what runs them."""
HERE = {
    ("README.md", "sh"), ("README.md", "python"), ("engineer.md", "sh"), ("researcher.md", "sh"), ("analyst.md", "sh"),
    ("assistants.md", "sh"), ("assistants.md", "json"), ("database.md", "sh"), ("fitting.md", "python"),
}  # fmt: skip
OF_ALL_PAGES = {"sql": "tests/store/test_sql.py", "toml": "tests/test_schema.py"}
SIZES = {"135m": 2**27, "360m": 2**28, "600m": 2**29, "1b": 2**30, "1.7b": 2**30 * 2}


def page(name: str) -> Path:
    return REPOSITORY / name if name in ("README.md", "CONTRIBUTING.md") else GUIDE / name


def blocks(name: str, *languages: str) -> list[str]:
    found = re.findall(r"^```(\w*)\n(.*?)^```", page(name).read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return [text for language, text in found if language in languages]


def commands(name: str) -> list[str]:
    """A page's commands, without their comments."""
    lines = [line for block in blocks(name, *SHELL) for line in block.replace("\\\n", " ").splitlines()]
    return [shlex.join(shlex.split(line, comments=True)) for line in lines]


def elsewhere(command: str) -> bool:
    return any(command == begun or (begun.endswith("*") and command.startswith(begun[:-1])) for begun in ELSEWHERE)


def run(name: str, **meant: str) -> None:
    """Runs the commands of a page, where what they only name by an example stands for something."""
    for command in commands(name):
        if elsewhere(command):
            continue
        words = [meant.get(word, word) for word in shlex.split(command)]
        done = run_cli(*words[1:])
        assert words[0] == "astraios", command
        assert done.returncode == 0, f"{command}: {done.stderr}"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ASTRAIOS_DB", raising=False)
    return tmp_path


def outputs(folder: Path) -> None:
    """Output directories of the Trainer with its own files, but for losses and sizes, which follow a law."""
    state = (FILES / "trainer/full/trainer_state.json").read_text()
    result = json.loads(next((FILES / "lm_eval").glob("results*.json")).read_text())
    for name, n in SIZES.items():
        run = folder / "outputs" / f"full-{name}"
        run.mkdir(parents=True)
        kept = json.loads(state)
        for entry in kept["log_history"]:
            for key in ("loss", "eval_loss"):
                if key in entry:
                    entry[key] = entry[key] - 5.4 + 1.8 + 400 * n**-0.3
        (run / "trainer_state.json").write_text(json.dumps(kept))
        shutil.copy(FILES / "trainer/full/config.json", run)
        write_weights(run / "model.safetensors", n)
        score = 0.25 + 0.6 / (1 + (2e8 / n) ** 0.8)
        result["results"]["tiny_choose"] |= {"acc,none": score, "acc_norm,none": score}
        result |= {"model_name": f"outputs/full-{name}"}
        result["config"]["model_args"] = f"pretrained=outputs/full-{name}"
        (folder / "results").mkdir(exist_ok=True)
        (folder / f"results/results_{name}.json").write_text(json.dumps(result))


def write_weights(path: Path, n: int) -> None:
    """A safetensors file of n parameters, all of it a hole but for its head."""
    head = json.dumps({"weight": {"dtype": "F32", "shape": [n], "data_offsets": [0, 4 * n]}}).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(head)) + head)
        file.truncate(8 + len(head) + 4 * n)


def test_every_block_is_run_by_a_test() -> None:
    found = set()
    for path in [page("README.md"), page("CONTRIBUTING.md"), *GUIDE.glob("*.md")]:
        languages = re.findall(r"^```(\w*)\n.*?^```", path.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
        found |= {(path.name, "sh" if language in SHELL else language) for language in languages}
    assert {one for one in found if one[1] not in OF_ALL_PAGES} == HERE | set(NOT_HERE), (
        "no less, and none that is gone"
    )
    lines = [line for name, language in HERE if language == "sh" for line in commands(name)]
    for begun in ELSEWHERE:
        assert any(line.startswith(begun.rstrip("*")) for line in lines), f"no page says {begun}"
    for reason in [*ELSEWHERE.values(), *NOT_HERE.values(), *OF_ALL_PAGES.values()]:
        for name in re.findall(r"tests/[\w/.]+", reason):
            assert (REPOSITORY / name).exists(), name


@pytest.mark.promise("every documented query and example runs")
def test_the_commands_of_the_readme_run(folder: Path) -> None:
    outputs(folder)
    run("README.md")
    assert (folder / "report.html").stat().st_size > 100_000
    db = Path("astraios.duckdb")
    joined = store.query(db, "select n_params, value from final_score join run using (run_id, n_params) order by all")
    assert joined["n_params"].unique().sort().to_list() == sorted(SIZES.values()), "scores find their runs"
    asked = "select distinct quantity from latest_projection where role = 'target' and n_params = 7e9 order by all"
    assert store.query(db, asked)["quantity"].to_list() == ["loss", "score"]


@pytest.mark.promise("every documented query and example runs")
def test_the_ways_in_run(folder: Path) -> None:
    """The pages for an engineer and an analyst one after the other, that for a researcher beside them."""
    outputs(folder)
    run("engineer.md")
    run("analyst.md")
    run("researcher.md")


def test_the_commands_of_the_page_on_editors_run(folder: Path) -> None:
    run("assistants.md")
    assert (folder / "astraios-sweep.schema.json").exists()


@pytest.mark.promise("every documented query and example runs")
def test_the_commands_of_the_database_page_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_ladder(folder / "runs")
    db = Path("astraios.duckdb")
    store.ingest(db, folder / "runs")
    monkeypatch.setattr("sys.stdin", io.StringIO("select 41 + 1 as answer"))
    run("database.md", **{"1a2b3c": "lora-0-0", "4d5e6f": "lora-1-0"})
    assert Path("other.duckdb").exists()


def frame() -> pl.DataFrame:
    """Final losses of two methods at five sizes."""
    rows = [
        {
            "method": method,
            "model": f"m{i}",
            "n_params": n,
            "loss": 1.7 + floor + 90 * n**-0.3,
            "run_id": f"{method}{i}",
        }
        for method, floor in (("lora", 0.0), ("fft", 0.2))
        for i, n in enumerate((1e7, 3e7, 1e8, 3e8, 1e9))
    ]
    return pl.DataFrame(rows)


def test_the_python_of_the_readme_runs(folder: Path) -> None:
    frame().rename({"loss": "test_loss"}).write_csv("runs.csv")
    assert run_cli("import", "runs.csv").returncode == 0
    [code] = blocks("README.md", "python")
    names = {"frame": frame()}
    exec(code, names)
    assert names["result"].predict(n_params=[16e9]).height == 2  # type: ignore[attr-defined]


def test_the_python_of_fitting_and_tracking_runs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    [code] = blocks("fitting.md", "python")
    exec(code, {"frame": frame().rename({"method": "method_id"})})
    assert "2 series, 10 runs" in capsys.readouterr().out
    exec(blocks("tracking.md", "python")[0], {})
    assert store.ingest(Path("a.duckdb"), folder / "runs").n_new == 1


def test_the_assistants_entry_starts_a_command() -> None:
    [entry] = blocks("assistants.md", "json")
    server = json.loads(entry)["mcpServers"]["astraios"]
    assert f"{server['command']} {server['args'][0]}" == "astraios mcp"
    assert "--db" in server["args"]
