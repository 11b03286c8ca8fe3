"""A database with the real schema and plausible made-up rows, for tests that look at drawings and not at numbers."""

from __future__ import annotations

import datetime as dt
import hashlib
import itertools
import json
import math
import random
from collections.abc import Callable
from pathlib import Path

import duckdb
import polars as pl

from astraios.store.schema import work_out_once

ROOT = Path(__file__).parents[2]
SIZES = {"tiny/32": (59_000, 23_360), "tiny/64": (165_000, 91_776), "tiny/96": (415_000, 298_464),
         "tiny/128": (850_000, 694_272)}  # fmt: skip
METHODS = {
    # method_id: title, kind, share of trainable parameters, loss at the four sizes
    "fft": ("FFT", "full", 1.0, (4.139, 3.936, 3.858, 3.802)),
    "lora": ("LoRA", "low-rank", 0.08, (4.374, 4.090, 3.986, 3.947)),
    "adapterh": ("AdapterH", "adapter", 0.11, (4.416, 4.140, 4.052, 4.015)),
    "adapterp": ("AdapterP", "adapter", 0.06, (4.472, 4.212, 4.113, 4.052)),
    "parallel": ("Parallel", "adapter", 0.065, (4.581, 4.282, 4.191, 4.143)),
    "ia3": ("(IA)3", "adapter", 0.009, (4.629, 4.388, 4.299, 4.206)),
    "ptuning": ("P-Tuning", "prompt", 0.03, (4.720, 4.501, 4.430, 4.368)),
}
TASKS = {
    "next-token": ("Next token of the answer", 0.0, "accuracy"),
    "mutant": ("Body against mutant", 0.5, "accuracy"),
}
START = dt.datetime(2026, 1, 5, 12)
TARGET = 3_400_000


def create(con: duckdb.DuckDBPyConnection) -> None:
    """Makes the tables and views of db/; a view that another one needs may come later in the alphabet."""
    for path in sorted((ROOT / "db/migrations").glob("*.sql")):
        con.execute(path.read_text())
    waiting = sorted((ROOT / "db/views").glob("*.sql"))
    while waiting:
        later = []
        for path in waiting:
            try:
                con.execute(path.read_text())
            except duckdb.CatalogException:
                later.append(path)
        assert len(later) < len(waiting), later
        waiting = later


def answers(con: duckdb.DuckDBPyConnection) -> Callable[[str], pl.DataFrame]:
    """Answers a page's questions about the rows as they are now: as the report does, with what most views read worked
    out once."""
    asked = con.cursor()
    name = f"once{next(_numbers)}"
    asked.execute(f"attach ':memory:' as {name}; use {name}")
    work_out_once(asked, "memory")
    return lambda sql: asked.sql(sql).pl()


_numbers = itertools.count()


class Rows(dict[str, list[dict[str, object]]]):
    """Rows by table, inserted at once: one statement a row takes a hundred times longer."""

    def add(self, table: str, **values: object) -> None:
        self.setdefault(table, []).append(values)

    def insert(self, con: duckdb.DuckDBPyConnection) -> None:
        for table, rows in self.items():
            con.register("made", pl.DataFrame(rows, infer_schema_length=None))
            con.execute(f"insert into {table} by name select * from made")
            con.unregister("made")


def run_id(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:12]


