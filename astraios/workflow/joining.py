"""Which arriving run is which: one run is one run, whoever logged it and however often it is imported."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astraios import store
from astraios.errors import UsageError

if TYPE_CHECKING:
    import polars as pl

    from astraios.importers import Arrival, Imported

_CHECKPOINT = re.compile(r"^checkpoint-(\d+)$")
_UNSAID = ("unspecified", None)
_COMPARED = ("n_params", "seed", "learning_rate")
"""Facts in which two logs of one run can't differ."""


@dataclass
class Joined:
    """What is to be written, and what was found out."""

    frames: dict[str, pl.DataFrame]
    notes: list[str] = field(default_factory=list)
    """Lines for the user."""
    skipped: dict[str, str] = field(default_factory=dict)
    lacking: list[str] = field(default_factory=list)
    """Labels of runs whose base nobody knows the size of."""
    load: store.Load | None = None
    """What was written, if it changed something."""
    written: bool = False


def join(db: Path, imported: Imported, same_as: str | None) -> Joined:
    """Gives each arriving run the id of the stored run that it is.

    A run is a stored one by the user's word (`same_as`), by its tracker's id, by the folder of the model that was
    evaluated, or because its losses are those of the stored run, to the last digit and as far as both go. What the
    stored run says stays where the arriving one says nothing.

    Args:
        db: the database.
        imported: what was read.
        same_as: run_id of the stored run that the one arriving run is.

    Raises:
        UsageError: `same_as` for several runs.
    """
    import polars as pl

    stored = {row["run_id"]: {**row, "settings": _object(row["settings"])} for row in store.stored_runs(db)}
    rows = {row["run_id"]: row for row in imported.frames["run"].to_dicts()}
    if same_as is not None and len(rows) > 1:
        raise UsageError(f"--same-as: the source holds {len(rows)} runs; import the one that is meant")
    found = Joined(dict(imported.frames))
    alike = _alike(db, imported)
    targets: dict[str, str] = {}
    gone: dict[str, str] = {}
    for arrival in imported.runs:
        row, losses = rows[arrival.run_id], alike.get(arrival.run_id, [])
        target = same_as or _target(arrival, row, stored, losses, imported.adds)
        pair = next((one for one in losses if one["run_id"] == target), None)
        if target is None:
            continue
        if target in targets.values():
            gone[arrival.run_id] = f"the same run as another of the source: {target}"
            continue
        same = stored[target]
        if _conflict(arrival, row, same, target, pair, imported, db, same_as):
            gone[arrival.run_id] = (
                f"another run is there as {target} ({same['settings'].get('name')}) with other losses: name it "
                f"otherwise, or say --same-as {target}"
            )
            continue
        targets[arrival.run_id] = target
        if target != arrival.run_id:
            found.notes.append(f"{arrival.label}: already there as {target}")
        if pair is not None and pair["n_arrived"] < pair["n_stored"]:
            _drop_losses(found, arrival.run_id)
            found.notes.append(f"{arrival.label}: {target} is further along; its losses stay")
        elif pair is not None and same["settings"].get("source") != arrival.tool:
            _drop_losses(found, arrival.run_id)
            found.frames["attempt"] = found.frames["attempt"].filter(pl.col("run_id") != arrival.run_id)
    _write_rows(found, imported, rows, stored, targets, gone)
    if imported.adds and "evaluation" in found.frames:
        _keep_newer(found, db)
    return found


