"""Scores from loss and size: unknown chance, forms far from the data, ways to a score, units and directions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from astraios.errors import UsageError
from astraios.fit import analysis
from astraios.fit.links import LINKS
from astraios.fit.request import FitRequest
from astraios.fit.scores import by_size, from_loss, rolling, routes
from astraios.fit.scores.chance import levels
from astraios.fit.scores.data import ScoreData, best_possible, standard_errors
from astraios.fit.scores.scale import Scale
from astraios.fit.selection import Selection
from tests.fit.analysing import analyse, analyse_scores

NOBODY_SAYS = float("nan")


def scored(
    seed: int, chance: float = 0.25, said: float | None = None, methods: int = 3, items: int = 2000
) -> ScoreData:
    """A sigmoid in the loss from `chance` at five sizes; `said` is what the data say of the chance level."""
    rng = np.random.default_rng(seed)
    sizes = np.array([1e7, 3e7, 1e8, 3e8, 1e9])
    group, size, loss = [], [], []
    for m in range(methods):
        for n in sizes:
            group.append(f"m{m}")
            size.append(n)
            loss.append(1.7 + (0.02 * m + 1.9) * (n / 1e7) ** -0.22)
    losses = np.array(loss)
    truth = chance + (1 - chance) / (1 + np.exp(3.2 * (losses - 2.3)))
    value = rng.binomial(items, truth) / items
    errors = standard_errors(value, np.full(len(value), np.nan), np.full(len(value), float(items)), chance, 1.0)
    told = chance if said is None else said
    runs = tuple(f"r{i}" for i in range(len(value)))
    return ScoreData(
        "made", "accuracy", tuple(group), runs, np.log(size), losses, value, errors, items, told, 1.0, True
    )


def at(data: ScoreData, loss: float) -> tuple[float, float, float]:
    model = from_loss.build(data)
    _, new = model.draw(np.random.default_rng(0), np.full(1000, loss), "m0")
    low, high = np.quantile(new, [0.05, 0.95])
    return float(model.point(np.array([loss]), "m0")[0]), float(low), float(high)


def test_an_unknown_chance_costs_little() -> None:
    """The levels that it may have are weighed; the truth stays inside, and the error is near that with chance known."""
    loss = 1.95
    truth = 0.25 + 0.75 / (1 + np.exp(3.2 * (loss - 2.3)))
    known, unknown = [], []
    for seed in range(4):
        mean, low, high = at(scored(seed, said=NOBODY_SAYS), loss)
        assert low <= truth <= high
        unknown.append(abs(mean - truth))
        known.append(abs(at(scored(seed), loss)[0] - truth))
    assert np.mean(unknown) <= 1.3 * np.mean(known) + 0.005


def test_chance_levels_lie_below_the_lowest_score() -> None:
    data = scored(0, said=NOBODY_SAYS)
    found = dict(levels(data))
    assert sum(found.values()) == pytest.approx(1)
    assert 0.5 not in found
    assert {0.0, 0.25} <= set(found)
    assert levels(replace(data, metric="exact_match")) == ((0.0, 1.0),), "guessing writes no right answer"
    below = replace(data, chance=0.5)
    assert len(levels(below)) == 2, "a floor of its own where scores lie below chance"
    assert levels(replace(data, chance=0.25)) == ((0.25, 1.0),)


def test_the_warning_says_that_chance_is_unknown() -> None:
    rows = frame(scored(0, said=NOBODY_SAYS))
    codes = [w.code for w in analyse_scores(rows, holdout=None, targets=[3e9]).warnings]
    assert "chance_unknown" in codes
    codes = [w.code for w in analyse_scores(rows.with_columns(chance=0.25), holdout=None, targets=[3e9]).warnings]
    assert "chance_unknown" not in codes


def frame(data: ScoreData, **more: object) -> pl.DataFrame:
    rows = pl.DataFrame(
        {
            "run_id": data.run_id, "method_id": data.group, "n_params": np.exp(data.log_size), "loss": data.loss,
            "task_id": data.task_id, "metric": data.metric, "value": data.value, "stderr": data.stderr,
            "n": data.items, "chance": data.chance, "ceiling": data.ceiling, "higher_is_better": data.higher_is_better,
        }
    )  # fmt: skip
    return rows.with_columns(pl.col("chance").fill_nan(None), **{k: pl.lit(v) for k, v in more.items()})


def test_flat_and_straight_forms_lose_weight_with_the_distance() -> None:
    found = rolling.members(scored(0))
    even = np.full(len(found), 1 / len(found))
    near, far = (rolling.by_link(found, rolling.weights_at(even, found, d, 9)) for d in (0.0, 2.0))
    assert near["constant"] == pytest.approx(near["free_sigmoid"])
    assert far["constant"] < 0.01 * far["free_sigmoid"]
    assert far["linear"] < far["free_sigmoid"]
    assert set(near) == set(LINKS.names())


def test_intervals_grow_with_the_distance() -> None:
    model = from_loss.build(scored(0))
    widths = []
    for loss in (2.2, 1.95, 1.8):
        drawn, _ = model.draw(np.random.default_rng(0), np.full(2000, loss), "m0")
        widths.append(np.ptp(np.quantile(drawn, [0.05, 0.95])) / (1 - np.median(drawn)))
    assert widths[0] < widths[1] < widths[2]


def test_a_method_that_was_not_seen_has_a_wider_interval() -> None:
    rng = np.random.default_rng(0)
    data = scored(1, methods=4)
    apart = dict(zip(sorted(set(data.group)), rng.normal(0, 0.04, 4), strict=True))
    data = replace(data, value=np.clip(data.value + [apart[g] for g in data.group], 0, 1))
    model = from_loss.build(data)
    seen, unseen = (np.ptp(np.quantile(model.draw(np.random.default_rng(0), np.full(2000, 2.2), name)[0], [0.05, 0.95]))
                    for name in ("m0", "another corpus"))  # fmt: skip
    assert unseen > seen
    assert model.shifts.of("another corpus")[1] > 2 * model.shifts.of("m0")[1]


def test_losses_of_different_data_are_not_put_under_one_link() -> None:
    data = scored(0, methods=2)
    other = np.array(data.group) == "m1"
    shifted = replace(data, loss=np.where(other, data.loss + 3.0, data.loss))
    assert routes.losses_apart(shifted)
    assert not routes.losses_apart(data)
    losses = frame(shifted).select("run_id", "method_id", "n_params", "loss")
    found = analyse(losses, frame(shifted), targets=[3e9])
    assert "different_losses" in [w.code for w in found.warnings]
    scores = found.of("target", "score")
    assert scores
    assert all(0.5 < p.mean < 1 for p in scores), "from size, for there is no link"


def test_ways_are_weighed_and_one_can_be_named() -> None:
    data = scored(0)
    rows = frame(data)
    losses = rows.select("run_id", "method_id", "n_params", "loss")
    bits = rows.with_columns(metric=pl.lit("answer_bits_per_byte"), value=pl.col("loss") / 2, higher_is_better=False,
                             chance=pl.lit(None, pl.Float64), stderr=pl.lit(0.01))  # fmt: skip
    both = pl.concat([rows, bits])
    auto = analyse(losses, both, targets=[3e9])
    fitted = [fit for fit in auto.fitted() if fit.quantity == "score"]
    assert {fit.metric for fit in fitted} == {"accuracy"}, "what is gone through is no result of its own"
    ways = {way["through"]: way["weight"] for way in fitted[0].certificate["routes"]}
    assert set(ways) == {"test", "answer_bits_per_byte", "size"}
    assert sum(ways.values()) == pytest.approx(1)
    truth = 0.25 + 0.75 / (1 + np.exp(3.2 * (1.7 + 1.9 * (3e9 / 1e7) ** -0.22 - 2.3)))
    named = [analyse(losses, both, targets=[3e9], through=way) for way in ("test", "size", "answer_bits_per_byte")]
    for found in (auto, *named):
        p = next(p for p in found.of("target", "score") if p.method_id == "m0")
        assert p.low <= p.mean <= p.high
        assert p.new_low <= p.low <= p.high <= p.new_high, "a new run is never surer than the mean"
        assert p.new_low <= truth <= p.new_high
    with pytest.raises(UsageError, match="no such way"):
        analyse(losses, both, targets=[3e9], through="no_such_metric")


def test_scores_along_training_are_points_of_the_link() -> None:
    """Checkpoints of the two smallest sizes reach losses that no final has; a run's checkpoints weigh as one point."""
    data = scored(3, methods=2)
    finals = data.keep(data.log_size < np.log(2e8))
    rng, rows = np.random.default_rng(0), []
    for run, name, size, last in zip(finals.run_id, finals.group, finals.log_size, finals.loss, strict=True):
        for step, extra in ((100, 1.2), (200, 0.6), (300, 0.3), (400, 0.1)):
            loss = last + extra
            truth = 0.25 + 0.75 / (1 + np.exp(3.2 * (loss - 2.3)))
            rows.append({"run_id": run, "step": step, "method_id": name, "n_params": np.exp(size), "loss": loss,
                         "task_id": "made", "metric": "accuracy", "value": rng.binomial(2000, truth) / 2000, "n": 2000,
                         "chance": 0.25, "ceiling": 1.0, "higher_is_better": True})  # fmt: skip
    scores, along = frame(finals), pl.DataFrame(rows)
    losses = scores.select("run_id", "method_id", "n_params", "loss")
    request = FitRequest(targets=(1e9,), holdout=None)
    whole = analysis.analyse(Selection(losses, scores, along=along), request)
    part = next(part for part in whole.parts if part.role == "target").scores[0]  # type: ignore[attr-defined]
    assert part.model is not None
    assert len(part.model.data) == len(finals) + len(rows)
    near = np.array(["@" in run for run in part.model.data.run_id])
    own = np.sqrt(part.model.data.value * (1 - part.model.data.value) / 2000)
    assert (part.model.data.stderr[near] > 1.9 * own[near]).all(), "four of one run weigh as one"
    assert {way.name for way in part.routes.ways} == {"test", "size"}
    truth = 0.25 + 0.75 / (1 + np.exp(3.2 * (1.7 + 1.9 * 100**-0.22 - 2.3)))
    for p in whole.of("target", "score"):
        assert p.new_low <= truth <= p.new_high


