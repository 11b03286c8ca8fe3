"""What an analysis takes from a database or a file: which runs, which definition of the final loss, which costs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astraios import store
from astraios.errors import DataError, StoreError, UsageError, did_you_mean
from astraios.fit.decays import decayed_ends
from astraios.fit.notes import FitWarning
from astraios.fit.observations import ROW, check_named
from astraios.fit.quantities import infer
from astraios.fit.request import FitRequest
from astraios.fit.scores.data import MEAN_TASK, best_possible
from astraios.fit.scores.routes import OWN
from astraios.fit.selection import Selection
from astraios.workflow.sizes import ladder_names
from astraios.workflow.tasks import with_guessing

if TYPE_CHECKING:
    import polars as pl


LOSS_COLUMNS = {"last": "loss_nats", "min": "min_loss", "mean_last5": "mean_last5_loss"}
"""Column of the view final_loss by definition of the final loss."""


_SCORES_ONLY = """\
with chosen as (
    select * from final_score where is_main_n_shot and value is not null and {scores}
),
noise as (
    select origin, ladder, dataset_id, model_id, series, sum(value * (1 - value) / n) / count(*) ** 2 as variance,
        min(run_id) as run_id
    from (
        select origin, ladder, dataset_id, model_id, series, task_id, avg(value) as value, avg(n) as n,
            min(run_id) as run_id
        from chosen where is_main_metric and higher_is_better group by all)
    group by all
)
select run_id, series as method_id, n_params, n_tokens, task_id, metric, value, stderr, n, chance, ceiling,
    higher_is_better, is_main_metric, engine
from chosen
union all by name
select v.run_id, m.series as method_id, m.n_params, 'mean' as task_id,
    'mean_score' as metric, round(m.mean_score, 12) as value,
    round(m.mean_score * (1 - m.mean_score) / nullif(v.variance, 0)) as n, true as higher_is_better,
    true as is_main_metric
from mean_task_score m
left join noise v on v.model_id = m.model_id and v.series = m.series
    and v.origin is not distinct from m.origin and v.dataset_id is not distinct from m.dataset_id
