"""Tasks that tuned models are scored on, one file each. A task is registered by being a module-level `Task`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from astraios.data.packing import DataSpec
from astraios.data.sources import Record
from astraios.errors import UsageError, did_you_mean
from astraios.evaluate.ending import END, cut
from astraios.evaluate.options import EvaluateOptions, Nothing, ScoreOptions
from astraios.records import TaskResult, TaskRow
from astraios.registry import Registry

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedTokenizerBase

    from astraios.evaluate.execute.engine import Engine
    from astraios.evaluate.generate.requests import Generates
    from astraios.evaluate.tasks._gold import Gold

Options = TypeVar("Options", bound=ScoreOptions)


@dataclass(frozen=True)
class TunedModel:
    """A model as tasks meet it."""

    model: nn.Module
    tokenizer: PreTrainedTokenizerBase
    n_virtual: int
    """Positions that the tuning method puts in front of the logits."""
    n_positions: int
    """Longest sequence that the model reads, virtual tokens not counted."""
    data: DataSpec
    """Prompt format that it was tuned on."""
    held_out: Sequence[Record] = ()
    """Test records of the data that it was tuned on."""
    seed: int = 0
    options: EvaluateOptions = field(default_factory=EvaluateOptions)
    generator: Callable[[Decoding], Generates] | None = None
    """Another inference engine that answers for the model; None is transformers on `model`."""
    engine: str = "transformers"
    """Name of the engine that answers, for the record."""


@dataclass(frozen=True, kw_only=True)
class Scoring:
    """What a task needs beside the generations in order to score them."""

    options: ScoreOptions = field(default_factory=ScoreOptions)
    engine: Callable[[], Engine] | None = None
    """Gives the engine that runs programs, started when it is first needed."""
    progress: Callable[[int, int], None] | None = None


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """One prompt, and what ends its answer."""

    item_id: str
    text: str
    stop: tuple[str, ...] = ()
    """The answer is complete when it holds one of these; END always is one."""
    complete: Callable[[str], bool] | None = None
    """Whether an answer is complete in another way; engines that know stop texts alone go on."""
    prefix: str = ""
    """What is put in front of the answer to make the sample (the program's beginning)."""


@dataclass(frozen=True, kw_only=True)
class Decoding:
    """How answers are drawn."""

    n_samples: int = 1
    temperature: float = 0.0
    """0 is greedy."""
    max_length: int = 2048
    """Tokens of prompt and answer together."""
    top_p: float = 0.95
    answer_tokens: int = 250
    """Tokens of a typical answer, for estimates: the mean of the released ones, at three characters a token."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a task is; how it is scored is the business of its subclass."""

    name: str
    """Identifier in the database and on the command line, for instance "humanevalfix-java"."""
    title: str
    """Name as printed in charts and tables."""
    kind: str
    """comprehension, generation, robustness, security or likelihood."""
    metric: str
    """The metric that charts and fits use first."""
    chance: float | None
    """Score of guessing, a fraction: 0 where guessing solves nothing, None where it is no constant of the task."""
    ceiling: float = 1.0
    lower_is_better: tuple[str, ...] = ()
    """Metrics of which less is better; more is better of all others."""
    citation: str = ""
    n_problems: int | None = None
    """Prompts of the whole benchmark, for estimates; None where that is not a constant of the task."""
    n_stages: int = 1
    """Texts that are generated for one sample, one after the other."""
    id_key: str = "task_id"
    """Key of an item's name in generations and gold data."""

    def describe(self) -> TaskRow:
        """The row of the table `task`."""
        return TaskRow(
            task_id=self.name,
            title=self.title,
            kind=self.kind,
            metric=self.metric,
            chance=self.chance,
            ceiling=self.ceiling,
            higher_is_better=self.higher_is_better,
            lower_is_better=list(self.lower_is_better),
            citation=self.citation or None,
        )

    @property
    def higher_is_better(self) -> bool:
        """Direction of the main metric."""
        return self.metric not in self.lower_is_better

    @property
    def own_options(self) -> type:
        """Dataclass of the options that this task takes beside those that all take."""
        return Nothing

    def read_options(self, kind: type[Options], values: Mapping[str, Any], prefix: str) -> Options:
        """The task's options from a table, options of a command or keywords.

        Args:
            kind: ScoreOptions or EvaluateOptions.
            values: by name; None is the default.
            prefix: what stands before a name in an error.

        Raises:
            UsageError: an unknown name, or a value of the wrong type or out of range.
        """
        return kind.read(values, self.own_options, prefix)

    def n_shot(self, options: ScoreOptions) -> int:
        """Demonstrations in a prompt."""
        return 0

    def told(self, options: ScoreOptions) -> dict[str, Any]:
        """What tells an evaluation from others of the task: what a number depends on, beside the defaults."""
        shots = {"n_shot": self.n_shot(options)} if self.n_shot(options) else {}
        unused = {"n_shot"} if self.from_generations else {"n_shot", "engine"}
        return {**{name: value for name, value in options.told().items() if name not in unused}, **shots}

    def evaluate(self, model: TunedModel) -> TaskResult:
        """Scores a model.

        Raises:
            CellError: the task does not fit the model.
            UsageError: the task has no way of its own to score a model.
        """
        raise UsageError(f"task {self.name!r} has nothing to generate and no way of its own to score a model")

    @property
    def from_generations(self) -> bool:
        """Whether the task can be scored from texts alone."""
        return type(self).score is not Task.score

    def score(self, path: Path, scoring: Scoring) -> TaskResult:
        """Score the generations in the file `path`.

        Raises:
            DataError: the file or the gold data are not what the task needs.
            UsageError: this task has no generations.
        """
        raise UsageError(f"task {self.name!r} is not scored from generations: it needs the model itself")

    def prompts(self, scoring: Scoring) -> Sequence[Prompt]:
        """What a model is asked, in the order of the gold data."""
        raise UsageError(f"task {self.name!r} has no prompts to generate from")

    def decoding(self) -> Decoding:
        """How the paper draws answers for this task (appendix E)."""
        return Decoding()

    def gold_files(self, options: ScoreOptions) -> Sequence[Gold]:
        """The gold data that these options need, a file each."""
        return ()

    def prompt_facts(self, scoring: Scoring) -> Mapping[str, Any]:
        """How the prompts were made, for the record, where the gold data do not say it."""
        return {}

    def cluster(self, item_id: str) -> str:
        """What items have in common that must be resampled together: variants of one problem give the problem."""
        return item_id

    def finish(self, prompt: Prompt, answer: str) -> str:
        """The sample that is stored: the answer, which holds the text that stopped it, after post-processing."""
        return prompt.prefix + cut(answer, (*prompt.stop, END))

    def follow_up(self, scoring: Scoring, answers: dict[str, list[str]]) -> Sequence[Prompt] | None:
        """Prompts of a second stage, made from the answers of the first; None where there is one stage."""
        return None


TASKS: Registry[Task] = Registry(Task, "astraios.evaluate.tasks", "task", group="astraios.tasks")


def cluster_of(task_id: str) -> Callable[[str], str]:
    """What items of a task, ours or another's, have in common that must be resampled together."""
    return TASKS.get(task_id).cluster if task_id in TASKS else str


def find_asked(name: str) -> tuple[Task, dict[str, Any]]:
    """The task of an entry of a sweep's `tasks`, and the options that the entry says.

    >>> task, options = find_asked("devign@1")
    >>> task.name, options
    ('devign', {'n_shot': 1})

    Raises:
        UsageError: no such task, or it takes no demonstrations, or not so many.
    """
    task_id, several, text = name.partition("@")
    task = TASKS.get(task_id)
    if not several:
        return task, {}
    asked = {"n_shot": int(text) if text.isdecimal() else text}
    task.read_options(ScoreOptions, asked, f"task {name!r}: ")
    return task, asked


def options_of(tasks: Sequence[str], kind: type[Options], values: Mapping[str, Any]) -> dict[str, Options]:
    """Options of each of several tasks; what one alone takes reaches that one alone.

    Args:
        tasks: names of tasks.
        kind: ScoreOptions or EvaluateOptions.
        values: by name; None is the default.

    Raises:
        UsageError: an unknown task; an option that none of them takes; a value of the wrong type or out of range.
    """
    own = {name: {f.name for f in fields(TASKS.get(name).own_options)} for name in tasks}
    shared = set(kind.names())
    given = {name: value for name, value in values.items() if value is not None}
    for name in given:
        if name not in shared.union(*own.values()):
            others = [task.name for task in TASKS if name in {f.name for f in fields(task.own_options)}]
            known = f"{', '.join(others)} do" if others else did_you_mean(name, shared.union(*own.values()))
            raise UsageError(f"{', '.join(tasks)} takes no option {name.replace('_', '-')!r}: {known}")
    return {
        task: TASKS.get(task).read_options(kind, {k: v for k, v in given.items() if k in shared | own[task]}, "option ")
        for task in tasks
    }
