"""What a fit takes from a database: which runs, which definition of the final loss, which costs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astraios import store
from astraios.errors import StoreError, UsageError, did_you_mean
from astraios.workflow.sizes import known_sizes, next_rung, parse_size

if TYPE_CHECKING:
    import polars as pl


LOSS_COLUMNS = {"last": "loss_nats", "min": "min_loss", "mean_last5": "mean_last5_loss"}
"""Column of the view final_loss by definition of the final loss."""


_SCORES_ONLY = """\
with chosen as (
    select * from final_score where is_main_n_shot and value is not null and {scores}
),
noise as (
    select origin, ladder, dataset_id, model_id, method_id, sum(value * (1 - value) / n) / count(*) ** 2 as variance,
        min(run_id) as run_id
    from (
        select origin, ladder, dataset_id, model_id, method_id, task_id, avg(value) as value, avg(n) as n,
            min(run_id) as run_id
        from chosen where is_main_metric and higher_is_better group by all)
    group by all
)
select run_id, method_id, n_params, task_id, metric, value, stderr, n, chance, ceiling, higher_is_better
from chosen
union all by name
select v.run_id, m.method_id, m.n_params, 'mean' as task_id,
    'mean_score' as metric, round(m.mean_score, 12) as value,
    round(m.mean_score * (1 - m.mean_score) / nullif(v.variance, 0)) as n, true as higher_is_better
from mean_task_score m
left join noise v on v.model_id = m.model_id and v.method_id = m.method_id
    and v.origin is not distinct from m.origin and v.dataset_id is not distinct from m.dataset_id
where {means}
order by task_id, metric, method_id, n_params, run_id"""


@dataclass(frozen=True)
class FitRequest:
    """The options of `astraios fit-scaling`."""

    law: str = "auto"
    split: str = "test"
    definition: str = "last"
    targets: tuple[str, ...] = ()
    holdout: str = "largest"
    level: float = 0.9
    seed: int = 0
    estimator: str = "huber"
    ladder: str | None = None


@dataclass(frozen=True)
class Selected:
    """What a request takes from a database."""

    losses: pl.DataFrame
    scores: pl.DataFrame
    costs: pl.DataFrame
    sizes: dict[str, int]
    n_params: list[float]
    sql: str
    ladder: str | None = None

    def targets(self, request: FitRequest) -> list[float]:
        """Sizes to project to: those asked for, else the ladder's next rung."""
        return [parse_size(text, self.sizes) for text in request.targets] or [next_rung(self.n_params)]


def select(db: Path, request: FitRequest) -> Selected:
    """Reads what a request is about.

    Raises:
        StoreError: no database, or it holds no finished runs.
        UsageError: a level, definition, split or ladder that isn't there.
    """
    check_level(request.level)
    if request.definition not in LOSS_COLUMNS:
        raise UsageError(f"--definition {request.definition!r}: {did_you_mean(request.definition, LOSS_COLUMNS)}")
    with store.reading(db) as connection:
        ladder = _choose_ladder(connection, db, request)
        sql = _losses_sql(request, ladder)
        losses = store.run_query(connection, sql)
        scores = store.run_query(connection, _scores_sql(request, ladder))
        costs = store.run_query(connection, _costs_sql(request, ladder))
        models = store.run_query(connection, "select model_id, ladder, n_params from base_model")
    n_params = sorted(losses["n_params"].unique())
    return Selected(losses, scores, costs, known_sizes(models, ladder), n_params, sql, ladder)


@dataclass(frozen=True)
class SelectedScores:
    """What a request takes from a database that has scores and no losses."""

    scores: pl.DataFrame
    sizes: dict[str, int]
    n_params: list[float]
    sql: str

    def targets(self, request: FitRequest) -> list[float]:
        """Sizes to project to: those asked for, else the ladder's next rung."""
        return [parse_size(text, self.sizes) for text in request.targets] or [next_rung(self.n_params)]


