"""Ends of runs whose learning rate is known: decays to come are counted in, and nothing is ended before one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from astraios.errors import FitError
from astraios.fit.decide.finish import Finish, finish
from astraios.fit.decide.schedule import BEGIN, Schedule, curves


def _rates(shape: str, steps: int = 1000) -> tuple[np.ndarray, np.ndarray]:
    step = np.arange(10, steps + 1, 10.0)
    share = step / steps
    rate = {
        "cosine": 0.1 + 0.9 * 0.5 * (1 + np.cos(np.pi * share)),
        "constant": np.ones_like(step),
        "wsd": np.where(share < 0.8, 1.0, 1.0 - 0.9 * (share - 0.8) / 0.2),
    }[shape]
    return step, 1e-3 * np.minimum(rate, share / 0.02)


def _run(name: str, shape: str, cut: float = 1.0, level: float = 1.0, kind: str = "a") -> pl.DataFrame:
    """A run that follows the law, with a little noise."""
    step, rate = _rates(shape)
    [curve] = curves([Schedule(name, kind, step, rate, step, np.ones_like(step))], 0.0)
    theta = BEGIN.copy()
    theta[0] = np.log(2.5 * level)
    noise = 0.0005 * np.random.default_rng(len(name)).standard_normal(len(curve.step))
    loss = np.exp(curve.predict(theta, curve.s) + noise)
    rows = {int(s): float(v) for s, v in zip(curve.step, loss, strict=True) if s <= cut * 1000}
    return pl.DataFrame(
        {"run_id": name, "kind": kind, "step": step.astype(int), "learning_rate": rate,
         "loss": [rows.get(int(s)) for s in step]}
    )  # fmt: skip


def _end(name: str, shape: str, level: float = 1.0) -> float:
    return float(_run(name, shape, level=level)["loss"][-1])


def _forecast(frame: pl.DataFrame, name: str, **options: float) -> Finish:
    return next(one for one in finish(frame, **options) if one.run_id == name)  # type: ignore[arg-type]


def test_a_decay_that_is_still_to_come_is_counted_in() -> None:
    taught = [_run("first", "cosine"), _run("second", "constant"), _run("third", "wsd")]
    found = _forecast(pl.concat([*taught, _run("cut", "wsd", 0.5)]), "cut")
    truth = _end("cut", "wsd")
    assert found.law == "multi_power"
    assert found.steps_seen == 500
    assert found.low < truth < found.high
    assert found.mean == pytest.approx(truth, rel=0.006)
    # What stood at the cut, and a power of the steps alone, are both far off.
    assert found.mean < 0.97 * float(_run("cut", "wsd", 0.5)["loss"].drop_nulls()[-1])


def test_another_size_teaches_the_shape() -> None:
    taught = [_run(f"t{i}", shape) for i, shape in enumerate(("cosine", "constant", "wsd"))]
    own = _run("cut", "wsd", 0.5, level=0.8, kind="b")
    found = _forecast(pl.concat([*taught, own]), "cut")
    assert found.low < _end("cut", "wsd", 0.8) < found.high


def test_no_run_is_ended_before_its_decay() -> None:
    taught = [_run("first", "cosine"), _run("second", "constant")]
    bad = pl.concat([*taught, _run("bad", "wsd", 0.5, level=1.5)])
    assert not _forecast(bad, "bad", to_beat=2.6).hopeless
    late = pl.concat([*taught, _run("bad", "wsd", 0.9, level=1.5)])
    assert _forecast(late, "bad", to_beat=2.6).hopeless


def test_without_rates_the_planned_steps_are_needed() -> None:
    with pytest.raises(FitError, match="planned steps are needed"):
        finish(_run("a", "cosine", 0.5).drop("learning_rate"))


@pytest.mark.slow
@pytest.mark.parametrize("own_size", [True, False])
def test_ends_of_public_runs(shared: Path, own_size: bool) -> None:
    """A part of what benchmarks/plan_schedules.py measures: WSD from half of the run, at two sizes."""
    table = pl.read_parquet(shared / "data" / "scaling" / "mpl_lr_schedule_curves.parquet").select(
        "step", "loss", run_id="schedule", kind=pl.col("model_m").cast(pl.String), learning_rate="lr"
    )
    for size in ("25", "100"):
        own = table.filter((pl.col("kind") == size) & (pl.col("run_id") == "wsd_20000_24000"))
        others = table.filter((pl.col("kind") == size) == own_size).filter(
            ~((pl.col("kind") == size) & (pl.col("run_id") == "wsd_20000_24000"))
        )
        truth = float(own["loss"][-1])
        cut = own.with_columns(
            loss=pl.when(pl.col("step") <= 12_000).then("loss"), run_id=pl.lit("own")
        )  # fmt: skip
        found = _forecast(pl.concat([others, cut.select(others.columns)]), "own")
        assert found.mean == pytest.approx(truth, rel=0.008)
        assert found.low < truth < found.high
