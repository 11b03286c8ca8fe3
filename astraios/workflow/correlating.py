"""Correlations between trainable parameters, losses and mean scores, with p-values, into the table `correlation`."""

from __future__ import annotations

from pathlib import Path

from astraios import store
from astraios.records import CorrelationRow, plain_rows

SOURCE = "measured: losses and scores of this database"
PAIRS = (
    ("n_trainable", "train_loss"),
    ("n_trainable", "test_loss"),
    ("n_trainable", "mean_score"),
    ("train_loss", "mean_score"),
    ("test_loss", "mean_score"),
)
CELLS = """\
select origin, ladder, dataset_id, n_params, method_id, any_value(n_trainable)::double as n_trainable,
    -max(loss_nats) filter (where split = 'train') as train_loss,
    -max(loss_nats) filter (where split = 'test') as test_loss, max(mean_score) as mean_score
from (select * from method_size_grid union all by name select * from mean_task_score)
group by all
order by all"""
KEY = ["origin", "ladder", "dataset_id", "x", "y", "n_params", "coefficient"]


def record_correlations(db: Path) -> None:
    """Measures every study's correlations and stores them, in place of those measured before.

    What a paper printed stays as it is: a measured coefficient is stored where no printed one stands. Losses count as
    negative, as in the paper's tables 7 and 8.

    Raises:
        StoreError: the database can't be written.
    """
    import polars as pl

    from astraios.fit.correlation import correlations

    cells = store.query(db, CELLS)
    kept = store.query(db, "select * from correlation").filter(pl.col("source") != SOURCE)
    rows: list[CorrelationRow] = []
    for (origin, ladder, dataset), study in cells.group_by(["origin", "ladder", "dataset_id"], maintain_order=True):
        for row in correlations(study, PAIRS, group="n_params").iter_rows(named=True):
            if row["value"] is not None and row["value"] == row["value"]:
                rows.append(
                    CorrelationRow(
                        origin=str(origin),
                        ladder=ladder,
                        dataset_id=dataset,
                        x=row["x"],
                        y=row["y"],
                        n_params=None if row["group"] is None else int(row["group"]),
                        coefficient=row["coefficient"],
                        value=row["value"],
                        p_value=row["p_value"],
                        n_points=row["n"],
                        source=SOURCE,
                    )
                )
    if not rows:
        return
    frame = pl.DataFrame(plain_rows(rows), schema=kept.schema).join(kept, on=KEY, how="anti", nulls_equal=True)
    if len(frame):
        store.import_frames(db, {"correlation": frame})
