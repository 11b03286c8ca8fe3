"""Scores from loss on real tables: links fitted to the smaller models, scored at the largest, true loss given.

OMP_NUM_THREADS=1 python benchmarks/fit_scores.py
"""

from __future__ import annotations

import numpy as np
import polars as pl
from fit_common import TABLES

from astraios.fit.score import build
from astraios.fit.score_data import ScoreData, standard_errors


def data_of(frame: pl.DataFrame, loss: str, value: str, chance: float, items: float, group: str) -> ScoreData:
    """Scores of one task."""
    rows = frame.select(group, "n_params", loss, value).drop_nulls()
    values, count = rows[value].to_numpy().astype(float), len(rows)
    errors = standard_errors(values, np.full(count, np.nan), np.full(count, items), chance, 1.0)
    return ScoreData(
        value, "accuracy", tuple(map(str, rows[group])), tuple(map(str, range(count))),
        np.log(rows["n_params"].to_numpy().astype(float)), rows[loss].to_numpy().astype(float), values, errors, items,
        chance, 1.0, True,
    )  # fmt: skip


def score(data: ScoreData) -> tuple[float, float, float, float]:
    """Mean absolute error at the largest size: ours, constant, carry-forward; and coverage of 90 % intervals."""
    top = data.log_size >= data.log_size.max() - 1e-9
    train, hidden = data.keep(~top), data.keep(top)
    model = build(train)
    rng = np.random.default_rng(0)
    errors, inside = [], []
    for i in range(len(hidden)):
        mean = model.point(hidden.loss[i : i + 1], hidden.group[i])[0]
        _, new = model.draw(rng, np.full(400, hidden.loss[i]), hidden.group[i])
        low, high = np.quantile(new, [0.05, 0.95])
        errors.append(abs(mean - hidden.value[i]))
        inside.append(low <= hidden.value[i] <= high)
    last = train.value[train.log_size >= train.log_size.max() - 1e-9].mean()
    flat = np.abs(train.value.mean() - hidden.value).mean()
    return float(np.mean(errors)), float(flat), float(np.abs(last - hidden.value).mean()), float(np.mean(inside))


def report(title: str, rows: dict[str, tuple[float, float, float, float]]) -> None:
    """One line a task, and their mean."""
    print(
        f"\n### {title}\n\n| task | error | constant | carry-forward | coverage of 90% |\n"
        "| --- | --- | --- | --- | --- |"
    )
    for name, (error, flat, carried, inside) in rows.items():
        print(f"| {name} | {100 * error:.2f} | {100 * flat:.2f} | {100 * carried:.2f} | {inside:.0%} |")
    mean = np.mean(list(rows.values()), axis=0)
    print(f"| mean of {len(rows)} | {100 * mean[0]:.2f} | {100 * mean[1]:.2f} | {100 * mean[2]:.2f} | {mean[3]:.0%} |")


def main() -> None:
    meta = {r["task"]: r for r in pl.read_csv(TABLES / "gadre_task_meta.csv").iter_rows(named=True)}
    gadre = pl.read_parquet(TABLES / "gadre_overtrain.parquet").filter(pl.col("loss__c4_val").is_not_null())
    rows = {}
    for column in (c for c in gadre.columns if c.startswith("acc__") and c[5:] in meta):
        task = meta[column[5:]]
        chance, items = (task["chance_pct"] or 0) / 100, float(task["n_items"])
        small = gadre.filter(pl.col("n_params") < 2e8)
        best = small.select(pl.col(column).quantile(0.9)).item()
        if best is None or best < chance + 2 * np.sqrt(max(chance * (1 - chance), 0.02) / items) + 0.02:
            continue
        rows[column[5:]] = score(data_of(gadre, "loss__c4_val", column, chance, items, "train_data"))
    report("Gadre, 411M from 11M to 154M, tasks above chance among the small models", rows)
    olmo = pl.read_parquet(TABLES / "olmo_ladder.parquet").with_columns(n_params=pl.col("n_params_nonemb"))
    final = olmo.sort("tokens").group_by("run", maintain_order=True).tail(1).with_columns(all=pl.lit("all"))
    rows = {}
    for column in (c for c in final.columns if c.startswith("acc__")):
        if final[column].null_count() == 0:
            rows[column[5:]] = score(data_of(final, "loss__c4_en", column, 0.0, 1000.0, "all"))
    if rows:
        report("OLMo ladder, 1B from 190M to 760M", rows)


if __name__ == "__main__":
    main()
