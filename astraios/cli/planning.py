"""Verbs that plan: what a budget buys, how much faster one series is than another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from astraios.cli import terminal
from astraios.cli.app import Db, DecayedEnds, Json, Law, Study, app, example
from astraios.cli.complete import values

Data = Annotated[Path | None, typer.Option(metavar="FILE", help="A CSV or Parquet file instead of the database.")]
N = Annotated[str, typer.Option("--n", metavar="COL", help="Column of parameters in --data.")]
D = Annotated[str, typer.Option("--d", metavar="COL", help="Column of tokens in --data; none if it has none.")]
Loss = Annotated[str, typer.Option("--loss-column", metavar="COL", help="Column of losses (nats) in --data.")]
Group = Annotated[str | None, typer.Option(metavar="COL", help="Column that tells series apart in --data.")]
Split = Annotated[str, typer.Option(help="Split of the loss.")]
By = Annotated[list[str] | None, typer.Option(metavar="FACT,...", help="Facts to compare: a series for each value.")]
Where = Annotated[list[str] | None, typer.Option(metavar="FACT=VALUE", help="Hold a fact at a value.")]
BestOver = Annotated[list[str] | None, typer.Option(metavar="FACT", help="Tuned facts: the best value counts.")]
Repeat = Annotated[list[str] | None, typer.Option(metavar="FACT", help="Facts that are noise.")]
Level = Annotated[float, typer.Option(help="Nominal coverage of the intervals.")]
Estimator = Annotated[str, typer.Option(help="Estimator of the laws.")]
Price = Annotated[float | None, typer.Option(metavar="PER_DEVICE_HOUR", help="What a device-hour costs.")]


@app.command(
    epilog=example(
        "astraios plan --flops 1e18",
        "astraios plan --money 5000 --price 2.5 --tokens-per-param 20",
        "astraios plan --loss 2.1 --series fft --json",
        "astraios plan --score mutant=0.7",
        "astraios plan --simulate tiny --target 4M --width 0.06",
        "astraios plan --crossing lora fft",
        "astraios plan --flops 5.76e23 --data runs.parquet --d tokens",
    )
)
def plan(
    flops: Annotated[str | None, typer.Option(metavar="C", help="A budget in training FLOPs.")] = None,
    device_hours: Annotated[float | None, typer.Option(metavar="H", help="A budget in device-hours.")] = None,
    money: Annotated[float | None, typer.Option(metavar="M", help="A budget in money; needs --price.")] = None,
    loss: Annotated[float | None, typer.Option(metavar="L", help="A loss (nats) to reach with least compute.")] = None,
    score: Annotated[
        str | None, typer.Option(metavar="TASK=V", help="A score (a fraction) to reach with least compute.")
    ] = None,
    simulate: Annotated[
        str | None,
        typer.Option(
            metavar="SWEEP",
            help="What a sweep would tell at the target, before it is run.",
            autocompletion=values("sweeps"),
        ),
    ] = None,
    width: Annotated[
        float | None,
        typer.Option(metavar="SHARE", help="With --simulate: the cheapest ladder whose interval is so narrow."),
    ] = None,
    crossing: Annotated[
        tuple[str, str] | None, typer.Option(metavar="A B", help="Where the better of two series changes.")
    ] = None,
    price: Price = None,
    series: Annotated[
        str | None, typer.Option(metavar="S", help="One series; else all.", autocompletion=values("series"))
    ] = None,
    target: Annotated[str | None, typer.Option(metavar="SIZE", help="Hold the size.")] = None,
    target_tokens: Annotated[str | None, typer.Option(metavar="N", help="Hold the data, as 140B.")] = None,
    tokens_per_param: Annotated[float | None, typer.Option(metavar="X", help="Hold tokens a parameter.")] = None,
    data: Data = None,
    n: N = "n_params",
    d: D = "n_tokens",
    loss_column: Loss = "loss",
    group: Group = None,
    law: Law = "auto",
    split: Split = "test",
    study: Study = None,
    by: By = None,
    where: Where = None,
    best_over: BestOver = None,
    repeat: Repeat = None,
    decayed_ends: DecayedEnds = False,
    level: Level = 0.9,
    estimator: Estimator = "huber",
    seed: Annotated[int, typer.Option(help="Seed of the resampling.")] = 0,
    db: Db = None,
    as_json: Json = False,
) -> None:
    """Say which size and how much data a budget should buy, or the least budget that reaches a loss or a score.

    A budget is training FLOPs, device-hours or money. Costs of a token are those that the runs report, else 6 FLOPs a
    parameter and token and, for device-hours, an assumed device: what was assumed is printed. Where every run saw the
    same amount of data, size is all that is planned.
    """
    from astraios import workflow

    request = workflow.FitRequest.of_options(
        by=by or (), where=where or (), best_over=best_over or (), repeat=repeat or (), study=study, law=law,
        split=split, level=level, estimator=estimator, seed=seed, holdout=None, targets=(target,) if target else (),
        decayed_ends=decayed_ends, target_tokens=target_tokens, tokens_per_param=tokens_per_param,
    )  # fmt: skip
    if simulate is not None:
        from astraios import store

        found = workflow.simulate_sweep(simulate, store.database_path(db), request, width, terminal.say)
        _print_simulation(found.to_dict(), as_json)
        return
    if crossing is not None:
        if data is not None:
            where_ = workflow.compare_file(data, request, _columns(n, d, loss_column, group), crossing, "flops")
        else:
            from astraios import store

            where_ = workflow.compare_series(store.database_path(db), request, crossing, "flops")
        content = where_.to_dict()["crossing"]
        if as_json:
            terminal.print_json(content)
        else:
            _print_crossing(content)
        return
    asked = workflow.PlanRequest.of_options(
        flops=flops, device_hours=device_hours, money=money, loss=loss, score=score, price=price, series=series,
        target=target, target_tokens=target_tokens, tokens_per_param=tokens_per_param,
    )  # fmt: skip
    if data is not None:
        answers = workflow.plan_file(data, request, _columns(n, d, loss_column, group), asked)
    else:
        from astraios import store

        answers = workflow.plan_budget(store.database_path(db), request, asked)
    rows = [answer.to_dict() for answer in answers]
    if as_json:
        terminal.print_json(rows)
        return
    _print_plan(rows, asked.text)


@app.command(
    epilog=example(
        "astraios speedup lora fft",
        "astraios speedup lora fft --target 7B --unit seconds --json",
        "astraios speedup 'dataset_id=web' 'dataset_id=filtered' --by dataset_id --study web,filtered",
    )
)
def speedup(
    series: Annotated[str, typer.Argument(metavar="A", help="What is followed.", autocompletion=values("series"))],
    faster: Annotated[str, typer.Argument(metavar="B", help="What is to be reached.", autocompletion=values("series"))],
    unit: Annotated[str, typer.Option(metavar="flops|tokens|seconds|money", help="What is counted.")] = "flops",
    target: Annotated[str | None, typer.Option(metavar="SIZE", help="Size of the target; else the next rung.")] = None,
    target_tokens: Annotated[str | None, typer.Option(metavar="N", help="Tokens of the target, as 140B.")] = None,
    tokens_per_param: Annotated[float | None, typer.Option(metavar="X", help="Tokens a parameter there.")] = None,
    target_flops: Annotated[str | None, typer.Option(metavar="C", help="Training FLOPs of the target.")] = None,
    data: Data = None,
    n: N = "n_params",
    d: D = "n_tokens",
    loss_column: Loss = "loss",
    group: Group = None,
    law: Law = "auto",
    split: Split = "test",
    study: Study = None,
    by: By = None,
    where: Where = None,
    best_over: BestOver = None,
    repeat: Repeat = None,
    decayed_ends: DecayedEnds = False,
    level: Level = 0.9,
    estimator: Estimator = "huber",
    seed: Annotated[int, typer.Option(help="Seed of the resampling.")] = 0,
    db: Db = None,
    as_json: Json = False,
) -> None:
    """Say how much faster B is than A: what A needs to reach B's loss at the target, as a multiple.

    A and B are values of whatever is compared: methods, ranks, recipes, training data that were scored on one split.
    """
    from astraios import store, workflow

    request = workflow.FitRequest.of_options(
        by=by or (), where=where or (), best_over=best_over or (), repeat=repeat or (), target_tokens=target_tokens,
        tokens_per_param=tokens_per_param, target_flops=target_flops, study=study, law=law, split=split, level=level,
        estimator=estimator, seed=seed, holdout=None, targets=(target,) if target else (), decayed_ends=decayed_ends,
    )  # fmt: skip
    pair = (series, faster)
    if data is not None:
        found = workflow.compare_file(data, request, _columns(n, d, loss_column, group), pair, unit)
    else:
        found = workflow.compare_series(store.database_path(db), request, pair, unit)
    content = found.to_dict()
    if as_json:
        terminal.print_json(content)
        return
    _print_speedup(content)


def _print_simulation(content: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        terminal.print_json(content)
        return
    rows = [("as planned", content["planned"]), *(("", one) for one in content["others"])]
    terminal.print_table(
        [
            {
                "ladder": label or ("cheapest" if one == content["cheapest"] else ""),
                "sizes": ", ".join(f"{size:.3g}" for size in one["sizes"]), "runs a cell": one["seeds"],
                "width": f"{one['width']:.1%}", "coverage": f"{one['coverage']:.0%}",
                "tells 1% apart": f"{one['power']:.0%}",
                "device-hours": None if one["device_hours"] is None else f"{one['device_hours']:.3g}",
            }
            for label, one in rows
        ],
        f"What {content['sweep']} would tell at {content['target']:.3g} parameters",
    )  # fmt: skip
    terminal.say(f"truths: {content['truth']}; width of a new run's 90% interval, relative to the loss")


def _print_speedup(row: Mapping[str, Any]) -> None:
    a, b = row["series"], row["faster"]
    low, high = (None if row[name] is None else f"{row[name]:.3g}" for name in ("low", "high"))
    factor = "never gets there" if row["factor"] is None else f"{row['factor']:.3g}"
    terminal.print_table(
        [
            {
                "to reach": f"{b}, {row['loss']:.4f} nats", "needs": f"{a}: {row['unit']} x", "factor": factor,
                "interval": f"{low or 'no bound'} to {high or 'no bound'}",
                "verdict": "separable" if row["separable"] else "not separable",
            }
        ],
        f"At {row['n_params']:.3g} parameters and {row['n_tokens']:.3g} tokens",
    )  # fmt: skip
    terminal.say(f"both grow with {row['path']}; {row['p_unreachable']:.0%} of the draws never get there")
    _print_crossing(row["crossing"])
    for line in row["assumed"]:
        terminal.say(f"assumed: {line}")


def _print_crossing(where: Mapping[str, Any]) -> None:
    if where["size"] is None:
        terminal.say(f"they do not cross: {where['better_at_largest']} is better at the largest size")
    else:
        terminal.say(
            f"they cross at {where['size']:.3g} parameters ({where['low']:.3g} to {where['high']:.3g}) in "
            f"{where['probability']:.0%} of the draws; {where['better_at_largest']} is better beyond"
        )


def _columns(n: str, d: str, loss: str, group: str | None) -> Any:
    from astraios.workflow import FileColumns

    return FileColumns(n, None if d == "none" else d, loss, group)


def _print_plan(rows: Sequence[Mapping[str, Any]], asked: str) -> None:
    reached = [row for row in rows if row["n_params"] is not None]
    if reached:
        terminal.print_table([_plan_row(row) for row in reached], f"Plan for {asked}")
    tuned = [{"series": row["series"], **one} for row in reached for one in row["optimum"]]
    if tuned:
        names = ("series", "fact", "value", "low", "high")
        terminal.print_table([{name: one[name] for name in names} for one in tuned], "Best values there")
    for row in rows:
        if row["n_params"] is None:
            terminal.say(
                f"{row['series']}: not reachable: {asked} lies beyond what any compute gives here "
                f"({row['floor']:.4g} in the limit) in {row['p_unreachable']:.0%} of the draws"
            )
    for line in dict.fromkeys(line for row in rows for line in row["assumed"]):
        terminal.say(f"assumed: {line}")


def _plan_row(row: Mapping[str, Any]) -> dict[str, Any]:
    shown: dict[str, Any] = {"series": row["series"]}
    if row["flops"] is not None:
        shown["FLOPs"] = f"{row['flops']:.3g}"
    if row["flops_low"] is not None:
        high = "no bound" if row["flops_high"] is None else f"{row['flops_high']:.3g}"
        shown["FLOPs, interval"] = f"{row['flops_low']:.3g} to {high}"
    if row["device_hours"] is not None:
        shown["device-hours"] = f"{row['device_hours']:.3g}"
    if row["price"] is not None:
        shown["price"] = f"{row['price']:,.2f}"
    shown |= {name: _count(row, name) for name in ("n_params", "n_tokens") if row[name] is not None}
    if row["loss"] is None:
        return shown
    shown |= {"loss": row["loss"], "interval": f"{row['loss_low']:.4f} to {row['loss_high']:.4f}"}
    if row["p_no_optimum"] is not None:
        shown["within 0.2%"] = f"{row['flat'][0]:.3g} to {row['flat'][1]:.3g}"
        shown["exponent"] = f"{row['exponent']:.2f} ({row['exponent_low']:.2f} to {row['exponent_high']:.2f})"
        shown["no optimum"] = f"{row['p_no_optimum']:.0%}"
    return shown


def _count(row: Mapping[str, Any], name: str) -> str:
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    ends = "no bound" if high is None else f"{high:.3g}"
    return f"{row[name]:.3g}" + ("" if low == high else f" ({low:.3g} to {ends})")