def test_scores_alone_go_through_a_loss_of_their_own() -> None:
    rows = frame(scored(2)).drop("loss")
    bits = rows.with_columns(
        metric=pl.lit("answer_bits_per_byte"), higher_is_better=False, chance=pl.lit(None, pl.Float64),
        value=pl.Series(scored(2).loss / 2), stderr=pl.lit(0.01),
    )  # fmt: skip
    found = analyse_scores(pl.concat([rows, bits]), targets=[3e9])
    kept = next(fit for fit in found.fitted() if fit.metric == "accuracy" and fit.role == "target")
    assert {way["through"] for way in kept.certificate["routes"]} == {"answer_bits_per_byte", "size"}


@pytest.mark.parametrize(
    ("metric", "better", "make"),
    [
        ("seconds", False, lambda share: 400 * (1 - share)),
        ("perplexity", False, lambda share: np.exp(4 * (1 - share)) * 3),
        ("reward", True, lambda share: 10 * share - 6),
    ],
)
def test_a_metric_keeps_its_unit_and_direction(metric: str, better: bool, make: object) -> None:
    data = scored(0)
    value = make(data.value)  # type: ignore[operator]
    rows = frame(data).drop("loss", "stderr", "n", "chance", "ceiling")
    rows = rows.with_columns(metric=pl.lit(metric), value=pl.Series(value), higher_is_better=better)
    found = analyse_scores(rows, targets=[2e9])
    group = np.array(data.group)
    for p in found.of("target"):
        last = value[group == p.method_id][-1]
        assert (p.mean > last) == better
        assert p.new_low <= p.low < p.mean < p.high <= p.new_high
        assert abs(p.mean - last) < np.ptp(value)
    ranked = [r.mean for r in found.ranking]
    assert len(ranked) == 3, "one task alone is ranked"
    assert ranked == sorted(ranked, reverse=better)
    assert found.ranking[0].gap == 0
    assert all(r.gap >= 0 for r in found.ranking)


