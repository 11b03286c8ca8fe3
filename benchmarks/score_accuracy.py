"""Scores of hidden sizes of the open tables: errors, coverage and interval scores, beside carry-forward and the forms of
the literature; with the chance levels that are known of the tasks, and with none.

    OMP_NUM_THREADS=1 python benchmarks/score_accuracy.py [PART...]

Parts: olmo, olmo-size, olmo-far, gadre, gadre-corpus, llmline, rl, qlora, families, paper-7b, paper-16b. Everything is
in points. The constants behind these figures: score_calibration.py.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
from fit_common import TABLES
from scipy.optimize import least_squares
from scipy.special import expit
from scipy.stats import binom

from astraios import store
from astraios.fit.analysis import analyse
from astraios.fit.request import FitRequest
from astraios.fit.scores import by_size, from_loss
from astraios.fit.scores.data import ScoreData, read_scores, standard_errors
from astraios.fit.selection import Selection
from astraios.importers.paper import frames
from astraios.workflow.selecting import select

DRAWS = 1000
OLMO = {"mmlu": (0.25, 1000), "hellaswag": (0.25, 1000), "arc_easy": (0.25, 1000), "arc_challenge": (0.25, 1000),
        "boolq": (0.5, 1000), "csqa": (0.2, 1000), "openbookqa": (0.25, 500), "piqa": (0.5, 1000),
        "socialiqa": (1 / 3, 1000), "winogrande": (0.5, 1000)}  # fmt: skip
"""Chance and items (of OLMES, a thousand at most) by the beginning of a task's name."""
FAMILIES = {"MMLU": (14042, 0.25), "ARC-C": (1172, 0.25), "HellaSwag": (10042, 0.25), "Winograd": (273, 0.5),
            "TruthfulQA": (817, float("nan")), "GSM8K": (1319, 0.0), "XWinograd": (2325, 0.5), "HumanEval": (164, 0.0)}  # fmt: skip
"""Items and chance of the benchmarks of the table of families; TruthfulQA's (mc2) is no constant."""
METRICS = {"rougeL": "rougeL", "gsm8k": "exact_match"}
"""Metrics of tasks that guessing scores nothing on, by the beginning of their names; accuracy is all others'."""
GADRE_CHANCE = {"siqa": 1 / 3, "commonsense_qa": 0.2}
"""Where the table of its tasks is wrong."""


@dataclass(frozen=True)
class Guess:
    """Predictions at hidden points, and what was observed there; fractions."""

    observed: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @property
    def error(self) -> float:
        return float(np.abs(self.mean - self.observed).mean())

    @property
    def inside(self) -> np.ndarray:
        return (self.low <= self.observed) & (self.observed <= self.high)

    @property
    def interval_score(self) -> float:
        """Winkler's, of the 90 % interval."""
        miss = np.maximum(self.low - self.observed, 0) + np.maximum(self.observed - self.high, 0)
        return float((self.high - self.low + 20 * miss).mean())


@dataclass(frozen=True)
class Hidden:
    """One task of one table with its largest sizes hidden."""

    task: str
    train: ScoreData
    hidden: ScoreData


Method = Callable[[Hidden], Guess]


def frame_data(
    frame: pl.DataFrame, value: str, chance: float, items: float, loss: str | None = None, metric: str = "accuracy"
) -> ScoreData:
    """Scores of one task from columns `series`, n_params, the value's, and a loss's."""
    rows = frame.drop_nulls([value, *([loss] if loss else [])])
    values, count = rows[value].to_numpy().astype(float), len(rows)
    losses = rows[loss].to_numpy().astype(float) if loss else np.full(count, np.nan)
    errors = standard_errors(values, np.full(count, np.nan), np.full(count, float(items)), 0.0, 1.0)
    return ScoreData(
        value, metric, tuple(map(str, rows["series"])), tuple(map(str, range(count))),
        np.log(rows["n_params"].to_numpy().astype(float)), losses, values, errors, float(items), chance, 1.0, True,
    )  # fmt: skip


def split(data: ScoreData, hide: np.ndarray | None = None) -> Hidden:
    """The largest size hidden, or the rows where `hide` is true."""
    top = data.log_size >= data.log_size.max() - 1e-9 if hide is None else hide
    return Hidden(data.task_id, data.keep(~top), data.keep(top))


# Methods. Ours first.


