"""What of a table of the sweep is part of a run's identity."""

from __future__ import annotations

import dataclasses
import json
from typing import Any


def asked(spec: Any) -> dict[str, Any]:
    """The fields of a table as JSON types, without those that came later (`metadata`) and are at their default: a new
    field leaves the ids of older runs as they were."""
    content: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(spec)))
    for field in dataclasses.fields(spec):
        if field.metadata.get("later") and getattr(spec, field.name) == field.default:
            del content[field.name]
    return content
