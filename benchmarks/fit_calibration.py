"""Learns the numbers of astraios/fit/calibration.toml from further hold-outs over the open tables.

    OMP_NUM_THREADS=1 python benchmarks/fit_calibration.py

Prints, for each source, the factor on the intervals that all other sources ask for, and the coverage it then has.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from fit_common import TABLES, HoldOut, cases, holdouts, kind_of, ours, source_scales

COLUMNS = ("n_params", "n_tokens", "loss", "series")


def cut(name: str, source: str, frame: pl.DataFrame, column: str, at: float) -> list[HoldOut]:
    """Hide the rows at or above a quantile (at < 1) or the last `at` levels of a column."""
    frame = frame.filter(pl.col("loss").is_not_null())
    edge = frame[column].quantile(at) if at < 1 else frame[column].unique().sort()[-int(at)]
    train, test = frame.filter(pl.col(column) < edge), frame.filter(pl.col(column) >= edge)
    if len(train) < 12 or len(test) < 3 or train[column].n_unique() < 3:
        return []
    return [HoldOut(name, source, train.select(COLUMNS), test.select(COLUMNS))]


def more() -> list[HoldOut]:
    """The hold-outs of holdouts.toml and others of the same tables: by size, data and budget, other losses, recipes."""

    def table(name: str) -> pl.DataFrame:
        frame = pl.read_parquet(TABLES / f"{name}.parquet")
        return frame if "tokens" not in frame.columns else frame.with_columns(n_tokens=pl.col("tokens"))

    found = list(holdouts().values())
    all_rows = pl.lit("all").alias("series")
    chinchilla = table("chinchilla_epoch").filter(~pl.col("epoch_excluded")).with_columns(all_rows)
    kyo = table("kyo_llm").with_columns(all_rows)
    for column, at in (("flops", 0.8), ("flops", 0.6), ("n_tokens", 0.8), ("n_params", 0.5)):
        found += cut(f"chinchilla {column} {at}", "chinchilla", chinchilla, column, at)
        found += cut(f"kyo {column} {at}", "kyo", kyo, column, at)
    olmo = table("olmo_ladder").sort("tokens").group_by("run", maintain_order=True).tail(5)
    for loss in (c for c in olmo.columns if c.startswith("loss__")):
        runs = olmo.group_by("run").agg(
            pl.col("n_params_nonemb").first().alias("n_params"),
            pl.col("n_tokens").max(),
            pl.col(loss).mean().alias("loss"),
        )
        found += cut(f"olmo {loss}", "olmo", runs.with_columns(all_rows), "n_params", 1)
    gadre = table("gadre_overtrain").with_columns(series=pl.col("train_data"))
    for loss in [c for c in gadre.columns if c.startswith("loss__")][::2]:
        found += cut(f"gadre {loss}", "gadre", gadre.with_columns(loss=pl.col(loss)), "n_params", 1)
    porian = table("porian_isoflop")
    keys = ["dataset", "hparams", "warmup", "decay", "split", "param_count"]
    for key, rows in porian.group_by(keys, maintain_order=True):
        for at in (3, 5):
            found += cut(f"porian {key} {at}", "porian", rows.with_columns(all_rows), "flops", at)
    iso = table("isoflop_collection").filter(pl.col("experiment").str.contains("llama"))
    for (name,), rows in iso.group_by(["experiment"], maintain_order=True):
        for at in (2, 3):
            found += cut(f"{name} {at}", "llama3", rows.with_columns(all_rows), "budget", at)
    repeated = table("datablations_final").filter(pl.col("epochs") == 1)
    for (name,), rows in repeated.group_by(["data"], maintain_order=True):
        found += cut(f"datablations {name} N", "datablations", rows.with_columns(all_rows), "n_params", 0.8)
        found += cut(f"datablations {name} D", "datablations", rows.with_columns(all_rows), "n_tokens", 0.75)
    tuned = table("finetune_rectified").filter(pl.col("ft_examples") > 0)
    tuned = tuned.with_columns(n_tokens=pl.col("ft_examples"), series=pl.col("model") + " " + pl.col("task"))
    for hidden, seen in ((409_600, 102_400), (204_800, 51_200), (204_800, 102_400), (1_638_400, 819_200)):
        train, test = tuned.filter(pl.col("n_tokens") <= seen), tuned.filter(pl.col("n_tokens") == hidden)
        found.append(HoldOut(f"finetune {hidden} {seen}", "finetune", train.select(COLUMNS), test.select(COLUMNS)))
    return found


def main() -> None:
    tables = [*more(), *cases().values()]
    predicted = {t.name: ours(t) for t in tables}
    sources = {t.name: t.source for t in tables}
    needed = {name: p.stretch_needed() for name, p in predicted.items()}
    factors = source_scales(needed, sources)
    print(f"{len(tables)} hold-outs; factor on the shipped scale that all sources ask for: {factors['all']:.2f}\n")
    print("| source left out | factor | hold-outs | coverage of 90% with it |\n| --- | --- | --- | --- |")
    for source in sorted(set(sources.values())):
        names = [n for n in predicted if sources[n] == source]
        inside = np.mean([predicted[n].stretched(factors[source]).coverage for n in names])
        print(f"| {source} | {factors[source]:.2f} | {len(names)} | {inside:.1%} |")
    print("\n| kind of ladder | sources | coverage of 90% as shipped, each source counted once |\n| --- | --- | --- |")
    kinds = {t.name: kind_of(t) for t in tables}
    for what in sorted(set(kinds.values())):
        by_source = {
            source: np.mean([predicted[n].coverage for n in predicted if sources[n] == source and kinds[n] == what])
            for source in {sources[n] for n in predicted if kinds[n] == what}
        }
        print(f"| {what} | {len(by_source)} | {np.mean(list(by_source.values())):.1%} |")


if __name__ == "__main__":
    main()
