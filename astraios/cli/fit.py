"""Verbs that project and plan."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from astraios.cli import terminal
from astraios.cli.app import Db, DecayedEnds, FailIf, Json, Law, Study, app, example
from astraios.errors import UsageError

PLANNED = {"budgets": "a row of budgets", "speed_up": "the speed-up", "next_run": "the next runs to buy"}


@app.command(
    name="fit-scaling",
    epilog=example(
        "astraios fit-scaling",
        "astraios fit-scaling --target 16B --level 0.9 --json",
        "astraios fit-scaling --data runs.csv --n n_params --d tokens --loss loss --group method",
        "astraios fit-scaling --study tiny --where rank=8 --target 7B --target-tokens 140B",
        "astraios fit-scaling --backtest",
        "astraios fit-scaling --over tokens --reach 0.6",
        "astraios fit-scaling --reuse 1a2b3c --target 30B",
        "astraios fit-scaling --target 16B --fail-if 'p_best < 0.9' --fail-if few_sizes",
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
    law: Law = "auto",
    split: Annotated[str, typer.Option(help="Split of the loss.")] = "test",
    definition: Annotated[str, typer.Option(help="Which final loss: last, min or mean_last5.")] = "last",
    ladder: Annotated[str | None, typer.Option(help="Only runs on this ladder of base models.")] = None,
    study: Study = None,
    by: Annotated[
        list[str] | None, typer.Option(metavar="FACT,...", help="Facts to compare: a series for each value.")
    ] = None,
    where: Annotated[
        list[str] | None, typer.Option(metavar="FACT=VALUE", help="Hold a fact at a value; may be repeated.")
    ] = None,
    best_over: Annotated[
        list[str] | None, typer.Option(metavar="FACT", help="Tuned facts: each point counts at its best value.")
    ] = None,
    repeat: Annotated[list[str] | None, typer.Option(metavar="FACT", help="Facts that are noise.")] = None,
    target: Annotated[
        list[str] | None, typer.Option(metavar="SIZE", help="Size to project to, for instance 16B; may be repeated.")
    ] = None,
    target_tokens: Annotated[str | None, typer.Option(metavar="N", help="Tokens of the targets, as 140B.")] = None,
    tokens_per_param: Annotated[
        float | None, typer.Option(metavar="X", help="Tokens of the targets, as a multiple of the parameters.")
    ] = None,
    target_flops: Annotated[
        str | None,
        typer.Option(metavar="C", help="Training FLOPs of the targets (6 N D); without --target the best size."),
    ] = None,
    inputs: Annotated[
        list[str] | None,
        typer.Option(
            "--input", metavar="NAME=FACT", help="A further input of laws (n_experts, bits, share_1), and where it is."
        ),
    ] = None,
    at: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="A further input at the targets; else the most there is."),
    ] = None,
    holdout: Annotated[
        str, typer.Option(metavar="largest|none|SIZE", help="Size to hide in the backtest.")
    ] = "largest",
    level: Annotated[float, typer.Option(help="Nominal coverage of the intervals.")] = 0.9,
    seed: Annotated[int, typer.Option(help="Seed of the resampling.")] = 0,
    estimator: Annotated[str, typer.Option(help="Estimator of the laws.")] = "huber",
    quantity: Annotated[
        str | None,
        typer.Option(
            metavar="KIND",
            help="What the losses are: nats, bits_per_byte, error_rate, one_minus_score or squared_error; else as they"
            " look.",
        ),
    ] = None,
    base_noise: Annotated[
        float | None,
        typer.Option(
            metavar="SD",
            help="Relative spread between base models of one size, where it can't be seen; 0 for none.",
        ),
    ] = None,
    through: Annotated[
        str,
        typer.Option(
            metavar="LOSS",
            help="What scores are predicted through: test (the loss), size, compute, a metric of the task"
            " (answer_bits_per_byte), or auto.",
        ),
    ] = "auto",
    backtest: Annotated[
        bool, typer.Option("--backtest", help="Hide every size in turn, score every law and link, record it.")
    ] = False,
    reuse: Annotated[
        str | None, typer.Option(metavar="FIT_ID", help="Project a stored fit again, without its data.")
    ] = None,
    fail_if: FailIf = None,
    decayed_ends: DecayedEnds = False,
    over: Annotated[
        str | None,
        typer.Option(
            metavar="steps|tokens|flops|seconds",
            help="Follow scores along training until they level off, over this (of --data: a column; --loss names the "
            "scores).",
        ),
    ] = None,
    reach: Annotated[
        float | None, typer.Option(metavar="SCORE", help="With --over: what it takes to reach this score.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Project the final loss of each tuning method to a larger size, and what it will score.

    Beside each projection stands the backtest: a size that was measured is hidden and predicted from the smaller ones.
    A database with scores and no losses (published tables) has its scores projected from size alone.
    """
    from astraios import store, workflow

    request = workflow.FitRequest.of_options(
        study=study,
        by=by or (),
        where=where or (),
        best_over=best_over or (),
        repeat=repeat or (),
        target_tokens=target_tokens,
        tokens_per_param=tokens_per_param,
        target_flops=target_flops,
        inputs=inputs or (),
        at=at or (),
        law=law,
        split=split,
        loss_definition=definition,
        targets=tuple(target or ()),
        holdout=holdout,
        level=level,
        seed=seed,
        estimator=estimator,
        loss_quantity=quantity,
        base_noise=base_noise,
        decayed_ends=decayed_ends,
        through=through,
        ladder=ladder,
    )
    path, conditions = store.database_path(db), fail_if or ()
    workflow.check_conditions(conditions, workflow.FIT_NAMES)
    if over is not None:
        columns = workflow.FileColumns(n, d, loss, group)
        rows = (
            workflow.along(path, request, over, reach)
            if data is None
            else workflow.along_file(data, request, columns, over, reach)
        )
        _print_along(rows, as_json)
        return
    if reuse is not None or backtest:
        if conditions:
            raise UsageError("--fail-if is about a new projection: leave --reuse and --backtest away")
        frame = workflow.backtest(path, request) if backtest else workflow.reuse(path, str(reuse), request.targets)
        terminal.write_frame(frame, "json" if as_json else "table")
        return
    if data is not None:
        content = workflow.fit_file(data, request, workflow.FileColumns(n, d, loss, group)).to_json()
    else:
        content = workflow.fit_scaling(path, request)
    if as_json:
        terminal.print_json(content)
    else:
        print_analysis(content)
    workflow.check_gates(conditions, workflow.fit_facts(content) if conditions else {})


