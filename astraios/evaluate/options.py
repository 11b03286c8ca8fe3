"""How a model is scored: the options of a score and of an evaluation, whether a command, a sweep or Python asks.

What one task alone takes (a Java language level, a nominal score) is a dataclass in that task's file; `own` holds an
instance of it.

>>> ScoreOptions.read({"limit": 3}, Nothing, "--").limit
3
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

from astraios.errors import UsageError
from astraios.settings import build, check, check_fields, require_table, rules_of, setting

T = TypeVar("T")
ENGINES = ("auto", "transformers", "vllm")
"""What generates."""
PLACED = ("own", "folder")
"""Fields that no table and no option sets by its name."""


@dataclass(frozen=True)
class Nothing:
    """Options of a task that has none of its own."""


@dataclass(frozen=True, kw_only=True)
class ScoreOptions:
    """How texts are scored."""

    data_dir: Path | None = setting(None, counts=False)  # noqa: RUF009 (a field, as everywhere)
    """Folder of gold files; what is not in it comes from the hub, where it is there as a file."""
    revision: str | None = None
    """Branch, tag or commit of gold data that come from the hub; None is its main branch."""
    limit: int | None = setting(None, minimum=1, unit="problems")
    """Only the first problems, for a trial."""
    workers: int | None = setting(None, minimum=1, counts=False)
    """Jailed processes that run programs; None is one a core."""
    isolation: str = setting("auto", counts=False)
    """Level of the sandbox; auto takes the strongest."""
    own: Any = Nothing()
    """What the task alone takes: an instance of its `own_options`."""

    def __post_init__(self) -> None:
        check_fields(self, "")

    @classmethod
    def read(cls, values: Mapping[str, Any], own: type, prefix: str) -> Self:
        """Options from a table of TOML, options of a command or keywords.

        Args:
            values: by name, the task's own among them; None is the default.
            own: the task's own dataclass.
            prefix: what stands before a name in an error, for instance "[task.devign] ".

        Raises:
            UsageError: an unknown name, or a value of the wrong type or out of range.
        """
        require_table(values, prefix)
        given = {name: value for name, value in values.items() if value is not None}
        shared = cls.names()
        for_task = {name: value for name, value in given.items() if name not in shared}
        check(rules_of(own), for_task, prefix, besides=shared)
        asked = {name: value for name, value in given.items() if name in shared}
        return dataclasses.replace(build(cls, asked, prefix), own=build(own, for_task, prefix))

    @classmethod
    def names(cls) -> list[str]:
        """Names that every task takes."""
        return [f.name for f in dataclasses.fields(cls) if f.name not in PLACED]

    def told(self) -> dict[str, Any]:
        """What was asked for that a number depends on, beside the defaults; JSON types.

        >>> ScoreOptions(limit=3, workers=2).told()
        {'limit': 3}
        """
        fields = [(self, f) for f in dataclasses.fields(self) if f.name not in PLACED]
        fields += [(self.own, f) for f in dataclasses.fields(self.own)]
        counted = {f.name: getattr(of, f.name) for of, f in fields if f.metadata.get("counts", True)}
        defaults = {f.name: f.default for _, f in fields}
        return {
            name: str(value) if isinstance(value, Path) else value
            for name, value in counted.items()
            if value != defaults[name]
        }

    def of(self, own: type[T]) -> T:
        """The task's own options; their defaults where none were given.

        Raises:
            UsageError: they are those of another task.
        """
        if isinstance(self.own, own):
            return self.own
        if not isinstance(self.own, Nothing):
            raise UsageError(f"options of another task were given: {type(self.own).__name__}, not {own.__name__}")
        return own()


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions(ScoreOptions):
    """How a model is asked, and its answers scored."""

    n_samples: int | None = setting(None, minimum=1)
    """Samples a problem; None is the task's own number."""
    batch: int | None = setting(None, minimum=1, counts=False)
    """Rows generated at once; None is as many as there is memory for."""
    engine: str = setting("auto", choices=ENGINES)
    """What generates for a cell: transformers, vllm, or auto: vLLM where it is installed, a GPU is there, and it can
    serve the very model that was tuned."""
    folder: Path | None = None
    """Where answers and verdicts are kept, so that the same request goes on; None keeps nothing."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """The model to be scored."""

    model: str
    """Hub id (organisation/name, organisation/name@revision), folder, or a base model of a ladder."""
    revision: str | None = None
    """Branch, tag or commit of a model of the hub, where its name does not say it."""
    adapter: Path | None = None
    """Folder of a PEFT adapter."""
    engine: str = "auto"
    """transformers, vllm, or auto: vLLM where it is installed, a GPU is there, and the adapter allows it."""
    ray: str | None = None
    """Address of a Ray cluster (HOST:PORT, auto, or here to start one) whose machines run the vLLM engines."""
    engines: int = 1
    """vLLM engines on it."""
    tensor_parallel: int = 1
    """GPUs that a vLLM engine spreads the model over."""
    device: str | None = None
    dtype: str = "auto"
    """float32, bfloat16, float16, or auto: bfloat16 on a GPU that has it, else what the files hold."""
    quantization: str | None = None
    trust_remote_code: bool = False
    seed: int = 0
    records: Path | None = None
    """Held-out instruction data (JSONL or Parquet with prompt and completion), for perplexity."""
