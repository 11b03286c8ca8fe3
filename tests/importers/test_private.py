"""Keys and tokens never reach the database; hosts, users and paths only when asked for."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from astraios.importers._private import clean, is_secret, short_path
from tests.conftest import run_cli
from tests.importers.conftest import content
from tests.importers.make_files import SECRET

Copy = Callable[[str], Path]


def everything(db: Path) -> str:
    return "\n".join(row for rows in content(db).values() for row in rows)


@pytest.mark.parametrize("name", ["wandb", "mlflow/mlruns", "mlflow/mlflow.db"])
@pytest.mark.parametrize("private", [False, True])
def test_what_was_planted(name: str, private: bool, source: Copy, tmp_path: Path) -> None:
    """Real files with a key in the settings, nested too, a path and a user."""
    path, db = source(name), tmp_path / "a.duckdb"
    kept = b"".join(file.read_bytes() for file in path.rglob("*") if file.is_file()) or path.read_bytes()
    assert SECRET.encode() in kept
    assert b"/data/somebody" in kept
    options = ("--keep-private",) if private else ()
    assert run_cli("import", path, "--db", db, *options).returncode == 0
    text = everything(db)
    assert "learning_rate" in text
    assert "planted" not in text
    assert ("/data/somebody/out" in text) == private
    assert ("somebody" in text) == private
    assert ("'machine'" in text or '"machine"' in text) == (private and name == "wandb")
    assert SECRET.encode() not in db.read_bytes()


def test_keys_in_adapters_and_harness_arguments(source: Copy, tmp_path: Path) -> None:
    db = tmp_path / "a.duckdb"
    folder = source("trainer/lora")
    for file in folder.rglob("adapter_config.json"):
        file.write_text(json.dumps({**json.loads(file.read_text()), "hub_token": SECRET, "note": f"with {SECRET}"}))
    harness = source("lm_eval")
    file = next(harness.glob("results_*.json"))
    file.write_text(file.read_text().replace("dtype=float32", f"dtype=float32,token={SECRET}"))
    for path in (folder, harness):
        assert run_cli("import", path, "--db", db, "--set", "n_params=12208").returncode == 0
    assert "planted" not in everything(db)


@pytest.mark.parametrize(
    "name",
    ["token", "hub_token", "HF_TOKEN", "api_key", "apiKey", "openaiApiKey", "use_auth_token", "password", "db.passwd",
     "aws_secret_access_key", "client-secret", "authorization", "wandb/key", "ssh_private_key", "accessToken"],
)  # fmt: skip
def test_names_that_hold_secrets(name: str) -> None:
    assert is_secret(name)


@pytest.mark.parametrize(
    "name",
    ["n_tokens", "max_new_tokens", "pad_token", "eos_token_id", "tokenizer", "num_input_tokens_seen", "keyword",
     "monkey", "author", "tokens_per_step", "key_size", "add_special_tokens", "bos_token"],
)  # fmt: skip
def test_names_that_do_not(name: str) -> None:
    assert not is_secret(name)


@pytest.mark.parametrize(
    "text",
    ["--hub_token hf_abcdefghijklmnop1234", "sk-proj-abcdefghijklmnop", "ghp_abcdefghijklmnopqrst1234",
     "AKIAABCDEFGHIJKLMNOP", "postgres://me:word@host/db", "eyJhbGciOiJIUzI1.eyJzdWIiOiIxMjM0.abc_def"],
)  # fmt: skip
def test_texts_that_are_secrets(text: str) -> None:
    assert clean({"args": [text]}, private=True) == {"args": ["(left out)"]}


def test_a_secret_is_left_out_wherever_it_is_repeated() -> None:
    given = {"password": "open sesame", "command": "train --pass 'open sesame'", "rank": 8}
    assert clean(given) == {"command": "(left out)", "rank": 8}


@pytest.mark.parametrize(
    ("text", "short"),
    [
        ("/data/somebody/out", "out"), ("file:///srv/x/mlruns", "mlruns"), ("~/models/tiny", "tiny"),
        (r"C:\Users\me\run", "run"), ("python /opt/train.py --out /tmp/a/b", "python train.py --out b"),
        ("bigcode/starcoderbase-1b", "bigcode/starcoderbase-1b"), ("eval/loss", "eval/loss"), ("1/2", "1/2"),
        ("a - b / c", "a - b / c"), ("https://example.org/a/b", "https://example.org/a/b"), ("", ""),
    ],
)  # fmt: skip
def test_paths_are_cut(text: str, short: str) -> None:
    assert short_path(text) == short


def test_hosts_and_users_are_left_out() -> None:
    given = {"host": "node7", "hostname": "node7", "mlflow.user": "me", "ghost": 1, "host_name": "x", "username": "y"}
    assert clean(given) == {"ghost": 1}
    assert clean(given, private=True) == given
