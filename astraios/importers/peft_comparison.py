"""peft's method comparison: one JSON file a run (github.com/huggingface/peft, method_comparison), or a folder of them.

`train loss` is the mean over the steps since the last evaluation and becomes the split "batch"; the comparison logs no
loss on held-out data. `test accuracy` becomes the score of the suite's test set, `valid accuracy` is skipped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from astraios.errors import DataError
from astraios.importers import Imported, Importer, Wanted
from astraios.importers._files import head, number, read_object, walk
from astraios.importers._models import peft_method
from astraios.importers._runs import Found, Skipped, imported, points, step_number, task_row
from astraios.records import EvaluationRow, Score, TaskRow

_TRAIN_LOSS, _TOKENS, _TEST = "train loss", "train total tokens", "test "
_GSM8K = 1319
"""Problems of GSM8K's test split."""
_MEASURED = ("step", _TRAIN_LOSS, "train samples", _TOKENS, "train time", "eval time", "tokens / sec",
             "mem allocated avg", "mem reserved avg", "elapsed time")  # fmt: skip


@dataclass(frozen=True)
class PeftComparison(Importer):
    """A result, or a folder with results."""

    def matches(self, source: str) -> bool:
        path = Path(source)
        return bool(_results(path)) if path.is_dir() else _looks_right(path)

    def read(self, source: str, wanted: Wanted) -> Imported:
        path, skipped = Path(source), Skipped(wanted.strict)
        found: list[Found] = []
        tasks: dict[str, TaskRow] = {}
        for file in _results(path) if path.is_dir() else [path]:
            with skipped.item(file):
                content = _content(file)
                if content["train_info"].get("status") != "success":
                    skipped.add(file.name, f"the run ended with status {content['train_info'].get('status')}")
                    continue
                run = _found(file, content, skipped)
                tasks |= {row.task_id: task_row(row.task_id, "accuracy") for row in run.evaluations}
                found.append(run)
        return imported(self.name, found, wanted, skipped, tasks)


peft_comparison = PeftComparison(name="peft-comparison", title="peft's method comparison", priority=4)


def _results(folder: Path) -> list[Path]:
    return [path for path in walk(folder, "*.json") if _looks_right(path)]


def _looks_right(path: Path) -> bool:
    start = head(path, 8192)
    return path.suffix == ".json" and b'"run_info"' in start[:200] and b'"experiment_name"' in start


def _content(path: Path) -> dict[str, Any]:
    content = read_object(path)
    for name in ("run_info", "train_info"):
        if not isinstance(content.get(name), Mapping):
            raise DataError(f"{path}: not a result of peft's method comparison (no {name})")
    if not isinstance(content["run_info"].get("train_config"), Mapping):
        raise DataError(f"{path}: run_info: no train_config")
    if not isinstance(content["train_info"].get("metrics"), list):
        raise DataError(f"{path}: train_info: no metrics")
    return content


def _found(path: Path, content: Mapping[str, Any], skipped: Skipped) -> Found:
    about, trained, meta = content["run_info"], content["train_info"], content.get("meta_info") or {}
    config, adapter = about["train_config"], about.get("peft_config")
    trainable, total = trained.get("num_trainable_params"), trained.get("num_total_params")
    if not isinstance(trainable, int) or not isinstance(total, int):
        raise DataError(f"{path}: train_info: num_trainable_params and num_total_params should be whole numbers")
    created = str(about.get("created_at") or "")
    run = Found(
        label=str(about.get("experiment_name") or path.stem),
        identity=[about.get("experiment_name"), created],
        facts={
            "model_id": config.get("model_id"), "method_id": peft_method(adapter) if adapter else "fft",
            "revision": (meta.get("model_info") or {}).get("sha"), "seed": config.get("seed"),
            # The total counts what the method adds; in full fine-tuning it adds nothing.
            "n_params": total if trainable == total else total - trainable, "n_trainable": trainable,
            "dataset_id": _dataset(meta, path), "steps": config.get("max_steps"),
            "learning_rate": (config.get("optimizer_kwargs") or {}).get("lr"), "created_at": _utc(created),
        },
        settings={
            "experiment": about.get("experiment_name"), "train_config": config, "peft_config": adapter,
            "packages": meta.get("package_info"),
        },
        attempt={
            "wall_seconds": about.get("total_time"), "device_seconds": trained.get("train_time"),
            "peak_memory_bytes": trained.get("accelerator_memory_max"), "checkpoint_bytes": trained.get("file_size"),
            "started_at": _utc(created),
        },
    )  # fmt: skip
    _add_metrics(run, path, trained["metrics"], skipped)
    return run


def _dataset(meta: Mapping[str, Any], path: Path) -> str | None:
    """Training data of the suite, with the revision."""
    about = meta.get("dataset_info") or {}
    name = next((name for name in about if name != "gsm8k"), None)
    if name is None:
        return None
    sha = (about[name] or {}).get("sha")
    return f"{name}@{sha[:12]}" if sha else name


def _utc(text: str) -> str | None:
    from datetime import UTC, datetime

    try:
        return datetime.fromisoformat(text).astimezone(UTC).replace(tzinfo=None).isoformat()
    except ValueError:
        return None


def _add_metrics(run: Found, path: Path, metrics: list[Any], skipped: Skipped) -> None:
    rows: list[tuple[str, int, int | None, float]] = []
    others: Counter[str] = Counter()
    for place, entry in enumerate(metrics):
        where = f"{path}: train_info.metrics[{place}]"
        if not isinstance(entry, Mapping) or "step" not in entry:
            raise DataError(f"{where}: an object with a step was expected")
        step = step_number(entry["step"], where)
        tokens = entry.get(_TOKENS)
        if _TRAIN_LOSS in entry:
            loss = number(entry[_TRAIN_LOSS], where, _TRAIN_LOSS)
            if rows and rows[-1][1] == step and rows[-1][3] == loss:
                rows.pop()  # the entry of the test repeats the last loss, and says how many tokens there were
            rows.append(("batch", step, tokens, loss))
        for name, value in entry.items():
            if name.startswith(_TEST):
                _add_score(run, name.removeprefix(_TEST), number(value, where, name))
            elif name not in _MEASURED:
                others[name] += 1
    for name, count in others.items():
        skipped.add(f"metric {name!r}", f"{count} values of {run.label} and the like: measured while training")
    run.losses = points(rows)


def _add_score(run: Found, metric: str, value: float) -> None:
    """The score of the test set; the only suite of text so far is tested on GSM8K."""
    task = "gsm8k"
    if not run.evaluations:
        run.evaluations.append(EvaluationRow(task_id=task, n_shot=0, n_items=_GSM8K))
    certain = {}
    if metric == "accuracy" and abs(value * _GSM8K - round(value * _GSM8K)) < 1e-6:
        certain = {"stderr": (value * (1 - value) / _GSM8K) ** 0.5, "n": _GSM8K}
    run.scores.append(Score.told(task, metric, value, **certain))
