"""The command line: one thin function a verb. Nothing but typer is imported before a verb needs it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    name="astraios",
    help="Scaling analysis for tuned language models: collect small runs, project the large one, know how sure.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help starts three times as fast
)
db_app = typer.Typer(help="Care for the database.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(db_app, name="db")

Db = Annotated[
    Path | None,
    typer.Option("--db", metavar="FILE", help="Database; else $ASTRAIOS_DB, else astraios.duckdb here."),
]
Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder of the run directories.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def _example(*lines: str) -> str:
    return "Examples:\n\n\b\n" + "\n".join(f"  {line}" for line in lines)


def _version(wanted: bool) -> None:
    if wanted:
        from astraios import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@app.command(
    epilog=_example(
        "astraios collect tiny",
        "astraios collect my.toml --only method_id=lora --only seed=0",
        "astraios collect astraios --dry-run --json",
    )
)
def collect(
    sweep: Annotated[str, typer.Argument(help="A TOML file, or a built-in sweep.")] = "tiny",
    out: Out = Path("runs"),
    db: Db = None,
    only: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="Only cells with this model_id, method_id or seed.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and run nothing.")] = False,
    launcher: Annotated[str, typer.Option(help="Where cells run.")] = "local",
    as_json: Json = False,
) -> None:
    """Train and score a grid of models, and record them. Stop it at any time: the same command goes on."""
    from astraios import console, store, workflow

    request, plans = workflow.plan(sweep, only or [])
    if dry_run:
        rows = [p.to_dict() for p in plans]
        if as_json:
            console.print_json(rows)
        else:
            console.print_table(rows, title=f"Sweep {request.name}: {len(rows)} cells")
        return
    progress = console.SweepProgress(quiet=as_json)
    try:
        outcome, ingested = workflow.collect(
            request, plans, out, store.database_path(db), launcher, progress.start, progress.tell
        )
    finally:
        progress.stop()
    console.sweep_summary(outcome, ingested, store.database_path(db), as_json)
    if outcome.failed:
        raise typer.Exit(1)


@app.command(
    name="fit-scaling",
    epilog=_example(
        "astraios fit-scaling",
        "astraios fit-scaling --target 16B --level 0.9 --json",
        "astraios fit-scaling --data runs.csv --n n_params --d tokens --loss loss --group method",
        "astraios fit-scaling --backtest",
        "astraios fit-scaling --reuse 1a2b3c --target 30B",
    ),
)
def fit_scaling(
    db: Db = None,
    data: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A CSV or Parquet file instead of the database.")
    ] = None,
    n: Annotated[str, typer.Option("--n", metavar="COL", help="Column of parameters in --data.")] = "n_params",
    d: Annotated[str | None, typer.Option("--d", metavar="COL", help="Column of tokens in --data.")] = None,
    loss: Annotated[str, typer.Option(metavar="COL", help="Column of losses (nats) in --data.")] = "loss",
    group: Annotated[str | None, typer.Option(metavar="COL", help="Column that tells series apart in --data.")] = None,
    law: Annotated[str, typer.Option(help="A scaling law, or auto.")] = "auto",
    split: Annotated[str, typer.Option(help="Split of the loss.")] = "test",
    definition: Annotated[str, typer.Option(help="Which final loss: last, min or mean_last5.")] = "last",
    ladder: Annotated[str | None, typer.Option(help="Only runs on this ladder of base models.")] = None,
    target: Annotated[
        list[str] | None, typer.Option(metavar="SIZE", help="Size to project to, for instance 16B; may be repeated.")
    ] = None,
    holdout: Annotated[
        str, typer.Option(metavar="largest|none|SIZE", help="Size to hide in the backtest.")
    ] = "largest",
    level: Annotated[float, typer.Option(help="Nominal coverage of the intervals.")] = 0.9,
    seed: Annotated[int, typer.Option(help="Seed of the resampling.")] = 0,
    estimator: Annotated[str, typer.Option(help="Estimator of the laws.")] = "huber",
    backtest: Annotated[
        bool, typer.Option("--backtest", help="Hide every size in turn, score several laws, record it.")
    ] = False,
    reuse: Annotated[
        str | None, typer.Option(metavar="FIT_ID", help="Project a stored fit again, without its data.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Project the final loss of each tuning method to a larger size, and what it will score.

    Beside each projection stands the backtest: a size that was measured is hidden and predicted from the smaller ones.
    """
    from astraios import console, store, workflow

    request = workflow.FitRequest(
        law=law,
        split=split,
        definition=definition,
        targets=tuple(target or ()),
        holdout=holdout,
        level=level,
        seed=seed,
        estimator=estimator,
        ladder=ladder,
    )
    path = store.database_path(db)
    if reuse is not None or backtest:
        frame = workflow.backtest(path, request) if backtest else workflow.reuse(path, str(reuse), request.targets)
        console.write_frame(frame, "json" if as_json else "table")
        return
    if data is not None:
        analysis = workflow.fit_file(data, request, n, loss, d, group)
    else:
        analysis = workflow.fit_scaling(path, request)
    if as_json:
        console.print_json(analysis.to_json())
    else:
        console.print_analysis(analysis.to_json())


