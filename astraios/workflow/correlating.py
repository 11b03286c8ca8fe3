"""Correlations between trainable parameters, losses and mean scores, with p-values, into the table `correlation`."""

from __future__ import annotations

from pathlib import Path

from astraios import store
from astraios.records import CorrelationRow, plain_rows

SOURCE = "measured: losses and scores of this database"
PAIRS = "from correlation_pair order by origin, ladder, dataset_id, x, y, n_params, method_id"
STUDY = ["origin", "ladder", "dataset_id", "x", "y"]
KEY = [*STUDY, "n_params", "coefficient"]


def record_correlations(db: Path) -> None:
    """Measures every study's correlations and stores them, in place of those measured before.

    What is correlated is said by the view correlation_pair; what a view can't have are the p-values. What a paper
    printed stays as it is: a measured coefficient is stored where no printed one stands.

    Raises:
        StoreError: the database can't be written.
    """
    import polars as pl

    from astraios.fit.correlation import correlations

    pairs = store.query(db, PAIRS)
    kept = store.query(db, "select * from correlation").filter(pl.col("source") != SOURCE)
    rows: list[CorrelationRow] = []
    for (origin, ladder, dataset, x, y), part in pairs.group_by(STUDY, maintain_order=True):
        for row in correlations(part, [("a", "b")], group="n_params").iter_rows(named=True):
            if row["value"] is not None and row["value"] == row["value"]:
                rows.append(
                    CorrelationRow(
                        origin=str(origin), ladder=ladder, dataset_id=dataset, x=str(x), y=str(y),
                        n_params=None if row["group"] is None else int(row["group"]),
                        coefficient=row["coefficient"], value=row["value"], p_value=row["p_value"],
                        n_points=row["n"], source=SOURCE,
                    )
                )  # fmt: skip
    if not rows:
        return
    frame = pl.DataFrame(plain_rows(rows), schema=kept.schema).join(kept, on=KEY, how="anti", nulls_equal=True)
    if len(frame):
        store.import_frames(db, {"correlation": frame})
