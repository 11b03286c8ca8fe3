"""The verb that shows what astraios does, from nothing to a report."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from astraios.cli import terminal
from astraios.cli.app import Db, app, example

QUICK = Path("published.duckdb")
"""Database of the quick demonstration, so that published scores never stand among somebody's own runs."""


@app.command(epilog=example("astraios demo --quick", "astraios demo"))
def demo(
    quick: Annotated[
        bool, typer.Option("--quick", help="Seconds: the paper's published scores, projected and drawn; no training.")
    ] = False,
    db: Db = None,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="The page.")] = Path("report.html"),
) -> None:
    """Show what astraios does: train the tiny ladder on two cores (minutes), project the next size, draw the page."""
    # Here and not above, so that help lists the verbs in its own order.
    from astraios import store, workflow
    from astraios.cli.collect import collect
    from astraios.cli.fit import fit_scaling, print_analysis
    from astraios.cli.importing import import_
    from astraios.cli.report import report
    from astraios.errors import MissingExtraError

    if quick:
        db = db or QUICK
        import_(["paper"], db=db)
        print_analysis(_means(workflow.fit_scaling(store.database_path(db), workflow.FitRequest())))
        terminal.say(f"each task by itself: astraios fit-scaling --db {db}")
    else:
        if importlib.util.find_spec("torch") is None:
            raise MissingExtraError("torch", "train", "training the tiny ladder (not `astraios demo --quick`)")
        collect("tiny", db=db)
        fit_scaling(db=db)
    report(db=db, output=output)
    named = f" --db {db}" if db else ""
    terminal.say(f"next: open {output}; astraios studies{named}; astraios sql{named} 'from final_score'")


def _means(content: Mapping[str, Any]) -> dict[str, Any]:
    """An analysis without the tasks that are in a mean: seven methods times nineteen scores are no first page."""
    fits = [
        {**fit, "projections": [p for p in fit["projections"] if p["task_id"] == "mean"]} for fit in content["fits"]
    ]
    return {**content, "fits": fits}