def fill(con: duckdb.DuckDBPyConnection, seeds: int = 3, methods: dict | None = None, fits: bool = True) -> None:
    """The tiny ladder, seven methods, `seeds` seeds for fft and lora and one for the others, two tasks, fits."""
    rng, rows = random.Random(7), Rows()
    methods = methods or METHODS
    rows.add("dataset", dataset_id="tiny@5f2c", name="tiny", hash="5f2c", n_train_tokens=102_400,
           n_test_tokens=12_288, bytes_per_token=2.4)  # fmt: skip
    for model, (n, inner) in SIZES.items():
        rows.add("base_model", model_id=model, ladder="tiny", revision="r1", architecture="GPTBigCodeForCausalLM",
               n_params=n, n_params_nonembedding=inner)  # fmt: skip
    for method, (title, kind, _, _) in methods.items():
        rows.add("tuning_method", method_id=method, title=title, kind=kind)
    for task, (title, chance, metric) in TASKS.items():
        rows.add("task", task_id=task, title=title, kind="likelihood", metric=metric, chance=chance, ceiling=1.0,
               higher_is_better=True)  # fmt: skip
    for method, (_, _, share, finals) in methods.items():
        for (model, (n, inner)), final in zip(SIZES.items(), finals, strict=True):
            for seed in range(seeds if method in ("fft", "lora") else 1):
                key = run_id(method, model, seed)
                last = final + rng.gauss(0, 0.006)
                load_key = len(rows.get("attempt", ())) + 1
                rows.add("run", run_id=key, origin="measured", model_id=model, method_id=method,
                       dataset_id="tiny@5f2c", seed=seed, n_params=n, n_params_nonembedding=inner,
                       n_trainable=int(share * n), n_tokens=102_400, steps=200, tokens_per_step=512,
                       train_flops=6.0 * n * 102_400, bytes_per_token=2.4, created_at=START)  # fmt: skip
                seconds = 4 + n / 60_000 * (1 + share)
                rows.add("attempt", run_id=key, attempt=1, state="done", started_at=START,
                       finished_at=START + dt.timedelta(hours=1), wall_seconds=seconds * 1.2, device_seconds=seconds,
                       tokens_per_second=102_400 / seconds, peak_memory_bytes=int(4e8 + 16 * n * share),
                       checkpoint_bytes=int(4 * n * share), content_hash=key, load_key=load_key)  # fmt: skip
                for split, shift in (("test", 0.0), ("train", -0.05)):
                    for step in range(0, 201, 10):
                        value = last + shift + 0.6 * math.exp(-step / 45) - 0.6 * math.exp(-200 / 45)
                        rows.add("loss_point", run_id=key, attempt=1, split=split, step=step, n_tokens=step * 512,
                                 loss_nats=value, load_key=load_key)  # fmt: skip
                    rows.add("loss_summary", run_id=key, attempt=1, split=split, n_points=21, last_step=200,
                             last_loss=last + shift, min_loss=last + shift,
                             mean_last5_loss=last + shift + 0.004)  # fmt: skip
                for task, value in (("next-token", 0.92 - last * 0.14), ("mutant", 0.73 + rng.gauss(0, 0.01))):
                    rows.add("evaluation", run_id=key, attempt=1, task_id=task, n_shot=0, n_items=400)
                    rows.add("score", run_id=key, attempt=1, task_id=task, n_shot=0, metric="accuracy",
                           value=value, stderr=0.012, ci_low=value - 0.0235, ci_high=value + 0.0235, n=400,
                           n_failed=0)  # fmt: skip
    if fits:
        fill_fits(rows, methods)
    rows.insert(con)
    fill_judged(con)
    if fits:
        fill_plans(con, methods)


def fill_judged(con: duckdb.DuckDBPyConnection) -> None:
    """What astraios benchmark-quality and pass-at-k write, for the studies that there are."""
    rows = Rows()
    for (key,) in con.execute("select study_key from study").fetchall():
        for task in TASKS:
            rows.add("benchmark_quality", study_key=key, task_id=task, metric="accuracy", n_methods=7,
                   n_params_small=415_000.0, n_params_large=850_000.0, n_pairs=21, decision_accuracy=0.8, signal=0.03,
                   noise=0.01, noise_from="seeds", signal_to_noise=3.0, difference=0.02, n_items=400.0, n_needed=9500.0,
                   seeds_needed=5.0, power=0.1, is_paired=False, distance_from_chance=0.2, is_best_metric=True,
                   groups='[["fft"]]', decides=task == "mutant", words=f"{task}.", created_at=START)  # fmt: skip
        for k in (1, 10, 100):
            value = 1 - 0.8**k
            rows.add("pass_curve", study_key=key, task_id="mutant", method_id="fft", n_params=850_000.0, run_id="r",
                   k=k, value=value, low=value - 0.01, high=min(value + 0.01, 1.0), n_samples=20, n_problems=164,
                   is_projected=k > 20, created_at=START)  # fmt: skip
    rows.insert(con)


def fill_plans(con: duckdb.DuckDBPyConnection, methods: dict) -> None:
    """What fit-scaling says about budgets, for full tuning in front of the others."""
    key = con.execute("select study_key from study order by n_runs desc").fetchall()[0][0]
    rows, others = Rows(), [name for name in methods if name != "fft"]
    for place, method in enumerate(others, start=1):
        rows.add("speed_up", study_key=key, series="fft", faster=method, unit="flops", created_at=START, n_params=3.4e6,
                 n_tokens=1e5, loss=4.0 + place / 50, factor=0.5 / place, low=0.3 / place, high=1.2 / place, level=0.9,
                 separable=place > 1, p_unreachable=0.0)  # fmt: skip
        rows.add("next_run", study_key=key, place=place, series=method, created_at=START, n_params=850_000.0,
                 target=3.4e6, device_hours=0.01, cost_source="made up", gain=0.1, width_after=0.01)  # fmt: skip
    for method in methods:
        for step in range(4):
            rows.add("allocation", study_key=key, series=method, asked="budgets", created_at=START, level=0.9,
                     sharing="data held at 102k tokens, as in the runs", flops=1e11 * 10**step, n_params=1e5 * 10**step,
                     n_params_low=1e5 * 10**step, n_params_high=1e5 * 10**step, n_tokens=102_400.0,
                     loss=4.2 - step / 10, new_low=4.1 - step / 10, new_high=4.3 - step / 10)  # fmt: skip
    for budget in (1e18, 1e19, 1e20):
        for k in range(-4, 5):
            best = (budget / 120) ** 0.5
            rows.add("isoflop", study_key=key, series="fft", flops=budget, n_params=best * 1.6**k,
                     n_tokens=budget / 6 / best / 1.6**k, loss=2.5 + 0.02 * k * k - 0.1 * math.log10(budget / 1e18),
                     is_best=k == 0)  # fmt: skip
    rows.insert(con)


