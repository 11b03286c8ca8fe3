"""The report's first words: what wins, how sure that is, what it costs, what to run next.

Every number comes from a view; nothing is estimated here.
"""

from __future__ import annotations

from typing import Any

from astraios.report.base import Query
from astraios.report.study import Study
from astraios.report.theme import chance, clip, percent, size_label

RANKING = """\
select origin, ladder, dataset_id, coalesce(t.title, method_id) as method, n_params, mean, low, high, level, p_best,
    may_be_best, place
from ranking
left join tuning_method t using (method_id)
where is_target and quantity = 'loss'
order by place"""

MEAN_RANKING = """\
select origin, ladder, dataset_id, coalesce(t.title, method_id) as method, n_params, mean, low, high, level, p_best,
    may_be_best, place
from ranking
left join tuning_method t using (method_id)
where is_target and quantity = 'score' and task_id = 'mean'
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
select origin, ladder, dataset_id, case task_id when 'mean' then 'mean score' else quantity end as what, count(*) as n,
    avg(relative_error) as error, avg(carry_forward_error) as carried, count(*) filter (covered) as n_covered,
    min(level) as level
from latest_backtest
where observed is not null and coalesce(split, 'test') = 'test'
group by origin, ladder, dataset_id, what
order by what"""

COST = """\
select origin, ladder, dataset_id, coalesce(t.title, method_id) as method, n_params, avg(device_seconds) as seconds,
    avg(loss_nats) as loss_nats, avg(n_trainable) / n_params as share, count(*) as n_timings
from cost_frontier
left join tuning_method t using (method_id)
where split = 'test' and device_seconds is not null
group by origin, ladder, dataset_id, method_id, t.title, n_params
qualify n_params = max(n_params) over (partition by origin, ladder, dataset_id)
order by loss_nats"""


QUERIES = {
    "ranking": RANKING,
    "mean_ranking": MEAN_RANKING,
    "loss": BEST_LOSS,
    "score": BEST_SCORE,
    "backtest": BACKTEST,
    "cost": COST,
}
UNLIKELY = 0.05
"""Coverage as low as this would be rarer than that, were the intervals to hold what they promise."""


def summary(query: Query, study: Study | None) -> list[tuple[str, str]]:
    """Pairs of a heading and sentences about one study."""
    if study is None:
        return [("Nothing yet", "This database holds no finished run: run astraios collect, or astraios import.")]
    rows = {name: query(study.select(sql)).to_dicts() for name, sql in QUERIES.items()}
    found = [
        ("What wins", _wins(rows)),
        ("How sure", _sure(rows)),
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


def _wins(rows: dict[str, list[dict[str, Any]]]) -> str:
    said = []
    if ranking := rows["ranking"]:
        said += [_projected(ranking, "the lowest test loss", "projected test loss", "{:.3f}", " nats"),
                 *_tempered(rows["backtest"], "loss")]  # fmt: skip
    if ranking := rows["mean_ranking"]:
        said += [_projected(ranking, "the highest mean score", "projected mean score", "{:.1%}"),
                 *_tempered(rows["backtest"], "mean score")]  # fmt: skip
    if losses := rows["loss"]:
        best = losses[0]
        said.append(
            f"At {size_label(best['n_params'])}, the largest size measured, {clip(best['method'])} has the lowest test "
            f"loss, {best['loss_nats']:.3f} nats"
            + (f", ahead of {clip(losses[1]['method'])} with {losses[1]['loss_nats']:.3f}." if losses[1:] else ".")
        )
    if scores := rows["score"]:
        best = scores[0]
        said.append(
            f"The highest mean score measured at {size_label(best['n_params'])} is {clip(best['method'])}'s, "
            f"{best['mean_score']:.1%} over {best['n_tasks']} task{'s' if best['n_tasks'] > 1 else ''}"
            + (f", before {clip(scores[1]['method'])}'s {scores[1]['mean_score']:.1%}." if scores[1:] else ".")
        )
    return " ".join(said)


def _projected(ranking: list[dict[str, Any]], prize: str, measure: str, form: str, unit: str = "") -> str:
    """The projected winner, or those that may be it."""
    first, size = ranking[0], size_label(ranking[0]["n_params"])
    candidates = [row["method"] for row in ranking if row["may_be_best"]]
    if len(candidates) != 1:
        return (
            f"At {size} parameters {listing(candidates)} can't be told apart by {measure}; {clip(first['method'])} "
            f"comes first, {form.format(first['mean'])}{unit}."
        )
    low, high = form.format(first["low"]), form.format(first["high"])
    return (
        f"At {size} parameters {clip(first['method'])} is projected to have {prize}, "
        f"{form.format(first['mean'])}{unit} ({first['level']:.0%} interval of the mean {low} to {high})."
    )


def _tempered(backtests: list[dict[str, Any]], what: str) -> list[str]:
    """What the backtest holds against the headline, if anything."""
    faults = [fault for row in backtests if row["what"] == what for fault in _faults(row)]
    return [f"Take that with care: in the backtest {' and '.join(faults)}."] if faults else []


def _faults(row: dict[str, Any]) -> list[str]:
    """How a backtest failed: beaten by carrying forward, or with fewer observations in its intervals than promised."""
    from scipy.stats import binom

    faults = []
    if None not in (row["error"], row["carried"]) and row["error"] > row["carried"]:
        faults.append("the projection was further off than carrying the last size forward")
    if row["level"] and binom.cdf(row["n_covered"], row["n"], row["level"]) < UNLIKELY:
        faults.append(f"only {row['n_covered']} of {row['n']} observations lay in their {row['level']:.0%} intervals")
    return faults


def _sure(rows: dict[str, list[dict[str, Any]]]) -> str:
    said = []
    for ranking, prize in ((rows["ranking"], ""), (rows["mean_ranking"], " by mean score")):
        if not ranking:
            continue
        likely = max(ranking, key=lambda row: row["p_best"] or 0.0)
        if likely["p_best"] is not None:
            said.append(
                f"{clip(likely['method'])} is the best{prize} with a probability of {chance(likely['p_best'])}."
            )
        if sum(row["may_be_best"] for row in ranking) > 1:
            said.append(f"That is not enough for a winner at a level of {ranking[0]['level']:.0%}.")
    for row in rows["backtest"]:
        what = "scores" if row["what"] == "score" else row["what"]
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
    if max(row["n_timings"] for row in cost) == 1:
        said.append("Each is a single timing: how much it varies from run to run is not known.")
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
