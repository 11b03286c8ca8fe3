"""What Gadre's tasks can decide: 24 training recipes (three corpora, eight amounts of data) at four sizes.

OMP_NUM_THREADS=1 python benchmarks/task_quality.py
"""

from __future__ import annotations

import polars as pl
from fit_common import TABLES
from score_accuracy import GADRE_CHANCE, frame_data

from astraios.fit.decide.quality import assess


def main() -> None:
    meta = {r["task"]: r for r in pl.read_csv(TABLES / "gadre_task_meta.csv").iter_rows(named=True)}
    runs = pl.read_parquet(TABLES / "gadre_overtrain.parquet").filter(pl.col("n_params") < 5e8)
    runs = runs.with_columns(series=pl.format("{} x{}", "train_data", "multiplier"))
    found = []
    for column in (c for c in runs.columns if c.startswith("acc__") and c[5:] in meta):
        chance = GADRE_CHANCE.get(column[5:], (meta[column[5:]]["chance_pct"] or 0) / 100)
        found.append(assess(frame_data(runs, column, chance, float(meta[column[5:]]["n_items"]))))
    found.sort(key=lambda q: -(q.last.accuracy if q.last else 0))
    print("| task | pairs in order | signal to noise | items | items for 2 points | power | above chance | decides |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for q in found:
        last = q.last
        ratio, far = q.signal_to_noise or 0.0, q.distance_from_chance or 0.0
        print(f"| {q.task_id[5:]} | {last.accuracy if last else 0:.0%} | {ratio:.1f} | {q.n_items:.0f} | {q.n_needed:.0f} |"
              f" {q.power:.0%} | {100 * far:.1f} | {'yes' if not q.reasons else 'nothing'} |")  # fmt: skip
    idle = [q.task_id[5:] for q in found if q.reasons]
    print(f"\n{len(idle)} of {len(found)} tasks decide nothing at up to 411M: {', '.join(idle)}.")


if __name__ == "__main__":
    main()
