"""What the fitting benchmarks share: hold-outs, scores of intervals, and peers."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import polars as pl

from astraios.fit.calibration import kind
from astraios.fit.ensemble import Ensemble, build
from astraios.fit.observations import Ladder, read
from astraios.fit.weigh import candidates, varies

SHARED = Path(os.environ.get("ASTRAIOS_SHARED", Path(__file__).parents[1] / ".." / "shared")).resolve()
TABLES = SHARED / "data" / "scaling"
PEERS = os.environ.get("ASTRAIOS_PEERS_PYTHON")
"""A Python (3.12 or later) with simple-scaling-laws installed; without it its rows are left out."""


DIVERGED = {"lowrank_pretrain/galore": ("Low-Rank",), "lowrank_pretrain/relora": ("LoRA",)}
"""Series whose loss rises at the hidden size: no curve says that, and they are reported apart."""


@dataclass(frozen=True)
class HoldOut:
    """One table with its largest sizes hidden."""

    name: str
    source: str
    train: pl.DataFrame
    test: pl.DataFrame

    def ladders(self) -> tuple[Ladder, Ladder]:
        """Training and hidden points as ladders."""
        inputs = {"n_params": "n_params", "n_tokens": "n_tokens"}
        if self.train["n_tokens"].null_count() or not varies(read(self.train, inputs=inputs), "n_tokens"):
            inputs = {"n_params": "n_params"}
        train = read(self.train, inputs=inputs, group="series")
        return train, read(self.test, inputs=inputs, group="series", quantity=train.quantity)


@dataclass(frozen=True)
class Predicted:
    """Predictions at the hidden points of a table, in the order of the test rows sorted by series."""

    observed: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @property
    def error(self) -> float:
        return float(np.abs(self.mean / self.observed - 1).mean())

    @property
    def coverage(self) -> float:
        return float(((self.low <= self.observed) & (self.observed <= self.high)).mean())

    @property
    def width(self) -> float:
        return float(((self.high - self.low) / self.observed).mean())

    def winkler(self, level: float = 0.9) -> float:
        """Mean interval score, relative to the observation; smaller is better."""
        miss = np.maximum(self.low - self.observed, 0) + np.maximum(self.observed - self.high, 0)
        return float(((self.high - self.low + 2 / (1 - level) * miss) / self.observed).mean())

    def stretched(self, factor: float) -> Predicted:
        """The same with intervals widened about the mean, in logarithms."""
        low = self.mean * (self.low / self.mean) ** factor
        return Predicted(self.observed, self.mean, low, self.mean * (self.high / self.mean) ** factor)

    def stretch_needed(self) -> np.ndarray:
        """By what factor each interval would have to be widened to reach its observation."""
        off = np.log(self.observed / self.mean)
        side = np.where(off > 0, np.log(self.high / self.mean), np.log(self.low / self.mean))
        return off / side


def cases() -> dict[str, HoldOut]:
    """The tables of cases/ that hold losses, each case a hold-out of its own; the two diverged series are left out."""
    found = {}
    for path in sorted((TABLES / "cases").glob("*.parquet")):
        if path.name.endswith(".scores.parquet"):
            continue
        rows = pl.read_parquet(path).filter(pl.col("loss").is_finite()).with_columns(pl.col("n_params").fill_null(1e8))
        for name in rows["case"].unique().sort():
            case = rows.filter(pl.col("case") == name)
            for series in DIVERGED.get(f"{path.stem}/{name}", ()):
                case = case.filter(~(pl.col("hidden") & (pl.col("series") == series)))
            train, test = case.filter(~pl.col("hidden")), case.filter(pl.col("hidden"))
            found[f"{path.stem}/{name}"] = HoldOut(f"{path.stem}/{name}", path.stem, train, test)
    return found


def kind_of(table: HoldOut) -> str:
    """sizes, data or both: what the laws of auto take for a table."""
    train, _ = table.ladders()
    return kind(candidates("auto", train)[0].inputs)


def holdouts() -> dict[str, HoldOut]:
    """The eight hold-outs of holdouts.toml."""
    connection = duckdb.connect()
    connection.execute(f"set file_search_path = '{TABLES}'")
    found = {}
    for name, entry in tomllib.loads((TABLES / "holdouts.toml").read_text()).items():
        train, test = (connection.sql(entry[key]).pl() for key in ("train", "test"))
        found[name] = HoldOut(name, entry["source"], train, test)
    return found


def project(ensemble: Ensemble, hidden: Ladder, level: float = 0.9) -> Predicted:
    """Intervals of a new run at every hidden point."""
    names = ensemble.ladder.names
    needed = {name for fit in ensemble.fits for name in fit.law.inputs}
    parts = []
    for series in hidden.series:
        if series.name not in names:
            continue
        g = names.index(series.name)
        drawn = ensemble.project({n: np.tile(c, (len(names), 1)) for n, c in series.inputs.items() if n in needed})
        low, high = drawn.interval(level, new=True)
        parts.append((np.exp(series.log_loss), np.exp(drawn.mean[g]), low[g], high[g]))
    return Predicted(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def ours(table: HoldOut, law: str = "auto", seed: int = 0) -> Predicted:
    """astraios with its defaults."""
    train, hidden = table.ladders()
    return project(build(candidates(law, train), train, seed=seed), hidden)


def source_scales(needed: dict[str, np.ndarray], sources: dict[str, str], level: float = 0.9) -> dict[str, float]:
    """For each source, the factor on the intervals that the other sources ask for; "all" uses every source."""
    result = {}
    for left_out in [*sorted(set(sources.values())), "all"]:
        kept = [name for name in needed if sources[name] != left_out]
        values = np.concatenate([needed[name] for name in kept])
        same = {name: sum(sources[o] == sources[name] for o in kept) for name in kept}
        weights = np.concatenate([np.full(len(needed[n]), 1 / len(needed[n]) / same[n]) for n in kept])
        order = np.argsort(values)
        share = np.cumsum(weights[order]) / weights.sum()
        result[left_out] = float(values[order][np.searchsorted(share, level)])
    return result


PEER_CODE = """
import json, sys, time, warnings
import polars as pl
warnings.filterwarnings("ignore")
from simple_scaling_laws import fit
job = json.load(open(sys.argv[1]))
train, test = pl.DataFrame(job["train"]), pl.DataFrame(job["test"])
rows, spent = [], 0.0
for (name,), points in test.group_by(["series"], maintain_order=True):
    mine = train.filter(pl.col("series") == name)
    runs = pl.DataFrame({
        "training_run_id": [f"r{i}" for i in range(len(mine))], "train_set_id": "t", "test_set_id": "b",
        "model_size__n_params": mine["n_params"], "dataset_size__n_tokens": mine["n_tokens"],
        "test_loss__ce": mine["loss"],
    })
    if mine["n_params"].n_unique() == 1:
        runs = runs.drop("model_size__n_params")
    start = time.process_time()
    model = fit(runs, law=job["law"], n_draws=job["draws"], seed=0)
    spent += time.process_time() - start
    at = {"model_size__n_params": points["n_params"], "dataset_size__n_tokens": points["n_tokens"]}
    if "model_size__n_params" not in runs.columns:
        at.pop("model_size__n_params")
    out = model.predict(pl.DataFrame(at), kind="new-run", quantiles=[0.05, 0.5, 0.95])
    for row, loss in zip(out.iter_rows(named=True), points["loss"]):
        rows.append([loss, *(row[f"test_loss__ce__{end}"] for end in ("median", "q050", "q950"))])