def test_a_quantity_in_a_unit_has_no_limit() -> None:
    """A reward below 1 that rises by the same for each factor of ten: nobody says that it ends at 1, or at all."""
    sizes = np.array([1e8, 3e8, 1e9, 3e9])
    rows = pl.DataFrame([
        {"run_id": f"{name}{n:g}", "method_id": name, "n_params": n, "task_id": "t", "metric": "mean_reward",
         "value": 0.2 + 0.15 * np.log10(n / 1e8) + off, "higher_is_better": True}
        for name, off in (("a", 0.0), ("b", 0.02)) for n in sizes
    ])  # fmt: skip
    for p in analyse_scores(rows, holdout=None, targets=[1e14]).of("target"):
        truth = 1.1 + 0.02 * (p.method_id == "b")
        assert p.new_low <= truth <= p.new_high
        assert p.mean > 0.8, "more than the range of the data beyond them"
    assert [best_possible(name) for name in ("acc_per_byte", "pass@1", "rewards/accuracies")] == [1.0] * 3
    assert {
        best_possible(name) for name in ("seconds", "margin", "answer_bits_per_byte", "reward", "word_perplexity,none")
    } == {float("inf")}


def test_a_task_alone_is_ranked_by_its_main_metric() -> None:
    rows = frame(scored(0)).drop("loss").with_columns(is_main_metric=pl.lit(True))
    other = rows.with_columns(metric=pl.lit("other"), value=1 - pl.col("value"), is_main_metric=pl.lit(False))
    found = analyse_scores(pl.concat([rows, other]), holdout=None, targets=[3e9])
    assert {p.metric for p in found.of("target")} == {"accuracy", "other"}
    means = [p.mean for p in found.of("target") if p.metric == "accuracy"]
    assert [r.mean for r in found.ranking] == sorted(means, reverse=True)


