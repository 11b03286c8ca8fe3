"""The verbs that say what benchmarks can decide, and what more samples would."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from astraios.cli import terminal
from astraios.cli.app import Db, Json, Study, app, example
from astraios.cli.complete import values


@app.command(
    name="benchmark-quality",
    epilog=example(
        "astraios benchmark-quality",
        "astraios benchmark-quality --study tiny --difference 0.01",
        "astraios benchmark-quality --task humanevalfix-python --json",
    ),
)
def benchmark_quality(
    study: Study = None,
    task: Annotated[
        str | None, typer.Option(metavar="TASK", help="One task alone.", autocompletion=values("scored_tasks"))
    ] = None,
    difference: Annotated[
        float, typer.Option(metavar="X", help="The difference that power is about, a fraction.")
    ] = 0.02,
    db: Db = None,
    as_json: Json = False,
) -> None:
    """Say which tasks and metrics can tell methods apart at the sizes at hand (table benchmark_quality)."""
    from astraios import store, workflow

    rows = workflow.benchmark_quality(store.database_path(db), study, difference, task)
    if as_json:
        terminal.print_json(rows)
        return
    terminal.print_table([_quality(row) for row in rows], "What tasks can decide")
    for row in rows:
        groups = [group for group in row["groups"] if len(group) > 1]
        if groups and row["is_best_metric"]:
            names = "; ".join(", ".join(group) for group in groups)
            terminal.say(f"{row['task_id']} ({row['metric']}): not told apart: {names}")
    idle = [row["words"] for row in rows if not row["decides"]]
    terminal.say(f"{len(idle)} of {len(rows)} metrics decide nothing at the sizes at hand" + (":" if idle else ""))
    for words in idle:
        terminal.say(f"  {words}")


def _quality(row: Mapping[str, Any]) -> dict[str, Any]:
    def share(value: float | None) -> str:
        return "-" if value is None else f"{value:.0%}"

    def number(value: float | None) -> str:
        return "-" if value is None else f"{value:,.3g}" if value < 1000 else f"{value:,.0f}"

    return {
        "task": row["task_id"], "metric": row["metric"] + (" *" if row["is_best_metric"] else ""),
        "methods": row["n_methods"], "pairs in order": share(row["decision_accuracy"]),
        "signal to noise": number(row["signal_to_noise"]), "noise of": row["noise_from"],
        "items": number(row["n_items"]), f"items for {row['difference']:g}": number(row["n_needed"]),
        "power": share(row["power"]), f"runs for {row['difference']:g}": number(row["seeds_needed"]),
        "points above chance": number(None if (far := row["distance_from_chance"]) is None else 100 * far),
    }  # fmt: skip


@app.command(
    name="pass-at-k",
    epilog=example(
        "astraios pass-at-k",
        "astraios pass-at-k --task humanevalsynthesize-python --k 200",
        "astraios pass-at-k --task humanevalsynthesize-python --target 16B --json",
    ),
)
def pass_at_k(
    study: Study = None,
    task: Annotated[
        str | None, typer.Option(metavar="TASK", help="One task alone.", autocompletion=values("scored_tasks"))
    ] = None,
    k: Annotated[
        int | None, typer.Option("--k", metavar="K", help="Largest k; else ten times the samples there are.")
    ] = None,
    target: Annotated[
        list[str] | None, typer.Option(metavar="SIZE", help="A larger model to project to; may be repeated.")
    ] = None,
    db: Db = None,
    as_json: Json = False,
) -> None:
    """Show pass@k over k from the samples that are stored, and what more samples would give (table pass_curve)."""
    from astraios import store, workflow

    rows, warnings = workflow.pass_curves(store.database_path(db), study, task, k, target or ())
    for warning in warnings:
        terminal.say(f"warning: {warning.code}: {warning.message}")
    if as_json:
        terminal.print_json(rows)
        return
    shown = [
        {
            "task": row["task_id"],
            "method": row["method_id"],
            "n_params": int(row["n_params"]),
            "k": row["k"],
            "pass@k": row["value"],
            "low": row["low"],
            "high": row["high"],
            "projected": "yes" if row["is_projected"] else "-",
        }
        for row in rows
    ]
    terminal.print_table(shown, "pass@k, with 90 % intervals over problems")
