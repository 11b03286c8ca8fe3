"""Lightning's CSVLogger: a folder version_N with metrics.csv and the hparams.yaml beside it, or a folder of them.

`val_loss` and the like are the test split, `train_loss_step` (else `train_loss`) that of the training steps; what
Lightning's monitor says of the learning rate is a series, whose highest value is the run's.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from astraios.errors import DataError
from astraios.importers import Imported, Importer, Wanted
from astraios.importers._config import config_facts, plain_values
from astraios.importers._curves import Series, fill, mapped_config
from astraios.importers._files import flat_yaml, head, plain_file, walk
from astraios.importers._runs import Found, Skipped, imported
from astraios.importers._table import Table, read_table
from astraios.records import TaskRow

METRICS, HPARAMS = "metrics.csv", "hparams.yaml"
_BESIDE = ("step", "epoch")


@dataclass(frozen=True)
class Lightning(Importer):
    """A version's folder, or a folder with some below it."""

    def matches(self, source: str) -> bool:
        path = Path(source)
        return bool(_logs(path)) if path.is_dir() else _looks_right(path) and plain_file(path.parent / HPARAMS)

    def read(self, source: str, wanted: Wanted) -> Imported:
        path, skipped = Path(source), Skipped(wanted.strict)
        found: list[Found] = []
        tasks: dict[str, TaskRow] = {}
        for file in _logs(path) if path.is_dir() else [path]:
            with skipped.item(file):
                run, series = _read(file, path, wanted)
                tasks |= fill(run, series, wanted, skipped)
                if run.losses is not None and not len(run.losses) and not run.scores:
                    skipped.add(run.label, "it logged no loss and no score")
                    continue
                found.append(run)
        return imported(self.name, found, wanted, skipped, tasks)


lightning = Lightning(name="lightning", title="Lightning CSV logs", priority=0, maps=True)


def _logs(folder: Path) -> list[Path]:
    return [path for path in walk(folder, METRICS) if _looks_right(path)]


def _looks_right(path: Path) -> bool:
    names = head(path, 4096).partition(b"\n")[0].strip().split(b",")
    return path.name == METRICS and b"step" in names and b"epoch" in names


def _read(file: Path, source: Path, wanted: Wanted) -> tuple[Found, list[Series]]:
    table = read_table(file)
    over = wanted.columns.get("step", "step")
    steps = table.whole(over).to_list()
    series, rates = [], []
    for name in table.frame.columns:
        if name in (*_BESIDE, over):
            continue
        one = _column(table, name, steps)
        if one is None:
            continue
        if name.startswith("lr-") or name in ("lr", "learning_rate"):
            rates += [value for value in one.values if value is not None]
        else:
            series.append(one)
    config = plain_values(flat_yaml(file.parent / HPARAMS)) if plain_file(file.parent / HPARAMS) else {}
    told = config_facts(mapped_config(config, wanted), file.parent)
    told.add("the highest that was logged", learning_rate=max(rates, default=None))
    inside = source.is_dir() and file.parent != source
    run = Found(
        label=str(file.parent.relative_to(source)) if inside else file.parent.name,
        identity=[file.parent.name, config, [[one.name, one.steps[:1], one.values[:1]] for one in series]],
        facts=told.facts,
        settings={**({"config": config} if config else {}), **told.settings},
        source=told.source,
        place=str(file.parent),
    )
    return run, series


def _column(table: Table, name: str, steps: list[Any]) -> Series | None:
    try:
        values = table.numbers(name).to_list()
    except DataError:
        return None
    kept = [place for place, value in enumerate(values) if value is not None]
    return Series(name, [steps[place] for place in kept], [values[place] for place in kept])
