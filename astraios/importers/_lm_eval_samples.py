"""The samples that lm-evaluation-harness logs: scores of items, and how likely the model held their answers."""

from __future__ import annotations

import ast
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from astraios.errors import DataError
from astraios.importers._files import kind, parse_json, read_lines, read_text
from astraios.importers._runs import Skipped
from astraios.records import SampleScore

_LOGGED = ("perplexity", "word_perplexity", "byte_perplexity", "bits_per_byte")
"""Metrics of which a sample holds the log-likelihood, alone or with the number of units that it is of."""

_LONGEST_LIST = 10_000
"""Characters."""


@dataclass(frozen=True)
class _Likelihoods:
    """What the requests of one item came to."""

    choices: tuple[float, ...]
    """Nats, one a request."""
    texts: tuple[str, ...]
    """What each is the log-likelihood of; empty where the log does not say."""
    offered: bool
    """Whether they are choices of one item."""


def read_samples(
    file: Path, task: str, config: Mapping[str, Any], mark: Mapping[str, Any], first: str, skipped: Skipped
) -> Iterator[SampleScore]:
    """Samples of one task: the first metric and the first filter of each.

    Of a multiple choice the right answers are found from the item's target, and only where they agree with the accuracy
    that the harness gave every item.

    Args:
        file: JSON lines, or a list as version 0.4.0 wrote it.
        task: name of the task.
        config: of the task, as the results have it.
        mark: task_id and n_shot.
        first: the task's first metric.
        skipped: what was left out.

    Raises:
        DataError: a line is no sample.
    """
    metric = kept_by = None
    others: set[str] = set()
    rows: dict[str, dict[str, Any]] = {}
    values: dict[str, float] = {}
    for line, row in _rows(file):
        names, item = row.get("metrics") or [one for one in (first,) if one in row], row.get("doc_id")
        if not isinstance(names, list) or item is None:
            raise DataError(f"{file}: line {line}: not a sample of lm-evaluation-harness (no metrics, or no doc_id)")
        metric, kept_by = metric or (names[0] if names else ""), kept_by or row.get("filter", "none")
        if row.get("filter", "none") != kept_by:
            others.add(f"filter {row.get('filter')}")
            continue
        others |= {f"metric {name}" for name in names if name != metric}
        value = _value(metric, row.get(metric))
        if value is None:
            others.add(f"metric {metric} (not a number)")
        else:
            rows[str(item)], values[str(item)] = row, value
    for other in sorted(others):
        skipped.add(f"samples of {task}, {other}", f"{metric} with filter {kept_by} is kept of each sample")
    likelihoods = {item: _likelihoods(row, config) for item, row in rows.items()}
    offered = {item: one for item, one in likelihoods.items() if one is not None and one.offered}
    answers = _answers({item: rows[item] for item in offered}, offered, config)
    if offered and answers is None:
        skipped.add(f"samples of {task}, which choice is right", "the log does not say it")
    for item, value in values.items():
        verdict = {1.0: "passed", 0.0: "failed"}.get(value, "scored")
        told = _told(likelihoods[item], (answers or {}).get(item), config)
        yield SampleScore(**mark, item_id=item, sample=0, value=value, verdict=verdict, **told)


def _rows(file: Path) -> Iterable[tuple[int, dict[str, Any]]]:
    text = read_text(file)
    if text.lstrip()[:1] != "[":
        yield from read_lines(file)
        return
    for place, row in enumerate(parse_json(text, str(file)), 1):
        if not isinstance(row, dict):
            raise DataError(f"{file}: sample {place}: an object was expected, not {kind(row)}")
        yield place, row


def _value(metric: str, value: Any) -> float | None:
    """A sample's score by one metric, in its unit; None where it is no number."""
    if metric in _LOGGED:
        total, units = value if isinstance(value, list) and len(value) == 2 else (value, 1)
        total, units = _float(total), _float(units)
        if total is not None and units and total <= 0:
            return -total / units / math.log(2) if metric == "bits_per_byte" else math.exp(min(-total / units, 709.0))
    return float(value) if isinstance(value, bool | int | float) else None


def _float(value: Any) -> float | None:
    try:
        return None if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return None


def _likelihoods(row: Mapping[str, Any], config: Mapping[str, Any]) -> _Likelihoods | None:
    """The log-likelihoods that an item's requests came to; None where it has none, for it asks for text."""
    asked = row.get("arguments")
    asked = list(asked.values()) if isinstance(asked, Mapping) else asked if isinstance(asked, list) else []
    pairs = [list(one.values()) if isinstance(one, Mapping) else one for one in asked]
    pairs = [one for one in pairs if isinstance(one, list | tuple)]
    output = config.get("output_type")
    rolling = output == "loglikelihood_rolling" or (output is None and any(len(one) == 1 for one in pairs))
    if output == "generate_until" or any(len(one) > 1 and isinstance(one[1], Mapping) for one in pairs):
        return None
    given = row.get("resps")
    totals = [_total(one, rolling) for one in given] if isinstance(given, list) else []
    found = [one for one in totals if one is not None]
    if not found or len(found) < len(totals):
        return None
    texts = [str(one[0 if rolling else 1]) for one in pairs if rolling or len(one) > 1]
    texts = texts if len(texts) == len(found) else []
    half = len(found) // 2
    unconditional = bool(texts) and len(found) == 2 * half and texts[:half] == texts[half:]
    if unconditional and not any(str(one[0]) for one in pairs[half:]):  # acc_mutual_info asks again without the prompt
        found, texts = found[:half], texts[:half]
    offered = output == "multiple_choice" or (output is None and len(found) > 1)
    return _Likelihoods(tuple(found), tuple(texts), offered)