def _keep_newer(found: Joined, db: Path) -> None:
    """Leaves out evaluations that are older than those that are there, and notes which others will be replaced."""
    import polars as pl

    arriving = {(row["run_id"], row["task_id"], row["n_shot"]): row for row in found.frames["evaluation"].to_dicts()}
    older = []
    for row in store.evaluations_of(db, {run for run, _, _ in arriving}):
        key = (row["run_id"], row["task_id"], row["n_shot"])
        if key not in arriving:
            continue
        mine, theirs = _object(arriving[key].get("settings")), _object(row["settings"])
        if mine.get("source") == theirs.get("source") and _time(mine) == _time(theirs):
            continue
        name = f"{row['task_id']}, {row['n_shot']}-shot, of {row['run_id']}"
        if row["origin"] in ("measured", "live") and not theirs.get("source"):
            older.append(key)
            found.notes.append(f"{name}: it was measured here; that stays")
        elif _time(mine) < _time(theirs) and _time(mine):
            older.append(key)
            found.notes.append(f"{name}: {theirs.get('source')} that is there is newer; it stays")
        else:
            found.notes.append(f"{name}: in place of what {theirs.get('source') or 'was there'} said")
    if not older:
        return
    gone = pl.DataFrame(older, schema=["run_id", "task_id", "n_shot"], orient="row")
    for table in ("evaluation", "score", "sample_score"):
        if table in found.frames:
            frame = found.frames[table].join(gone, on=["run_id", "task_id", "n_shot"], how="anti")
            found.frames[table] = frame
    found.frames = {table: frame for table, frame in found.frames.items() if len(frame)}


def _time(settings: Mapping[str, Any]) -> float:
    """When an evaluation was made, in seconds; 0 where nobody says."""
    try:
        time = datetime.fromisoformat(str(settings.get("created")))
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return 0.0


def _alike(db: Path, imported: Imported) -> dict[str, list[dict[str, Any]]]:
    """Stored runs with the losses of each arriving run."""
    if "loss_point" not in imported.frames:
        return {}
    arriving = imported.frames["loss_point"].select("run_id", "split", "step", "loss_nats").rename({"run_id": "key"})
    found: dict[str, list[dict[str, Any]]] = {}
    for pair in store.alike(db, arriving):
        found.setdefault(pair["key"], []).append(pair)
    return found


def _target(
    arrival: Arrival, row: Mapping[str, Any], stored: Mapping[str, Any], losses: Sequence[Mapping[str, Any]], adds: bool
) -> str | None:
    """The stored run that an arriving one is, or None."""
    if arrival.run_id in stored:
        return arrival.run_id
    for key, run in stored.items():
        if arrival.run_id in (run["settings"].get("also") or ()):
            return key
        ids = run["settings"].get("ids")
        for tracker, known in (ids if isinstance(ids, Mapping) else {}).items():
            if arrival.ids.get(tracker, {}).get("run") and arrival.ids[tracker]["run"] == known.get("run"):
                return key
    if adds:
        return next((one for one in arrival.joins if one in stored), None) or _evaluated(arrival, row, stored)
    fitting = [pair for pair in losses if _is_one(arrival, row, stored[pair["run_id"]], pair)]
    fitting.sort(key=lambda pair: (-pair["common"], pair["run_id"]))
    return fitting[0]["run_id"] if fitting else None


def _is_one(arrival: Arrival, row: Mapping[str, Any], run: Mapping[str, Any], pair: Mapping[str, Any]) -> bool:
    """Whether equal losses make two logs one run: nothing else may speak against it, and chance must not make them."""
    from astraios.importers._runs import place_key

    told, kept = _object(row["settings"]), run["settings"]
    at_home = bool(arrival.place) and kept.get("place") == place_key(arrival.place)
    if at_home:
        return True
    said = _by_user(told) | _by_user(kept)  # a correction makes no other run
    methods = {row["method_id"], run["method_id"]} - {*_UNSAID}
    if len(methods) > 1 and "method_id" not in said:
        return False
    for name in _COMPARED:
        both = row[name] is not None and run[name] is not None and name not in said
        if both and row[name] != run[name] and not _assumed(name, row, run):
            return False
    for part in ("arguments", "adapter"):
        one, other = told.get(part), kept.get(part)
        if not _agrees(_decisive(one), _decisive(other)):
            return False
    if arrival.tool == "table" and kept.get("source") == "table" and told.get("table") != kept.get("table"):
        return False
    if arrival.tool == kept.get("source") == "table":
        return _agrees(told.get("columns"), kept.get("columns"))
    return bool(pair["finite"] >= 2 or (pair["common"] == pair["n_arrived"] == pair["n_stored"] and pair["finite"]))