where m.is_main and {means}
order by task_id, metric, method_id, n_params, run_id"""
_OTHER_SHOTS = """select task_id, any_value(fewest) as fewest, count(*) as count, min(own) as own, min(run_id) as run_id
from (
    select task_id, run_id, min(n_shot) as own, bool_or(is_main_n_shot) as used,
        (select min(n_shot) from score s where s.task_id = f.task_id) as fewest
    from final_score f where value is not null and {condition} group by all
)
where not used group by task_id order by task_id"""


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
    """What a request is about in a database: losses of one study and the scores beside them, or scores alone.

    Raises:
        StoreError: no database, or it holds no finished runs.
        UsageError: a study, definition or split that isn't there; several studies and none named.
    """
    if request.loss_definition not in LOSS_COLUMNS:
        raise UsageError(
            f"--definition {request.loss_definition!r}: {did_you_mean(request.loss_definition, LOSS_COLUMNS)}"
        )
    with store.reading(db) as connection:
        study = store.choose_study(connection, db, request.study, request.ladder)
        splits = store.run_query(connection, f"select distinct split from final_loss where {study.condition}")
        if not splits.is_empty() and request.split not in splits["split"]:
            raise UsageError(f"--split {request.split!r}: {did_you_mean(request.split, splits['split'].to_list())}")
        scored = store.run_query(connection, f"select 1 from final_score where {study.condition} limit 1")
        if splits.is_empty() and scored.is_empty():
            raise StoreError(f"{db}: study {study.name} holds neither a loss nor a score: run `astraios collect` first")
        return (_losses if len(splits) else _scores_only)(connection, study, request)


def _losses(connection: Any, study: store.Study, request: FitRequest) -> Selection:
    sql = (_evaluations_sql if request.decayed_ends else _losses_sql)(request, study)
    losses, notes = _points(store.run_query(connection, sql), request)
    facts = store.facts(connection, study)
    losses = losses.drop(*(["learning_rate"] if request.decayed_ends else []))
    _refuse_two_tokenizers(losses, study)
    columns = [name for name in facts.frame.columns if name == "run_id" or name not in losses.columns]
    return Selection(
        losses=losses.drop("bytes_per_token").join(facts.frame.select(columns), on="run_id", maintain_order="left"),
        scores=with_guessing(store.run_query(connection, _scores_sql(request, study))),
        along=store.run_query(connection, _along_sql(request, study)),
        costs=store.run_query(connection, _costs_sql(request, study)),
        ladder=_ladder(connection, study),
        names=size_names(connection, study),
        sql=sql,
        settings=facts.settings,
        not_facts=facts.derived,
        repeats=("origin",) if len(study.keys) > 1 else (),
        notes=(*notes, *_other_shots(connection, study)),
        study=_described(connection, study),
        query_hash=store.rows_hash(connection, sql),
    )


def _scores_only(connection: Any, study: store.Study, request: FitRequest) -> Selection:
    """Beside the metrics of the tasks stands the mean over tasks (the view mean_task_score), as task `mean`."""
    if request.roles.facts:
        raise UsageError("--by, --where, --best-over and --repeat are about losses: this study has scores alone")
    sql = _SCORES_ONLY.format(scores=study.condition, means=study.condition_of_key)
    averaged = store.run_query(
        connection, f"select distinct tasks from mean_task_score where is_main and {study.condition_of_key}"
    )
    scores = _with_limits_of_means(with_guessing(store.run_query(connection, sql)), averaged["tasks"].to_list())
    apart = f"select 1 from run_series where is_rate_apart and {study.condition_of_key} limit 1"
    return Selection(
        losses=None, scores=scores, ladder=_ladder(connection, study), names=size_names(connection, study), sql=sql,
        notes=tuple(_other_shots(connection, study)), study=_described(connection, study),
        query_hash=store.rows_hash(connection, sql),
        rates_apart=bool(len(store.run_query(connection, apart))),
    )  # fmt: skip


def _other_shots(connection: Any, study: store.Study) -> list[FitWarning]:
    """A warning for each task that some runs were asked with more demonstrations alone than count in the database."""
    notes = []
    for row in store.run_query(connection, _OTHER_SHOTS.format(condition=study.condition)).iter_rows(named=True):
        words = (
            f"{row['task_id']}: scores count with {row['fewest']} demonstrations, the fewest that the database has; "
            f"left out are {row['count']} runs with {row['own']} or more alone ({row['run_id']}, ...): score them with "
            f"as many, or keep the others in a database of their own"
        )
        notes.append(FitWarning("other_shots", words, str(row["task_id"])))
    return notes


def _with_limits_of_means(scores: pl.DataFrame, averaged: list[list[dict[str, Any]]]) -> pl.DataFrame:
    """The chance level and ceiling of a mean are the means of its tasks' own, where all are known and all means are
    over the same tasks.

    Args:
        scores: with those of the tasks.
        averaged: task_id, metric and weight of what the means are over, each set once.
    """
    import polars as pl

    if len(averaged) != 1:
        return scores
    terms = pl.DataFrame(averaged[0]).join(
        scores.group_by("task_id", "metric").agg(pl.col("chance", "ceiling").first()), on=["task_id", "metric"]
    )
    best = pl.Series([best_possible(metric) for metric in terms["metric"]], dtype=pl.Float64)
    terms = terms.with_columns(pl.col("ceiling").fill_null(best))
    total, limits = sum(term["weight"] for term in averaged[0]), {}
    for name in ("chance", "ceiling"):
        known = not terms[name].null_count() and terms.height == len(averaged[0])
        limits[name] = float((terms[name] * terms["weight"]).sum() / total) if known else None
    mean = pl.col("task_id") == MEAN_TASK
    return scores.with_columns(
        pl.when(mean).then(pl.lit(value, pl.Float64)).otherwise(name).alias(name) for name, value in limits.items()
    )


def _refuse_two_tokenizers(losses: pl.DataFrame, study: store.Study) -> None:
    """Nats a token of two tokenizers are two units."""
    known = [float(value) for value in losses["bytes_per_token"].drop_nulls()]
    if known and max(known) > 1.005 * min(known):
        raise UsageError(
            f"study {study.name}: losses in nats a token over several tokenizers ({min(known):.3f} to {max(known):.3f} "
            "bytes a token) can't be compared: hold one with --study or --where model_id=..., or fit bits per byte "
            "(column bits_per_byte of final_loss) with --data"
        )


def _described(connection: Any, study: store.Study) -> dict[str, Any]:
    found = store.run_query(
        connection,
        "select string_agg(distinct origin, ', ' order by origin) as origin, count(*) as n_runs "
        f"from run_study where {study.condition}",
    )
    return {"study": study.name, "study_key": study.key, **found.row(0, named=True)}


def _ladder(connection: Any, study: store.Study) -> str | None:
    found = store.run_query(connection, f"select distinct ladder from run_study where {study.condition}")["ladder"]
    return found[0] if len(found) == 1 else None


def size_names(connection: Any, study: store.Study) -> dict[str, float]:
    """Parameters by the short names of a study's rungs, lower case."""
    models = store.run_query(
        connection,
        "select distinct m.model_id, m.ladder, m.n_params from base_model m join run r using (model_id) "
        f"where r.{study.condition}",
    )
    ladders = models["ladder"].drop_nulls().unique().sort().to_list()
    return {name: size for ladder in (*ladders, None) for name, size in ladder_names(models, ladder).items()}