@app.command(epilog=example("astraios design --budget 10", "astraios design --budget 200 --target 16B --json"))
def design(
    budget: Annotated[float, typer.Option(metavar="DEVICE_HOURS", help="What may be spent.")],
    target: Annotated[str | None, typer.Option(metavar="SIZE", help="Size that matters; else the next rung.")] = None,
    split: Annotated[str, typer.Option(help="Split of the loss.")] = "test",
    ladder: Annotated[str | None, typer.Option(help="Only runs on this ladder of base models.")] = None,
    study: Study = None,
    seed: Annotated[int, typer.Option(help="Seed of the resampling.")] = 0,
    db: Db = None,
    as_json: Json = False,
) -> None:
    """Say which runs to do next: those that buy the most certainty about the target a device-hour."""
    from astraios import store, workflow

    request = workflow.FitRequest(
        split=split, targets=(target,) if target else (), ladder=ladder, study=study, seed=seed
    )
    _print_plan(workflow.design(store.database_path(db), request, budget, terminal.say), as_json)


def _print_plan(plan: Any, as_json: bool) -> None:
    """Runs to do next."""
    content = dataclasses.asdict(plan)
    if as_json:
        terminal.print_json(content)
        return
    rows = [
        {
            "method": run["method_id"],
            "n_params": round(run["n_params"]),
            "device-hours": run["cost"],
            "uncertainty removed": f"{run['gain']:.1%}",
        }
        for run in content["runs"]
    ]
    terminal.print_table(
        rows, f"Next runs for {content['target']:,.0f} parameters, within {content['budget']:g} device-hours"
    )
    terminal.say(
        f"spends {content['spent']:.4g} device-hours; the projection's standard deviation goes from "
        f"{content['width_before']:.2%} to {content['width_after']:.2%} of the loss"
    )


def _print_along(rows: Sequence[Mapping[str, Any]], as_json: bool) -> None:
    """Curves that level off, by their ceilings."""
    if as_json:
        terminal.print_json(rows)
        return

    def shown(one: Mapping[str, float] | None) -> str:
        return "-" if one is None else f"{one['value']:.4g} ({one['low']:.4g} to {one['high']:.4g})"

    for task in dict.fromkeys((row.get("task_id"), row.get("metric")) for row in rows):
        part = [row for row in rows if (row.get("task_id"), row.get("metric")) == task]
        reach = any(row["reach"] for row in part)
        terminal.print_table(
            [
                {
                    "curve": row["name"], "ceiling": shown(row["ceiling"]), "efficiency": shown(row["efficiency"]),
                    "midpoint": shown(row["midpoint"]),
                    "score at its end": f"{shown(row['score'])} at {row['at']:.4g}",
                    **({"reaches it at": shown(row["reach"])} if reach else {}),
                    "highest with probability": row["p_highest"],
                }
                for row in part
            ],
            " ".join(filter(None, ("Scores along", part[0]["over"], *(str(one) for one in task if one)))),
        )  # fmt: skip