def test_scales_go_there_and_back() -> None:
    data = scored(0)
    assert Scale.of(data) == Scale(), "a fraction is a share as it is"
    for one in (
        replace(data, higher_is_better=False),
        replace(data, value=data.value * 100, ceiling=100.0),
        replace(data, value=data.value * 50 - 20, ceiling=float("inf")),
        replace(data, value=np.exp(9 * data.value), ceiling=float("inf"), higher_is_better=False),
    ):
        scale = Scale.of(one)
        shares = scale.data(one)
        assert (shares.value >= 0).all()
        assert (shares.value <= 1).all()
        assert np.allclose(scale.outside(shares.value), one.value)
        assert np.corrcoef(shares.value, shares.log_size)[0, 1] > 0, "shares rise with the models"
        assert shares.higher_is_better


def test_a_metric_that_grows_with_the_model_is_not_turned_over() -> None:
    """What is lost under perturbation grows with what there is to lose: less is better, and it rises from nothing."""
    data = scored(0)
    lost = replace(data, metric="robust_change@1", value=0.3 * (data.value - 0.25), higher_is_better=False,
                   chance=NOBODY_SAYS, stderr=0.3 * data.stderr)  # fmt: skip
    scale = Scale.of(lost)
    assert scale == Scale()
    assert (scale.data(lost).chance, scale.data(lost).higher_is_better) == (0.0, True)
    fallen = replace(lost, value=0.3 - lost.value)
    assert scale.of(fallen).sign == -1
    assert np.allclose(scale.of(fallen).data(fallen).value, 0.7 + lost.value)
    model = by_size.build(lost)
    at_1b, at_3b = (model.point(float(np.log(size)))[0] for size in (1e9, 3e9))
    truth = 0.3 * 0.75 / (1 + np.exp(3.2 * (1.7 + 1.9 * 300**-0.22 - 2.3)))
    assert at_1b < at_3b
    assert at_3b == pytest.approx(truth, abs=0.01)


def test_parameters_that_the_prior_holds_take_no_degrees_of_freedom() -> None:
    """Five scores and a link of four parameters: the scatter is what it is, not a multiple of it."""
    rng, found = np.random.default_rng(0), []
    loss, every = np.linspace(2.8, 2.0, 5), [np.ones(5, bool)]
    truth = 0.25 + 0.75 / (1 + np.exp(3.2 * (loss - 2.3)))
    for _ in range(40):
        value = truth + 0.03 * rng.standard_normal(5)
        data = ScoreData("made", "accuracy", ("m",) * 5, tuple("abcde"), np.arange(5.0), loss, value,
                         np.full(5, 0.003), 2000, 0.25, 1.0, True)  # fmt: skip
        [fit] = from_loss.fit_links(LINKS.get("free_sigmoid"), data, every, [0.25])
        found.append(fit.dispersion**2)
    assert np.mean(found) == pytest.approx(0.03**2, rel=0.35)


def test_sizes_that_nearly_agree_are_one_rung() -> None:
    """Three families at 1.31, 1.34 and 1.37 billion: hiding the middle one would hide nothing of a distance."""
    sizes = np.log([1e8, 1.3e9, 1.34e9, 1.37e9, 2.7e9])
    assert rolling.rungs(sizes) == pytest.approx([np.log(1e8), np.log(1.3e9), np.log(2.7e9)])


def test_the_mean_lies_in_the_middle_of_its_draws() -> None:
    data = scored(0)
    near_the_top = replace(data, value=np.clip(data.value * 1.6, 0, 0.998))
    for p in analyse_scores(frame(near_the_top).drop("loss"), targets=[1e11]).of("target"):
        assert p.low < p.mean < p.high or p.mean == pytest.approx(1, abs=1e-3)
    model = by_size.build(near_the_top)
    draws, _ = model.draw(np.random.default_rng(0), float(np.log(1e10)), 1000)
    assert (draws <= 1).all()
