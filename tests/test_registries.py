"""What a task, a tuning method or a ladder is, is said in its own file and nowhere else."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from astraios.errors import UsageError
from astraios.evaluate.tasks import TASKS
from astraios.importers import _models, paper
from astraios.importers._models import method_row, peft_method
from astraios.importers._runs import task_row
from astraios.models.ladders import LADDERS
from astraios.models.methods import METHODS, recognise
from astraios.records import frame
from tests.conftest import REPOSITORY

PACKAGE = REPOSITORY / "astraios"
REGISTRIES = ("evaluate/tasks", "models/methods", "models/ladders")
CHARTS = "report/figures"
"""Has titles of charts, which may be a task's."""


def texts(path: Path) -> Iterator[str]:
    """Texts in the code of a file, docstrings and comments left out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    said = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in said:
            yield node.value


def test_no_file_but_its_own_describes_a_task_a_method_or_a_base_model() -> None:
    described = {text for task in TASKS for text in (task.title, task.citation) if text}
    described |= {text for method in METHODS for text in (method.title, method.citation)}
    described |= {rung.model_id for ladder in LADDERS for rung in ladder.rungs()}
    again = [
        f"{path.relative_to(REPOSITORY)}: {text!r}"
        for path in sorted(PACKAGE.rglob("*.py"))
        if not path.relative_to(PACKAGE).as_posix().startswith((*REGISTRIES, CHARTS))
        for text in texts(path)
        if text in described
    ]
    assert not again


def test_importers_describe_as_the_registries_do() -> None:
    for task in TASKS:
        assert task_row(task.name, "anything", "other") == task.describe()
    for method in METHODS:
        assert method_row(method.name) == method.describe()
    registered = set(METHODS.names())
    assert not registered & {name for names in _models._KINDS.values() for name in names}


def test_the_published_tables_hold_numbers_and_no_descriptions() -> None:
    frames = paper.frames()
    assert len(frames["task"]) == 13
    described = frame([TASKS.get(name).describe() for name in frames["task"]["task_id"]])
    assert frames["task"].equals(described)
    assert frames["tuning_method"].equals(frame([method_row(name) for name in frames["tuning_method"]["method_id"]]))
    rungs = {rung.model_id: rung for rung in LADDERS.get("starcoderbase").rungs()}
    for row in frames["base_model"].to_dicts():
        rung = rungs.pop(row["model_id"])
        assert (row["n_params"], row["n_params_nonembedding"]) == (rung.n_params, rung.n_params_nonembedding)
    assert not rungs


def test_a_task_that_other_tools_scored_keeps_its_chance_level() -> None:
    assert task_row("mutant", "accuracy").chance == 0.5


def test_each_metric_has_a_direction_of_its_own() -> None:
    security = TASKS.get("aatk").describe()
    assert (security.metric, security.higher_is_better) == ("valid", True)
    assert "insecure" in security.lower_is_better
    assert not TASKS.get("perplexity").higher_is_better
    told = task_row("theirs", "acc", lower_is_better=["ppl"])
    assert (told.higher_is_better, told.lower_is_better) == (True, ["ppl"])
    assert task_row("theirs", "ppl", lower_is_better=["ppl"]).higher_is_better is False


LORA = {"peft_type": "LORA", "r": 8, "lora_alpha": 16, "lora_dropout": 0.0, "target_modules": ["q_proj"]}
NF4 = {"quantization_config": {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}}


@pytest.mark.parametrize(
    ("config", "method"),
    [
        (LORA, "lora"),
        ({**LORA, "init_lora_weights": "gaussian", "use_dora": False}, "lora"),
        ({**LORA, "use_dora": True}, "dora"),
        ({**LORA, "use_rslora": True}, "rslora"),
        ({**LORA, "use_dora": "False", "use_rslora": "True"}, "rslora"),
        ({**LORA, "init_lora_weights": "pissa_niter_16"}, "pissa"),
        ({**LORA, **NF4}, "qlora"),
        ({**LORA, **NF4, "use_dora": True}, "dora"),
        ({**LORA, "use_dora": True, "use_rslora": True}, "dora-rslora"),
        ({**LORA, "init_lora_weights": "olora"}, "olora"),
        ({"peft_type": "PeftType.IA3"}, "ia3"),
        ({"peft_type": "BOTTLENECK", "bottleneck_size": 64}, "adapterh"),
        ({"peft_type": "BOTTLENECK", "use_adapterp": True}, "adapterp"),
        ({"peft_type": "BOTTLENECK", "use_parallel_adapter": True}, "parallel"),
        ({"peft_type": "PREFIX_TUNING"}, "prefixtuning"),
        ({}, "unspecified"),
    ],
)
def test_an_adapter_says_its_method(config: dict, method: str) -> None:
    assert peft_method(config) == method
    known = recognise(config)
    assert (known[0] if known else None) == (method if method in METHODS else None)
    if method in METHODS:
        assert known
        assert METHODS.get(method).with_defaults(known[1]), "what it states are settings of the method"


def test_the_settings_that_an_adapter_states() -> None:
    stated = recognise({**LORA, "lora_alpha": 64, "use_rslora": True})
    assert stated == ("rslora", {"rank": 8, "alpha": 64, "dropout": 0.0, "target_modules": ["q_proj"]})


def test_what_the_settings_of_a_method_are_called_is_true() -> None:
    for method in METHODS:
        assert set(method.peft_names) - {"input_modules"} <= set(method.settings)


def test_options_reach_the_tasks_that_take_them() -> None:
    from astraios.evaluate.options import EvaluateOptions
    from astraios.evaluate.tasks import options_of

    both = options_of(
        ["humanevalfix-java", "devign"], EvaluateOptions, {"language_level": 8, "limit": 2, "batch": None}
    )
    assert both["humanevalfix-java"].own.language_level == 8
    assert (both["devign"].limit, both["devign"].batch) == (2, None)
    with pytest.raises(UsageError, match=r"devign takes no option 'language-level': humanevalexplain-java"):
        options_of(["devign"], EvaluateOptions, {"language_level": 8})
    with pytest.raises(UsageError, match="did you mean 'limit'"):
        options_of(["devign"], EvaluateOptions, {"limt": 8})
    with pytest.raises(UsageError, match="limit = 0: must be at least 1"):
        options_of(["devign"], EvaluateOptions, {"limit": 0})
    with pytest.raises(UsageError, match="options of another task"):
        both["devign"].of(TASKS.get("aatk").own_options)
