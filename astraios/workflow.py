"""What a command does from end to end: read, work, write back, hand on. The CLI calls these and prints."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astraios import store
from astraios.errors import DataError, UsageError, did_you_mean

if TYPE_CHECKING:
    import polars as pl

    from astraios.collect.launch import Event, Job
    from astraios.collect.plan import Plan as CellPlan
    from astraios.collect.run import Outcome
    from astraios.collect.sweep import Sweep
    from astraios.fit.design import Plan
    from astraios.fit.reuse import StoredFit
    from astraios.fit.scaling import ScalingAnalysis

LOSS_COLUMNS = {"last": "loss_nats", "min": "min_loss", "mean_last5": "mean_last5_loss"}
"""Column of the view final_loss by definition of the final loss."""


def plan(sweep_name: str, only: Sequence[str]) -> tuple[Sweep, list[CellPlan]]:
    """A sweep and its cells.

    Raises:
        UsageError: no such sweep, or it is malformed.
    """
    from astraios.collect.run import plan as plan_cells
    from astraios.collect.sweep import Sweep

    sweep = Sweep.read(sweep_name)
    return sweep, plan_cells(sweep, list(only))


def collect(
    sweep: Sweep,
    plans: list[CellPlan],
    out: Path,
    db: Path,
    launcher: str,
    start: Callable[[list[Job]], None],
    tell: Callable[[Event], None],
) -> tuple[Outcome, store.IngestReport]:
    """Runs what is left of a sweep; each run goes into the database when it is done.

    Raises:
        StoreError: the database can't be written; what was trained is in the run directories all the same.
    """
    from astraios.collect.run import collect as run_cells

    with _Ingester(db, out) as ingester:

        def told(event: Event) -> None:
            tell(event)
            if event.kind in ("done", "failed"):
                ingester.wake()

        outcome = run_cells(sweep, plans, out, launcher, told, start)
    return outcome, store.ingest(db, out)


class _Ingester:
    """Takes finished runs into the database beside the training, so that no cell waits for it."""

    def __init__(self, db: Path, out: Path) -> None:
        self.db, self.out = db, out
        self.news, self.ended = threading.Event(), False
        self.thread = threading.Thread(target=self._work, daemon=True)
        self.failure: Exception | None = None

    def __enter__(self) -> _Ingester:
        # The first one makes the database, and says at once when that can't be done.
        store.ingest(self.db, self.out)
        self.thread.start()
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.ended = True
        self.news.set()
        self.thread.join()

    def wake(self) -> None:
        self.news.set()

    def _work(self) -> None:
        while not self.ended:
            self.news.wait()
            self.news.clear()
            try:
                store.ingest(self.db, self.out)
            except Exception as error:
                # Nothing is lost: the last ingest of the command meets the same trouble and reports it.
                self.failure = error


def import_results(db: Path, source: str, form: str | None, mapping: Sequence[str], dry_run: bool) -> dict[str, Any]:
    """Takes results of another tool, or a built-in study, into the database.

    Args:
        db: the database.
        source: a path, or the name of a built-in study.
        form: name of the format, or None to guess it.
        mapping: COLUMN=NAME pairs, astraios's name of a column first.
        dry_run: read and count, write nothing.

    Raises:
        UsageError: unknown format or malformed mapping.
        DataError: the source can't be read.
    """
    from astraios.collect.importers import choose

    columns = {}
    for pair in mapping:
        ours, found, theirs = pair.partition("=")
        if not found or not ours or not theirs:
            raise UsageError(f"--map {pair!r}: write COLUMN=NAME, for instance loss=eval/loss")
        columns[ours] = theirs
    importer = choose(source, form)
    imported = importer.read(source, columns)
    rows = {table: len(frame) for table, frame in imported.frames.items()}
    if not dry_run:
        store.import_frames(db, imported.frames)
    return {"format": importer.name, "title": importer.title, "rows": rows, "skipped": dict(imported.skipped)}


@dataclass(frozen=True)
class ScoreRequest:
    """The options of `astraios score`."""

    task: str
    data: Path | None = None
    model: str | None = None
    method: str | None = None
    size: str | None = None
    language_level: int | None = None
    nominal: float | None = None
    n_shot: int | None = None
    extraction: str | None = None
    sarif: Path | None = None
    isolation: str = "auto"
    allow_weak: bool = False


def score(
    db: Path | None, path: Path, request: ScoreRequest, cache: Path | None, progress: Callable[[int, int], None]
) -> tuple[list[dict[str, Any]], str]:
    """Scores generations made elsewhere, and records them where it is known whose they are.

    Args:
        db: the database, or None to record nothing.
        path: the generations.
        request: options.
        cache: file of verdicts.
        progress: told programs judged and in all.

    Returns:
        One object a metric, and what was recorded.

    Raises:
        DataError: the generations or the gold data are not what the task needs.
        UsageError: unknown task or model, or options that don't fit.
    """
    import dataclasses
    import time

    from astraios.collect.score import identify, score_generations

    source = identify(path, request.model, request.method)
    known = source.model_id is not None and source.method_id is not None
    described = (
        _describe_scored(source.model_id, source.method_id, request.size, request.task) if db and known else None
    )
    start = time.perf_counter()
    result = score_generations(
        path,
        request.task,
        request.data,
        language_level=request.language_level,
        nominal=request.nominal,
        n_shot=request.n_shot,
        extraction=request.extraction,
        sarif=request.sarif,
        cache=cache,
        isolation=request.isolation,
        allow_weak=request.allow_weak,
        progress=progress,
    )
    rows = [{**dataclasses.asdict(one), "isolation": result.isolation} for one in result.scores]
    if db is None:
        return rows, "not recorded"
    if described is None:
        return rows, "not recorded: the name does not say whose generations these are; give --model and --method"
    _record_scores(db, path, request, result, described, time.perf_counter() - start)
    run = described["run"][0]
    return rows, f"recorded as run {run['run_id']} ({run['model_id']}, {run['method_id']}) in {db}"


def _describe_scored(
    model_id: str | None, method_id: str | None, size: str | None, task: str
) -> dict[str, list[dict[str, Any]]]:
    """Rows of base_model, tuning_method, task and run for generations made elsewhere."""
    import hashlib

    from astraios.collect.ladders import resolve
    from astraios.collect.methods import METHODS
    from astraios.collect.tasks import TASKS

    ladder, rung = resolve(str(model_id))
    n_params = parse_size(size, {}) if size else rung.n_params
    if n_params is None:
        raise UsageError(f"the size of {model_id} is not known: give it with --size, for instance --size 7B")
    method, chosen = METHODS.get(str(method_id)), TASKS.get(task)
    run_id = hashlib.sha256(f"imported {rung.model_id} {method.name}".encode()).hexdigest()[:16]
    about = {"model_id": rung.model_id, "n_params": int(n_params)}
    return {
        "base_model": [{**about, "ladder": ladder.name, "architecture": rung.config.get("model_type")}],
        "tuning_method": [
            {"method_id": method.name, "title": method.title, "kind": method.kind, "citation": method.citation}
        ],
        "task": [chosen.describe()],
        "run": [{**about, "run_id": run_id, "origin": "imported", "method_id": method.name}],
    }


def _record_scores(
    db: Path, path: Path, request: ScoreRequest, result: Any, described: dict[str, list[dict[str, Any]]], seconds: float
) -> None:
    import dataclasses

    evaluation = {
        "task_id": request.task,
        "n_shot": result.scores[0].n_shot if result.scores else 0,
        "n_items": result.n_items,
        "isolation": result.isolation,
        "wall_seconds": seconds,
        "settings": {**result.settings, "source": path.name},
    }
    rows = {
        "evaluation": evaluation,
        "score": [dataclasses.asdict(one) for one in result.scores],
        "sample_score": [dataclasses.asdict(one) for one in result.samples],
    }
    store.add_evaluation(db, described, described["run"][0], rows)


def compare(db: Path, a: str, b: str, task: str, seed: int) -> tuple[dict[str, Any], str]:
    """Whether two runs differ on the same samples of one task, as numbers and in words.

    Args:
        db: the database.
        a: run id (its beginning will do), or MODEL:METHOD.
        b: likewise.
        task: the task.
        seed: of the bootstrap.

    Raises:
        UsageError: no such run, or more than one.
        DataError: the runs have no sample of that task in common.
    """
    import dataclasses

    from astraios.collect.compare import compare as compare_samples
    from astraios.records import SampleScore

    with store.reading(db) as connection:
        names, samples = [], []
        for wanted in (a, b):
            run_id, name = _find_run(connection, wanted)
            frame = store.run_query(
                connection,
                "select task_id, item_id, sample, value, verdict, n_shot from sample_score "
                "join latest_attempt using (run_id, attempt) where run_id = ? and task_id = ? and n_shot = 0",
                [run_id, task],
            )
            names.append(name)
            samples.append([SampleScore(**row) for row in frame.iter_rows(named=True)])
            if frame.is_empty():
                raise DataError(f"run {name} has no samples of task {task!r} in {db}: score it first")
    found = compare_samples(samples[0], samples[1], seed=seed)
    return {**dataclasses.asdict(found), "differ": found.differ, "runs": names}, found.words(*names)


def _find_run(connection: Any, wanted: str) -> tuple[str, str]:
    frame = store.run_query(
        connection,
        "select run_id, model_id || ' ' || method_id || ' seed ' || coalesce(seed, 0) as name from run "
        "where starts_with(run_id, ?) or model_id || ':' || method_id = ? order by run_id",
        [wanted, wanted],
    )
    if len(frame) != 1:
        what = "no run" if frame.is_empty() else f"{len(frame)} runs"
        raise UsageError(f"{what} {wanted!r}: give the beginning of one run_id, or MODEL:METHOD")
    return str(frame["run_id"][0]), str(frame["name"][0])


@dataclass(frozen=True)
class FitRequest:
    """The options of `astraios fit-scaling`."""

    law: str = "auto"
    split: str = "test"
    definition: str = "last"
    targets: tuple[str, ...] = ()
    holdout: str = "largest"
    level: float = 0.9
    seed: int = 0
    estimator: str = "huber"
    ladder: str | None = None


@dataclass(frozen=True)
class _Selected:
    """What a request takes from a database."""

    losses: pl.DataFrame
    scores: pl.DataFrame
    costs: pl.DataFrame
    sizes: dict[str, int]
    n_params: list[float]
    sql: str

    def targets(self, request: FitRequest) -> list[float]:
        return [parse_size(text, self.sizes) for text in request.targets] or [next_rung(self.n_params)]


def _select(db: Path, request: FitRequest) -> _Selected:
    check_level(request.level)
    if request.definition not in LOSS_COLUMNS:
        raise UsageError(f"--definition {request.definition!r}: {did_you_mean(request.definition, LOSS_COLUMNS)}")
    with store.reading(db) as connection:
        ladder = _choose_ladder(connection, db, request)
        sql = _losses_sql(request, ladder)
        losses = store.run_query(connection, sql)
        scores = store.run_query(connection, _scores_sql(request, ladder))
        costs = store.run_query(connection, _costs_sql(request, ladder))
        models = store.run_query(connection, "select model_id, ladder, n_params from base_model")
    n_params = sorted(losses["n_params"].unique())
    return _Selected(losses, scores, costs, _known_sizes(models, ladder), n_params, sql)


def _settings(request: FitRequest, sql: str) -> dict[str, Any]:
    return {
        "level": request.level,
        "seed": request.seed,
        "estimator": request.estimator,
        "loss_definition": request.definition,
        "split": request.split,
        "data_sql": sql,
    }


def fit_scaling(db: Path, request: FitRequest) -> ScalingAnalysis:
    """Projections, backtests, score predictions and ranking from a database, written back to it.

    Raises:
        StoreError: no database, or it holds no finished runs.
        UsageError: a size, law or split that isn't there.
        FitError: the runs do not determine what was asked.
    """
    from astraios.fit.scaling import analyse

    chosen = _select(db, request)
    analysis = analyse(
        chosen.losses,
        chosen.scores,
        law=request.law,
        targets=chosen.targets(request),
        holdout=_holdout(request.holdout, chosen.n_params, chosen.sizes),
        **_settings(request, chosen.sql),
    )
    store.write_fits(db, analysis.frames())
    return analysis


def backtest(db: Path, request: FitRequest) -> pl.DataFrame:
    """Every size that has enough smaller ones, hidden in turn and predicted by several laws; written to the database.

    Raises:
        FitError: too few sizes.
    """
    from astraios.fit.backtest import backtests, table

    chosen = _select(db, request)
    laws = ("auto", "power_offset", "power") if request.law == "auto" else (request.law,)
    analyses = backtests(
        chosen.losses,
        chosen.scores,
        laws=laws,
        targets=chosen.targets(request),
        **_settings(request, chosen.sql),
    )
    for analysis in analyses:
        store.write_fits(db, analysis.frames())
    return table(analyses)


def reuse(db: Path, fit_id: str, targets: Sequence[str]) -> pl.DataFrame:
    """Projections of a stored fit to other sizes, from its draws alone.

    Raises:
        UsageError: no such fit.
        FitError: the fit holds no draws of a loss.
    """
    stored, sizes = load_fit(fit_id, db), _all_sizes(db)
    if not targets:
        raise UsageError("--reuse needs --target SIZE")
    return stored.predict([parse_size(text, sizes) for text in targets])


def load_fit(fit_id: str, db: str | Path | None = None) -> StoredFit:
    """A fit that was stored, to be used again without its data (`astraios.load_fit`).

    Args:
        fit_id: its id, or the beginning of it.
        db: the database; by default $ASTRAIOS_DB, else astraios.duckdb in the current folder.

    Raises:
        UsageError: no such fit, or several.
        FitError: it is not a fit of losses with draws.
    """
    from astraios.fit.reuse import restore

    path = store.database_path(db)
    with store.reading(path) as connection:
        fits = store.run_query(connection, "select * from fit where starts_with(fit_id, ?)", [fit_id])
        if len(fits) != 1:
            raise UsageError(
                f"{'no' if fits.is_empty() else len(fits)} fit {fit_id!r} in {path}: see `select * from fit`"
            )
        draws = store.run_query(connection, "select * from fit_draw where starts_with(fit_id, ?)", [fit_id])
    return restore(fits.row(0, named=True), draws)


def _all_sizes(db: Path) -> dict[str, int]:
    return _known_sizes(store.query(db, "select model_id, ladder, n_params from base_model"), None)


def design(db: Path, request: FitRequest, budget: float) -> Plan:
    """The next runs to buy within a budget, by certainty a device-hour.

    Args:
        db: the database.
        request: the first target counts.
        budget: device-hours.

    Raises:
        UsageError: the budget is not positive.
        FitError: nothing fits into it, or no run has a measured cost.
    """
    from astraios.fit.cost import cost_model
    from astraios.fit.design import design as choose_runs
    from astraios.fit.scaling import analyse

    if not budget > 0:
        raise UsageError(f"--budget {budget}: must be positive (device-hours)")
    chosen = _select(db, request)
    target = chosen.targets(request)[0]
    analysis = analyse(
        chosen.losses, None, law=request.law, targets=[target], holdout=None, **_settings(request, chosen.sql)
    )
    return choose_runs(analysis.parts[0].ensemble, target, budget, cost_model(chosen.costs))


def fit_file(
    path: Path, request: FitRequest, n: str, loss: str, d: str | None = None, group: str | None = None
) -> ScalingAnalysis:
    """The same from a CSV or Parquet file; nothing is written.

    Args:
        path: the file.
        request: options; sizes are read as numbers.
        n: column of parameters.
        loss: column of losses, nats.
        d: column of tokens, or None.
        group: column that tells series apart, or None for one series.

    Raises:
        DataError: no such file or column.
    """
    import polars as pl

    from astraios.fit.scaling import analyse

    check_level(request.level)
    frame = read_frame(path)
    for name in (n, loss, *(c for c in (d, group) if c)):
        if name not in frame.columns:
            raise DataError(f"{path}: no column {name!r}: {did_you_mean(name, frame.columns)}")
    losses = frame.select(
        method_id=pl.col(group).cast(pl.String) if group else pl.lit("all"),
        run_id=pl.int_range(pl.len()).cast(pl.String),
        seed=pl.lit(0, pl.Int64),
        model_id=pl.col(n).cast(pl.String),
        n_params=pl.col(n),
        n_tokens=pl.col(d) if d else pl.lit(None, pl.Int64),
        loss=pl.col(loss),
    )
    sizes = sorted(losses["n_params"].drop_nulls().unique())
    targets = [parse_size(text, {}) for text in request.targets]
    return analyse(
        losses,
        None,
        law=request.law,
        targets=targets or ([next_rung(sizes)] if sizes else []),
        holdout=_holdout(request.holdout, sizes, {}),
        level=request.level,
        seed=request.seed,
        estimator=request.estimator,
        loss_definition=request.definition,
        split=request.split,
        data_sql=str(path.name),
    )


def read_frame(path: Path) -> pl.DataFrame:
    """A CSV or Parquet file.

    Raises:
        DataError: it isn't there or can't be read; one line.
    """
    import polars as pl

    if not path.is_file():
        raise DataError(f"no file {path}")
    try:
        return pl.read_parquet(path) if path.suffix == ".parquet" else pl.read_csv(path, infer_schema_length=10_000)
    except (pl.exceptions.PolarsError, OSError, ValueError) as error:
        raise DataError(f"{path}: not a readable CSV or Parquet file ({str(error).splitlines()[0]})") from None


@dataclass(frozen=True)
class ReportRequest:
    """The options of `astraios report`."""

    figure: str | None = None
    form: str | None = None
    width: str = "page"
    scheme: str = "light"
    study: str | None = None


def write_report(db: Path, output: Path | None, request: ReportRequest) -> Path:
    """The page of a database as one self-contained file, or a single figure or table of it.

    Raises:
        StoreError: no database, or the file can't be written.
        UsageError: unknown figure or format.
    """
    from astraios.report.export import render_markdown, save_figure
    from astraios.report.page import render_page

    title = f"Scaling report: {db.stem}"
    with store.reading(db) as connection:

        def ask(sql: str) -> pl.DataFrame:
            return store.run_query(connection, sql)

        try:
            if request.figure is not None:
                output = output or Path(f"figure-{request.figure}.{request.form or 'html'}")
                output.parent.mkdir(parents=True, exist_ok=True)
                return save_figure(
                    request.figure,
                    ask,
                    output,
                    request.form,
                    width=request.width,
                    scheme=request.scheme,
                    study=request.study,
                )
            as_markdown = request.form == "markdown" or (request.form is None and str(output or "").endswith(".md"))
            if request.form not in (None, "html", "markdown"):
                raise UsageError(f"--format {request.form}: the whole report is html or markdown; or name a --figure")
            output = output or Path("report.md" if as_markdown else "report.html")
            page = (render_markdown if as_markdown else render_page)(ask, title=title)
            output.parent.mkdir(parents=True, exist_ok=True)
            output.write_text(page, encoding="utf-8")
        except OSError as error:
            raise store.StoreError(
                f"{output}: can't be written ({error.strerror}); choose another file with -o"
            ) from None
    return output


def serve_report(db: Path, host: str, port: int, allow_remote: bool, started: Callable[[str], None]) -> None:
    """The page over HTTP, made anew as runs arrive, until Ctrl-C.

    Raises:
        StoreError: no database, or the port is taken.
        UsageError: a host beyond this machine without `allow_remote`.
    """
    from astraios.report.serve import make_server

    def ask(sql: str) -> pl.DataFrame:
        # Opened for each question, so that a writer never waits for a reader.
        return store.query(db, sql)

    ask("select 1")
    with make_server(
        ask, host=host, port=port, title=f"Scaling report: {db.stem}", allow_remote=allow_remote
    ) as server:
        started(server.url)
        server.serve_forever()


def status(db: Path, out: Path, sweep_name: str | None) -> list[dict[str, Any]]:
    """How the runs stand: those in the folder, and where a sweep is named those that it still lacks."""
    from astraios.collect.spool import RunDirectory

    rows = []
    wanted: dict[str, tuple[str, str, int]] = {}
    if sweep_name:
        from astraios.collect.sweep import Sweep

        wanted = {cell.run_id: (cell.model_id, cell.method_id, cell.seed) for cell in Sweep.read(sweep_name).cells()}
    folders = {path.parent.name: path.parent for path in out.glob("*/cell.json")} if out.is_dir() else {}
    for run_id in [*wanted, *(name for name in sorted(folders) if name not in wanted)]:
        rows.append(_status_row(run_id, RunDirectory(folders[run_id]) if run_id in folders else None, wanted))
    return rows


def _status_row(run_id: str, directory: Any, wanted: dict[str, tuple[str, str, int]]) -> dict[str, Any]:
    import json

    state, reason, step = "waiting", None, None
    if directory is not None:
        attempts, manifest = directory.attempts(), directory.manifest()
        state = manifest["state"] if manifest else "started"
        if attempts and attempts[-1]["state"] == "started":
            state = "started"
        if state == "failed":
            reason = attempts[-1].get("error")
        losses = directory.losses()
        step = max((point.step for point in losses), default=0)
    if run_id in wanted:
        model_id, method_id, seed = wanted[run_id]
    else:
        cell = json.loads((directory.path / "cell.json").read_text(encoding="utf-8"))
        model_id, method_id, seed = cell["model_id"], cell["method_id"], cell["seed"]
    return {
        "run_id": run_id,
        "model_id": model_id,
        "method_id": method_id,
        "seed": seed,
        "state": state,
        "step": step,
        "reason": reason,
    }


_SUFFIXES = {"": 1, "k": 1e3, "m": 1e6, "b": 1e9, "g": 1e9, "t": 1e12}


def parse_size(text: str, sizes: dict[str, int]) -> float:
    """A size such as "16B": looked up among known base models first, then read as a number of parameters.

    Raises:
        UsageError: neither.
    """
    if text.lower() in sizes:
        return float(sizes[text.lower()])
    match = re.fullmatch(r"([0-9]*\.?[0-9]+(?:e[0-9]+)?)\s*([kmbgt]?)", text.strip().replace("_", ""), re.IGNORECASE)
    if not match or float(match[1]) <= 0:
        raise UsageError(f"size {text!r}: write a number of parameters such as 16B, 350M or 1.5e9")
    return float(match[1]) * _SUFFIXES[match[2].lower()]


def next_rung(n_params: Sequence[float]) -> float:
    """The size that a ladder would have next: its mean ratio beyond the largest (twice the largest for one size)."""
    if len(n_params) < 2:
        return 2.0 * n_params[-1]
    ratio = (n_params[-1] / n_params[0]) ** (1 / (len(n_params) - 1))
    return float(f"{n_params[-1] * ratio:.3g}")


def check_level(level: float) -> None:
    """Raises a UsageError unless 0 < level < 1."""
    if not 0 < level < 1:
        raise UsageError(f"--level {level}: must lie between 0 and 1, for instance 0.9")


def _holdout(text: str, n_params: Sequence[float], sizes: dict[str, int]) -> Any:
    if text in ("largest", "none"):
        return None if text == "none" else "largest"
    size = parse_size(text, sizes)
    nearest = min(n_params, key=lambda n: abs(n / size - 1), default=None)
    # "7B" names the rung of 7.3 billion; nothing is nearer than a tenth by accident on a ladder.
    if nearest is None or abs(nearest / size - 1) > 0.1:
        known = ", ".join(f"{int(n):,}" for n in n_params)
        raise UsageError(f"--holdout {text}: there is no run of that size; sizes: {known}")
    return float(nearest)


def _known_sizes(models: pl.DataFrame, ladder: str | None) -> dict[str, int]:
    from astraios.collect.ladders import LADDERS

    known = {rung.name.lower(): rung.n_params for rung in LADDERS.get("starcoderbase").rungs() if rung.n_params}
    own = models.filter(models["ladder"].eq_missing(ladder)) if ladder else models
    for model_id, n_params in own.select("model_id", "n_params").iter_rows():
        known[model_id.lower()] = n_params
        known[model_id.lower().rsplit("/", 1)[-1]] = n_params
    return known


def _choose_ladder(connection: Any, db: Path, request: FitRequest) -> str | None:
    frame = store.run_query(connection, "select ladder, split, count(*) as n from final_loss group by all order by all")
    if frame.is_empty():
        raise store.StoreError(f"{db} holds no finished run with a loss: run `astraios collect` first")
    splits = sorted(set(frame["split"]))
    if request.split not in splits:
        raise UsageError(f"--split {request.split!r}: {did_you_mean(request.split, splits)}")
    ladders = [name for name in frame["ladder"].unique().sort() if name is not None]
    if request.ladder is not None:
        if request.ladder not in ladders:
            raise UsageError(f"--ladder {request.ladder!r}: {did_you_mean(request.ladder, ladders)}")
        return request.ladder
    if len(ladders) > 1:
        raise UsageError(f"{db} holds runs of several ladders: choose with --ladder; {did_you_mean('', ladders)}")
    return ladders[0] if ladders else None


def _losses_sql(request: FitRequest, ladder: str | None) -> str:
    return (
        "select method_id, run_id, seed, model_id, n_params, n_tokens, "
        f"{LOSS_COLUMNS[request.definition]} as loss\nfrom final_loss\nwhere split = {_literal(request.split)}"
        + (f" and ladder = {_literal(ladder)}" if ladder else "")
        + "\norder by method_id, n_params, seed, run_id"
    )


def _scores_sql(request: FitRequest, ladder: str | None) -> str:
    return (
        "select run_id, method_id, n_params, loss_nats as loss, task_id, metric, value, stderr, n, chance, ceiling, "
        f"higher_is_better\nfrom loss_to_score\nwhere split = {_literal(request.split)}"
        + " and is_main_metric and n_shot = 0"
        + (f" and ladder = {_literal(ladder)}" if ladder else "")
        + "\norder by task_id, method_id, n_params, run_id"
    )


def _costs_sql(request: FitRequest, ladder: str | None) -> str:
    return (
        "select method_id, n_params, avg(device_seconds) / 3600 as hours\nfrom cost_frontier\n"
        f"where split = {_literal(request.split)}"
        + (f" and ladder = {_literal(ladder)}" if ladder else "")
        + "\ngroup by all order by all"
    )


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