def select_scores(db: Path, request: FitRequest) -> SelectedScores | None:
    """The scores of a database without any final loss, or None where there are losses or no scores either.

    Beside the metrics of the tasks stands the mean over tasks (the view mean_task_score), as task `mean`.

    Raises:
        StoreError: no database.
        UsageError: a level or ladder that isn't there.
    """
    check_level(request.level)
    with store.reading(db) as connection:
        if not store.run_query(connection, "select 1 from final_loss limit 1").is_empty():
            return None
        known = store.run_query(connection, "select distinct ladder from final_score order by all")
        if known.is_empty():
            return None
        ladder = _choose(db, [name for name in known["ladder"] if name is not None], request)
        only = f"ladder = {_literal(ladder)}" if ladder else "true"
        sql = _SCORES_ONLY.format(scores=only, means=f"m.{only}" if ladder else only)
        scores = store.run_query(connection, sql)
        models = store.run_query(connection, "select model_id, ladder, n_params from base_model")
    return SelectedScores(scores, known_sizes(models, ladder), sorted(scores["n_params"].unique()), sql)


def settings_of(request: FitRequest, sql: str) -> dict[str, Any]:
    """The options that every analysis takes."""
    return {
        "level": request.level,
        "seed": request.seed,
        "estimator": request.estimator,
        "loss_definition": request.definition,
        "split": request.split,
        "data_sql": sql,
    }


def check_level(level: float) -> None:
    """Raises a UsageError unless 0 < level < 1."""
    if not 0 < level < 1:
        raise UsageError(f"--level {level}: must lie between 0 and 1, for instance 0.9")


def _choose_ladder(connection: Any, db: Path, request: FitRequest) -> str | None:
    frame = store.run_query(connection, "select ladder, split, count(*) as n from final_loss group by all order by all")
    if frame.is_empty():
        raise StoreError(f"{db} holds no finished run with a loss: run `astraios collect` first")
    splits = sorted(set(frame["split"]))
    if request.split not in splits:
        raise UsageError(f"--split {request.split!r}: {did_you_mean(request.split, splits)}")
    return _choose(db, [name for name in frame["ladder"].unique().sort() if name is not None], request)


def _choose(db: Path, ladders: list[str], request: FitRequest) -> str | None:
    if request.ladder is not None:
        if request.ladder not in ladders:
            raise UsageError(f"--ladder {request.ladder!r}: {did_you_mean(request.ladder, ladders)}")
        return request.ladder
    if len(ladders) > 1:
        raise UsageError(f"{db} holds runs of several ladders: choose with --ladder; {did_you_mean('', ladders)}")
    return ladders[0] if ladders else None


def _losses_sql(request: FitRequest, ladder: str | None) -> str:
    return (
        "select method_id, run_id, seed, model_id, n_params, n_tokens, "
        f"{LOSS_COLUMNS[request.definition]} as loss\nfrom final_loss\nwhere split = {_literal(request.split)}"
        + (f" and ladder = {_literal(ladder)}" if ladder else "")
        + "\norder by method_id, n_params, seed, run_id"
    )


def _scores_sql(request: FitRequest, ladder: str | None) -> str:
    return (
        "select run_id, method_id, n_params, loss_nats as loss, task_id, metric, value, stderr, n, chance, ceiling, "
        f"higher_is_better\nfrom loss_to_score\nwhere split = {_literal(request.split)}"
        + " and is_main_metric and is_main_n_shot"
        + (f" and ladder = {_literal(ladder)}" if ladder else "")
        + "\norder by task_id, method_id, n_params, run_id"
    )


def _costs_sql(request: FitRequest, ladder: str | None) -> str:
    return (
        "select method_id, n_params, avg(device_seconds) / 3600 as hours\nfrom cost_frontier\n"
        f"where split = {_literal(request.split)}"
        + (f" and ladder = {_literal(ladder)}" if ladder else "")
        + "\ngroup by all order by all"
    )


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
