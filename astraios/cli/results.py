"""Verbs for results that others made, and for comparing runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from astraios.cli import terminal
from astraios.cli.app import Db, FailIf, Json, Out, app, example
from astraios.cli.complete import values
from astraios.settings import pairs

GoldData = Annotated[Path | None, typer.Option(metavar="DIR", help="Folder of gold data; else the hub.")]
GoldRevision = Annotated[
    str | None, typer.Option(metavar="NAME", help="Branch, tag or commit of gold data from the hub.")
]
Size = Annotated[str | None, typer.Option(metavar="SIZE", help="Parameters of a model that is not known.")]
LanguageLevel = Annotated[int | None, typer.Option(metavar="N", help="Java language level; 8 compares with the paper.")]
Nominal = Annotated[
    float | None, typer.Option(metavar="PASS_AT_1", help="Nominal pass@1 (a fraction), for Robust Change.")
]

TaskOptions = Annotated[
    list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Another option of the task; may be repeated.")
]


@app.command(
    epilog=example(
        "astraios score generations.json --task humanevalsynthesize-python --model 1B --method lora",
        "astraios score recode_format__1b__lora.jsonl.gz --task recode-format --data gold --nominal 0.1707 --json",
    )
)
def score(
    generations: Annotated[
        Path, typer.Argument(help="JSON of the BigCode harness, JSON lines or Parquet; or gzipped.")
    ],
    task: Annotated[str, typer.Option(help="The task that they answer.", autocompletion=values("tasks"))],
    data: GoldData = None,
    revision: GoldRevision = None,
    model: Annotated[str | None, typer.Option(metavar="ID", help="Base model; else read from the name.")] = None,
    method: Annotated[
        str | None,
        typer.Option(metavar="ID", help="Tuning method; else read from the name.", autocompletion=values("methods")),
    ] = None,
    size: Size = None,
    language_level: LanguageLevel = None,
    nominal: Nominal = None,
    set_: TaskOptions = None,
    shots: Annotated[
        int | None, typer.Option(metavar="N", help="Demonstrations in a prompt; else read from the name.")
    ] = None,
    extraction: Annotated[str | None, typer.Option(help="How security completions become source files.")] = None,
    sarif: Annotated[Path | None, typer.Option(metavar="FILE", help="Findings of an analyser, SARIF 2.1.0.")] = None,
    isolation: Annotated[str, typer.Option(help="Isolation level; auto takes the strongest.")] = "auto",
    allow_weak: Annotated[bool, typer.Option("--allow-weak", help="Without effect: the weak level is gone.")] = False,
    out: Out = Path("runs"),
    db: Db = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Score and print, record nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Score generations that somebody made; programs run in the sandbox, verdicts are kept and never made twice."""
    from astraios import store, workflow

    options = {
        "data_dir": data,
        "revision": revision,
        "language_level": language_level,
        "nominal": nominal,
        "n_shot": shots,
        "extraction": extraction,
        "sarif": sarif,
        "isolation": isolation,
    }
    request = workflow.ScoreRequest(
        task=task, options={**options, **pairs(set_ or (), "--set")}, model=model, method=method, size=size
    )
    if allow_weak:
        terminal.say("--allow-weak has no effect: the level that ran programs without a sandbox is gone")
    path = None if dry_run else store.database_path(db)
    with terminal.counted("programs", quiet=as_json) as progress:
        rows, recorded = workflow.score(path, generations, request, out / "verdicts.jsonl", progress)
    if as_json:
        terminal.print_json(rows)
    else:
        terminal.print_table(rows)
    terminal.say(recorded)