def _assumed(name: str, row: Mapping[str, Any], run: Mapping[str, Any]) -> bool:
    """Whether a fact is only a bound in one of the logs: the highest rate that was logged, a count with an adapter."""
    told = [(_object(one["settings"]).get("facts_from") or {}).get(name, "") for one in (row, run)]
    return any("highest" in source or "include" in source for source in told)


_LOADING = ("inference_mode", "auto_mapping", "base_model_name_or_path", "revision", "peft_version", "task_type",
            "runtime_config", "megatron_core")  # fmt: skip
"""Settings of an adapter that say how it is loaded, not how it was trained."""


def _decisive(settings: Any) -> Any:
    """Settings without those of loading, lists in one order."""
    if not isinstance(settings, Mapping):
        return settings
    return {
        name: sorted(map(str, value)) if isinstance(value, list) else value
        for name, value in settings.items()
        if name not in _LOADING
    }


def _agrees(one: Any, other: Any) -> bool:
    """Whether two sets of settings agree in what both have."""
    if not isinstance(one, Mapping) or not isinstance(other, Mapping):
        return True
    return all(one[name] == other[name] for name in one.keys() & other.keys())


def _evaluated(arrival: Arrival, row: Mapping[str, Any], stored: Mapping[str, Any]) -> str | None:
    """The run whose model was evaluated: that of its folder, else the only one whose name ends as the model's does."""
    from astraios.importers._runs import place_key

    places: dict[str, str] = {}
    for name in ([arrival.place] if arrival.place else []) + [one for one in arrival.joins if one.startswith("/")]:
        places |= {place_key(one): one for one in (name, _home(name))}
    at_home = [key for key, run in stored.items() if run["settings"].get("place") in places]
    if len(at_home) == 1:
        return at_home[0]
    plain = row["method_id"] == "none"
    scores = []
    for name in arrival.joins:
        parts = len([part for part in _home(name).split("/") if part not in ("", ".")])
        for key, run in stored.items():
            shared = _shared_end(_home(name), str(run["settings"].get("name") or ""))
            fits = row["method_id"] in _UNSAID or row["method_id"] == run["method_id"] or (
                # A whole model, by its path: two parts of it, for `base` may be anybody's.
                plain and run["method_id"] in ("fft", *_UNSAID) and shared >= min(2, parts)
            )  # fmt: skip
            if run["origin"] == "imported" and fits and run["settings"].get("source") not in _HARNESSES:
                scores.append((shared, key))
    best = max((score for score, _ in scores), default=0)
    keys = {key for score, key in scores if score == best}
    return keys.pop() if best > 0 and len(keys) == 1 else None


_HARNESSES = ("lm-eval", "inspect", "bigcode", "evalplus", "helm", "every-eval-ever")


def _home(name: str) -> str:
    """An output folder by the name of one of its checkpoints."""
    path = Path(name)
    return str(path.parent) if _CHECKPOINT.match(path.name) else name


def _shared_end(one: str, other: str) -> int:
    """How many last parts two paths have in common."""
    parts = [[part for part in text.split("/") if part not in ("", ".")] for text in (one, other)]
    count = 0
    while count < min(map(len, parts)) and parts[0][-1 - count] == parts[1][-1 - count]:
        count += 1
    return count


def _conflict(
    arrival: Arrival, row: Mapping[str, Any], same: Mapping[str, Any], target: str, pair: Any, imported: Imported,
    db: Path, same_as: str | None,
) -> bool:  # fmt: skip
    """Whether a run has a stored one's id, but other losses, and is not a tracker's own with what it logged since."""
    if pair is not None or same_as is not None or imported.adds or "loss_point" not in imported.frames:
        return False
    if arrival.ids or not arrival.named:
        return False
    from astraios.importers._runs import place_key

    settings = same["settings"]
    if settings.get("place") == place_key(arrival.place) or settings.get("table") == _object(row["settings"]).get(
        "table"
    ):
        return False
    import polars as pl

    mine = imported.frames["loss_point"].filter(pl.col("run_id") == arrival.run_id)
    if mine.is_empty():
        return False
    splits = store.query(db, "select distinct split from loss_point where run_id = ?", [target])["split"].to_list()
    return bool(set(mine["split"].to_list()) & set(splits))


