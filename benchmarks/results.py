"""The results database against what users have now: writing losses, merging runs, bytes a point, typical reads.

    python benchmarks/results.py                                   # ours, CSV, and no peers
    python benchmarks/results.py --peers ENV/bin/python            # an environment with mlflow, trackio, wandb, tensorboard
    python benchmarks/results.py --runs 100 --peer-runs 5          # a quick look

One million points are 1,000 runs of 1,000 steps. Writers are compared with writers, in points a CPU second of the
process that trains (its children too, once they have ended); a peer writes fewer runs, as a rate needs no more. The merge
of finished runs is our own step and is reported apart. Reads are of ten million points: the million ten times, under
other names. Prints Markdown.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent
OURS = ("astraios", "track", "csv")
"""The writer of `collect`; a run of `astraios.init`; and the least that Python can do."""
PEERS = ("mlflow", "trackio", "wandb", "tensorboard")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--times", type=int, default=10, help="how often the runs stand in the database that is read")
    parser.add_argument("--peers", help="interpreter of an environment that has the peers")
    parser.add_argument("--peer-runs", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3, help="how often the writers are compared, in turn")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        print(json.dumps(PARTS[options.part](options)))
        return
    with tempfile.TemporaryDirectory(prefix="bench-", dir=REPOSITORY.parent) as folder:
        options.folder = Path(folder)
        report(options)


def report(options: argparse.Namespace) -> None:
    """Everything, one process a measurement."""
    load = os.getloadavg()[0]
    print(f"{options.runs:,} runs x {options.steps:,} steps; load {load:.1f} on {os.cpu_count()} cores at the start;")
    print(f"making a file takes {file_seconds(options.folder) * 1e6:.0f} microseconds of CPU\n")
    rates = writers(options)
    part("finish", options)
    merged = part("merge", options)
    reads = part("read", options)
    print("\n| merge and reads | |\n| --- | --- |")
    print(f"| merge of {merged['runs']:,} finished runs, points a second | {merged['rate']:,.0f} (wall) |")
    print(f"| the same, points a CPU second | {merged['cpu_rate']:,.0f} |")
    print(f"| bytes a point in the database | {merged['database']:.1f} |")
    print(f"| bytes a point in Parquet in the run directory | {merged['parquet']:.1f} |")
    print(f"| bytes a point of the live log (not needed once a run is done) | {merged['log']:.1f} |")
    print(f"| points in the database that is read | {reads['points']:,} |")
    for name in ("final_loss", "loss_curve"):
        best, median, cpu = reads[name]
        print(f"| {name}, ms | best {best:.0f}, median {median:.0f}, CPU {cpu:.0f} |")
    print(f"| largest memory of the reading process, MB | {reads['memory']:.0f} |")
    logged = part("logged", options)
    print(
        f"\na call of log with one loss: median {logged['median']:.1f} microseconds, 99 of 100 under {logged['p99']:.1f}"
    )
    print(f"a call with a loss, a rate and two metrics: median {logged['several']:.1f}")
    track, ended = rates.pop("track", None), rates.pop("ended", None)
    if track and ended and "trackio" in rates:
        print(
            f"a run of astraios.init against Trackio: {track / rates['trackio']:.1f} x points a CPU second; with its end, "
            f"Parquet and all, {ended / rates['trackio']:.1f} x"
        )
    if rates:
        best = max(rates, key=lambda tool: rates[tool])
        print(f"\nours against the best tracker ({best}): {merged['writer'] / rates[best]:.1f} x points a CPU second")


def file_seconds(folder: Path) -> float:
    """CPU seconds that making a file takes: where many have just been deleted ext4 takes ten times as long."""
    begin = time.process_time()
    for number in range(200):
        os.close(os.open(folder / f"file{number}", os.O_CREAT | os.O_WRONLY))
    return (time.process_time() - begin) / 200


def writers(options: argparse.Namespace) -> dict[str, float]:
    """Prints the table of writers; rates of the trackers that were there.

    A file system and a processor that others use too give rates that differ by half from minute to minute: all write in
    turn, `--rounds` times, and what is compared is each one's median.
    """
    seen: dict[str, list[dict[str, Any]]] = {tool: [] for tool in (*OURS, *PEERS)}
    failed: dict[str, str] = {}
    for number in range(options.rounds):
        for tool in seen:
            python = sys.executable if tool in OURS else options.peers
            if python is None:
                failed[tool] = "not measured: --peers"
            elif tool not in failed and not (tool == "astraios" and number):
                found = _written(tool, python, options, number)
                if isinstance(found, str):
                    failed[tool] = found
                else:
                    seen[tool].append(found)
    rates: dict[str, float] = {}
    print("| writer | points | points a CPU second | bytes a point | |\n| --- | --- | --- | --- | --- |")
    for tool, rounds in seen.items():
        if tool in failed:
            print(f"| {tool} | | | | {failed[tool]} |")
            continue
        # A run directory's Parquet is made at its end, by `collect` as by a logged run: a step of its own, as the merge.
        # What the others write is not made anew at the end.
        each = [one["points"] / (one["cpu_seconds"] - one["ending"]) for one in rounds]
        rate = statistics.median(each)
        notes = [f"{min(each):,.0f} to {max(each):,.0f}"] if len(each) > 1 else []
        if any(one["ending"] for one in rounds):
            rates["ended"] = statistics.median(one["points"] / one["cpu_seconds"] for one in rounds)
            notes.append(f"{rates['ended']:,.0f} with the end of the run")
        if tool == "astraios":
            (options.folder / "writer").write_text(str(rate))
        elif tool != "csv":
            rates[tool] = rate
        size = rounds[0]["bytes"] / rounds[0]["points"]
        print(f"| {tool} | {rounds[0]['points']:,} | {rate:,.0f} | {size:.1f} | {'; '.join(notes)} |", flush=True)
    return rates


def _written(tool: str, python: str, options: argparse.Namespace, number: int) -> dict[str, Any] | str:
    """What one tool's process measured, or why there is nothing."""
    folder = options.folder / ("runs" if tool == "astraios" else f"{tool}{number}")
    runs = options.runs if tool == "astraios" else min(options.runs, options.peer_runs)
    command = [python, str(HERE / "results_peers.py"), tool, str(runs), str(options.steps), str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)} if tool in OURS else dict(os.environ)
    result = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if result.returncode:
        return f"failed: {result.stderr.strip().splitlines()[-1][:80]}"
    found: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return found


