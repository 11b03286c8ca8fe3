"""What an analysis takes from a database or a file: which runs, which definition of the final loss, which costs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astraios import store
from astraios.errors import DataError, StoreError, UsageError, did_you_mean
from astraios.fit.request import FitRequest
from astraios.fit.selection import Selection
from astraios.workflow.sizes import ladder_names

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
class FileColumns:
    """Which columns of a file are what."""

    n: str = "n_params"
    d: str | None = None
    """Tokens, or None."""
    loss: str = "loss"
    """Nats."""
    group: str | None = None
    """What tells series apart, or None for one series."""


def select(db: Path, request: FitRequest) -> Selection:
    """What a request is about in a database: losses and the scores beside them, or scores where there is no loss.

    Raises:
        StoreError: no database, or it holds no finished runs.
        UsageError: a definition, split or ladder that isn't there.
    """
    if request.loss_definition not in LOSS_COLUMNS:
        raise UsageError(
            f"--definition {request.loss_definition!r}: {did_you_mean(request.loss_definition, LOSS_COLUMNS)}"
        )
    with store.reading(db) as connection:
        losses = store.run_query(
            connection, "select ladder, split, count(*) as n from final_loss group by all order by all"
        )
        scores = store.run_query(connection, "select distinct ladder from final_score order by all")
        if losses.is_empty() and scores.is_empty():
            raise StoreError(f"{db} holds no finished run with a loss: run `astraios collect` first")
        read = _losses if len(losses) else _scores_only
        return read(connection, _choose_ladder(db, losses if len(losses) else scores, request), request)


def _losses(connection: Any, ladder: str | None, request: FitRequest) -> Selection:
    sql = _losses_sql(request, ladder)
    return Selection(
        losses=store.run_query(connection, sql),
        scores=store.run_query(connection, _scores_sql(request, ladder)),
        costs=store.run_query(connection, _costs_sql(request, ladder)),
        ladder=ladder,
        names=_names(connection, ladder),
        sql=sql,
    )


def _scores_only(connection: Any, ladder: str | None, request: FitRequest) -> Selection:
    """Beside the metrics of the tasks stands the mean over tasks (the view mean_task_score), as task `mean`."""
    only = f"ladder = {_literal(ladder)}" if ladder else "true"
    sql = _SCORES_ONLY.format(scores=only, means=f"m.{only}" if ladder else only)
    scores = store.run_query(connection, sql)
    return Selection(losses=None, scores=scores, ladder=ladder, names=_names(connection, ladder), sql=sql)


def _names(connection: Any, ladder: str | None) -> dict[str, float]:
    return ladder_names(store.run_query(connection, "select model_id, ladder, n_params from base_model"), ladder)


def select_file(path: Path, columns: FileColumns) -> Selection:
    """The same from a CSV or Parquet file. It has no ladder: sizes are numbers.

    Raises:
        DataError: no such file or column.
    """
    import polars as pl

    frame = read_frame(path)
    n, d, loss, group = columns.n, columns.d, columns.loss, columns.group
    for name in (n, loss, *(c for c in (d, group) if c)):
        if name not in frame.columns:
            raise DataError(f"{path}: no column {name!r}: {did_you_mean(name, frame.columns)}")
    losses = frame.select(
        method_id=pl.col(group).cast(pl.String) if group else pl.lit("all"),
        run_id=pl.int_range(pl.len()).cast(pl.String),
        seed=pl.lit(0, pl.Int64),
        model_id=pl.col(n).cast(pl.String),
        n_params=pl.col(n),
        n_tokens=pl.col(d) if d else pl.lit(None, pl.Int64),
        loss=pl.col(loss),
    )
    return Selection(losses, sql=path.name, data_counts=d is not None)


def read_frame(path: Path) -> pl.DataFrame:
    """A CSV or Parquet file.

    Raises:
        DataError: it isn't there or can't be read; one line.
    """
    import polars as pl

    if not path.is_file():
        raise DataError(f"no file {path}")
    try:
        return pl.read_parquet(path) if path.suffix == ".parquet" else pl.read_csv(path, infer_schema_length=10_000)
    except (pl.exceptions.PolarsError, OSError, ValueError) as error:
        raise DataError(f"{path}: not a readable CSV or Parquet file ({str(error).splitlines()[0]})") from None


def _choose_ladder(db: Path, there: pl.DataFrame, request: FitRequest) -> str | None:
    """The ladder that was asked for, else the only one; `there` has the columns ladder and, for losses, split."""
    splits = there["split"].unique().sort().to_list() if "split" in there.columns else [request.split]
    if request.split not in splits:
        raise UsageError(f"--split {request.split!r}: {did_you_mean(request.split, splits)}")
    ladders = [name for name in there["ladder"].unique().sort() if name is not None]
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
        f"{LOSS_COLUMNS[request.loss_definition]} as loss\nfrom final_loss\nwhere split = {_literal(request.split)}"
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