def from_true_loss(case: Hidden) -> Guess:
    """The link alone: the loss of the hidden points is given."""
    model, rng = from_loss.build(case.train), np.random.default_rng(0)
    mean, low, high = [], [], []
    for loss, group in zip(case.hidden.loss, case.hidden.group, strict=True):
        mean.append(model.point(np.array([loss]), group)[0])
        ends = np.quantile(model.draw(rng, np.full(DRAWS, loss), group)[1], [0.05, 0.95])
        low.append(min(ends[0], mean[-1]))
        high.append(max(ends[1], mean[-1]))
    return Guess(case.hidden.value, np.array(mean), np.array(low), np.array(high))


def from_size(case: Hidden) -> Guess:
    """Size alone."""
    model, rng = by_size.build(case.train), np.random.default_rng(0)
    rows, sizes = [model.names.index(g) for g in case.hidden.group], case.hidden.log_size
    mean, low, high = np.zeros(len(rows)), np.zeros(len(rows)), np.zeros(len(rows))
    for size in np.unique(sizes):
        point, (_, new) = model.point(float(size)), model.draw(rng, float(size), DRAWS)
        ends = np.quantile(new, [0.05, 0.95], axis=1)
        for i in np.flatnonzero(sizes == size):
            mean[i], low[i], high[i] = point[rows[i]], ends[0, rows[i]], ends[1, rows[i]]
    return Guess(case.hidden.value, mean, np.minimum(low, mean), np.maximum(high, mean))


def carry_forward(case: Hidden) -> Guess:
    """The score of the largest known size of the series (of all, where the series is new)."""
    group, found = np.array(case.train.group), []
    for name in case.hidden.group:
        mine = group == name if (group == name).any() else np.ones(len(group), bool)
        top = case.train.log_size[mine].max()
        found.append(case.train.value[mine & (case.train.log_size >= top - 1e-9)].mean())
    return _bare(case, np.array(found))


def _bare(case: Hidden, mean: np.ndarray) -> Guess:
    return Guess(case.hidden.value, mean, mean, mean)


def _least(fun: Callable[[np.ndarray], np.ndarray], starts: list[list[float]]) -> np.ndarray:
    found = [least_squares(fun, start, method="trf", max_nfev=400) for start in starts]
    return min(found, key=lambda one: one.cost).x


def _chance(data: ScoreData) -> float:
    return data.chance if np.isfinite(data.chance) else 0.0


def sigmoid(x: np.ndarray, y: np.ndarray, at: np.ndarray, low: float, free: bool) -> np.ndarray:
    """A sigmoid in x by least squares: from a known floor to 1, or with both ends free (four parameters)."""
    centre, scale = x.mean(), x.std() or 1.0
    z, to = (x - centre) / scale, (at - centre) / scale
    slope = 1.0 if np.corrcoef(z, y)[0, 1] >= 0 else -1.0
    if not free:
        p = _least(lambda p: low + (1 - low) * expit(p[0] + p[1] * z) - y, [[-1, slope], [0, slope], [-2, 0.5 * slope]])
        return low + (1 - low) * expit(p[0] + p[1] * to)
    ends = (y.min(), max(y.max() - y.min(), 0.05))
    p = _least(
        lambda p: p[2] + p[3] * expit(p[0] + p[1] * z) - y,
        [[0, slope, *ends], [-1, slope, ends[0], 2 * ends[1]], [-2, 2 * slope, ends[0], 1 - ends[0]]],
    )
    return p[2] + p[3] * expit(p[0] + p[1] * to)


def ladder_sigmoid(case: Hidden) -> Guess:
    """Bhagia et al. (2024), step 2: a sigmoid of four parameters in the loss."""
    return _bare(case, sigmoid(-case.train.loss, case.train.value, -case.hidden.loss, 0.0, True))


def anchored_sigmoid(case: Hidden) -> Guess:
    """The same from the chance level to 1."""
    return _bare(case, sigmoid(-case.train.loss, case.train.value, -case.hidden.loss, _chance(case.train), False))


def exponential(case: Hidden) -> Guess:
    """Gadre et al. (2024), eq. 5: error = e - k exp(-g L), with the error of guessing for e."""
    low, loss, y = _chance(case.train), case.train.loss, case.train.value
    centre = loss.mean()
    p = _least(lambda p: low + np.exp(np.clip(p[0] - p[1] * (loss - centre), -30, 3)) - y, [[-2, 1], [-1, 2], [-4, 4]])
    return _bare(case, np.minimum(low + np.exp(p[0] - p[1] * (case.hidden.loss - centre)), 1))


