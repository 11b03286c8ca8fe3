"""How a logged run begins: a new one, one that was interrupted, one that is opened again."""

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from astraios.errors import UsageError
from astraios.runs.directory import CELL, ROWS, RunDirectory
from astraios.runs.place import Place
from astraios.runs.rows import RunRows
from astraios.runs.status import in_hand
from astraios.track import process
from astraios.track.facts import Facts, about_run
from astraios.track.run import WAIT_S, Run

OUT = "ASTRAIOS_RUNS"
"""Environment variable that says where runs go where the script does not."""
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,119}")
_RESUME = (None, True, False, "allow", "must", "never", "auto")


def init(
    model: Any = None,
    method: str | None = None,
    dataset: str | None = None,
    n_params: float | None = None,
    *,
    out: str | Path | None = None,
    seed: int | None = None,
    learning_rate: float | None = None,
    n_trainable: float | None = None,
    n_params_nonembedding: float | None = None,
    steps: int | None = None,
    tokens_per_step: float | None = None,
    bytes_per_token: float | None = None,
    revision: str | None = None,
    ladder: str | None = None,
    method_settings: Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | None = None,
    project: str | None = None,
    name: str | None = None,
    tags: Sequence[str] = (),
    group: str | None = None,
    notes: str | None = None,
    job_type: str | None = None,
    id: str | None = None,
    resume: bool | str | None = None,
    mode: str | None = None,
    facts: Facts | None = None,
) -> Run:
    """Begins a run, or goes on with one that was interrupted.

    Args:
        model: base model by its hub id or name; or the model itself, which is asked for its size, its trainable
            parameters and its adapter.
        method: tuning method: lora, fft, ...
        dataset: name of the data, with @ and a version or hash where there is one.
        n_params: parameters of the base model in all.
        out: folder of the run directories, or URL of a folder on object storage; else $ASTRAIOS_RUNS, else runs.
        seed: of initialisation, order of data and dropout.
        learning_rate: its peak.
        n_trainable: parameters that are trained.
        n_params_nonembedding: parameters of the base without embeddings.
        steps: optimizer steps that are planned.
        tokens_per_step: tokens in a global batch; with it `log` needs no `tokens`.
        bytes_per_token: UTF-8 bytes a token in the test set: turns nats into bits a byte.
        revision: of the base model.
        ladder: family of sizes that the base belongs to, where astraios does not know it.
        method_settings: rank, alpha, ... where the model itself is not given.
        config: the rest of the configuration; facts that are not given are looked up in it under their usual names.
        project, name, tags, group, notes, job_type: as other trackers have them; kept with the run.
        id: name of the run and its directory; by default a new one. A run of this id that was not finished goes on.
        resume: True or "allow": go on with `id`, finished or not, or begin it; "must": it has to be there; "never": it
            must not. "auto": go on with the interrupted run of the same facts in `out`, or begin one. An id means
            `id=ID, resume="allow"`.
        mode: "disabled" writes nothing.
        facts: what a hook found out.

    Raises:
        UsageError: a fact that a run needs is missing, or a value makes no sense.
        StoreError: the run can't be written, or is in another process's hands.
    """
    if resume not in _RESUME:
        id, resume = id or str(resume), "allow"
    facts = facts or Facts()
    given = {
        "method": method, "dataset": dataset, "n_params": n_params, "seed": seed, "learning_rate": learning_rate,
        "n_trainable": n_trainable, "n_params_nonembedding": n_params_nonembedding, "steps": steps,
        "tokens_per_step": tokens_per_step, "bytes_per_token": bytes_per_token, "revision": revision, "ladder": ladder,
    }  # fmt: skip
    told = Facts()
    told.add("argument", {**given, "model": model if isinstance(model, str) else None})
    told.settings = dict(method_settings or {})
    told.about = {"config": _plain(config)} if config else {}
    named = {
        "project": project, "name": name, "tags": list(tags), "group": group, "notes": notes, "job_type": job_type
    }  # fmt: skip
    told.about |= {what: value for what, value in named.items() if value}
    if model is not None and not isinstance(model, str):
        from astraios.track.model import model_facts

        told.take(model_facts(model))
    told.take(facts)
    if mode == "disabled" or process.rank() > 0:
        return Run(None, id or "disabled", Facts())
    told.complete()
    return _begun(told, str(out or os.environ.get(OUT) or "runs"), id, resume)


