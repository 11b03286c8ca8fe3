"""Rows of the tables fit, fit_parameter, fit_point, fit_draw, fit_curve, projection and backtest."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astraios.records import (
    BacktestRow,
    FitCurveRow,
    FitParameterRow,
    FitPointRow,
    FitRow,
    ProjectionRow,
    columns_of,
    from_values,
)
from astraios.records.fitted import Fitted, Projection
from astraios.records.plans import PlanRow
from astraios.store.connect import writing
from astraios.store.plans import add_plans
from astraios.store.rows import FIT_TABLES, arrow_table, insert

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

Kept = tuple[Sequence[Fitted], Sequence[Projection]]
"""What is kept of one analysis."""


def write_fits(path: Path, analyses: Iterable[Kept], plans: Sequence[PlanRow] = ()) -> None:
    """Stores analyses, all or none, the last as the newest; a fit with the same id is replaced.

    Args:
        path: the database.
        analyses: fits with their projections.
        plans: what they say about budgets; all of it, where there is any, in place of what earlier ones said.

    Raises:
        StoreError: the database can't be written.
    """
    start = datetime.now(UTC).replace(tzinfo=None)
    with writing(path) as connection:
        for i, (fits, projections) in enumerate(analyses):
            rows = fit_rows(fits, projections, start + timedelta(microseconds=i))
            tables = {name: arrow_table(content) for name, content in rows.items() if content}
            replace_fits(connection, {**tables, "fit_draw": _draws(fits)})
        add_plans(connection, plans, anew=dict.fromkeys(row.study_key for row in plans))


def replace_fits(connection: DuckDBPyConnection, tables: Mapping[str, Any]) -> None:
    """Rows of fits (Arrow tables by table) in place of what there was of the same fits."""
    connection.register("fresh", tables["fit"].select(["fit_id"]))
    for name in FIT_TABLES:
        connection.execute(f"delete from {name} where fit_id in (select fit_id from fresh)")
        if name in tables:
            insert(connection, name, tables[name])
    connection.unregister("fresh")


def fit_rows(fits: Sequence[Fitted], projections: Sequence[Projection], created_at: datetime) -> dict[str, list[Any]]:
    """Records by table, but for those of fit_draw."""
    return {
        "fit": [_fit(fit, created_at) for fit in fits],
        "fit_parameter": [
            FitParameterRow(fit_id=fit.fit_id, name=name, **asdict(value))
            for fit in fits
            for name, value in fit.parameters.items()
        ],
        "fit_point": [FitPointRow(fit_id=fit.fit_id, **asdict(point)) for fit in fits for point in fit.points],
        "fit_curve": [FitCurveRow(fit_id=fit.fit_id, **asdict(point)) for fit in fits for point in fit.curve],
        "projection": [from_values(ProjectionRow, vars(p)) for p in projections],
        "backtest": backtest_rows(fits, projections),
    }


def backtest_rows(fits: Sequence[Fitted], projections: Sequence[Projection]) -> list[BacktestRow]:
    """Records of the table backtest: what was predicted at hidden sizes, with the law or link that did."""
    law = {fit.fit_id: fit.law for fit in fits}
    return [
        from_values(
            BacktestRow,
            {
                **vars(p), "law": law[p.fit_id], "relative_error": p.relative_error, "covered": p.covered,
                "carry_forward_error": p.carry_forward_error,
            },
        )
        for p in projections
        if p.role == "backtest"
    ]  # fmt: skip


def _fit(fit: Fitted, created_at: datetime) -> FitRow:
    """What was asked, as far as the table has columns for it, and what came of it. JSON keeps the order of its keys."""
    asked = {name: value for name, value in fit.settings.items() if name in columns_of(FitRow)}
    found = {name: value for name, value in vars(fit).items() if name in columns_of(FitRow)}
    texts = {
        "certificate": json.dumps(fit.certificate), "warnings": json.dumps(fit.warnings),
        "packages": json.dumps({name: version(name) for name in ("numpy", "polars")}),
    }  # fmt: skip
    return from_values(FitRow, {**asked, **found, **texts, "created_at": created_at})


def _draws(fits: Sequence[Fitted]) -> Any:
    """Rows of fit_draw as an Arrow table; a column at a time, for they are many."""
    import numpy as np
    import pyarrow as pa

    columns = [(fit.fit_id, column) for fit in fits for column in fit.draws]
    counts = [len(column.values) for _, column in columns]

    def repeated(values: list[str]) -> Any:
        return pa.array(np.repeat(np.array(values, object), counts), pa.string())

    drawn = [np.arange(column.first, column.first + n) for (_, column), n in zip(columns, counts, strict=True)]
    return pa.table(
        {
            "fit_id": repeated([fit_id for fit_id, _ in columns]),
            "draw": pa.array(np.concatenate(drawn) if drawn else [], pa.int64()),
            "law": repeated([column.law for _, column in columns]),
            "name": repeated([column.name for _, column in columns]),
            "value": pa.array(np.concatenate([c.values for _, c in columns]) if columns else [], pa.float64()),
        }
    )
