"""The JSON Schema of a sweep: what astraios reads it allows, what astraios refuses it refuses at the same place."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest

from astraios.collect.launch import LAUNCHERS
from astraios.collect.plan.extends import built_in_sweeps
from astraios.collect.plan.sweep import Sweep
from astraios.collect.schema import sweep_schema
from astraios.errors import UsageError
from tests.conftest import REPOSITORY, assert_one_line, run_cli

jsonschema = pytest.importorskip("jsonschema")

FIRST = """
name = "mine"
models = ["tiny/66k", "7B"]
methods = ["lora", "fft", "adalora"]
seeds = [0, 1]
tasks = ["next-token"]
[data]
source = "table"
path = "pairs.jsonl"
sequence_length = 256
n_train_tokens = [1e6, 4e6]
[train]
steps = [100, 200]
betas = [0.9, 0.95]
[compute]
device = "cpu"
[keep]
adapters = true
[method.lora]
rank = [4, 16]
target_modules = [["c_attn"], ["c_attn", "c_proj"]]
learning_rate = [1e-4, 1e-3]
[method.lora."7B"]
rank = 8
[launch.slurm]
partition = "gpu"
[task.next-token]
limit = 5
[composite.mine]
tasks = ["next-token"]
"""
WRONG = [
    # what is written, what stands there instead, where the schema says that it is wrong
    ("seeds =", "seed =", ""),
    ('models = ["tiny/66k", "7B"]', 'models = "tinny"', "models"),
    ('"lora", "fft"', '"lora", "ftt"', "methods/1"),
    ('tasks = ["next-token"]\n[data]', 'tasks = ["next-tokens"]\n[data]', "tasks/0"),
    ("seeds = [0, 1]", 'seeds = ["a"]', "seeds/0"),
    ('source = "table"', 'source = "tabel"', "data/source"),
    ("path =", "file =", "data"),
    ('path = "pairs.jsonl"', 'id = "bigcode/x"', "data"),
    ("sequence_length = 256", "sequence_lenght = 256", "data"),
    ("sequence_length = 256", 'sequence_length = "256"', "data/sequence_length"),
    ("[1e6, 4e6]", "[0, 4e6]", "data/n_train_tokens"),
    ("steps = [100, 200]", "step = 100", "train"),
    ("steps = [100, 200]", "steps = 0", "train/steps"),
    ("steps = [100, 200]", "eval_every = [5, 10]", "train/eval_every"),
    ("betas = [0.9, 0.95]", "betas = [0.9, 1.5]", "train/betas"),
    ('device = "cpu"', "worker = 2", "compute"),
    ("adapters = true", "adapters = 1", "keep/adapters"),
    ("[method.lora]", "[method.lroa]", "method"),
    ("rank = [4, 16]", "rnak = 4", "method/lora/rnak"),
    ("rank = [4, 16]", "rank = [4, 0.5]", "method/lora/rank"),
    ("rank = 8", "rnak = 8", "method/lora/7B"),
    ("learning_rate = [1e-4, 1e-3]", "learning_rate = -1.0", "method/lora/learning_rate"),
    ("partition =", "partiton =", "launch/slurm"),
    ("[launch.slurm]", "[launch.slrum]", "launch"),
    ("limit = 5", "limits = 5", "task/next-token"),
    ("[composite.mine]\ntasks", "[composite.mine]\ntask", "composite/mine"),
]


@pytest.fixture(scope="module")
def validator() -> object:
    schema = sweep_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(json.loads(json.dumps(schema)))


def check(sweep: Sweep) -> None:
    """What a plan refuses before it looks at any data; [launch] is checked by whoever starts the cells."""
    sweep.composite_rows()
    for name, options in sweep.launch.items():
        LAUNCHERS.get(name).check(options)


def places(validator: object, text: str) -> list[str]:
    return ["/".join(map(str, error.absolute_path)) for error in validator.iter_errors(tomllib.loads(text))]  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", built_in_sweeps())
def test_built_in_sweeps_are_valid(name: str, validator: object) -> None:
    assert places(validator, built_in_sweeps()[name]) == []


def test_sweeps_of_the_docs_are_valid(validator: object) -> None:
    blocks = [
        block
        for path in [REPOSITORY / "README.md", *(REPOSITORY / "docs").glob("*.md")]
        for block in re.findall(r"```toml\n(.*?)```", path.read_text(), re.S)
    ]
    assert len(blocks) > 3
    for block in blocks:
        table = tomllib.loads(block)
        if "project" in table:
            continue  # A package's own file.
        table = {"extends": "tiny", **table}
        assert [e.message for e in validator.iter_errors(table)] == [], block  # type: ignore[attr-defined]


def test_what_is_read_is_valid(validator: object, tmp_path: Path) -> None:
    (tmp_path / "pairs.jsonl").write_text('{"prompt": "a", "completion": "b"}\n')
    (tmp_path / "s.toml").write_text(FIRST)
    assert Sweep.read(str(tmp_path / "s.toml")).methods == ("lora", "fft", "adalora")
    assert places(validator, FIRST) == []


@pytest.mark.parametrize(("right", "wrong", "where"), WRONG, ids=[wrong for _, wrong, _ in WRONG])
def test_what_is_refused_is_invalid_at_its_place(
    right: str, wrong: str, where: str, validator: object, tmp_path: Path
) -> None:
    text = FIRST.replace(right, wrong, 1)
    assert text != FIRST
    assert where in places(validator, text)
    (tmp_path / "pairs.jsonl").write_text('{"prompt": "a", "completion": "b"}\n')
    (tmp_path / "s.toml").write_text(text)
    with pytest.raises(UsageError):
        check(Sweep.read(str(tmp_path / "s.toml")))


def test_fields_have_their_texts() -> None:
    schema = sweep_schema()["properties"]
    assert schema["train"]["properties"]["warmup_steps"]["description"] == "Steps of linear warm-up."
    assert (
        "adapter" in schema["keep"]["properties"]["adapters"]["description"].lower()
        or "method adds" in (schema["keep"]["properties"]["adapters"]["description"])
    )
    assert {"fft", "lora", "ia3"} <= set(schema["method"]["properties"])


def test_a_first_sweep_is_one_to_start_from(validator: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made = run_cli("init-sweep", "mine.toml")
    assert made.returncode == 0, made.stderr
    text = (tmp_path / "mine.toml").read_text()
    assert text.startswith("#:schema ./astraios-sweep.schema.json\n")
    assert json.loads((tmp_path / "astraios-sweep.schema.json").read_text()) == json.loads(json.dumps(sweep_schema()))
    assert places(validator, text) == []
    plan = run_cli("collect", "mine.toml", "--dry-run", "--json")
    assert plan.returncode == 0, plan.stderr
    assert len(json.loads(plan.stdout)) == 15
    assert_one_line(run_cli("init-sweep", "mine.toml"), 2, "is there already")
    printed = run_cli("schema")
    assert json.loads(printed.stdout)["title"] == "A sweep of astraios"
    assert run_cli("schema", "--output", "x.json").returncode == 0
    assert (tmp_path / "x.json").read_text() == printed.stdout
