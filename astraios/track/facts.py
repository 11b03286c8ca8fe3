"""From what is known of a run to the rows that its directory holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from astraios.errors import UsageError
from astraios.records import BaseModelRow, DatasetRow, RunRow, values
from astraios.runs.rows import RunRows

ORIGIN = "live"
COLUMNS = ("seed", "n_params", "n_params_nonembedding", "n_trainable", "n_tokens", "steps", "tokens_per_step",
           "train_flops", "learning_rate", "bytes_per_token")  # fmt: skip
"""Numbers of the table run."""
COUNTS = COLUMNS[:7]


@dataclass
class Facts:
    """What is known of a run, and who said so."""

    values: dict[str, Any] = field(default_factory=dict)
    """model, revision, architecture, ladder, method, dataset, eval_hash and `COLUMNS`."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Settings of the tuning method: rank, alpha, ..."""
    train: dict[str, Any] = field(default_factory=dict)
    """The recipe: batch size, schedule, precision, ..."""
    about: dict[str, Any] = field(default_factory=dict)
    """All else: names, tags, the user's own configuration."""
    sources: dict[str, str] = field(default_factory=dict)
    """Who said it, by fact."""

    def add(self, source: str, values: Mapping[str, Any]) -> None:
        """Takes facts that nobody has told before.

        Args:
            source: who says so.
            values: as in `values`; None where it is not known.
        """
        for name, value in values.items():
            if value is not None and self.values.get(name) is None:
                self.values[name], self.sources[name] = value, source

    def estimate(self, name: str, value: Any) -> None:
        """Takes a number that is worked out from others, in place of an earlier estimate; what somebody said stays."""
        if value is not None and self.sources.get(name, "estimated") == "estimated":
            self.values[name], self.sources[name] = value, "estimated"

    def take(self, others: Facts) -> None:
        """Takes what others say where nothing is known."""
        for name, value in others.values.items():
            self.add(others.sources.get(name, "hook"), {name: value})
        self.settings = {**others.settings, **self.settings}
        self.train = {**others.train, **self.train}
        self.about = {**others.about, **self.about}

    def complete(self) -> None:
        """Adds what the configuration says, and what a named ladder knows of the model.

        Raises:
            UsageError: the model or its size is not known, or a number is none.
        """
        from astraios.importers._config import config_facts
        from astraios.importers._models import completed

        config = self.about.get("config")
        told = dict(config_facts(config).facts) if config else {}
        self.add("config", {"model": told.pop("model_id", None), "method": told.pop("method_id", None)})
        self.add("config", {"dataset": told.pop("dataset_id", None), **_only(told, COLUMNS)})
        known = completed({"model_id": self.values.get("model"), "n_params": self.values.get("n_params")})
        if known.get("ladder"):
            self.values["model"] = known["model_id"]
            self.add("ladder", {"n_params": known["n_params"], "ladder": known["ladder"]})
        for name in COLUMNS:
            if name in self.values:
                self.values[name] = _number(name, self.values[name])
        if not self.values.get("n_params"):
            raise UsageError(
                "astraios.init: how many parameters has the model? n_params=1.7e9, or model= the model itself"
            )
        if not self.values.get("model"):
            raise UsageError('astraios.init: which base model is it? model="Qwen/Qwen3-1.7B", or the model itself')

    @classmethod
    def of_rows(cls, rows: RunRows) -> Facts:
        """The facts behind rows that were written."""
        run, about = rows.run, dict(about_run(rows))
        facts = cls(settings=about.pop("settings"), train=about.pop("train"), sources=about.pop("sources"))
        facts.about = {name: value for name, value in about.items() if name not in ("source", "ids", "code")}
        told = {**values(rows.base_model), **{name: getattr(run, name) for name in COLUMNS}}
        told |= {"model": run.model_id, "method": run.method_id, "dataset": run.dataset_id}
        told |= {"steps": about.get("planned_steps") or run.steps}
        if rows.dataset:
            told["eval_hash"] = rows.dataset.eval_hash
        kept = ("model_id", "settings")
        facts.values = {name: value for name, value in told.items() if value is not None and name not in kept}
        return facts

    def rows(self, run_id: str) -> RunRows:
        """Rows as a manifest has them, without what a process or an evaluation adds."""
        from astraios.importers._models import UNSPECIFIED, method_row
        from astraios.importers._private import clean

        told = self.values
        model, method = clean(str(told["model"])), clean(method_id(told.get("method")) or UNSPECIFIED)
        numbers: dict[str, Any] = {name: told.get(name) for name in COLUMNS}
        told_us = clean({**self.about, "settings": self.settings, "train": self.train})
        settings = {"source": "astraios.track", **told_us, "sources": dict(self.sources)}
        data = _dataset(clean(str(told["dataset"])), told.get("eval_hash")) if told.get("dataset") else None
        return RunRows(
            run=RunRow(
                run_id=run_id, origin=ORIGIN, model_id=model, method_id=method,
                dataset_id=data.dataset_id if data else None, settings=settings, **numbers,
            ),
            base_model=BaseModelRow(
                model_id=model, ladder=told.get("ladder"), revision=told.get("revision"),
                architecture=told.get("architecture"), n_params=numbers["n_params"],
                n_params_nonembedding=numbers["n_params_nonembedding"],
            ),
            tuning_method=method_row(method),
            dataset=data,
        )  # fmt: skip


def about_run(rows: RunRows) -> dict[str, Any]:
    """All that is known of a logged run beside its columns: settings, train, sources, and what the user named."""
    assert isinstance(rows.run.settings, dict)
    return rows.run.settings


def _dataset(dataset_id: str, eval_hash: str | None) -> DatasetRow:
    name, _, mark = dataset_id.partition("@")
    return DatasetRow(dataset_id=dataset_id, name=name, hash=mark or "not known", eval_hash=eval_hash)


def method_id(name: Any) -> str | None:
    """Our identifier of a tuning method, however its letters are cased; a name that we don't know is kept as it is."""
    from astraios.models.methods import METHODS

    if not name:
        return None
    text = str(name)
    return text.lower() if text.lower() in METHODS else text


def _only(values: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: values[name] for name in names if name in values}


def _number(name: str, value: Any) -> int | float:
    try:
        number = float(value)
        if isinstance(value, bool) or number != number or number < 0 or (name in COUNTS and number != int(number)):
            raise ValueError
    except (TypeError, ValueError, OverflowError):
        kind = "a whole number" if name in COUNTS else "a number"
        raise UsageError(f"astraios.init: {name} should be {kind}, not {value!r:.60}") from None
    return int(number) if name in COUNTS else number