def _drop_losses(found: Joined, run_id: str) -> None:
    import polars as pl

    if "loss_point" in found.frames:
        found.frames["loss_point"] = found.frames["loss_point"].filter(pl.col("run_id") != run_id)


def _write_rows(
    found: Joined, imported: Imported, rows: Mapping[str, dict[str, Any]], stored: Mapping[str, Any],
    targets: Mapping[str, str], gone: Mapping[str, str],
) -> None:  # fmt: skip
    """Puts the ids and the merged rows into the frames; runs that can't be stored are left out."""
    import polars as pl

    labels = {arrival.run_id: arrival for arrival in imported.runs}
    kept: dict[str, dict[str, Any]] = {}
    for key, reason in gone.items():
        found.skipped[labels[key].label] = reason
    for key, row in rows.items():
        if key in gone:
            continue
        target = targets.get(key, key)
        merged = _merged(row, stored[target], labels[key], target, imported.adds) if key in targets else row
        if merged["n_params"] is None:
            found.lacking.append(labels[key].label)
            continue
        kept[target] = {**merged, "run_id": target}
    ids = {key: targets.get(key, key) for key in rows if targets.get(key, key) in kept and key not in gone}
    for table, frame in list(found.frames.items()):
        if table == "run":
            texts = [{**row, "settings": _text(row["settings"])} for row in kept.values()]
            frame = pl.DataFrame(texts, infer_schema_length=None) if texts else frame.clear()
        elif "run_id" in frame.columns:
            frame = frame.filter(pl.col("run_id").is_in(list(ids))).with_columns(pl.col("run_id").replace(ids))
        elif table in ("base_model", "tuning_method", "dataset"):
            key = {"base_model": "model_id", "tuning_method": "method_id", "dataset": "dataset_id"}[table]
            frame = frame.filter(pl.col(key).is_in([row[key] for row in kept.values() if row[key] is not None]))
        found.frames[table] = frame
    found.frames = {table: frame for table, frame in found.frames.items() if len(frame)}


def _merged(
    row: Mapping[str, Any], same: Mapping[str, Any], arrival: Arrival, target: str, adds: bool
) -> dict[str, Any]:
    """The row of a run that is there and arrives again.

    What the user said counts first. Imported again by the same tool, what arrives counts, and what is silent stays; of
    another tool's, what is there counts, and what is silent is filled. What `astraios` measured stays as it is, and so
    does a run that evaluations join, but for what the user says.
    """
    kept = {name: same[name] for name in row}
    kept["created_at"] = same["created_at"].isoformat() if same["created_at"] is not None else None
    if same["origin"] != "imported":
        return {**kept, "settings": _also(same["settings"], arrival, target)}
    told, before = _by_user(row["settings"]), _by_user(same["settings"])
    if adds:
        corrected = {name: row[name] for name in told if name in row}
        settings = _from_user(same["settings"], told)
        return {**kept, **corrected, "settings": _also(settings, arrival, target)}
    own = same["settings"].get("source") == arrival.tool
    first, second = (row, kept) if own else (kept, row)
    merged = {name: first[name] if first[name] is not None else second[name] for name in row}
    for name, empty in (("method_id", "unspecified"), ("model_id", "unnamed/")):
        if str(first[name]).startswith(empty) and not str(second[name]).startswith(empty):
            merged[name] = second[name]
    merged |= {name: kept[name] for name in before if name in kept} | {name: row[name] for name in told if name in row}
    settings = _from_user({**_object(second["settings"]), **_object(first["settings"])}, before | told)
    return {**merged, "origin": same["origin"], "settings": _also(settings, arrival, target)}