def _total(response: Any, rolling: bool) -> float | None:
    """The log-likelihood of one request: [[[nats, greedy]]] or, of a whole document, [[nats]]; texts since 0.4.3."""
    one = response[0] if isinstance(response, list) and response else response
    if isinstance(one, list | tuple):
        return _float(one[0]) if one and (len(one) == 2 or rolling) else None
    return _float(one) if rolling else None


def _told(one: _Likelihoods | None, answers: list[int] | None, config: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of a sample that tell how likely its answers are."""
    if one is None:
        return {}
    sizes = [len(_plain(text, config, one.offered).encode("utf-8", "replace")) for text in one.texts]
    if not one.offered and len(one.choices) == 1:
        return {"loglikelihood": one.choices[0], "answer_bytes": sizes[0] if sizes else None}
    listed = [total if math.isfinite(total) else str(total) for total in one.choices]
    told: dict[str, Any] = {"choice_loglikelihoods": listed, "choice_bytes": sizes or None}
    if one.offered:
        told |= {"n_choices": len(one.choices), "answers": answers}
    if answers and len(answers) == 1:
        told |= {"loglikelihood": one.choices[answers[0]], "answer_bytes": sizes[answers[0]] if sizes else None}
    return told


def _plain(text: str, config: Mapping[str, Any], offered: bool) -> str:
    """A choice without what the harness puts between a prompt and its answer."""
    delimiter = config.get("target_delimiter", " ")
    return text.removeprefix(delimiter) if offered and isinstance(delimiter, str) else text


def _answers(
    rows: Mapping[str, Mapping[str, Any]], offered: Mapping[str, _Likelihoods], config: Mapping[str, Any]
) -> dict[str, list[int]] | None:
    """Places of the right choices of all items; None where the log does not tell them of each.

    A target is a place, or the text of a choice ("1" may be either); where the prompts are the choices, as in
    WinoGrande, it is neither, and with two choices the accuracy tells.
    """
    column = config.get("doc_to_target")
    documents = [row.get("doc") for row in rows.values()]
    as_text = isinstance(column, str) and all(
        isinstance(one, Mapping) and isinstance(one.get(column), str) for one in documents
    )
    readings = [_by_text, _by_place] if as_text else [_by_place, _by_text]
    for reading in [*readings, _by_accuracy]:
        found = {item: reading(row, offered[item], config) for item, row in rows.items()}
        if all(one is not None and _agrees(rows[item], offered[item], one, config) for item, one in found.items()):
            return {item: one for item, one in found.items() if one is not None}
    return None


def _targets(row: Mapping[str, Any]) -> list[Any]:
    target = row.get("target")
    if isinstance(target, str) and target[:1] == "[" and target[-1:] == "]" and len(target) < _LONGEST_LIST:
        try:  # a list of targets is logged as Python writes it
            target = ast.literal_eval(target)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            return [target]
    return target if isinstance(target, list) else [target]


def _by_place(row: Mapping[str, Any], one: _Likelihoods, config: Mapping[str, Any]) -> list[int] | None:
    found = []
    for target in _targets(row):
        text = str(target).strip()
        if isinstance(target, bool) or not text.isdecimal():
            return None
        found += [int(text)] if int(text) < len(one.choices) else []
    return found


def _by_text(row: Mapping[str, Any], one: _Likelihoods, config: Mapping[str, Any]) -> list[int] | None:
    texts = [_plain(text, config, True) for text in one.texts]
    if len(set(texts)) < len(texts):
        return None
    found = [texts.index(str(target)) for target in _targets(row) if str(target) in texts]
    return found or None


def _by_accuracy(row: Mapping[str, Any], one: _Likelihoods, config: Mapping[str, Any]) -> list[int] | None:
    if len(one.choices) != 2 or row.get("acc") not in (0, 1):
        return None
    best = _best(one.choices)
    return [best if row["acc"] == 1 else 1 - best]


def _agrees(row: Mapping[str, Any], one: _Likelihoods, answers: Sequence[int], config: Mapping[str, Any]) -> bool:
    """Whether the harness has counted an item as right just where its likeliest choice is among the answers."""
    if "acc" in row:
        return row["acc"] in (0, 1) and (row["acc"] == 1) == (_best(one.choices) in answers)
    if "acc_norm" in row and one.texts:
        sizes = [len(_plain(text, config, True)) or 1 for text in one.texts]
        normed = [total / size for total, size in zip(one.choices, sizes, strict=True)]
        return row["acc_norm"] in (0, 1) and (row["acc_norm"] == 1) == (_best(normed) in answers)
    return True


def _best(totals: Sequence[float]) -> int:
    """The first of the largest, as the harness takes it."""
    return max(range(len(totals)), key=lambda place: totals[place])