def print_analysis(content: Mapping[str, Any]) -> None:
    """An analysis as `astraios fit-scaling --json` has it, for people."""
    _print_study(content)
    projections = [{"group": fit["group"], **p} for fit in content["fits"] for p in fit["projections"]]
    for role, quantity, title in (
        ("backtest", "loss", "Backtest: the hidden size, predicted from the smaller ones (loss, nats)"),
        ("target", "loss", "Projected final loss (nats)"),
        ("backtest", "score", "Backtest of scores"),
        ("target", "score", "Projected scores"),
    ):
        rows = [
            _projection_row(p, content.get("size_name", "n_params"))
            for p in projections
            if p["role"] == role and p["quantity"] == quantity
        ]
        if rows:
            terminal.print_table(rows, title)
    if content["ranking"]:
        terminal.print_table(
            [_ranking_row(row, content.get("size_name", "n_params")) for row in content["ranking"]],
            "Ranking at the target",
        )
    if content.get("optimum"):
        terminal.print_table([_optimum_row(row) for row in content["optimum"]], "Best values at the target")
    if content.get("since_last_fit"):
        terminal.print_table(content["since_last_fit"], "Since the last fit")
    for key, value in (content.get("summary") or {}).items():
        terminal.say(f"{key.replace('_', ' ')}: {terminal.cell_text(value)}")
    for warning in _warnings(content):
        terminal.say(f"warning: {warning}")
    for gap in content.get("not_planned", ()):
        whom = f" for {gap['series']}" if gap["series"] else ""
        terminal.say(f"not planned: {PLANNED[gap['what']]}{whom}: {gap['why']}")


def _print_study(content: Mapping[str, Any]) -> None:
    """What is compared, above the tables: the study, the role of each axis, and the targets' data."""
    study = content.get("study") or {}
    if study.get("study"):
        terminal.say(f"study: {study['study']} ({study['origin']}, {study['n_runs']:,} runs)")
    for axis in content.get("axes") or ():
        values = [terminal.cell_text(value) for value in axis["values"]]
        more = f", ... ({len(values)} in all)" if len(values) > 6 else ""
        terminal.say(f"  {axis['fact']}: {axis['role']}, {', '.join(values[:6])}{more}")
    if content.get("data_rule"):
        terminal.say(f"projected {content['data_rule']}")


def _optimum_row(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "series": row["series"], "fact": row["fact"], "n_params": int(row["n_params"]), "n_tokens": row["n_tokens"],
        "value": f"{row['value']:.3g}", "interval": f"{row['low']:.2g} to {row['high']:.2g}",
    }  # fmt: skip


def _projection_row(p: Mapping[str, Any], size_name: str) -> dict[str, Any]:
    row = {"method": p["group"], size_name: int(p["n_params"])}
    if p.get("n_tokens") is not None:
        row["n_tokens"] = int(p["n_tokens"])
    if p["quantity"] == "score":
        row |= {"task": p["task_id"], "metric": p["metric"]}
    row |= {
        "mean": p["mean"],
        "low": p["low"],
        "high": p["high"],
        "new run": f"{p['new_low']:.4f} to {p['new_high']:.4f}",
    }
    if p["role"] == "backtest":
        error = p["relative_error"]
        row |= {"observed": p["observed"], "error": f"{error:.2%}" if error is not None else None}
        carried = p.get("carry_forward_error")
        row["carry-forward error"] = f"{carried:.2%}" if carried is not None else None
    return row


def _ranking_row(row: Mapping[str, Any], size_name: str) -> dict[str, Any]:
    others = row["not_separable_from"]
    tokens = {} if row.get("n_tokens") is None else {"n_tokens": int(row["n_tokens"])}
    return {
        "method": row["method_id"],
        size_name: int(row["n_params"]),
        **tokens,
        "mean": row["mean"],
        "low": row["low"],
        "high": row["high"],
        "best with probability": row["p_best"],
        "behind the first": _gap(row),
        "expected regret": row["expected_regret"],
        "not separable from": ", ".join(others) or "-",
    }


def _gap(row: Mapping[str, Any]) -> str:
    if row["gap"] == row["gap_low"] == row["gap_high"] == 0:
        return "-"
    return f"{row['gap']:.2%} ({row['gap_low']:.2%} to {row['gap_high']:.2%})"


def _warnings(content: Mapping[str, Any]) -> list[str]:
    found = [*content.get("warnings", ()), *(w for fit in content["fits"] for w in fit["warnings"])]
    lines = [f"{warning['code']}: {warning['message']}" for warning in found]
    return list(dict.fromkeys(lines))
