"""One check of everything that may be set: tables of a sweep, launchers, tasks, data sources, tuning methods."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from astraios.collect.launch import LAUNCHERS
from astraios.collect.plan.compute import ComputeSpec, KeepSpec
from astraios.collect.plan.sweep import Sweep
from astraios.data.packing import DataSpec
from astraios.errors import UsageError
from astraios.evaluate.options import EvaluateOptions
from astraios.evaluate.tasks import TASKS
from astraios.models.methods import METHODS
from astraios.settings import build, pairs, rules_of, setting
from astraios.train.loop import TrainSpec
from tests.conftest import REPOSITORY


@dataclass(frozen=True)
class Oven:
    degrees: int = setting(200, minimum=50, maximum=300, unit="degrees C")
    share: float = setting(0.5, above=0, below=1)
    fan: bool = False
    mode: str = setting("top", choices=("top", "bottom"))
    book: Path | None = None
    times: tuple[float, float] = setting((1.0, 2.0), minimum=0)
    extra: dict[str, Any] = dataclasses.field(default_factory=dict)


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"degres": 3}, r"^\[oven\] unknown field 'degres': did you mean 'degrees'\? known: book, degrees"),
        ({"degrees": "hot"}, r"^\[oven\] degrees = 'hot': must be of type int$"),
        ({"degrees": True}, "must be of type int"),
        ({"degrees": 1.5}, "must be of type int"),
        ({"degrees": None}, "must be of type int"),
        ({"degrees": 49}, r"degrees = 49: must be at least 50 and at most 300$"),
        ({"share": 0}, r"share = 0: must be above 0 and below 1$"),
        ({"share": float("nan")}, "must be above 0 and below 1"),
        ({"fan": 1}, "must be of type bool"),
        ({"mode": "topp"}, "did you mean 'top'"),
        ({"book": 3}, "must be a path"),
        ({"times": [1.0, -1]}, "must be at least 0"),
        ({"times": 3}, "must be a list of numbers"),
        ({"times": [1.0]}, "must be a list of 2 numbers"),
        ([], r"^\[oven\] must be a table$"),
    ],
)
def test_a_wrong_value_is_one_line(table: Any, says: str) -> None:
    with pytest.raises(UsageError, match=says) as error:
        build(Oven, table, "[oven] ")
    assert "\n" not in str(error.value)


def test_a_right_one_is_taken() -> None:
    made = build(Oven, {"degrees": 50, "share": 0.1, "book": "a.txt", "times": [0, 3], "mode": "bottom"}, "[oven] ")
    assert made == Oven(50, 0.1, False, "bottom", Path("a.txt"), (0, 3))
    assert rules_of(Oven)["degrees"].unit == "degrees C"


def test_options_of_a_command_are_values() -> None:
    assert pairs(["a=3", "b=0.5", "c=word", "d=true", "e=x=y"], "--set") == {
        "a": 3, "b": 0.5, "c": "word", "d": True, "e": "x=y",
    }  # fmt: skip
    with pytest.raises(UsageError, match="--set 'a': write NAME=VALUE"):
        pairs(["a"], "--set")


@pytest.mark.parametrize("kind", [TrainSpec, DataSpec, ComputeSpec, KeepSpec])
def test_every_number_of_a_sweep_has_a_range(kind: type) -> None:
    """In the tables and from Python alike: what can't be, is refused before anything is planned."""
    for name, rule in rules_of(kind).items():
        assert rule.kind != "Any", f"{kind.__name__}.{name}: {rule}"
        if rule.kind in ("int", "float"):
            assert rule.minimum is not None or rule.above is not None, f"{kind.__name__}.{name} has no range"
            with pytest.raises(UsageError, match=f"{name} = -1: must be"):
                kind(**{name: -1})


def test_all_that_may_be_set_goes_through_one_check(small_models: list[str], pairs_file: Path) -> None:
    """A name that is nearly right is told in each of them."""
    from tests.conftest import sweep_toml

    text = sweep_toml(small_models[:1], pairs_file)
    for table in ("[method]\nlora = 3", "[task]\ndevign = 3", "[keep]\n[data]\nsource = 3", "data = 3"):
        with pytest.raises(UsageError, match="must be"):
            Sweep.from_toml(f'extends = "tiny"\nname = "x"\n{table}', "x")
    with pytest.raises(UsageError, match=r"\[launch.slurm\] must be a table"):
        LAUNCHERS.get("slurm").check(3)
    for change in ("[train]\nstep = 3", "[task.devign]\nlimt = 3", "[method.lora]\nrnak = 3"):
        with pytest.raises(UsageError, match="did you mean"):
            Sweep.from_toml(f'extends = "tiny"\nname = "x"\n{change}', "x")
    with pytest.raises(UsageError, match="did you mean 'partition'"):
        LAUNCHERS.get("slurm").check({"partitoin": "a"})
    with pytest.raises(UsageError, match="minutes = 0: must be at least 1"):
        LAUNCHERS.get("slurm").check({"train": {"minutes": 0}})
    with pytest.raises(UsageError, match=r"\[task.devign\] language_level|unknown field 'language_level'"):
        Sweep.from_toml(f"{text}\n[task.devign]\nlanguage_level = 8", "x")
    for module in sorted((REPOSITORY / "astraios").rglob("*.py")):
        if module.name != "settings.py":
            assert "must be of type" not in module.read_text(encoding="utf-8"), f"{module}: a second check"


def test_a_sweep_a_command_and_python_make_the_same_options(small_models: list[str], pairs_file: Path) -> None:
    from astraios.evaluate.tasks import options_of
    from tests.conftest import sweep_toml

    text = (
        sweep_toml(small_models[:1], pairs_file) + '\n[task.humanevalfix-java]\nlanguage_level = 8\ndata_dir = "gold"'
    )
    task = TASKS.get("humanevalfix-java")
    from_sweep = task.read_options(EvaluateOptions, Sweep.from_toml(text, "x").task[task.name], "")
    command = {"data_dir": Path("gold"), "limit": None, **pairs(["language_level=8"], "--set")}
    from_command = options_of([task.name], EvaluateOptions, command)[task.name]
    from_python = EvaluateOptions(data_dir=Path("gold"), own=task.own_options(language_level=8))
    assert from_sweep == from_command == from_python


def test_settings_of_methods_keep_whole_numbers_as_they_are() -> None:
    """They are part of a run's identity."""
    assert METHODS.get("lora").with_defaults({"rank": 8.0})["rank"] == 8.0
    with pytest.raises(UsageError, match=r"method.lora.rank = 8.5: must be a whole number"):
        METHODS.get("lora").with_defaults({"rank": 8.5})
