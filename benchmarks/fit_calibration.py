"""Learns the numbers of astraios/fit/calibration.toml from further hold-outs over the open tables.

    OMP_NUM_THREADS=1 python benchmarks/fit_calibration.py

Prints, for each kind of ladder and each source, the scale that all other sources ask for, and the coverage and interval
score that the source has with it; then the same for what is assumed of ladders of sizes alone.

Of a grid of scales that one is taken which gives the smallest interval score (mean of its logarithm, each source counted
once) among those that cover what they promise; where none does, the one that covers most.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from unittest import mock

import numpy as np
import polars as pl
from fit_common import TABLES, HoldOut, Predicted, cases, holdouts, kind_of

from astraios.fit import bases, ensemble
from astraios.fit.calibration import Scale, learn
from astraios.fit.ensemble import Ensemble, build, stretched
from astraios.fit.weigh import candidates

LEVEL = 0.9
GRID = {
    "freedom": (4.0, 6.0, 30.0),
    "scale": (0.9, 0.95, 1.0, 1.15, 1.3),
    "factor": (0.75, 1.0, 1.5),
    "splits": (2.0, 4.0),
}
"""Scales that are tried."""
BASE_NOISES, KEPT = (0.003, 0.006, 0.009, 0.012), (0.0, 0.2, 0.4, 0.6, 0.8)
"""Assumed lucks of a size, and shares of the last known difference between series, that are tried."""

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


def alone() -> list[HoldOut]:
    """Ladders of sizes alone in tables that hold more: one multiple of data a series, or the best of each budget."""
    found = []

    def hide(name: str, source: str, frame: pl.DataFrame, last: int = 1) -> None:
        rows = frame.drop_nulls("loss").select("n_params", pl.lit(None, pl.Float64).alias("n_tokens"), "loss", "series")
        sizes = rows["n_params"].unique().sort()
        if len(sizes) >= 3 + last:
            kept = rows["n_params"] < sizes[-last]
            found.append(HoldOut(name, source, rows.filter(kept), rows.filter(~kept)))

    gadre = pl.read_parquet(TABLES / "gadre_overtrain.parquet")
    for loss in [c for c in gadre.columns if c.startswith("loss__")][::3]:
        for (multiple,), rows in gadre.sort("multiplier").group_by(["multiplier"], maintain_order=True):
            rows = rows.with_columns(loss=pl.col(loss), series=pl.col("train_data"))
            hide(f"gadre {multiple} {loss}", "gadre", rows)
    olmo = pl.read_parquet(TABLES / "olmo_ladder.parquet").sort("tokens").group_by("run", maintain_order=True).tail(5)
    olmo = olmo.with_columns(series=pl.col("run").str.split("-").list.get(1))
    for loss in [c for c in olmo.columns if c.startswith("loss__")]:
        runs = olmo.group_by("run", "series").agg(pl.col("n_params_nonemb").first().alias("n_params"),
                                                  pl.col(loss).mean().alias("loss")).sort("run")  # fmt: skip
        hide(f"olmo sizes {loss}", "olmo", runs)
    routed = pl.read_parquet(TABLES / "routed_moe_curves.parquet").filter(pl.col("k") == 1).sort("step")
    for loss in ("loss_c4", "loss_pile"):
        last = routed.group_by("hyper_id", maintain_order=True).agg(pl.all().last()).with_columns(
            n_params=pl.col("dense_parameter_count"), loss=pl.col(loss),
            series=pl.format("{} {}", "router_type", "num_experts"),
        )  # fmt: skip
        hide(f"routed {loss}", "routed", last)
        hide(f"routed {loss} 2", "routed", last, 2)
    iso = pl.read_parquet(TABLES / "isoflop_collection.parquet").filter(~pl.col("outlier"))
    porian = pl.read_parquet(TABLES / "porian_isoflop.parquet").with_columns(
        budget=pl.col("flops"), source=pl.lit("porian"),
        experiment=pl.format("{} {} {}", "hparams", "warmup", "decay") + pl.col("param_count") + pl.col("split"),
    )  # fmt: skip
    for frame in (iso, porian):
        best = frame.group_by("source", "experiment", "budget").agg(pl.col("loss").min()).sort("experiment", "budget")
        best = best.with_columns(n_params=pl.col("budget"), series=pl.lit("all"))
        for (source, name), rows in best.group_by(["source", "experiment"], maintain_order=True):
            known = {"llama_3": "llama3", "porian": "porian"}.get(str(source), "chinchilla")
            for last in (1, 3):
                hide(f"{name} {last}", known, rows, last)
    return found


@dataclass(frozen=True)
class Open:
    """One hold-out as its laws see it, before its deviations are scaled."""

    name: str
    source: str
    ensemble: Ensemble
    observed: np.ndarray
    mean: np.ndarray
    """(points,) log losses, as `off` (draws, points) and `run` are."""
    off: np.ndarray
    run: np.ndarray

    @classmethod
    def of(cls, table: HoldOut) -> Open:
        """The fit of a table, and draws at its hidden points."""
        train, hidden = table.ladders()
        fitted = build(candidates("auto", train), train)
        plain = replace(fitted, stretch=np.ones_like(fitted.stretch), noise=fitted.noise * fitted.lesson.factor)
        names, parts = fitted.ladder.names, []
        needed = {name for fit in fitted.fits for name in fit.law.inputs}
        for series in hidden.series:
            if series.name in names:
                g = names.index(series.name)
                at = {n: np.tile(c, (len(names), 1)) for n, c in series.inputs.items() if n in needed}
                drawn = plain.project(at)
                parts.append((np.exp(series.log_loss), drawn.mean[g], drawn.draws[g] - drawn.mean[g],
                              drawn.new[g] - drawn.draws[g]))  # fmt: skip
        columns = zip(*parts, strict=True)
        return cls(table.name, table.source, fitted, *(np.concatenate(c, axis=-1) for c in columns))

    def under(self, scale: Scale) -> Predicted:
        """Intervals of a new run with a scale."""
        one = self.ensemble
        factor = learn(one.rollings, one.weights, one.expected_noise, one.kind, scale).factor
        drawn = self.mean + stretched(scale, len(self.off))[:, None] * (factor * self.off + self.run)
        low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
        low, high = np.minimum(low, self.mean), np.maximum(high, self.mean)
        return Predicted(self.observed, np.exp(self.mean), np.exp(low), np.exp(high))


def by_source(values: Sequence[float], sources: Sequence[str], without: str = "") -> float:
    """Mean in which each source counts once."""
    kept = sorted(set(sources) - {without})
    return float(np.mean([np.mean([v for v, s in zip(values, sources, strict=True) if s == one]) for one in kept]))


def choose(scores: np.ndarray, coverage: np.ndarray, sources: Sequence[str], without: str = "") -> int:
    """The row (choices, hold-outs) with the smallest interval score among those that cover enough, else the most."""
    score = np.array([by_source(row, sources, without) for row in scores])
    covered = np.array([by_source(row, sources, without) for row in coverage])
    enough = covered >= LEVEL
    return int(np.where(enough, score, np.inf).argmin() if enough.any() else covered.argmax())


def left_out(title: str, options: Sequence[str], found: Sequence[Sequence[Predicted]], sources: Sequence[str],
             shipped: int) -> None:  # fmt: skip
    """A table: for each source what the others choose of the options, and what it then has; beside what is shipped."""
    scores = np.array([[np.log(p.winkler(LEVEL)) for p in row] for row in found])
    coverage = np.array([[p.coverage for p in row] for row in found])
    everyone = choose(scores, coverage, sources)
    print(f"\n#### {title}\n\nAll sources choose {options[everyone]}; shipped is {options[shipped]}.\n")
    print(
        "| source left out | hold-outs | the others choose | coverage | interval score | coverage as shipped | score |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- |")
    rows = []
    for source in sorted(set(sources)):
        mine = np.array([s == source for s in sources])
        k = choose(scores, coverage, sources, source) if len(set(sources)) > 1 else everyone
        row = [float(coverage[k, mine].mean()), float(np.exp(scores[k, mine].mean())),
               float(coverage[shipped, mine].mean()), float(np.exp(scores[shipped, mine].mean()))]  # fmt: skip
        rows.append(row)
        print(f"| {source} | {mine.sum()} | {options[k]} | {row[0]:.1%} | {row[1]:.2%} | {row[2]:.1%} | {row[3]:.2%} |")
    c, w, shipped_c, shipped_w = np.mean([[r[0], np.log(r[1]), r[2], np.log(r[3])] for r in rows], axis=0)
    print(f"| all, each source once | | | {c:.1%} | {np.exp(w):.2%} | {shipped_c:.1%} | {np.exp(shipped_w):.2%} |",
          flush=True)  # fmt: skip


def scales(tables: Sequence[Open], what: str) -> None:
    """The scale of one kind of ladder."""
    shipped = Scale.of(what)
    grid = list(dict.fromkeys([*(Scale(*values) for values in product(*GRID.values())), shipped]))
    found = [[one.under(scale) for one in tables] for scale in grid]
    options = [f"t({g.freedom:g}), scale {g.scale:g}, factor {g.factor:g} worth {g.splits:g}" for g in grid]
    left_out(f"Scale of {what}", options, found, [one.source for one in tables], grid.index(shipped))


def assumed(tables: Sequence[HoldOut]) -> None:
    """What is assumed of ladders of sizes alone: the luck of a size, and how far differences keep to the last known."""
    sources = [table.source for table in tables]
    for title, module, name, values in (
        ("Luck of a size", bases, "BASE_NOISE", BASE_NOISES), ("Last known differences", ensemble, "KEPT", KEPT),
    ):  # fmt: skip
        found = []
        for value in values:
            with mock.patch.object(module, name, value):
                found.append([Open.of(table).under(Scale.of("sizes")) for table in tables])
        left_out(f"{title} ({name})", [f"{value:g}" for value in values], found, sources,
                 values.index(getattr(module, name)))  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kinds", nargs="+", default=["sizes", "data", "both"])
    args = parser.parse_args()
    tables = [*more(), *alone(), *cases().values()]
    kinds: dict[str, list[HoldOut]] = {}
    for table in tables:
        what = kind_of(table)
        if what in args.kinds:
            kinds.setdefault(what, []).append(table)
    for what, mine in sorted(kinds.items()):
        scales([Open.of(table) for table in mine], what)
    if "sizes" in kinds:
        assumed(kinds["sizes"])


if __name__ == "__main__":
    main()