def sigmoid_in_size(case: Hidden) -> Guess:
    """Owen (2024): a sigmoid from chance in log size, each series by itself."""
    group, hidden = np.array(case.train.group), np.array(case.hidden.group)
    mean = np.full(len(hidden), np.nan)
    for name in set(hidden):
        mine, here = group == name, hidden == name
        x, y, at = case.train.log_size[mine], case.train.value[mine], case.hidden.log_size[here]
        mean[here] = sigmoid(x, y, at, _chance(case.train), False)
    return _bare(case, mean)


def power_then_sigmoid(case: Hidden) -> Guess:
    """Two steps: E + A N^-a of each series' loss, then the anchored sigmoid in it."""
    group, hidden = np.array(case.train.group), np.array(case.hidden.group)
    loss = np.zeros(len(hidden))
    for name in set(hidden):
        x, y = case.train.log_size[group == name], case.train.loss[group == name]
        to, far = x - x.mean(), case.hidden.log_size[hidden == name] - x.mean()
        p = _least(
            lambda p, to=to, y=y: np.exp(p[0]) + np.exp(p[1] - np.exp(p[2]) * to) - y,
            [
                [np.log(0.6 * y.min()), np.log(0.5 * y.mean()), -1.2],
                [np.log(0.8 * y.min()), np.log(0.2 * y.mean()), -1],
            ],
        )
        loss[hidden == name] = np.exp(p[0]) + np.exp(p[1] - np.exp(p[2]) * far)
    return anchored_sigmoid(replace(case, hidden=replace(case.hidden, loss=loss)))


# Tables.


def known(name: str) -> tuple[float, float]:
    return next(value for key, value in OLMO.items() if name.startswith(key))


def olmo_runs() -> pl.DataFrame:
    """The mean of each run's last five evaluations."""
    rows = pl.read_parquet(TABLES / "olmo_ladder.parquet").sort("tokens")
    last = rows.group_by("run", maintain_order=True).tail(5)
    columns = [c for c in rows.columns if c.startswith(("acc__", "bpb__", "loss__"))]
    runs = (
        last.sort("n_params_nonemb", "run", "tokens")
        .group_by("run", maintain_order=True)
        .agg(
            pl.col("n_params_nonemb").first().alias("n_params"),
            pl.col("tokens").max(),
            *(pl.col(c).mean() for c in columns),
        )
    )
    return runs.with_columns(series=pl.lit("olmo"), s=pl.col("run").str.extract(r"(\d+\.?\d*xC)"))


def olmo(by: str = "loss") -> Iterator[Hidden]:
    """1B from 190M to 760M; with the task's bits per byte as its loss."""
    runs = olmo_runs()
    if by == "size":
        runs = runs.with_columns(series="s").drop("run", "s").group_by("series", "n_params", maintain_order=True).mean()
    for column in (c for c in runs.columns if c.startswith("acc__") and "_rc_" in c):
        chance, items = known(column[5:])
        loss = "bpb__" + column[5:].removesuffix("_len_norm").removesuffix("_acc")
        data = frame_data(runs, column, chance, items, None if by == "size" else loss)
        if by == "far":
            # Runs below a thirtieth of the largest compute: 1B is far beyond them.
            rows = runs.drop_nulls([column, loss])
            work = rows["n_params"].to_numpy() * rows["tokens"].to_numpy()
            small, large = work <= work.max() / 30, work >= work.max() / 3
            kept = small | large
            yield split(data.keep(kept), large[kept])
        else:
            yield split(data)


def gadre_tasks() -> tuple[pl.DataFrame, dict[str, tuple[float, float]]]:
    """Runs, and chance and items of the tasks where the smaller models are more than ten points above chance."""
    meta = {r["task"]: r for r in pl.read_csv(TABLES / "gadre_task_meta.csv").iter_rows(named=True)}
    runs = pl.read_parquet(TABLES / "gadre_overtrain.parquet").drop_nulls("loss__c4_val")
    runs = runs.with_columns(series=pl.col("train_data"))
    small, found = runs.filter(pl.col("n_params") < 2e8), {}
    for column in (c for c in runs.columns if c.startswith("acc__") and c[5:] in meta):
        chance = GADRE_CHANCE.get(column[5:], (meta[column[5:]]["chance_pct"] or 0) / 100)
        top = small.select(pl.col(column).max()).item()
        if top is not None and top > chance + 0.1:
            found[column] = (chance, float(meta[column[5:]]["n_items"]))
    return runs, found


