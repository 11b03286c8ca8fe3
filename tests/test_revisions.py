"""Downloads can be pinned; the commit that came is recorded, and a run is known by it and not by a name that moves."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from astraios import store
from astraios.collect.cell.training import Training, check_identity, prepared_data
from astraios.collect.plan.cell import Cell
from astraios.collect.plan.sweep import Sweep
from astraios.errors import UsageError
from astraios.hub import commit
from tests.conftest import run_cli, run_process
from tests.hub_server import Hub, serving

TAG = "v1.0"
SWEEP = """
name = "hubbed"
models = {models}
methods = ["lora"]
{pin}
[data]
source = "hub"
id = "org/pairs"
{data}
prompt_format = "Question: {{prompt}}\\n\\nAnswer:\\n{{completion}}"
sequence_length = 128
test_blocks = 4
[train]
steps = 2
batch_size = 2
warmup_steps = 1
eval_every = 2
[compute]
workers = 1
device = "cpu"
"""


@pytest.fixture
def hub(small_models: list[str], pairs_file: Path) -> Iterator[Hub]:
    """A hub with a model and data of two commits each; main is at the second, a tag at the first."""
    model = {path.name: path.read_bytes() for path in Path(small_models[0]).iterdir() if path.is_file()}
    other = {path.name: path.read_bytes() for path in Path(small_models[1]).iterdir() if path.is_file()}
    lines = pairs_file.read_bytes().splitlines(keepends=True)
    half = len(lines) // 2
    with serving() as found:
        found.push("models/org/base", model, TAG)
        found.push("models/org/base", {**other, "README.md": b"another"}, "main")
        files = {"train.jsonl": b"".join(lines[:half]), "test.jsonl": b"".join(lines[half:])}
        found.push("datasets/org/pairs", files, TAG)
        found.push("datasets/org/pairs", {**files, "train.jsonl": b"".join(lines[: half - 3])}, "main")
        yield found


class Asked:
    """A sweep of one cell over that hub."""

    def __init__(self, hub: Hub, folder: Path, patch: pytest.MonkeyPatch) -> None:
        from huggingface_hub import constants, hf_api

        self.hub, self.folder, self.patch = hub, folder, patch
        home = folder / "home"
        told = {"HF_ENDPOINT": hub.endpoint, "HF_HOME": home, "ASTRAIOS_CACHE": folder / "cache"}
        patient = dict.fromkeys(("HF_HUB_ETAG_TIMEOUT", "HF_HUB_DOWNLOAD_TIMEOUT"), 60)
        for name, value in {**told, **patient}.items():
            patch.setenv(name, str(value))  # for the processes of cells
        patch.setattr(constants, "ENDPOINT", hub.endpoint)  # for this one, which has read its environment
        patch.setattr(hf_api.api, "endpoint", hub.endpoint)
        patch.setattr("transformers.utils.hub._hf_api", None, raising=False)  # It would keep the first test's address.
        template = constants.HUGGINGFACE_CO_URL_TEMPLATE.partition("/{repo_id}")
        patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.endpoint + "".join(template[1:]))
        patch.setattr(constants, "HF_HUB_CACHE", str(home / "hub"))
        self.offline(False)
        patch.chdir(folder)
        self.write()

    def offline(self, yes: bool) -> None:
        from huggingface_hub import constants

        self.patch.setenv("HF_HUB_OFFLINE", str(int(yes)))
        self.patch.setattr(constants, "HF_HUB_OFFLINE", yes)

    def write(self, models: str = '["org/base"]', pin: str = "", data: str = "") -> None:
        (self.folder / "s.toml").write_text(SWEEP.format(models=models, pin=pin, data=data))

    def run(self, *words: object) -> subprocess.CompletedProcess[str]:
        commit.cache_clear()  # as in a process of its own
        if words[0] == "collect" and "--dry-run" not in words:
            # In one, because cells come from a server of processes that keeps the first test's environment.
            return run_process(*words, "--db", "t.duckdb", cwd=self.folder)
        return run_cli(*words, "--db", "t.duckdb")

    def planned(self) -> dict[str, Any]:
        result = self.run("collect", "s.toml", "--dry-run", "--json")
        assert result.returncode == 0, result.stderr
        [row] = json.loads(result.stdout)
        return dict(row)


@pytest.fixture
def asked(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Asked]:
    yield Asked(hub, tmp_path, monkeypatch)
    commit.cache_clear()


@pytest.mark.promise("a run is known by the content of what was downloaded")
def test_what_came_is_recorded_and_a_name_that_moves_makes_another_run(hub: Hub, asked: Asked) -> None:
    model, data = hub.refs["models/org/base"], hub.refs["datasets/org/pairs"]
    asked.write(pin=f'[model."org/base"]\nrevision = "{TAG}"', data=f'revision = "{TAG}"')
    pinned = asked.planned()
    result = asked.run("collect", "s.toml")
    assert result.returncode == 0, result.stderr
    sql = "select run_id, base_revision, data_revision from run"
    assert store.query(asked.folder / "t.duckdb", sql).rows() == [(pinned["run_id"], model[TAG], data[TAG])]

    asked.write()
    newest = asked.planned()
    assert (newest["state"], newest["run_id"] == pinned["run_id"]) == ("new", False)
    model["main"], data["main"] = model[TAG], data[TAG]
    assert asked.planned()["state"] == "done", "the same content under another name is the same run"
    asked.write(models=f'["org/base@{model[TAG]}"]', data=f'revision = "{data[TAG]}"')
    assert asked.planned()["run_id"] == pinned["run_id"]

    asked.write()
    asked.offline(True)
    assert asked.planned()["state"] == "done", "nobody can tell what main is now: it is what the hub said last"


@pytest.mark.promise("a run of an earlier version counts as done, under the id it has")
def test_a_run_from_before_commits_counted_is_done(hub: Hub, asked: Asked) -> None:
    """Its cell.json has the names alone, as it was written then."""
    assert asked.run("collect", "s.toml").returncode == 0
    [done] = (asked.folder / "runs").glob("*/cell.json")
    content = json.loads(done.read_text())
    assert content["named"] == {"revision": None, "data_identity": "org/pairs@main"}
    content |= {"revision": None, "data_identity": content.pop("named")["data_identity"]}
    del content["data"]["options"]["revision"]
    done.write_text(json.dumps(content))
    done.parent.rename(asked.folder / "runs" / "0123456789abcdef")
    for _ in range(2):
        row = asked.planned()
        assert (row["run_id"], row["state"]) == ("0123456789abcdef", "done")
        hub.refs["models/org/base"]["main"] = hub.refs["models/org/base"][TAG]
    asked.write(pin=f'[model."org/base"]\nrevision = "{TAG}"')
    assert asked.planned()["state"] == "new", "nobody knows that it was this revision"


def test_another_machine_takes_the_commit_that_was_planned(hub: Hub, asked: Asked) -> None:
    """The name moves between the plan and the run."""
    [planned] = Sweep.read("s.toml").cells()
    cell = Cell.from_json(planned.to_json())
    was = hub.refs["models/org/base"]["main"], hub.refs["datasets/org/pairs"]["main"]
    assert (cell.revision, cell.data_identity) == (was[0], f"org/pairs@{was[1]}")
    for refs in hub.refs.values():
        refs["main"] = refs[TAG]
    commit.cache_clear()
    check_identity(cell)
    training = Training(cell, "cpu")
    _, tokenizer = training.load_base()
    settings = prepared_data(cell, tokenizer)[1].settings
    assert isinstance(settings, dict)
    assert (training.came, settings["revision"]) == was


def test_gold_data_are_pinned_and_their_commit_is_recorded(hub: Hub, asked: Asked) -> None:
    names = ("prompt", "declaration", "canonical_solution", "buggy_solution", "docstring", "instruction")
    row = dict.fromkeys(names, "")
    row |= {"task_id": "Python/0", "entry_point": "f", "test": "assert f(3) == 9"}
    path = "data/python/data/humanevalpack.jsonl"
    sha = hub.push("datasets/bigcode/humanevalpack", {path: json.dumps(row).encode()}, TAG)
    wrong = {**row, "test": "assert f(3) == 8"}
    hub.push("datasets/bigcode/humanevalpack", {path: json.dumps(wrong).encode()}, "main")
    (asked.folder / "g.json").write_text(json.dumps([["def f(x):\n    return x * x"]]))
    words = ("score", "g.json", "--task", "humanevalsynthesize-python", "--model", "1B", "--method", "lora", "--json")
    newest = asked.run(*words)
    assert [one["value"] for one in json.loads(newest.stdout)] == [0.0], newest.stderr
    first = asked.run(*words, "--revision", TAG)
    assert [one["value"] for one in json.loads(first.stdout)] == [1.0], first.stderr
    assert store.query(asked.folder / "t.duckdb", "select gold_revision from evaluation").rows() == [(sha,)]
    none = asked.run(*words, "--revision", "v9")
    assert none.returncode != 0
    assert "has none of that name" in none.stderr
    assert len(none.stderr.strip().splitlines()) == 1
    folder = asked.run(*words, "--revision", TAG, "--data", ".")
    assert "come from a folder" in folder.stderr


def test_the_model_of_an_evaluation_is_pinned(hub: Hub, asked: Asked, small_models: list[str]) -> None:
    from astraios.evaluate.model import identity, is_named, load, pinned
    from astraios.evaluate.options import Subject

    refs = hub.refs["models/org/base"]
    newest, tagged = Subject(model="org/base"), Subject(model="org/base", revision=TAG)
    assert (pinned(newest), pinned(tagged)) == (("org/base", refs["main"]), ("org/base", refs[TAG]))
    assert pinned(Subject(model=f"org/base@{TAG}")) == pinned(tagged)
    assert identity(newest, refs["main"]) != identity(newest, refs[TAG])
    assert (is_named(newest), is_named(tagged), is_named(Subject(model="org/base@v2"))) == (True, False, False)
    width = load(tagged).model.config.hidden_size  # type: ignore[union-attr]
    assert width == load(Subject(model=small_models[0])).model.config.hidden_size  # type: ignore[union-attr]
    assert width != load(newest).model.config.hidden_size  # type: ignore[union-attr]
    with pytest.raises(UsageError, match="does not come from the hub"):
        pinned(Subject(model=small_models[0], revision=TAG))
    with pytest.raises(UsageError, match="names another one"):
        pinned(Subject(model=f"org/base@{TAG}", revision="v2"))


def test_a_revision_of_what_has_none_is_refused(asked: Asked) -> None:
    asked.write(models='["tiny/xs"]', pin='[model."tiny/xs"]\nrevision = "v1"')
    said = asked.run("collect", "s.toml", "--dry-run").stderr
    assert "tiny/xs" in said
    asked.write(pin='[model."org/other"]\nrevision = "v1"')
    assert "no base model of this sweep" in asked.run("collect", "s.toml", "--dry-run").stderr
    asked.write(models='["org/base@v1.0"]', pin='[model."org/base"]\nrevision = "v2"')
    assert "has revision v1.0 already" in asked.run("collect", "s.toml", "--dry-run").stderr
    asked.write(models='["org/base@v9"]')
    assert "none of that name on the hub" in asked.run("collect", "s.toml", "--dry-run").stderr
