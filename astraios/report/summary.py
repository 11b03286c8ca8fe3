"""The report's first words: what wins, how sure that is, what it costs, what to run next.

Every number comes from a view; nothing is estimated here.
"""

from __future__ import annotations

from typing import Any

from astraios.report.base import Query
from astraios.report.study import Study
from astraios.report.theme import clip, percent, size_label

RANKING = """\
select origin, ladder, dataset_id, coalesce(t.title, method_id) as method, n_params, mean, low, high, level, p_best,
    may_be_best, place, quantity
from main_ranking
left join tuning_method t using (method_id)
where is_target
order by place"""

BEST_LOSS = """\
select origin, ladder, dataset_id, coalesce(t.title, method_id) as method, n_params, loss_nats, n_seeds
from method_size_grid
left join tuning_method t using (method_id)
where split = 'test'
qualify n_params = max(n_params) over (partition by origin, ladder, dataset_id)
order by loss_nats"""

BEST_SCORE = """\
select origin, ladder, dataset_id, coalesce(t.title, method_id) as method, n_params, mean_score, n_tasks
from mean_task_score
left join tuning_method t using (method_id)
where is_main
qualify n_params = max(n_params) over (partition by origin, ladder, dataset_id)
order by mean_score desc"""

BACKTEST = """\
select origin, ladder, dataset_id, quantity, count(*) as n, avg(relative_error) as error,
    avg(carry_forward_error) as carried, sum(covered::int) as n_covered, min(level) as level
from latest_backtest
where observed is not null and coalesce(split, 'test') = 'test'
group by origin, ladder, dataset_id, quantity"""

COST = """\
select origin, ladder, dataset_id, coalesce(t.title, method_id) as method, n_params, avg(device_seconds) as seconds,
    avg(loss_nats) as loss_nats, avg(n_trainable) / n_params as share, avg(peak_memory_bytes) as memory
from cost_frontier
left join tuning_method t using (method_id)
where split = 'test' and device_seconds is not null
group by origin, ladder, dataset_id, method_id, t.title, n_params
qualify n_params = max(n_params) over (partition by origin, ladder, dataset_id)
order by loss_nats"""


def _chance(probability: float) -> str:
    """A probability in words that claim no certainty: draws are finite."""
    return "over 99%" if probability > 0.99 else f"{probability:.0%}"


def summary(query: Query, study: Study | None) -> list[tuple[str, str]]:
    """Pairs of a heading and sentences about one study."""
    if study is None:
        return [("Nothing yet", "This database holds no finished run: run astraios collect, or astraios import.")]
    rows = {
        name: query(study.select(sql)).to_dicts()
        for name, sql in (("ranking", RANKING), ("loss", BEST_LOSS), ("score", BEST_SCORE), ("backtest", BACKTEST),
                          ("cost", COST))
    }  # fmt: skip
    found = [
        ("What wins", _wins(rows)),
        ("How sure", _sure(rows["ranking"], rows["backtest"])),
        ("What it costs", _cost(rows["cost"])),
        ("What to run next", _next(rows)),
    ]
    return [(term, sentence) for term, sentence in found if sentence]


def duration(seconds: float) -> str:
    """Device time as people say it."""
    for unit, scale in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * scale:
            return f"{seconds / scale:.2g} {unit}"
    return f"{seconds:.2g} s"


def listing(names: list[str]) -> str:
    """Names joined as in a sentence."""
    names = [clip(name) for name in names]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _nats(value: float) -> str:
    return f"{value:.3f} nats"


def _share(value: float) -> str:
    return f"{value:.1%}"


