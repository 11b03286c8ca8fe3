"""Laws with further inputs on hold-outs: experts of routed models, shares of training domains.

For each table the largest models are hidden; the laws with the further input are held against those of size alone, which
see the same rows, and against each other by their weights in `auto`.
"""

from __future__ import annotations

import warnings

import numpy as np
import polars as pl
from fit_common import TABLES

import astraios


def routed() -> None:
    """Final validation losses; the largest models are hidden."""
    curves = pl.read_parquet(TABLES / "routed_moe_curves.parquet")
    last = curves.filter(pl.col("step") >= 245_000).group_by(
        "router_type", "num_experts", n_params="dense_parameter_count"
    ).agg(loss=pl.col("loss_validation").mean())  # fmt: skip
    dense = last.filter(pl.col("router_type") == "Dense")
    for router in last["router_type"].unique().sort():
        if router == "Dense":
            continue
        table = pl.concat([last.filter(pl.col("router_type") == router), dense]).drop_nulls()
        cut = float(table["n_params"].max())  # type: ignore[arg-type]
        seen, hidden = table.filter(pl.col("n_params") < cut), table.filter(pl.col("n_params") >= cut)
        seen = seen.select("n_params", "num_experts", "loss")
        if seen["n_params"].n_unique() < 3 or hidden.is_empty():
            continue
        compare(f"routed {router}", seen, hidden, {"n_experts": "num_experts"}, "routed")


def mixing() -> None:
    """Losses of a domain by the shares of domains in the training data; 410M models are hidden."""
    table = pl.read_parquet(TABLES / "cases" / "mixing_5mix.parquet")
    shares = table["series"].str.split("-").list.eval(pl.element().cast(pl.Float64)).list.to_struct(
        fields=[f"share_{j}" for j in range(1, 6)]
    )  # fmt: skip
    table = table.with_columns(shares.alias("shares")).unnest("shares")
    names = {f"share_{j}": f"share_{j}" for j in range(1, 5)}
    for (case,), part in table.group_by(["case"], maintain_order=True):
        kept = ["n_params", "loss", *names.values()]
        seen, hidden = part.filter(~pl.col("hidden")).select(kept), part.filter("hidden")
        compare(f"mixing {case}", seen, hidden, names, "mixing_4")


def compare(name: str, seen: pl.DataFrame, hidden: pl.DataFrame, inputs: dict[str, str], law: str) -> None:
    """Mean relative errors and coverage at the hidden rows."""
    truth = hidden["loss"].to_numpy()
    sizes = hidden["n_params"].to_list()
    alone = astraios.fit(seen.select("n_params", "loss")).predict(sizes)
    said = [f"size alone {np.abs(alone['mean'].to_numpy() / truth - 1).mean():.2%}"]
    for chosen in (law, "auto"):
        result = astraios.fit(seen, law=chosen, inputs=inputs)
        found = result.predict(sizes, **{k: hidden[v].to_list() for k, v in inputs.items()})
        error = np.abs(found["mean"].to_numpy() / truth - 1).mean()
        inside = ((found["new_low"].to_numpy() <= truth) & (truth <= found["new_high"].to_numpy())).mean()
        said.append(f"{chosen} {error:.2%} (covered {inside:.0%}, weight of {law} {result.weights[law]:.2f})")
    print(f"{name} ({seen.height} rows, {hidden.height} hidden): {'; '.join(said)}")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    routed()
    mixing()