print(json.dumps({"rows": rows, "seconds": spent}))
"""


def simple_scaling_laws(
    table: HoldOut, law: str = "separable-power", draws: int = 200
) -> tuple[Predicted, float] | str:
    """The nearest competitor on the same rows: predictions of a new run and its seconds, or why there are none."""
    if not PEERS:
        return "not installed (ASTRAIOS_PEERS_PYTHON)"
    with tempfile.TemporaryDirectory() as folder:
        job, code = Path(folder) / "job.json", Path(folder) / "peer.py"
        frames = {"train": table.train.to_dict(as_series=False), "test": table.test.to_dict(as_series=False)}
        job.write_text(json.dumps({**frames, "law": law, "draws": draws}))
        code.write_text(PEER_CODE)
        env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        done = subprocess.run([PEERS, str(code), str(job)], capture_output=True, text=True, env=env)
    if done.returncode:
        return (done.stderr.strip().splitlines() or ["failed"])[-1][:100]
    answer = json.loads(done.stdout.splitlines()[-1])
    return Predicted(*np.array(answer["rows"], float).T), answer["seconds"]


KYO_CODE = """
import functools, json, os, resource, sys, tempfile
import numpy as np
import pandas as pd
from chinchilla import Chinchilla
from chinchilla._metrics import log_huber
rows = json.load(open(sys.argv[1]))
def spent():
    return sum(t.ru_utime + t.ru_stime for t in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))
with tempfile.TemporaryDirectory() as folder:
    frame = pd.DataFrame({"N": rows["n_params"], "D": rows["n_tokens"], "loss": rows["loss"]})
    frame.insert(0, "C", 6.0 * frame.N * frame.D)
    frame.to_csv(os.path.join(folder, "df.csv"), index=False)
    grid = {"e": np.linspace(-1, 1, 3), "a": np.linspace(0, 20, 3), "b": np.linspace(0, 20, 3),
            "alpha": np.linspace(0.2, 1, 3), "beta": np.linspace(0.2, 1, 3)}
    model = Chinchilla(folder, param_grid=grid, loss_fn=functools.partial(log_huber, delta=1e-3), log_level=50)
    begun = spent()
    model.fit(parallel=True)
    print(json.dumps({"seconds": spent() - begun, "values": model.get_params()}))
"""


def kyo(frame: pl.DataFrame) -> tuple[float, dict[str, float]] | str:
    """PyPI chinchilla (kyo-takano) on the same rows: CPU seconds and parameters, or why there are none."""
    if not PEERS:
        return "not installed (ASTRAIOS_PEERS_PYTHON)"
    with tempfile.TemporaryDirectory() as folder:
        job, code = Path(folder) / "job.json", Path(folder) / "peer.py"
        job.write_text(json.dumps(frame.to_dict(as_series=False)))
        code.write_text(KYO_CODE)
        env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        done = subprocess.run([PEERS, str(code), str(job)], capture_output=True, text=True, env=env, cwd=folder)
    if done.returncode:
        return (done.stderr.strip().splitlines() or ["failed"])[-1][:100]
    answer = json.loads(done.stdout.splitlines()[-1])
    return answer["seconds"], answer["values"]