def part(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """One measurement in a process of its own."""
    words = ["--part", name, "--folder", options.folder, "--runs", options.runs, "--steps", options.steps]
    result = subprocess.run(
        [sys.executable, str(HERE / "results.py"), *map(str, words), "--times", str(options.times)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        check=True,
    )
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def finish(options: argparse.Namespace) -> dict[str, Any]:
    """Ends the runs whose losses were written."""
    from astraios.records import BaseModelRow, RunRow, TuningMethodRow
    from astraios.runs.directory import RunDirectory
    from astraios.runs.rows import Ending, RunRows

    for i in range(options.runs):
        run_id = f"run{i}"
        directory = RunDirectory(options.folder / "runs" / run_id)
        model_id, method_id, n_params = f"m{i % 5}", f"t{i % 7}", 10 ** (6 + i % 5)
        about = {"run_id": run_id, "origin": "measured", "model_id": model_id, "method_id": method_id, "seed": i}
        rows = RunRows(
            sweep_json=json.dumps({"name": "bench"}),
            run=RunRow(**about, n_params=n_params, bytes_per_token=2.0),
            base_model=BaseModelRow(model_id=model_id, n_params=n_params),
            tuning_method=TuningMethodRow(method_id=method_id, title="t", kind="other"),
        )
        attempt, started = directory.start("{}")
        ending = Ending(attempt=attempt, state="done", started_at=started, finished_at=started)
        directory.finish(rows, ending, {})
    return {}


def logged(options: argparse.Namespace) -> dict[str, Any]:
    """What a call of log costs the process that trains, in microseconds."""
    import astraios

    found = {}
    one = {"loss": 2.0}
    several = {"loss": 2.0, "learning_rate": 1e-4, "grad_norm": 0.5, "epoch": 0.25}
    for name, values in (("one", one), ("several", several)):
        run = astraios.init(model="bench/a", method="lora", n_params=1e6, out=options.folder / "logged", id=name)
        taken = []
        for step in range(20_000):
            start = time.perf_counter_ns()
            run.log(values, step=step, tokens=1024 * step)
            taken.append(time.perf_counter_ns() - start)
        run.finish()
        found[name] = sorted(taken)
    return {
        "median": statistics.median(found["one"]) / 1e3,
        "p99": found["one"][len(found["one"]) * 99 // 100] / 1e3,
        "several": statistics.median(found["several"]) / 1e3,
    }


def merge(options: argparse.Namespace) -> dict[str, Any]:
    """Finished runs into a new database; libraries are loaded before."""
    for name in ("duckdb", "polars", "pyarrow.dataset", "pyarrow.parquet"):
        import_module(name)
    from astraios import store

    runs, db = options.folder / "runs", options.folder / "a.duckdb"
    points = options.runs * options.steps
    walls, cpus = [], []
    for _ in range(3):
        db.unlink(missing_ok=True)
        wall, cpu = time.perf_counter(), time.process_time()
        assert store.ingest(db, runs).n_new == options.runs
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    assert store.query(db, "select count(*) from loss_point").item() == points
    return {
        "runs": options.runs,
        "rate": points / min(walls),
        "cpu_rate": points / min(cpus),
        "database": db.stat().st_size / points,
        "parquet": sum(f.stat().st_size for f in runs.glob("*/losses.parquet")) / points,
        "log": sum(f.stat().st_size for f in runs.glob("*/losses.jsonl")) / points,
        "writer": float((options.folder / "writer").read_text()),
    }


def read(options: argparse.Namespace) -> dict[str, Any]:
    """Typical reads of the runs ten times over."""
    db = options.folder / "ten.duckdb"
    command = [sys.executable, str(HERE / "results.py"), "--part", "multiply", "--folder", str(options.folder)]
    subprocess.run([*command, "--times", str(options.times)], check=True, capture_output=True)
    from astraios import store

    found: dict[str, Any] = {}
    with store.reading(db) as connection:
        found["points"] = connection.sql("select count(*) from loss_point").fetchall()[0][0]
        sample = "select run_id from run using sample reservoir(50 rows) repeatable (7)"
        names = ", ".join(f"'{row[0]}'" for row in connection.sql(sample).fetchall())
        for name, sql in (
            ("final_loss", "from final_loss"),
            ("loss_curve", f"from loss_curve where run_id in ({names})"),
        ):
            walls, cpus = [], []
            for _ in range(15):
                wall, cpu = time.perf_counter(), time.process_time()
                rows = connection.sql(sql).to_arrow_table()
                walls.append(1e3 * (time.perf_counter() - wall))
                cpus.append(1e3 * (time.process_time() - cpu))
            runs = options.runs * options.times
            assert len(rows) == (runs if name == "final_loss" else min(runs, 50) * options.steps)
            found[name] = (min(walls), statistics.median(walls), min(cpus))
    found["memory"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return found


def multiply(options: argparse.Namespace) -> dict[str, Any]:
    """The database with its runs many times, under other names, in order of arrival."""
    from astraios import store

    db = options.folder / "ten.duckdb"
    shutil.copy(options.folder / "a.duckdb", db)
    with store.writing(db) as connection:
        connection.execute("create temp table given as select run_id from run")
        [(step,)] = connection.execute("select max(load_key) from attempt").fetchall()
        for k in range(1, options.times):
            for table in ("run", "attempt", "loss_summary", "loss_point"):
                key = f", load_key + {k * step} as load_key" if table in ("attempt", "loss_point") else ""
                order = "order by load_key, step" if table == "loss_point" else ""
                connection.execute(
                    f"insert into {table} select * replace (run_id || '-{k}' as run_id{key}) from {table} "
                    f"where run_id in (from given) {order}"
                )
    return {}


PARTS = {"finish": finish, "logged": logged, "merge": merge, "read": read, "multiply": multiply}

if __name__ == "__main__":
    main()
