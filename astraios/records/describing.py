"""What runs are described by, each thing once: bases, methods, data, tasks, sweeps and machines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from astraios.records.table import Column, Json, Timestamp, row_of


@row_of("base_model", key="model_id")
@dataclass(frozen=True, kw_only=True)
class BaseModelRow:
    """A pretrained model that tuning starts from: one rung of a ladder of sizes."""

    model_id: Annotated[str, Column("varchar", "Hub id, or ladder/name for a ladder that astraios builds itself.")]
    ladder: Annotated[
        str | None, Column("varchar", "The family of sizes that it belongs to, for instance starcoderbase or tiny.")
    ] = None
    revision: Annotated[
        str | None, Column("varchar", "Hub revision, or a hash of the recipe and data of a base that was built here.")
    ] = None
    architecture: Annotated[
        str | None, Column("varchar", "Architecture class, for instance GPTBigCodeForCausalLM.")
    ] = None
    n_params: Annotated[int, Column("bigint", "Total parameters, embeddings included.", "parameters")]
    n_params_nonembedding: Annotated[
        int | None, Column("bigint", "Parameters without token and position embeddings.", "parameters")
    ] = None
    settings: Annotated[Json | None, Column("json", "Geometry and pretraining recipe, as JSON.")] = None


@row_of("tuning_method", key="method_id")
@dataclass(frozen=True, kw_only=True)
class TuningMethodRow:
    """A way of adapting a base model to data."""

    method_id: Annotated[
        str, Column("varchar", "Short name: fft, lora, ptuning, ia3, adapterh, adapterp, parallel, ...")
    ]
    title: Annotated[str, Column("varchar", "Name as printed in charts and tables.")]
    kind: Annotated[str, Column("varchar", "full, low-rank, prompt, adapter, scaling or other.")]
    citation: Annotated[str | None, Column("varchar", "The paper that proposed it.")] = None


@row_of("dataset", key="dataset_id")
@dataclass(frozen=True, kw_only=True)
class DatasetRow:
    """Instruction data as it was tokenized and packed for one tokenizer."""

    dataset_id: Annotated[str, Column("varchar", "Name, @ and the beginning of the hash.")]
    name: Annotated[str, Column("varchar", "Name of the source: a built-in one, a hub id or a file name.")]
    hash: Annotated[str, Column("varchar", "SHA-256 over the records of all splits.")]
    n_train_tokens: Annotated[int | None, Column("bigint", "Tokens of the training split, packed.", "tokens")] = None
    n_test_tokens: Annotated[int | None, Column("bigint", "Tokens of the fixed test set.", "tokens")] = None
    bytes_per_token: Annotated[
        float | None,
        Column("double", "UTF-8 bytes a token in the test set: turns nats a token into bits a byte.", "bytes a token"),
    ] = None
    settings: Annotated[
        Json | None, Column("json", "Prompt format, sequence length, sources and versions, as JSON.")
    ] = None
    eval_hash: Annotated[
        str | None,
        Column(
            "varchar",
            "SHA-256 over the evaluation split, as it is read: data sets that share it are compared on the same text. "
            "Null where it is not known.",
        ),
    ] = None


@row_of("environment", key="environment_id")
@dataclass(frozen=True, kw_only=True)
class EnvironmentRow:
    """Software and hardware that an attempt ran on; no host name, no path, no token."""

    environment_id: Annotated[str, Column("varchar", "Hash of the other columns.")]
    python: Annotated[str | None, Column("varchar", "Version of the interpreter.")] = None
    platform: Annotated[str | None, Column("varchar", "Operating system and processor architecture.")] = None
    device: Annotated[str | None, Column("varchar", "Name of the accelerator, or cpu.")] = None
    packages: Annotated[Json | None, Column("json", "Versions of the packages that can change a number, as JSON.")] = (
        None
    )


@row_of("task", key="task_id")
@dataclass(frozen=True, kw_only=True)
class TaskRow:
    """Something that a tuned model is scored on."""

    task_id: Annotated[str, Column("varchar", "Short name, for instance devign or humanevalfix-java.")]
    title: Annotated[str, Column("varchar", "Name as printed in charts and tables.")]
    kind: Annotated[str, Column("varchar", "comprehension, generation, robustness, security or likelihood.")]
    metric: Annotated[str, Column("varchar", "The metric that charts and fits use first.")]
    chance: Annotated[
        float | None, Column("double", "Score of guessing, a fraction; null where there is none.", "fraction")
    ] = None
    ceiling: Annotated[
        float | None, Column("double", "Best possible score, a fraction; null reads as 1.", "fraction")
    ] = None
    higher_is_better: Annotated[bool, Column("boolean", "Direction of the metric.")]
    citation: Annotated[str | None, Column("varchar", "Source of the task.")] = None
    lower_is_better: Annotated[
        Json | None,
        Column(
            "json",
            "Names of the metrics of which less is better, a list; null where only the main metric's direction is "
            "known.",
        ),
    ] = None
    chance_from: Annotated[
        str | None,
        Column(
            "varchar",
            "Where the chance level comes from: samples (choices and right answers of its items) or benchmark (the "
            "registry of common tasks); null where the task or the source says it, or nobody.",
        ),
    ] = None


@row_of("task_fact")
@dataclass(frozen=True, kw_only=True)
class TaskFactRow:
    """What people say about tasks (astraios task): it goes before what sources say."""

    task_id: Annotated[str, Column("varchar", "The task.")]
    metric: Annotated[
        str | None, Column("varchar", "The metric; null for all of the task's of which more is better.")
    ] = None
    chance: Annotated[
        float | None,
        Column("double", "Score of guessing, in the metric's unit; null where that was not said.", "fraction"),
    ] = None
    ceiling: Annotated[
        float | None, Column("double", "Best possible score; null where that was not said.", "fraction")
    ] = None
    created_at: Annotated[Timestamp, Column("timestamp", "When, UTC.")]


@row_of("composite")
@dataclass(frozen=True, kw_only=True)
class CompositeRow:
    """Mean scores: what each is the weighted mean of."""

    name: Annotated[str, Column("varchar", "Name of the mean.")]
    task_id: Annotated[str, Column("varchar", "A task in it.")]
    metric: Annotated[str | None, Column("varchar", "The metric of the task; null for its main one.")] = None
    weight: Annotated[float, Column("double", "Its weight; only the proportions count.")] = 1.0
    study: Annotated[
        str | None,
        Column("varchar", "The study that it is for, by its ladder; null for all that have none of their own."),
    ] = None


@row_of("sweep", key="sweep_id")
@dataclass(frozen=True, kw_only=True)
class SweepRow:
    """A request for a grid of runs: base models x tuning methods x data x seeds."""

    sweep_id: Annotated[str, Column("varchar", "Name, @ and the beginning of the hash of its settings.")]
    name: Annotated[str, Column("varchar", "Name given in the sweep file.")]
    settings: Annotated[Json | None, Column("json", "The sweep as it was understood, defaults filled in, as JSON.")] = (
        None
    )
    created_at: Annotated[Timestamp | None, Column("timestamp", "When it was first ingested, UTC.")] = None