def reopen(run_id: str, out: str | Path | None = None, wait: float = WAIT_S) -> Run:
    """A run that is there, to be scored, gone on with or finished.

    Args:
        run_id: its id.
        out: as for `init`.
        wait: seconds to wait for a process that has it in hand.

    Raises:
        UsageError: there is none of this id, or it is no run of `init`.
        StoreError: it is in another process's hands.
    """
    place = Place(str(out or os.environ.get(OUT) or "runs"), role="work")
    _check_id(run_id)
    place.fetch(run_id, whole=True)
    directory = RunDirectory(place.path / run_id, pause=0)
    rows = directory.rows()
    if rows is None:
        what = "was not begun by astraios.init" if directory.path.is_dir() else "is not there"
        raise UsageError(f"run {run_id} {what} ({place.address})")
    run = Run(place, run_id, Facts.of_rows(rows), known=rows, wait=wait)
    run._timed = False
    return run


def _begun(facts: Facts, out: str, run_id: str | None, resume: bool | str | None) -> Run:
    if run_id is None and resume in ("auto", True):
        run_id = _interrupted(facts, out)
        resume = "allow"
    if run_id is None:
        if resume == "must":
            raise UsageError('astraios.init: resume="must" of which run? id=ID')
        return Run(Place(out, role="work"), f"live-{secrets.token_hex(8)}", facts)
    _check_id(run_id)
    place = Place(out, role="work")
    place.fetch(run_id, whole=True)
    directory = RunDirectory(place.path / run_id)
    known = directory.rows()
    if known is None:
        if (directory.path / CELL).exists():
            raise UsageError(f"run {run_id} in {out} is one of `astraios collect`: choose another id")
        if resume == "must":
            raise UsageError(f'astraios.init: resume="must", but there is no run {run_id} in {out}')
        return Run(place, run_id, facts)
    manifest = directory.manifest()
    if resume in ("never", False) or (resume is None and manifest is not None and manifest["state"] == "done"):
        ended = "is finished" if manifest else "is there"
        raise UsageError(f'run {run_id} {ended} in {out}: resume="allow" to go on with it, or choose another id')
    _check_same(run_id, facts, known)
    facts.take(Facts.of_rows(known))
    return Run(place, run_id, facts, known)


def _interrupted(facts: Facts, out: str) -> str | None:
    """The one run of these facts in `out` that has no end."""
    place = Place(out)
    place.fetch()
    asked, found = _identity(facts.rows("-")), []
    for path in sorted(place.path.glob(f"*/{ROWS}")):
        directory = RunDirectory(path.parent)
        rows = directory.rows()
        waits = directory.manifest() is None and not in_hand(path.parent / "lock")
        if rows is not None and waits and _identity(rows) == asked:
            found.append(path.parent.name)
    if len(found) > 1:
        raise UsageError(f"several interrupted runs of these facts in {out}: {', '.join(found)}: choose with id=")
    return found[0] if found else None


def _identity(rows: RunRows) -> str:
    run, about = rows.run, about_run(rows)
    facts = [run.model_id, run.method_id, run.dataset_id, run.seed, run.n_params, run.learning_rate]
    names = ("settings", "train", "config", "name", "project", "tags", "group")
    return json.dumps([facts, {what: about.get(what) for what in names}], sort_keys=True, default=str)


def _check_same(run_id: str, facts: Facts, known: RunRows) -> None:
    ours = facts.rows(run_id).run
    for name in ("model_id", "method_id", "seed", "n_params"):
        mine, theirs = getattr(ours, name), getattr(known.run, name)
        if None not in (mine, theirs) and mine != theirs:
            raise UsageError(f"run {run_id} has {name} {theirs}, not {mine}: choose another id")


def _check_id(run_id: str) -> None:
    if not _ID.fullmatch(run_id):
        raise UsageError(f"id {run_id!r}: letters, digits and . _ + - are allowed, a letter or digit first")


def _plain(config: Any) -> Any:
    """A configuration as JSON types: mappings, dataclasses and namespaces; what is none is kept as text."""
    import dataclasses

    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        config = dataclasses.asdict(config)
    elif not isinstance(config, Mapping) and hasattr(config, "__dict__"):
        config = vars(config)
    return json.loads(json.dumps(dict(config), default=str))