def _points(
    losses: pl.DataFrame, request: FitRequest, loss: str = "loss"
) -> tuple[pl.DataFrame, tuple[FitWarning, ...]]:
    """The rows that are points, and what was assumed of them: ends of decays where they are asked for."""
    if not request.decayed_ends:
        return losses, ()
    if request.loss_definition != "last":
        raise UsageError(f"--decayed-ends takes the last loss of a decay: leave --definition {request.loss_definition}")
    return decayed_ends(losses, loss)


def select_file(path: Path, columns: FileColumns, request: FitRequest | None = None) -> Selection:
    """The same from a CSV or Parquet file. It has no ladder: sizes are numbers.

    Raises:
        DataError: no such file or column.
    """
    import polars as pl

    n, d, loss, group = columns.n, columns.d, columns.loss, columns.group
    frame, notes = _points(read_frame(path), request or FitRequest(), loss)
    for name in (n, loss, *(c for c in (d, group) if c)):
        if name not in frame.columns:
            raise DataError(f"{path}: no column {name!r}: {did_you_mean(name, frame.columns)}")
    if group:
        check_named(frame, group)
    losses = frame.rename(
        {**_out_of_the_way(frame, columns), n: "n_params", loss: "loss", **({d: "n_tokens"} if d else {})}
    )
    if "run_id" not in losses.columns:
        losses = losses.with_columns(run_id=pl.format(ROW + "{}", pl.int_range(pl.len())))
    values = losses["loss"].cast(pl.Float64, strict=False).drop_nulls().to_numpy()
    return Selection(
        losses.with_columns(pl.col("run_id").cast(pl.String)), sql=path.name, data_counts=d is not None,
        series=(group,) if group else (), curated=False, loss_quantity=infer(loss, values), size_name=n,
        notes=notes,
    )  # fmt: skip


def _out_of_the_way(frame: pl.DataFrame, columns: FileColumns) -> dict[str, str]:
    """Other columns whose names the analysis uses for those that were chosen."""
    wanted = {"n_params": columns.n, "loss": columns.loss, "n_tokens": columns.d}
    return {
        name: f"{name} (unused)" for name, use in wanted.items() if use not in (name, None) and name in frame.columns
    }


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


def _losses_sql(request: FitRequest, study: store.Study) -> str:
    return (
        "select method_id, run_id, seed, model_id, n_params, n_tokens, "
        f"{LOSS_COLUMNS[request.loss_definition]} as loss, bytes_per_token\nfrom final_loss\n"
        f"where split = {_literal(request.split)} and {study.condition}\norder by method_id, n_params, seed, run_id"
    )


def _evaluations_sql(request: FitRequest, study: store.Study) -> str:
    """Losses of the split along finished runs, and the learning rates that were logged with any loss."""
    return (
        "select r.method_id, run_id, r.seed, r.model_id, r.n_params, c.step, max(c.n_tokens) as n_tokens, "
        f"max(c.loss_nats) filter (where c.split = {_literal(request.split)}) as loss, "
        "max(c.learning_rate) as learning_rate, r.bytes_per_token\n"
        "from loss_curve c join run r using (run_id)\n"
        f"where run_id in (select run_id from final_loss) and {study.condition}\ngroup by all\norder by run_id, step"
    )


def _scores_sql(request: FitRequest, study: store.Study) -> str:
    own = ", ".join(_literal(name) for name in (*OWN, request.through))
    return (
        "select run_id, method_id, n_params, n_tokens, loss_nats as loss, task_id, metric, value, stderr, n, chance, "
        f"ceiling, higher_is_better, engine\nfrom loss_to_score\nwhere split = {_literal(request.split)}"
        f" and (is_main_metric or metric in ({own})) and is_main_n_shot and {study.condition}\n"
        "order by task_id, method_id, n_params, run_id"
    )


def _along_sql(request: FitRequest, study: store.Study) -> str:
    """Scores along training, but for those at the last step, with the loss that was measured at the same step."""
    return (
        "select p.run_id, p.step, p.method_id, p.n_params, l.loss_nats as loss, p.task_id, p.metric, p.value, p.stderr,"
        " p.n, any_value(f.chance) as chance, any_value(f.ceiling) as ceiling,"
        " any_value(f.higher_is_better) as higher_is_better\nfrom score_curve p\n"
        "join loss_curve l on l.run_id = p.run_id and l.step = p.step\n"
        "join final_score f on f.run_id = p.run_id and f.task_id = p.task_id and f.metric = p.metric\n"
        f"where l.split = {_literal(request.split)} and f.is_main_metric and f.is_main_n_shot and p.{study.condition}\n"
        "and p.step < (select max(step) from score_point q where q.run_id = p.run_id and q.task_id = p.task_id)\n"
        "group by all\norder by all"
    )


def _costs_sql(request: FitRequest, study: store.Study) -> str:
    return (
        "select c.run_id, c.n_params, c.device_seconds / 3600 as hours, c.train_flops as flops, r.n_tokens\n"
        "from cost_frontier c join run r using (run_id)\n"
        f"where c.split = {_literal(request.split)} and c.{study.condition}\norder by all"
    )


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