def _wins(rows: dict[str, list[dict[str, Any]]]) -> str:
    said = []
    if ranking := rows["ranking"]:
        first, size = ranking[0], size_label(ranking[0]["n_params"])
        candidates = [row["method"] for row in ranking if row["may_be_best"]]
        is_loss = first["quantity"] == "loss"
        best, what, told = ("lowest", "test loss", _nats) if is_loss else ("highest", "mean score", _share)
        if len(candidates) == 1:
            said.append(
                f"At {size} parameters {clip(first['method'])} is projected to have the {best} {what}, "
                f"{told(first['mean'])} ({first['level']:.0%} interval of the mean {told(first['low'])} to "
                f"{told(first['high'])})."
            )
        else:
            said.append(f"At {size} parameters {listing(candidates)} can't be told apart by projected {what}.")
    if losses := rows["loss"]:
        lowest = losses[0]
        said.append(
            f"At {size_label(lowest['n_params'])}, the largest size measured, {clip(lowest['method'])} has the lowest "
            f"test loss, {lowest['loss_nats']:.3f} nats"
            + (f", ahead of {clip(losses[1]['method'])} with {losses[1]['loss_nats']:.3f}." if losses[1:] else ".")
        )
    if scores := rows["score"]:
        highest = scores[0]
        said.append(
            f"The highest mean score at {size_label(highest['n_params'])} is {clip(highest['method'])}'s, "
            f"{highest['mean_score']:.1%} over {highest['n_tasks']} task{'s' if highest['n_tasks'] > 1 else ''}"
            + (f", before {clip(scores[1]['method'])}'s {scores[1]['mean_score']:.1%}." if scores[1:] else ".")
        )
    return " ".join(said)


def _sure(ranking: list[dict[str, Any]], backtests: list[dict[str, Any]]) -> str:
    said = []
    if ranking:
        first = ranking[0]
        said.append(f"{clip(first['method'])} is the best with a probability of {_chance(first['p_best'])}.")
        if sum(row["may_be_best"] for row in ranking) > 1:
            said.append(f"That is not enough for a winner at a level of {first['level']:.0%}.")
    for row in sorted(backtests, key=lambda row: row["quantity"]):
        what = {"loss": "loss", "score": "scores"}.get(row["quantity"], row["quantity"])
        against = f", against {percent(row['carried'])} for carrying the last size forward" if row["carried"] else ""
        said.append(
            f"With the largest size hidden, its {what} came out with a mean relative error of "
            f"{percent(row['error'])}{against}; {row['n_covered']} of {row['n']} observations lay in their "
            f"{row['level']:.0%} intervals."
        )
    return " ".join(said) or "Nothing has been projected yet, so nothing has been checked: run astraios fit-scaling."


def _cost(cost: list[dict[str, Any]]) -> str:
    if not cost:
        return ""
    best, size = cost[0], size_label(cost[0]["n_params"])
    share = f" and trains {percent(best['share'])} of the parameters" if best["share"] is not None else ""
    said = [f"At {size}, a run of {clip(best['method'])} takes {duration(best['seconds'])} of device time{share}."]
    cheaper = [row for row in cost[1:] if row["seconds"] < best["seconds"]]
    if cheaper:
        row = cheaper[0]
        said.append(
            f"The best of those that take less is {clip(row['method'])}: {duration(row['seconds'])}, "
            f"{row['loss_nats'] - best['loss_nats']:.3f} nats behind."
        )
    elif cost[1:]:
        said.append("No other method took less.")
    return " ".join(said)


def _next(rows: dict[str, list[dict[str, Any]]]) -> str:
    ranking, losses = rows["ranking"], rows["loss"]
    if not ranking:
        return "Project the losses: astraios fit-scaling --target SIZE." if losses else (
            "Losses are missing, so scores are projected from size alone (astraios fit-scaling): run astraios collect, "
            "or import training logs, to project them through the loss."
        )  # fmt: skip
    size = size_label(ranking[0]["n_params"])
    candidates = [row["method"] for row in ranking if row["may_be_best"]]
    if len(candidates) == 1:
        return f"A run of {clip(candidates[0])} at {size} would test the projection."
    seeds = max((row["n_seeds"] for row in losses), default=0)
    return f"More seeds (now up to {seeds} at the largest size) of {listing(candidates)}, or a size nearer to {size}."
