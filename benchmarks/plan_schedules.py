"""Ends of runs from their beginnings, with the learning rate known, on public curves of two sizes and nine schedules.

Each run is cut at 50 and 80 % of its steps. Its end is forecast from the other schedules of its size and its own
beginning, and from all schedules of the other size and its own beginning; beside it stands the forecast that knows steps
alone. Scores are interval scores (Winkler) of the 90 % interval, in nats.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import polars as pl
from fit_common import TABLES
from scipy import stats

from astraios.fit.decide.finish import Finish, finish


def cuts() -> Iterator[tuple[str, str, float, pl.DataFrame, pl.DataFrame, float]]:
    """Kind of teacher, schedule, share, teachers, the cut run, and the loss at its end."""
    table = pl.read_parquet(TABLES / "mpl_lr_schedule_curves.parquet").sort("step").select(
        "step", "loss", run_id="schedule", kind=pl.col("model_m").cast(pl.String), learning_rate="lr"
    )  # fmt: skip
    for (kind, name), run in table.group_by(["kind", "run_id"], maintain_order=True):
        steps = int(run["step"].max())  # type: ignore[arg-type]
        for share in (0.5, 0.8):
            cut = run.with_columns(loss=pl.when(pl.col("step") <= share * steps).then("loss"), run_id=pl.lit("own"))
            own = (pl.col("kind") == kind) & (pl.col("run_id") != name)
            for teacher, where in (("same size", own), ("other size", pl.col("kind") != kind)):
                yield teacher, str(name), share, table.filter(where), cut.select(table.columns), float(run["loss"][-1])


def score(found: Finish, truth: float) -> float:
    """Interval score at 90 %."""
    return found.high - found.low + 20 * max(found.low - truth, 0) + 20 * max(truth - found.high, 0)


def main() -> None:
    rows = []
    for teacher, name, share, others, cut, truth in cuts():
        known = finish(pl.concat([others.with_columns(run_id=pl.col("run_id") + pl.col("kind")), cut]))
        found = next(one for one in known if one.run_id == "own")
        row = {"teacher": teacher, "schedule": name, "share": share, "error": abs(found.mean / truth - 1),
               "covered": found.low <= truth <= found.high, "score": score(found, truth)}  # fmt: skip
        if "--steps" in sys.argv:
            plain = pl.concat([others, cut]).drop("learning_rate").drop_nulls("loss").gather_every(4)
            steps = int(cut["step"].max())  # type: ignore[arg-type]
            old = next(one for one in finish(plain, steps) if one.run_id == "own")
            row |= {"error_steps": abs(old.mean / truth - 1), "covered_steps": old.low <= truth <= old.high,
                    "score_steps": score(old, truth)}  # fmt: skip
        rows.append(row)
    table = pl.DataFrame(rows)
    with pl.Config(tbl_rows=40, tbl_cols=12):
        print(table.group_by("teacher").agg(pl.exclude("schedule", "share").mean(), n=pl.len()))
        decays = table.filter(pl.col("schedule").str.contains("^wsd(ld)?_"))
        print("WSD:", decays.group_by("teacher").agg(pl.exclude("schedule", "share").mean(), n=pl.len()))
    for (teacher,), part in table.group_by(["teacher"]):
        hits = int(part["covered"].sum())
        print(
            f"{teacher}: {hits} of {part.height} covered; so few by chance: {stats.binom.cdf(hits, part.height, 0.9):.2f}"
        )


if __name__ == "__main__":
    main()
