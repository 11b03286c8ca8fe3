"""Single runs: which one is meant, all that is known of it, what people say about it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astraios import store
from astraios.errors import UsageError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


def find_run(connection: DuckDBPyConnection, wanted: str) -> tuple[str, str]:
    """The id and the name of the one run that is meant.

    Args:
        connection: an open database.
        wanted: beginning of a run_id, or MODEL:METHOD.

    Raises:
        UsageError: no such run, or several.
    """
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


def curate(
    db: Path,
    wanted: Sequence[str],
    action: str,
    *,
    tag: str | None = None,
    reason: str | None = None,
    author: str | None = None,
) -> list[str]:
    """Tags, excludes or includes runs, all or none.

    Returns:
        Their ids.

    Raises:
        UsageError: one of them is not there or not one run, or a tag or reason is empty.
    """
    if (tag is not None and not tag.strip()) or (action == "exclude" and not (reason or "").strip()):
        raise UsageError("a tag or a reason must say something")
    with store.reading(db) as connection:
        run_ids = list(dict.fromkeys(find_run(connection, one)[0] for one in wanted))
    store.curate(db, run_ids, action, tag=tag, reason=reason, author=author)
    return run_ids


def show(db: Path, wanted: str) -> dict[str, Any]:
    """All that a database knows of a run, with the command that repeats it.

    Raises:
        UsageError: no such run, or several.
    """
    with store.reading(db) as connection:
        run_id, _ = find_run(connection, wanted)

        def rows(sql: str) -> list[dict[str, Any]]:
            return [_plain(row) for row in store.run_query(connection, sql, [run_id]).iter_rows(named=True)]

        run = rows("from run where run_id = ?")[0]
        facts: dict[str, Any] = {"run": run}
        for table, key in (("base_model", "model_id"), ("tuning_method", "method_id"), ("dataset", "dataset_id")):
            facts[table] = _first(rows(f"select t.* from {table} t join run r using ({key}) where r.run_id = ?"))
        facts["sweep"] = _first(rows("select s.* from sweep s join run r using (sweep_id) where r.run_id = ?"))
        facts["attempts"] = rows("from attempt where run_id = ? order by attempt")
        facts["environments"] = rows(
            "select distinct e.* from environment e join attempt a using (environment_id) where a.run_id = ?"
        )
        for name, table, order in (
            ("losses", "loss_summary", "attempt, split"),
            ("evaluations", "evaluation", "task_id, n_shot"),
            ("scores", "score", "task_id, n_shot, metric"),
        ):
            facts[name] = rows(f"select * exclude (run_id) from {table} where run_id = ? order by {order}")
        facts["fits"] = rows("select distinct fit_id, held_out from fit_point where run_id = ? order by all")
        facts["curation"] = rows("select * exclude (run_id) from curation where run_id = ? order by created_at")
        facts["excluded"] = _first(rows("select reason, author, created_at from excluded_run where run_id = ?"))
    facts["repeat"] = _command(run, facts["sweep"])
    return facts


def _command(run: dict[str, Any], sweep: dict[str, Any] | None) -> str:
    """The command that makes the run again, as far as the database knows."""
    if run["origin"] == "published":
        return "astraios import paper"
    if sweep is None or "models" not in (sweep["settings"] or {}):
        return f"astraios import SOURCE  (made by another tool; origin {run['origin']})"
    name = f"again-{run['run_id'][:8]}.toml"
    return f"astraios show {run['run_id']} --sweep {name} && astraios collect {name}"


def sweep_again(facts: Mapping[str, Any]) -> str:
    """A sweep of just this run, as TOML: what `show` gave, made into what `collect` takes.

    Raises:
        UsageError: the run did not come from a sweep.
    """
    run, sweep = facts["run"], facts["sweep"]
    if sweep is None or "models" not in (sweep["settings"] or {}):
        raise UsageError(f"run {run['run_id']} did not come from a sweep: {facts['repeat']}")
    from astraios.collect.plan.paths import placed

    # Paths are relative to where the sweep ran; the file may come to lie elsewhere.
    settings = placed(sweep["settings"], Path.cwd())
    asked = run.get("settings") or {}
    # Of what the sweep gives several values, the run says which are its own.
    recorded, own = dict(settings["data"]), dict(asked.get("data", {}))
    options = own.pop("options", {})
    unsaid = [name for name in settings.pop("axes", {}).get("data", {}) if name not in {**own, **options}]
    if unsaid:
        raise UsageError(f"run {run['run_id']} does not say which of the sweep's [data] {unsaid[0]} it used")
    data = {**recorded, **own, "options": {**recorded["options"], **options}}
    method = {"learning_rate": run["learning_rate"], **(asked.get("settings") or {})}
    settings |= {
        "models": [run["model_id"]],
        "methods": [run["method_id"]],
        "seeds": [run["seed"]],
        "data": {**data, **data.pop("options")},
        "train": {**settings["train"], **asked.get("train", {})},
        "method": {run["method_id"]: method},
    }
    settings["data"].pop("options", None)
    lines = [f"# Run {run['run_id']} of sweep {sweep['sweep_id']}, and nothing else."]
    return "\n".join([*lines, *(f"{key} = {_toml(value)}" for key, value in settings.items() if value is not None), ""])


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(k)} = {_toml(v)}" for k, v in value.items() if v is not None) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def _first(rows: list[dict[str, Any]]) -> dict[str, Any] | None:
    return rows[0] if rows else None


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """JSON columns as what they say, timestamps as text."""
    return {
        key: json.loads(value)
        if key in ("settings", "packages") and isinstance(value, str)
        else value.isoformat(sep=" ")
        if hasattr(value, "isoformat")
        else value
        for key, value in row.items()
    }
