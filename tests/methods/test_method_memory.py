"""The plan of memory beside what training holds: the methods whose own computation takes more than any layer."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("peft")

from astraios.models.counting import without_storage
from astraios.models.methods import METHODS
from astraios.train.memory import Working


@pytest.fixture(scope="module")
def benchmark() -> Any:
    path = Path(__file__).parents[2] / "benchmarks" / "memory.py"
    spec = importlib.util.spec_from_file_location("memory_benchmark", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.promise("the plan of memory is within a tenth of what training holds")
@pytest.mark.parametrize("method_id", ["boft", "dora", "lora"])
def test_memory_is_planned_within_a_tenth(method_id: str, benchmark: Any) -> None:
    for size in benchmark.SIZES:
        peak, plan = benchmark.measured(method_id, *size)
        assert plan == pytest.approx(peak, rel=0.1)


def test_what_a_method_works_out_is_counted_from_its_modules() -> None:
    """By hand for one layer: attention's two projections and the feed-forward's second, 4 times as wide."""
    from transformers import AutoConfig

    config = AutoConfig.for_model("gpt_bigcode", vocab_size=100, n_embd=64, n_layer=3, n_head=4)
    model, squares = without_storage(config), 64**2 + 64**2 + 256**2
    boft, dora = (METHODS.get(name) for name in ("boft", "dora"))
    found = boft.working(model, boft.with_defaults({}), 2)
    assert found.frozen == 3 * 4 * squares
    assert boft.working(model, boft.with_defaults({"target_modules": ["mlp.c_proj"]}), 2).frozen == 3 * 4 * 256**2
    assert dora.working(model, dora.with_defaults({}), 4).passing == 4 * 256**2 + 3 * 4 * 256 * 64
    assert dora.working(model, dora.with_defaults({}), 4).layer == 0
    # In bfloat16 each matrix is copied; attention's first projection has one key and one value head of 16.
    assert dora.working(model, dora.with_defaults({}), 2).layer == 4 * (64 * 96 + 64 * 64 + 256 * 64)
    lora = METHODS.get("lora")
    assert lora.working(model, lora.with_defaults({}), 4) == Working()