@app.command(
    epilog=example(
        "astraios evaluate bigcode/starcoderbase-1b --task humanevalsynthesize-python --dry-run",
        "astraios evaluate bigcode/starcoderbase-1b --adapter runs/1a2b3c/adapter --task devign --data gold",
        "astraios evaluate ./my-model --base 1B --method fft --task recode-format --engine vllm",
        "astraios evaluate runs/1a2b3c --checkpoints --task next-token",
        "astraios evaluate ./my-model --base 1B --method fft --task devign --shots 1",
    )
)
def evaluate(
    model: Annotated[
        str, typer.Argument(help="Hub id, folder, or a base model of a ladder; with --checkpoints a run directory.")
    ],
    task: Annotated[list[str], typer.Option(help="A task; may be repeated.", autocompletion=values("tasks"))],
    checkpoints: Annotated[
        bool, typer.Option("--checkpoints", help="Score each checkpoint that the run kept: scores along training.")
    ] = False,
    adapter: Annotated[Path | None, typer.Option(metavar="DIR", help="A PEFT adapter to put on the model.")] = None,
    method: Annotated[
        str | None,
        typer.Option(metavar="ID", help="Tuning method; else read from the adapter.", autocompletion=values("methods")),
    ] = None,
    base: Annotated[
        str | None, typer.Option(metavar="ID", help="Base model of a folder that holds a tuned one.")
    ] = None,
    size: Size = None,
    revision: Annotated[
        str | None, typer.Option(metavar="NAME", help="Branch, tag or commit of a model from the hub.")
    ] = None,
    data: GoldData = None,
    gold_revision: GoldRevision = None,
    records: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Held-out prompts and completions, for perplexity.")
    ] = None,
    engine: Annotated[str, typer.Option(help="transformers, vllm, or auto.")] = "auto",
    ray: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Ray cluster for vLLM engines: HOST:PORT, auto, or here.")
    ] = None,
    engines: Annotated[int, typer.Option(metavar="N", help="vLLM engines on it.")] = 1,
    tensor_parallel: Annotated[int, typer.Option(metavar="N", help="GPUs that a vLLM engine takes.")] = 1,
    device: Annotated[str | None, typer.Option(help="Torch device; else a GPU if there is one.")] = None,
    dtype: Annotated[str, typer.Option(help="float32, bfloat16, float16; auto: bfloat16 on a GPU.")] = "auto",
    quantization: Annotated[str | None, typer.Option(help="8bit or nf4.")] = None,
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code", help="Run code that the model's repository brings.")
    ] = False,
    samples: Annotated[int | None, typer.Option(metavar="N", help="Samples a problem; else the task's own.")] = None,
    limit: Annotated[int | None, typer.Option(metavar="N", help="Only the first problems: a trial.")] = None,
    shots: Annotated[
        int | None, typer.Option(metavar="N", help="Demonstrations in a prompt, drawn from the train split: 0 or 1.")
    ] = None,
    shot_seed: Annotated[
        int | None, typer.Option(metavar="N", help="Seed that draws the demonstration; else 0.")
    ] = None,
    batch: Annotated[int | None, typer.Option(metavar="N", help="Rows generated at once.")] = None,
    language_level: LanguageLevel = None,
    nominal: Nominal = None,
    set_: TaskOptions = None,
    seed: Annotated[int, typer.Option(help="Seed of the sampling.")] = 0,
    out: Out = Path("runs"),
    db: Db = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Score and print, record nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Score a model on tasks: generate, execute, score, record. Stop it at any time: the same command goes on."""
    from astraios import store, workflow

    subject = workflow.Subject(
        model=model,
        revision=revision,
        adapter=adapter,
        engine=engine,
        ray=ray,
        engines=engines,
        tensor_parallel=tensor_parallel,
        device=device,
        dtype=dtype,
        quantization=quantization,
        trust_remote_code=trust_remote_code,
        seed=seed,
        records=records,
    )
    options = {
        "data_dir": data,
        "revision": gold_revision,
        "n_samples": samples,
        "limit": limit,
        "n_shot": shots,
        "shot_seed": shot_seed,
        "batch": batch,
        "language_level": language_level,
        "nominal": nominal,
    }
    request = workflow.EvaluateRequest(
        subject=subject,
        tasks=task,
        options={**options, **pairs(set_ or (), "--set")},
        method=method,
        base=base,
        size=size,
    )
    path = None if dry_run else store.database_path(db)
    if checkpoints:
        rows = workflow.evaluate_checkpoints(path, request, terminal.say)
    else:
        rows = workflow.evaluate(path, request, out, terminal.say)
    if as_json:
        terminal.print_json(rows)
    else:
        terminal.print_table(rows)


@app.command(
    epilog=example(
        "astraios compare 1a2b3c 4d5e6f --task next-token",
        "astraios compare bigcode/starcoderbase-1b:lora bigcode/starcoderbase-1b:fft --task humanevalfix-python",
        "astraios compare 1a2b3c 4d5e6f --task next-token --fail-if 'high < 0'",
    )
)
def compare(
    a: Annotated[
        str,
        typer.Argument(metavar="RUN", help="Beginning of a run_id, or MODEL:METHOD.", autocompletion=values("runs")),
    ],
    b: Annotated[str, typer.Argument(metavar="RUN", help="The other one.", autocompletion=values("runs"))],
    task: Annotated[str, typer.Option(help="The task.", autocompletion=values("scored_tasks"))],
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap.")] = 0,
    db: Db = None,
    fail_if: FailIf = None,
    as_json: Json = False,
) -> None:
    """Say whether two runs differ on the same samples of a task."""
    from astraios import store, workflow

    workflow.check_conditions(fail_if or (), workflow.COMPARED)
    numbers, words = workflow.compare(store.database_path(db), a, b, task, seed)
    if as_json:
        terminal.print_json(numbers)
    else:
        typer.echo(words)
    workflow.check_gates(fail_if or (), numbers)