def fill_fits(rows: Rows, methods: dict) -> None:
    """A target fit and a backtest for each method, and one link for each task."""
    n_last = SIZES["tiny/128"][0]
    best = {"fft": 0.97, "lora": 0.02, "adapterh": 0.01}
    for method, (_, _, _, finals) in methods.items():
        for role in ("target", "backtest"):
            fit = run_id("fit", method, role)
            note = {"code": "too_few_sizes", "message": f"{method}: too few sizes", "group": method}
            rows.add("fit", fit_id=fit, created_at=START + dt.timedelta(hours=2), role=role, quantity="loss",
                   method_id=method, law="power_offset", estimator="huber", loss_definition="last", split="test",
                   level=0.9, seed=0, objective=0.001, n_points=4 if role == "target" else 3,
                   warnings=json.dumps([note]))  # fmt: skip
            for i, (model, (n, _)) in enumerate(SIZES.items()):
                rows.add("fit_point", fit_id=fit, run_id=run_id(method, model, 0), n_params=n, observed=finals[i],
                       fitted=finals[i], weight=1.0, held_out=role == "backtest" and i == 3)  # fmt: skip
        rows.add("fit_parameter", fit_id=run_id("fit", method, "target"), name="alpha", value=0.3, low=0.2,
               high=0.5, at_bound=False)  # fmt: skip
        slope = (finals[3] - finals[2]) / math.log(850 / 415)
        for n in (n_last, 1_700_000, TARGET):
            mean = finals[3] + 0.8 * slope * math.log(n / n_last)
            wide = 0.02 + 0.02 * math.log(n / n_last)
            rows.add("projection", fit_id=run_id("fit", method, "target"), role="target", quantity="loss",
                   method_id=method, n_params=n, mean=mean, low=mean - wide, high=mean + wide,
                   new_low=mean - wide - 0.012, new_high=mean + wide + 0.012, level=0.9,
                   p_best=best.get(method, 0.0))  # fmt: skip
        guess = finals[3] + 0.011
        rows.add("backtest", fit_id=run_id("fit", method, "backtest"), quantity="loss", method_id=method,
               law="power_offset", n_params=n_last, n_train_points=3, mean=guess, new_low=guess - 0.05,
               new_high=guess + 0.05, level=0.9, observed=finals[3], relative_error=0.011 / finals[3], covered=True,
               carry_forward=finals[2], carry_forward_error=(finals[2] - finals[3]) / finals[3])  # fmt: skip
        for task in TASKS:
            fit = run_id("link", task)
            value = 0.92 - (finals[3] - 0.1) * 0.14 if task == "next-token" else 0.735
            rows.add("projection", fit_id=fit, role="target", quantity="score", method_id=method, task_id=task,
                   metric="accuracy", n_params=TARGET, mean=value, low=value - 0.01, high=value + 0.01,
                   new_low=value - 0.02, new_high=value + 0.02, level=0.9)  # fmt: skip
            rows.add("backtest", fit_id=run_id("link-backtest", task), quantity="score", method_id=method,
                   task_id=task, metric="accuracy", law="sigmoid", n_params=n_last, n_train_points=21, mean=value,
                   new_low=value - 0.02, new_high=value + 0.02, level=0.9, observed=value + 0.005,
                   relative_error=0.012, covered=True, carry_forward=value - 0.01,
                   carry_forward_error=0.02)  # fmt: skip
    for task in TASKS:
        for role, name in (("target", "link"), ("backtest", "link-backtest")):
            fit = run_id(name, task)
            rows.add("fit", fit_id=fit, created_at=START + dt.timedelta(hours=2), role=role, quantity="score",
                   task_id=task, metric="accuracy", law="sigmoid", estimator="binomial", split="test", level=0.9,
                   seed=0, n_points=28)  # fmt: skip
            rows.add("fit_point", fit_id=fit, run_id=run_id("fft", "tiny/32", 0), n_params=59_000, observed=0.3,
                   fitted=0.3, weight=1.0, held_out=False)  # fmt: skip
