"""Closing runs that `astraios.init` began and no process will go on with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def finish(runs: Sequence[str], out: str, failed: str | None = None) -> list[dict[str, Any]]:
    """Ends interrupted runs with what was logged of them.

    Args:
        runs: their ids.
        out: folder or URL of the run directories.
        failed: why they count as failed; by default they are done, at the step that they reached.

    Returns:
        Per run: run_id, state, step, planned steps, points.

    Raises:
        UsageError: a run is not there, or was not begun by `astraios.init`.
        StoreError: a process has it in hand, or it can't be written.
    """
    from astraios.track import reopen

    found = []
    for run_id in runs:
        run = reopen(run_id, out, wait=1.0)
        run.finish(failed)
        found.append(run.summary())
    return found