@app.command(epilog=_example("astraios design --budget 10", "astraios design --budget 200 --target 16B --json"))
def design(
    budget: Annotated[float, typer.Option(metavar="DEVICE_HOURS", help="What may be spent.")],
    target: Annotated[str | None, typer.Option(metavar="SIZE", help="Size that matters; else the next rung.")] = None,
    split: Annotated[str, typer.Option(help="Split of the loss.")] = "test",
    ladder: Annotated[str | None, typer.Option(help="Only runs on this ladder of base models.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the resampling.")] = 0,
    db: Db = None,
    as_json: Json = False,
) -> None:
    """Say which runs to do next: those that buy the most certainty about the target a device-hour."""
    from astraios import console, store, workflow

    request = workflow.FitRequest(split=split, targets=(target,) if target else (), ladder=ladder, seed=seed)
    console.print_plan(workflow.design(store.database_path(db), request, budget), as_json)


@app.command(
    epilog=_example(
        "astraios report",
        "astraios report --figure 3 -o fig3.svg --width column",
        "astraios report --format markdown -o report.md",
        "astraios report --serve",
    )
)
def report(
    db: Db = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", metavar="FILE", help="Where it goes.")] = None,
    figure: Annotated[
        str | None, typer.Option(metavar="N", help="One figure, by the paper's number or by name; or table-N.")
    ] = None,
    form: Annotated[
        str | None, typer.Option("--format", help="html, svg, png, pdf, json, csv, markdown; tables also latex.")
    ] = None,
    width: Annotated[str, typer.Option(help="column or page, for a single figure.")] = "page",
    scheme: Annotated[str, typer.Option(help="light or dark, for a single figure.")] = "light",
    study: Annotated[str | None, typer.Option(help="Ladder, origin or data set, where there are several.")] = None,
    serve: Annotated[bool, typer.Option("--serve", help="Serve the page, refreshed as runs arrive.")] = False,
    host: Annotated[str, typer.Option(help="Address to serve on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to serve on; 0 takes a free one.")] = 8765,
    allow_remote: Annotated[bool, typer.Option("--allow-remote", help="Serve to other machines too.")] = False,
) -> None:
    """Draw the page (one HTML file that needs no network), a single figure, or serve it live."""
    from astraios import console, store, workflow

    path = store.database_path(db)
    if serve:
        workflow.serve_report(
            path, host, port, allow_remote, lambda url: console.say(f"report: {url} (Ctrl-C ends it)")
        )
        return
    request = workflow.ReportRequest(figure, form, width, scheme, study)
    console.say(f"report: {workflow.write_report(path, output, request).resolve()}")


@app.command(
    epilog=_example(
        "astraios sql \"select method_id, n_params, loss_nats from final_loss where split = 'test'\"",
        "astraios sql --format csv 'from method_size_grid'",
    )
)
def sql(
    query: Annotated[str, typer.Argument(help="A query.")],
    db: Db = None,
    form: Annotated[str, typer.Option("--format", help="table, csv, json, parquet or markdown.")] = "table",
) -> None:
    """Ask the database in SQL, read-only."""
    from astraios import console, store
    from astraios.errors import UsageError, did_you_mean

    known = ("table", "csv", "json", "parquet", "markdown")
    if form not in known:
        raise UsageError(f"--format {form!r}: {did_you_mean(form, known)}")
    console.write_frame(store.query(store.database_path(db), query), form)


@app.command(epilog=_example("astraios status tiny", "astraios status --json"))
def status(
    sweep: Annotated[str | None, typer.Argument(help="A sweep, to see what it still lacks.")] = None,
    out: Out = Path("runs"),
    as_json: Json = False,
) -> None:
    """How the runs stand: waiting, started, failed (and why), done."""
    from astraios import console, workflow

    rows = workflow.status(out, sweep)
    if as_json:
        console.print_json(rows)
    else:
        console.print_table(rows)
        counts = {
            state: sum(row["state"] == state for row in rows) for state in ("waiting", "started", "failed", "done")
        }
        console.say(", ".join(f"{count} {state}" for state, count in counts.items()))


@app.command(epilog=_example("astraios ingest --out runs"))
def ingest(out: Out = Path("runs"), db: Db = None, as_json: Json = False) -> None:
    """Take finished run directories into the database; those it has already are left alone."""
    from astraios import console, store

    console.ingest_summary(store.ingest(store.database_path(db), out), as_json)