def gadre() -> Iterator[Hidden]:
    """411M from 11M to 154M, on three corpora."""
    runs, tasks = gadre_tasks()
    for column, (chance, items) in tasks.items():
        yield split(frame_data(runs, column, chance, items, "loss__c4_val"))


def gadre_corpus() -> Iterator[Hidden]:
    """Each corpus from the two others, all sizes."""
    runs, tasks = gadre_tasks()
    for column, (chance, items) in tasks.items():
        data = frame_data(runs, column, chance, items, "loss__c4_val")
        for name in sorted(set(data.group)):
            yield split(data, np.array(data.group) == name)


def case_rows(name: str) -> pl.DataFrame:
    """Scores of a case beside its runs."""
    runs, scores = (pl.read_parquet(TABLES / "cases" / f"{name}{end}.parquet") for end in ("", ".scores"))
    return scores.join(runs.drop("run_id_right", strict=False), on=["case", "run_id"])


def cases(name: str, by: str = "size") -> Iterator[Hidden]:
    """The tasks of a case, its marked rows hidden."""
    for _, rows in case_rows(name).sort("case", "task").group_by(["case", "task"], maintain_order=True):
        rows = rows.sort("series", "n_params")
        metric = METRICS.get(rows["task"][0].partition("_")[0], "accuracy")
        loss = None if by == "size" else "loss"
        data = frame_data(rows, "value", rows["chance"][0], rows["n_items"][0], loss, metric)
        data = replace(data, task_id=f"{rows['case'][0]} {rows['task'][0]}")
        yield split(data, rows["hidden"].to_numpy())


def families() -> Iterator[Hidden]:
    """Each family's largest model from its smaller ones, three at least."""
    runs = pl.read_parquet(TABLES / "obs_scaling_base_llms.parquet").with_columns(
        n_params=1e9 * pl.col("n_params_b"), series=pl.col("family")
    )
    for (name,), rows in runs.group_by(["family"], maintain_order=True):
        if rows["n_params"].n_unique() >= 4:
            for task, (items, chance) in FAMILIES.items():
                if rows[task].null_count() == 0:
                    metric = {"GSM8K": "exact_match", "HumanEval": "pass@1"}.get(task, "accuracy")
                    yield replace(split(frame_data(rows, task, chance, items, None, metric)), task=f"{name} {task}")


