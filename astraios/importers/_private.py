"""What never reaches the database (keys, tokens) and what does so only when asked for (hosts, users, paths)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

_SECRET_NAME = re.compile(
    r"secret|passw|passphrase|api_?key|access_?key|private_?key|credential|cookie|bearer|authoriz"
)
_SECRET_END = re.compile(r"(^|[^a-z])(token|auth|key)$")
_TEXT_TOKEN = re.compile(
    r"(pad|eos|bos|unk|sep|mask|cls|start|end|image|stop|special|prefix|suffix|middle|added)_?token$"
)
_SECRET_TEXT = re.compile(
    r"hf_[A-Za-z0-9]{16,}|\bsk-[A-Za-z0-9_-]{16,}|\bgh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}"
    r"|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b|\bxox[abprs]-[\w-]{10,}|\bAIza[\w-]{30,}|\beyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]{5,}"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----|://[^/\s:@]+:[^/\s@]+@|\bpypi-[\w-]{16,}"
)
_PERSONAL_NAME = re.compile(r"(^|[^a-z])(host|host_?name|nodename|node_name|user|user_?name|email|user_?id|ip|entity)$")
_PATH = re.compile(
    r"(?:file://|(?<![\w.:/~\\])(?:~|\.\.?)?/(?=[\w.@+-]))(?:[\w.@+=%-]*/)*([\w.@+=%-]*)|[A-Za-z]:\\(?:[^\\\s]+\\)*([^\\\s]*)"
)


def clean(value: Any, private: bool = False) -> Any:
    """A value as it may be stored.

    Names that hold a key or token are left out with their values, and a text is left out where it looks like one or
    repeats one. Unless `private`, names of hosts and users are left out and paths are cut to their last part.

    Args:
        value: plain values, mappings and lists, nested.
        private: keep hosts, users and paths.
    """
    secrets = {text for text in _secrets(value) if len(text) >= 6}
    return _cleaned(value, secrets, private)


def is_secret(name: str) -> bool:
    """Whether a setting of this name holds a key or a token."""
    plain = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower().replace("-", "_")
    if _SECRET_NAME.search(plain):
        return True
    return bool(_SECRET_END.search(plain)) and not _TEXT_TOKEN.search(plain)


def short_path(text: str) -> str:
    """A text with every path in it cut to its last part."""
    return _PATH.sub(lambda found: found[1] or found[2] or "", text)


def _secrets(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for name, one in value.items():
            if isinstance(one, str) and is_secret(str(name)):
                yield one
            else:
                yield from _secrets(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _secrets(one)


def _cleaned(value: Any, secrets: set[str], private: bool) -> Any:
    if isinstance(value, Mapping):
        kept = {}
        for name, one in value.items():
            if is_secret(str(name)) or (not private and _PERSONAL_NAME.search(str(name).lower())):
                continue
            kept[_text(str(name), secrets, private)] = _cleaned(one, secrets, private)
        return kept
    if isinstance(value, list | tuple):
        return [_cleaned(one, secrets, private) for one in value]
    return _text(value, secrets, private) if isinstance(value, str) else value


def _text(text: str, secrets: set[str], private: bool) -> str:
    if _SECRET_TEXT.search(text) or any(secret in text for secret in secrets):
        return "(left out)"
    text = text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    return text if private else short_path(text)
