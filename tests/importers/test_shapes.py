"""Content of the wrong shape ends in one line, or is taken as far as it makes sense; never in a traceback."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path
from typing import Any

import pytest

from astraios import workflow
from astraios.errors import AstraiosError
from tests.importers.conftest import FILES

JSON_FILES = {
    "trainer": "trainer/lora/trainer_state.json", "lm-eval": "lm_eval/results_2026-11-23T07-32-29.506487.json",
    "inspect": "inspect/facts.json.gz", "bigcode": "bigcode/evaluation_results.json",
    "peft-comparison": "peft/ia3--llama-3.2-3B-default.json",
}  # fmt: skip
PIECES: list[Any] = [None, True, -1, 1e400, "", "x", [], [1], {}, {"a": 1}, [[]], "\ud800"]


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, one in inner for place in places(one, (*path, key)))]


@pytest.mark.parametrize("form", list(JSON_FILES))
def test_any_part_replaced_by_anything(form: str, tmp_path: Path) -> None:
    file = FILES / JSON_FILES[form]
    text = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    rng = random.Random(0)
    where = places(json.loads(text))[1:]
    shallow = [place for place in where if len(place) < 4]
    path = tmp_path / file.name.removesuffix(".gz")
    request = workflow.ImportRequest(form, facts=["n_params=1B"], dry_run=True)
    for place in rng.sample(shallow, min(120, len(shallow))) + rng.sample(where, min(60, len(where))):
        content = json.loads(text)
        inner = content
        for key in place[:-1]:
            inner = inner[key]
        inner[place[-1]] = rng.choice(PIECES)
        path.write_text(json.dumps(content))
        try:
            workflow.import_results(tmp_path / "none.duckdb", str(path), request)
            line = ""
        except AstraiosError as error:
            line = str(error)
        assert "\n" not in line, (place, line)