_USER = "the user"


def _by_user(settings: Any) -> set[str]:
    """Facts that the user has said (--set, --facts), in this import or an earlier one: nothing goes before them."""
    told = _object(settings).get("facts_from")
    return {name for name, source in told.items() if source == _USER} if isinstance(told, Mapping) else set()


def _from_user(settings: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {**settings, "facts_from": {**(settings.get("facts_from") or {}), **dict.fromkeys(names, _USER)}}


def _also(settings: Mapping[str, Any], arrival: Arrival, target: str) -> dict[str, Any]:
    """Settings that tell under which other ids the run was imported."""
    also = list(settings.get("also") or ())
    if arrival.run_id != target and arrival.run_id not in also and not arrival.joins:
        also.append(arrival.run_id)
    ids = {**(settings.get("ids") or {}), **arrival.ids} if arrival.ids else settings.get("ids")
    extra = {"also": also} if also else {}
    return {**settings, **({"ids": ids} if ids else {}), **extra}


def _object(value: Any) -> dict[str, Any]:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return {}
    return dict(value) if isinstance(value, Mapping) else {}


def _text(value: Any) -> str:
    return json.dumps(_object(value), sort_keys=True)


def unfinished(arrivals: Sequence[Arrival]) -> Iterable[str]:
    """A line about runs that have no end: their last loss may be none of a finished training."""
    open_ones = [arrival for arrival in arrivals if arrival.unfinished]
    if open_ones:
        some = ", ".join(f"{one.label} ({one.unfinished})" for one in open_ones[:3])
        more = f" and {len(open_ones) - 3:,} more" if len(open_ones) > 3 else ""
        yield (
            f"not finished: {some}{more}; the last loss counts as the run's: `astraios exclude RUN --reason WHY` "
            "leaves a run out"
        )


def unspecified(frames: Mapping[str, pl.DataFrame], labels: Mapping[str, str]) -> Iterable[str]:
    """Lines about runs whose method nobody says: they would be one group, whatever they are."""
    if "run" not in frames:
        return
    rows = [row for row in frames["run"].to_dicts() if row["method_id"] == "unspecified"]
    if rows:
        some = ", ".join(labels.get(row["run_id"], row["run_id"]) for row in rows[:3])
        more = f" and {len(rows) - 3} more" if len(rows) > 3 else ""
        yield (
            f"method not said, so `unspecified`: {some}{more}; LoRA and full tuning under one name are one curve: "
            "--set method_id=NAME, or --facts FILE"
        )
    groups = _two_groups(frames, [row["run_id"] for row in rows])
    if groups:
        yield groups


def _two_groups(frames: Mapping[str, pl.DataFrame], run_ids: Sequence[str]) -> str | None:
    """A line where the last losses of one size, under one name, fall into two groups far apart."""
    import polars as pl

    if "loss_point" not in frames or len(run_ids) < 4:
        return None
    last = (
        frames["loss_point"].filter(pl.col("run_id").is_in(run_ids) & (pl.col("split") == "test"))
        .sort("step").group_by("run_id").last().join(frames["run"].select("run_id", "n_params"), on="run_id")
    )  # fmt: skip
    for (size,), part in last.partition_by("n_params", as_dict=True).items():
        losses = sorted(value for value in part["loss_nats"].to_list() if value - value == 0)
        gaps = [(high - low, place) for place, (low, high) in enumerate(pairwise(losses))]
        if len(losses) < 4 or not gaps:
            continue
        gap, place = max(gaps)
        inner = max(losses[place] - losses[0], losses[-1] - losses[place + 1])
        if 1 <= place <= len(losses) - 3 and gap > 3 * inner and gap > 0.01:
            return (
                f"{size:,} parameters, method unspecified: losses fall into two groups ({losses[place]:.4g} and below, "
                f"{losses[place + 1]:.4g} and above): two methods or data sets under one name?"
            )
    return None