@cache
def published() -> tuple[ScoreData, ...]:
    """Every metric of the tables of ASTRAIOS at its four sizes, with what astraios knows of their chance."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "paper.duckdb"
        store.import_frames(path, frames())
        chosen = select(path, FitRequest())
    assert chosen.scores is not None
    return tuple(one for one in read_scores(chosen.scores, by_size=True) if len(np.unique(one.log_size)) > 3)


def paper(hidden: int) -> Iterator[Hidden]:
    """A size (0 the smallest) of the published tables from those below it."""
    for data in published():
        yield split(data.keep(data.log_size <= np.unique(data.log_size)[hidden] + 1e-9))


def two_steps(case: Hidden) -> Guess:
    """`astraios fit-scaling` from runs and their scores: losses projected, scores through all routes."""
    both = [case.train, case.hidden]
    rows = pl.concat([
        pl.DataFrame({
            "run_id": [f"{part} {i}" for i in one.run_id], "method_id": one.group, "n_params": np.exp(one.log_size),
            "loss": one.loss, "task_id": case.task, "metric": one.metric, "value": one.value, "stderr": one.stderr,
            "n": one.items, "chance": one.chance, "ceiling": one.ceiling, "higher_is_better": True,
        }) for part, one in enumerate(both)
    ]).with_columns(pl.col("chance").fill_nan(None))  # fmt: skip
    losses = rows.select("run_id", "method_id", "n_params", "loss")
    request = FitRequest(holdout=float(np.exp(case.hidden.log_size.min())))
    found = {
        (p.method_id, round(np.log(p.n_params), 4)): p
        for p in analyse(Selection(losses, rows), request).of("backtest", "score")
    }
    here = [found[g, round(float(s), 4)] for g, s in zip(case.hidden.group, case.hidden.log_size, strict=True)]
    columns = (np.array([getattr(p, name) for p in here]) for name in ("mean", "new_low", "new_high"))
    return Guess(case.hidden.value, *columns)


LOSS: dict[str, Method] = {"astraios": from_true_loss, "carry-forward": carry_forward, "sigmoid, 4 free": ladder_sigmoid,
                           "sigmoid from chance": anchored_sigmoid, "exponential from chance": exponential}  # fmt: skip
SIZE: dict[str, Method] = {"astraios": from_size, "carry-forward": carry_forward, "sigmoid in size": sigmoid_in_size}
BOTH: dict[str, Method] = {"astraios": two_steps, "astraios, true loss": from_true_loss, "astraios, size": from_size,
                           "carry-forward": carry_forward, "power law, sigmoid": power_then_sigmoid,
                           "sigmoid in size": sigmoid_in_size}  # fmt: skip
PARTS: dict[str, tuple[str, Callable[[], Iterator[Hidden]], dict[str, Method]]] = {
    "olmo": ("OLMo 1B from 190M to 760M, true bits per byte given", olmo, LOSS),
    "olmo-far": ("OLMo runs of the largest third in compute from those below a thirtieth, true bits per byte given",
                 lambda: olmo("far"), LOSS),
    "olmo-size": ("OLMo 1B from 190M to 760M, size alone", lambda: olmo("size"), SIZE),
    "gadre": ("Gadre 411M from up to 154M, true loss given, learnable tasks", gadre, LOSS),
    "gadre-corpus": ("Gadre, each corpus from the two others, true loss given, learnable tasks", gadre_corpus, LOSS),
    "llmline": ("llmline_arch, three architectures, hidden sizes from 2.6B on", lambda: cases("llmline_arch", "loss"), BOTH),
    "rl": ("rl_qwen3, 14B from up to 8B", lambda: cases("rl_qwen3", "loss"), BOTH),
    "qlora": ("qlora, the largest from the smaller, size alone", lambda: cases("qlora"), SIZE),
    "paper-7b": ("published tables, 7B from 1B and 3B, size alone", lambda: paper(2), SIZE),
    "paper-16b": ("published tables, 16B from 1B, 3B and 7B, size alone", lambda: paper(3), SIZE),
    "families": ("obs_scaling_base_llms, the largest of each family from size alone", families, SIZE),
}  # fmt: skip


TWICE = ("olmo", "olmo-far", "olmo-size", "gadre", "gadre-corpus", "llmline", "rl")
"""Parts whose rivals too are shown with chance known and with none."""


def unknown(case: Hidden) -> Hidden:
    """The same without its chance level."""
    none = float("nan")
    return Hidden(case.task, replace(case.train, chance=none), replace(case.hidden, chance=none))


def show(part: str, details: bool = False) -> None:
    """One table: every method, with chance known and with none."""
    title, table, methods = PARTS[part]
    found = list(table())
    print(f"\n### {title}\n\n{len(found)} tasks, {sum(len(c.hidden) for c in found)} hidden points\n")
    print("| method | chance | error | coverage of 90% | least that 90% allows | interval score |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, method in methods.items():
        for word, made in (("known", found), ("unknown", [unknown(c) for c in found])):
            guesses = [method(c) for c in made]
            error = np.mean([g.error for g in guesses])
            inside = np.concatenate([g.inside for g in guesses])
            ours = name.startswith("astraios")
            covered = f"{inside.mean():.1%}" if ours else "-"
            least = f"{binom.ppf(0.05, len(inside), 0.9) / len(inside):.1%}" if ours else "-"
            scored = f"{100 * np.mean([g.interval_score for g in guesses]):.1f}" if ours else "-"
            print(f"| {name} | {word} | {100 * error:.2f} | {covered} | {least} | {scored} |", flush=True)
            if details and ours:
                for c, g in zip(found, guesses, strict=True):
                    width = 100 * (g.high - g.low).mean()
                    bias = 100 * (g.mean - g.observed).mean()
                    print(
                        f"    {c.task:40s} {100 * g.error:6.2f} {bias:+6.2f} {g.inside.mean():5.0%} width {width:5.1f}"
                    )
            if part not in TWICE and name == "carry-forward":
                break


def main() -> None:
    wanted = [a for a in sys.argv[1:] if not a.startswith("-")]
    for part in wanted or PARTS:
        show(part, "--details" in sys.argv)


if __name__ == "__main__":
    main()
