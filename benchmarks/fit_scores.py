"""Scores on real tables: from loss (links fitted to the smaller models, scored at the largest, true loss given) and,
where there are no losses, from size alone. Asks also what factor the tables want on the intervals of the latter.

OMP_NUM_THREADS=1 python benchmarks/fit_scores.py
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import polars as pl
from fit_common import TABLES, Predicted, source_scales

from astraios.fit.scores import by_size as score_by_size
from astraios.fit.scores.data import ScoreData, standard_errors
from astraios.fit.scores.from_loss import build


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
    from_size(gadre, final, meta)


ITEMS = {"MMLU": (14042, 0.25), "ARC-C": (1172, 0.25), "HellaSwag": (10042, 0.25), "Winograd": (273, 0.5),
         "TruthfulQA": (817, 0.0), "GSM8K": (1319, 0.0), "XWinograd": (2325, 0.5), "HumanEval": (164, 0.0)}  # fmt: skip
"""Items and chance of the benchmarks of the table of families."""


def from_size(gadre: pl.DataFrame, olmo: pl.DataFrame, meta: dict[str, dict[str, Any]]) -> None:
    """Each task's largest size hidden and projected from size alone, by source, with the factor the others ask for."""
    tables: dict[str, list[ScoreData]] = {"families": [], "gadre": [], "olmo": []}
    families = pl.read_parquet(TABLES / "obs_scaling_base_llms.parquet").with_columns(
        n_params=1e9 * pl.col("n_params_b")
    )
    for (_, rows), (task, (items, chance)) in product(
        families.group_by(["family"], maintain_order=True), ITEMS.items()
    ):
        if rows["n_params"].n_unique() >= 4 and rows[task].null_count() == 0:
            tables["families"].append(by_size(rows.with_columns(s=pl.col("family")), task, chance, items))
    gadre = gadre.filter(pl.col("multiplier") >= 1, pl.col("n_params") < 5e8)
    gadre = gadre.with_columns(s=pl.format("{} {}", "train_data", "multiplier"))
    gadre = gadre.filter(pl.col("n_params").n_unique().over("s") >= 4)
    for column in (c for c in gadre.columns if c.startswith("acc__") and c[5:] in meta):
        if gadre[column].null_count() == 0:
            task = meta[column[5:]]
            tables["gadre"].append(by_size(gadre, column, (task["chance_pct"] or 0) / 100, float(task["n_items"])))
    olmo = olmo.with_columns(s=pl.col("run").str.extract(r"(\d+xC)"))
    for column in (c for c in olmo.columns if c.startswith("acc__")):
        if olmo[column].null_count() == 0:
            tables["olmo"].append(by_size(olmo, column, 0.0, 1000.0))
    found = {f"{name} {i}": largest(d) for name, data in tables.items() for i, d in enumerate(data)}
    sources = {key: key.split()[0] for key in found}
    needed = {key: np.where(p.observed > p.mean, (p.observed - p.mean) / (p.high - p.mean + 1e-12),
                            (p.mean - p.observed) / (p.mean - p.low + 1e-12)) for key, (p, _) in found.items()}  # fmt: skip
    factors = source_scales(needed, sources)
    print("\n### From size alone, largest size hidden, points\n")
    print("| source | tasks | error | carry-forward | coverage of 90% | width | factor that the others ask for |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name in tables:
        rows = [found[key] for key in found if sources[key] == name]
        values = [
            (np.abs(p.mean - p.observed).mean(), carried, p.coverage, (p.high - p.low).mean()) for p, carried in rows
        ]
        error, carried, inside, width = np.mean(values, axis=0)
        print(f"| {name} | {len(rows)} | {100 * error:.2f} | {100 * carried:.2f} | {inside:.1%} | {100 * width:.1f} |"
              f" {factors[name]:.2f} |")  # fmt: skip
    print(f"\nAll sources together ask for a factor of {factors['all']:.2f} on the shipped scale.")


def by_size(frame: pl.DataFrame, value: str, chance: float, items: float) -> ScoreData:
    """Scores of one task by series `s` and size."""
    rows = frame.sort("s", "n_params")
    values, count = rows[value].to_numpy().astype(float), len(rows)
    errors = standard_errors(values, np.full(count, np.nan), np.full(count, items), chance, 1.0)
    return ScoreData(
        value, "accuracy", tuple(rows["s"]), tuple(map(str, range(count))), np.log(rows["n_params"].to_numpy()),
        np.full(count, np.nan), values, errors, items, chance, 1.0, True,
    )  # fmt: skip


def largest(data: ScoreData) -> tuple[Predicted, float]:
    """The largest size from the smaller ones, and the error of carrying forward."""
    top = data.log_size >= data.log_size.max() - 1e-9
    train, hidden = data.keep(~top), data.keep(top)
    model, size = score_by_size.build(train), float(hidden.log_size[0])
    rows = [model.names.index(g) for g in hidden.group]
    _, new = model.draw(np.random.default_rng(0), size, 400)
    low, high = np.quantile(new[rows], [0.05, 0.95], axis=1)
    group = np.array(train.group)
    last = [train.value[group == g][train.log_size[group == g].argmax()] for g in hidden.group]
    mean = model.point(size)[rows]
    found = Predicted(hidden.value, mean, np.minimum(low, mean), np.maximum(high, mean))
    return found, float(np.abs(last - hidden.value).mean())


if __name__ == "__main__":
    main()
