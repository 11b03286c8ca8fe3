"""What a name on the Hugging Face hub stands for: which commit, whether the hub can be asked at all."""

from __future__ import annotations

import contextlib
import functools
import re
import socket
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Literal

from astraios.errors import UsageError
from astraios.files import cache_dir, write_atomically

Kind = Literal["model", "dataset"]
PATIENCE = 10.0
"""Seconds to wait for the hub's word on a name; then what is cached has it."""
_COMMIT = re.compile(r"[0-9a-f]{40}")


@functools.cache
def commit(repository: str, revision: str | None = None, kind: Kind = "model") -> str | None:
    """The commit that a branch, a tag or the beginning of a commit's hash stands for now; None where nobody can tell.

    The hub is asked where it can be reached, else what it said last time, when something was downloaded.

    Args:
        repository: organisation/name.
        revision: None is the main branch.
        kind: model or dataset.

    Raises:
        UsageError: the hub knows the repository, and no such revision of it.
    """
    wanted = revision or "main"
    if _COMMIT.fullmatch(wanted):
        return wanted
    try:
        import huggingface_hub
        from huggingface_hub.errors import RevisionNotFoundError
    except ImportError:
        return None
    if not no_network():
        try:
            found = huggingface_hub.HfApi().repo_info(repository, revision=wanted, repo_type=kind, timeout=PATIENCE)
        except RevisionNotFoundError:
            raise UsageError(f"revision {wanted!r}: {kind} {repository} has none of that name on the hub") from None
        except Exception:  # the hub client raises a zoo of its own, and what is cached may do
            return _cached(repository, wanted, kind)
        _remember(repository, wanted, kind, str(found.sha))
        return str(found.sha)
    return _cached(repository, wanted, kind)


def _memory(repository: str, revision: str, kind: Kind) -> Path:
    return cache_dir() / "revisions" / f"{kind}s" / urllib.parse.quote(f"{repository}@{revision}", safe="@")


def _remember(repository: str, revision: str, kind: Kind, sha: str) -> None:
    """A download by commit leaves no word in the hub's cache of the name that was asked for."""
    file = _memory(repository, revision, kind)
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, sha.encode(), durable=False)


def _cached(repository: str, revision: str, kind: Kind) -> str | None:
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    folder = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=repository, repo_type=kind)
    for file in (_memory(repository, revision, kind), folder / "refs" / revision):
        with contextlib.suppress(OSError, ValueError):
            text = file.read_text().strip()
            if _COMMIT.fullmatch(text):
                return text
    begun = re.fullmatch(r"[0-9a-f]{7,39}", revision)
    names = [path.name for path in (folder / "snapshots").glob(f"{revision}*")] if begun else []
    return names[0] if len(names) == 1 and _COMMIT.fullmatch(names[0]) else None


def commit_of(path: Path) -> str | None:
    """The commit that a downloaded file came from; None for a file from elsewhere."""
    parts = path.parts
    place = parts.index("snapshots") + 1 if "snapshots" in parts else len(parts)
    return parts[place] if place < len(parts) and _COMMIT.fullmatch(parts[place]) else None


def came(model_id: str, revision: str | None) -> str | None:
    """The commit of a base model that has been loaded from the hub; None where that leaves no trace."""
    from huggingface_hub import try_to_load_from_cache

    file = try_to_load_from_cache(model_id, "config.json", revision=revision)
    return commit_of(Path(file)) if isinstance(file, str) else None


def no_network() -> bool:
    """Whether the hub's name can't even be looked up: then what is cached is used, without minutes of retries."""
    from huggingface_hub import constants

    proxies = urllib.request.getproxies()
    if constants.HF_HUB_OFFLINE or "https" in proxies or "all" in proxies:
        return bool(constants.HF_HUB_OFFLINE)
    try:
        socket.getaddrinfo(urllib.parse.urlsplit(constants.ENDPOINT).hostname, 443)
    except OSError:
        return True
    return False
