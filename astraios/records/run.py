"""A run and its attempts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from astraios.records.table import Column, Json, Timestamp, row_of


@dataclass(frozen=True, kw_only=True)
class InSweep:
    """What a run gets when it is taken into a database."""

    sweep_id: Annotated[str | None, Column("varchar", "The sweep that asked first.")] = None
    created_at: Annotated[Timestamp | None, Column("timestamp", "When it was first planned, UTC.")] = None


@row_of("run", key="run_id", address=InSweep)
@dataclass(frozen=True, kw_only=True)
class RunRow:
    """What was asked: one base model, tuning method, data set and seed. The same request is the same run."""

    run_id: Annotated[
        str, Column("varchar", "Hash of the canonical configuration, the seed, the data and the base model's revision.")
    ]
    origin: Annotated[
        str,
        Column(
            "varchar",
            "measured (run by astraios), live (logged by astraios.init while it trained), imported (by another tool) "
            "or published (printed in a paper).",
        ),
    ]
    model_id: Annotated[str, Column("varchar", "The base model.")]
    method_id: Annotated[str, Column("varchar", "The tuning method.")]
    dataset_id: Annotated[str | None, Column("varchar", "The data.")] = None
    seed: Annotated[int | None, Column("bigint", "Seed of initialisation, order of data and dropout.")] = None
    n_params: Annotated[int, Column("bigint", "Total parameters of the base model.", "parameters")]
    n_params_nonembedding: Annotated[
        int | None, Column("bigint", "Parameters of the base model without embeddings.", "parameters")
    ] = None
    n_trainable: Annotated[int | None, Column("bigint", "Parameters that the tuning method trains.", "parameters")] = (
        None
    )
    n_tokens: Annotated[int | None, Column("bigint", "Tokens trained on in all.", "tokens")] = None
    steps: Annotated[int | None, Column("integer", "Optimizer steps (global steps) in all.", "steps")] = None
    tokens_per_step: Annotated[int | None, Column("bigint", "Tokens in one global batch.", "tokens")] = None
    train_flops: Annotated[
        float | None, Column("double", "Estimated floating-point operations of training.", "operations")
    ] = None
    learning_rate: Annotated[float | None, Column("double", "Peak learning rate.")] = None
    bytes_per_token: Annotated[
        float | None, Column("double", "UTF-8 bytes a token in the test set.", "bytes a token")
    ] = None
    settings: Annotated[Json | None, Column("json", "The whole configuration of the run, as JSON.")] = None
    base_revision: Annotated[
        str | None,
        Column(
            "varchar",
            "The base model that was loaded: its commit on the hub, or a hash of the recipe or the files of one that "
            "is not from there. Null where nobody could tell.",
        ),
    ] = None
    data_revision: Annotated[
        str | None, Column("varchar", "The commit on the hub that the data came from; null for data from elsewhere.")
    ] = None


@dataclass(frozen=True, kw_only=True)
class AttemptAddress:
    """What an attempt gets when it is taken into a database."""

    run_id: Annotated[str, Column("varchar", "The run.")]
    directory: Annotated[str | None, Column("varchar", "Name of the run directory under the collection's folder.")] = (
        None
    )
    content_hash: Annotated[
        str | None,
        Column("varchar", "Hash over the manifest of the run directory; an attempt is replaced only when it changes."),
    ] = None
    load_key: Annotated[
        int | None,
        Column(
            "bigint",
            "Number that the attempt was given when it was taken in; says where its losses lie, and nothing else.",
        ),
    ] = None


@row_of("attempt", of="run", address=AttemptAddress)
@dataclass(frozen=True, kw_only=True)
class AttemptRow:
    """What happened: each attempt at a run, with its cost and its end."""

    attempt: Annotated[int, Column("integer", "Number of the attempt, from 1. One that is resumed keeps its number.")]
    state: Annotated[
        str, Column("varchar", "done or failed; running or interrupted for a logged run that has no end yet.")
    ]
    started_at: Annotated[Timestamp | None, Column("timestamp", "Start, UTC.")] = None
    finished_at: Annotated[Timestamp | None, Column("timestamp", "End, UTC.")] = None
    wall_seconds: Annotated[
        float | None, Column("double", "Seconds of training and evaluation, interruptions left out.", "seconds")
    ] = None
    device_seconds: Annotated[
        float | None, Column("double", "Seconds of training times the number of devices.", "seconds")
    ] = None
    tokens_per_second: Annotated[float | None, Column("double", "Training throughput.", "tokens a second")] = None
    peak_memory_bytes: Annotated[
        int | None, Column("bigint", "Peak memory of the device, or of the process on a CPU.", "bytes")
    ] = None
    checkpoint_bytes: Annotated[int | None, Column("bigint", "Size of what was kept of the tuned model.", "bytes")] = (
        None
    )
    price: Annotated[float | None, Column("double", "Money, where the sweep gives a price per device-hour.")] = None
    micro_batch: Annotated[
        int | None,
        Column(
            "integer",
            "Blocks in one forward pass: as asked for, or as many as its device was planned to hold.",
            "blocks",
        ),
    ] = None
    error: Annotated[str | None, Column("varchar", "Why it failed, in one line.")] = None
    environment_id: Annotated[str | None, Column("varchar", "Software and hardware.")] = None
    matmul_flops_per_second: Annotated[
        float | None,
        Column(
            "double",
            "Operations a second of a large matrix product on one device, measured once for an environment.",
            "operations a second",
        ),
    ] = None
    model_flops_utilisation: Annotated[
        float | None,
        Column(
            "double",
            "Estimated operations of training over device seconds and that rate; recomputed activations do not count.",
            "fraction",
        ),
    ] = None


@dataclass(frozen=True, slots=True)
class ParameterCount:
    """Parameters of a base model under a tuning method, without virtual or frozen bookkeeping tensors."""

    n_params: int
    """Total of the base model, embeddings included."""
    n_params_nonembedding: int
    """Without token and position embeddings."""
    n_trainable: int
    """Trained by the tuning method."""