@app.command(
    name="import",
    epilog=_example("astraios import paper", "astraios import runs.csv --map loss=eval_loss --map n_params=size"),
)
def import_(
    source: Annotated[str, typer.Argument(help="A file or folder of another tool, or `paper`.")],
    form: Annotated[
        str | None, typer.Option("--format", metavar="NAME", help="Its format; else it is guessed.")
    ] = None,
    mapping: Annotated[
        list[str] | None, typer.Option("--map", metavar="COLUMN=NAME", help="Name of one of our columns in the source.")
    ] = None,
    db: Db = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read and count, write nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Take results of another tool into the database; importing the same twice changes nothing."""
    from astraios import console, store, workflow

    path = store.database_path(db)
    content = workflow.import_results(path, source, form, mapping or [], dry_run)
    console.import_summary(content, path, dry_run, as_json)


@app.command(
    epilog=_example(
        "astraios score generations.json --task humanevalsynthesize-python --model 1B --method lora",
        "astraios score recode_format__1b__lora.jsonl.gz --task recode-format --data gold --nominal 0.1707 --json",
    )
)
def score(
    generations: Annotated[
        Path, typer.Argument(help="JSON of the BigCode harness, JSON lines or Parquet; or gzipped.")
    ],
    task: Annotated[str, typer.Option(help="The task that they answer.")],
    data: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder of gold data; else the hub.")] = None,
    model: Annotated[str | None, typer.Option(metavar="ID", help="Base model; else read from the name.")] = None,
    method: Annotated[str | None, typer.Option(metavar="ID", help="Tuning method; else read from the name.")] = None,
    size: Annotated[str | None, typer.Option(metavar="SIZE", help="Parameters of a model that is not known.")] = None,
    language_level: Annotated[
        int | None, typer.Option(metavar="N", help="Java language level; 8 compares with the paper.")
    ] = None,
    nominal: Annotated[
        float | None, typer.Option(metavar="PASS_AT_1", help="Nominal pass@1 (a fraction), for Robust Change.")
    ] = None,
    shots: Annotated[int | None, typer.Option(metavar="N", help="Demonstrations; else read from the name.")] = None,
    extraction: Annotated[str | None, typer.Option(help="How security completions become source files.")] = None,
    sarif: Annotated[Path | None, typer.Option(metavar="FILE", help="Findings of an analyser, SARIF 2.1.0.")] = None,
    isolation: Annotated[str, typer.Option(help="Isolation level; auto takes the strongest.")] = "auto",
    allow_weak: Annotated[bool, typer.Option("--allow-weak", help="Permit the weak level.")] = False,
    out: Out = Path("runs"),
    db: Db = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Score and print, record nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Score generations that somebody made; programs run in the sandbox, verdicts are kept and never made twice."""
    from astraios import console, store, workflow

    request = workflow.ScoreRequest(
        task=task,
        data=data,
        model=model,
        method=method,
        size=size,
        language_level=language_level,
        nominal=nominal,
        n_shot=shots,
        extraction=extraction,
        sarif=sarif,
        isolation=isolation,
        allow_weak=allow_weak,
    )
    path = None if dry_run else store.database_path(db)
    with console.counted("programs", quiet=as_json) as progress:
        rows, recorded = workflow.score(path, generations, request, out / "verdicts.jsonl", progress)
    if as_json:
        console.print_json(rows)
    else:
        console.print_table(rows)
    console.say(recorded)


@app.command(
    epilog=_example(
        "astraios compare 1a2b3c 4d5e6f --task next-token",
        "astraios compare bigcode/starcoderbase-1b:lora bigcode/starcoderbase-1b:fft --task humanevalfix-python",
    )
)
def compare(
    a: Annotated[str, typer.Argument(metavar="RUN", help="Beginning of a run_id, or MODEL:METHOD.")],
    b: Annotated[str, typer.Argument(metavar="RUN", help="The other one.")],
    task: Annotated[str, typer.Option(help="The task.")],
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap.")] = 0,
    db: Db = None,
    as_json: Json = False,
) -> None:
    """Say whether two runs differ on the same samples of a task."""
    from astraios import console, store, workflow

    numbers, words = workflow.compare(store.database_path(db), a, b, task, seed)
    if as_json:
        console.print_json(numbers)
    else:
        typer.echo(words)


@app.command(epilog=_example("astraios doctor", "astraios doctor --json"))
def doctor(as_json: Json = False) -> None:
    """Say what this machine offers: isolation for generated programs (and why), Java, analysers."""
    from astraios import console
    from astraios.collect.execute.isolation import doctor as examine

    found = examine()
    if as_json:
        console.print_json(found)
    else:
        console.print_facts(found)


@db_app.command(epilog=_example("astraios db check"))
def check(db: Db = None, as_json: Json = False) -> None:
    """Look for rows that should not be there."""
    from astraios import console, store

    failed = store.failed_checks(store.database_path(db))
    if as_json:
        console.print_json(failed)
    else:
        console.say("sound" if not failed else "; ".join(f"{name}: {n} rows" for name, n in failed.items()))
    if failed:
        raise typer.Exit(1)


def main() -> None:
    """Entry point: errors become one line on stderr and an exit code."""
    from astraios.errors import AstraiosError

    try:
        app()
    except AstraiosError as error:
        _die(" ".join(str(error).split()), error.exit_code)
    except KeyboardInterrupt:
        _die("stopped; what was recorded is kept, and the same command goes on from there", 130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
    except OSError as error:
        hint = "; free some space and run the same command again" if error.errno == 28 else ""
        _die(f"{error.filename or 'file system'}: {error.strerror or error}{hint}", 1)
    except ImportError as error:
        _die(f"{error}: pip install 'astraios[train]'", 1)


def _die(message: str, code: int) -> None:
    print(f"astraios: {message}", file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    main()
