"""What never reaches the database (keys, tokens) and what does so only when asked for (hosts, users, paths)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any

LEFT_OUT = "(left out)"
_KEPT, _SHORT = 4096, 64
"""Names of settings and short texts come again with each run: so many are looked at once, up to so many characters."""

_SECRET_WORDS = frozenset({
    "secret", "secrets", "password", "passwords", "passwd", "passphrase", "passcode", "passw", "pwd", "apikey",
    "apikeys", "accesskey", "privatekey", "secretkey", "authtoken", "accesstoken", "credential", "credentials",
    "cookie", "cookies", "bearer", "authorization", "webhook", "webhooks", "jwt", "dsn", "netrc", "totp", "sas",
})  # fmt: skip
"""Words that make a name that of a secret, wherever they stand in it."""
_BEFORE_KEY = frozenset({
    "api", "access", "private", "secret", "auth", "account", "encryption", "signing", "ssh", "subscription", "license",
    "master", "service", "client", "session", "storage", "deploy", "wandb", "openai", "hf", "huggingface", "anthropic",
    "azure", "aws", "gcp", "google", "hub", "comet", "neptune", "mlflow", "clearml", "shared", "rsa", "pem", "gpg",
})  # fmt: skip
"""Words that make the key behind them a secret; `text_key` and `sort_key` name columns."""
_ORDINARY_KEY = frozenset({
    "text", "prompt", "input", "output", "label", "target", "data", "dataset", "image", "sort", "primary", "foreign",
    "group", "metric", "config", "cache", "message", "messages", "column", "question", "answer", "response", "chosen",
    "completion", "rejected", "id", "index", "join", "step", "split", "task", "model", "feature", "state", "dict",
    "query", "pad", "attention", "doc", "document", "conversation", "instruction", "row", "field", "map", "partition",
})  # fmt: skip
_TEXT_TOKEN = re.compile(
    r"(pad|eos|bos|unk|sep|mask|cls|start|end|image|audio|video|stop|special|prefix|suffix|middle|added|response|think"
    r"|decoder_start|begin|new|per|a|boi|eoi|invocation)_?token$"
)
_SECRET_TEXT = re.compile(
    r"hf_[A-Za-z0-9]{16,}|\bsk-[A-Za-z0-9_-]{16,}|\b[sr]k_(?:live|test)_\w{10,}|\bgh[pousr]_[A-Za-z0-9]{20,}"
    r"|github_pat_\w{20,}|glpat-[\w-]{16,}|\b(?:AKIA|ASIA|AGPA|AROA)[A-Z0-9]{16}\b|\bxox[abeprs]-[\w-]{10,}"
    r"|\bxapp-[\w-]{10,}|\bAIza[\w-]{30,}|\bya29\.[\w-]{16,}|\beyJ[\w-]{10,}\.[\w-]{5,}(?:\.[\w-]*)?"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY|\bpypi-[\w-]{16,}|\bnpm_\w{20,}|\bdop_v1_\w{16,}|\bSG\.[\w-]{16,}\.[\w-]{16,}"
    r"|\bgsk_\w{16,}|\br8_\w{16,}|\bnvapi-[\w-]{16,}|\bxai-\w{16,}|\blsv2_\w{16,}|\bwandb_v\d_\w{16,}"
    r"|\bAGE-SECRET-KEY-|://[^/\s:@]*:[^/\s@]+@|://[\w.~%+-]{8,}@"
    r"|[?&#](?:[\w-]*(?:token|key|secret|password|passwd|pwd|auth|sig|signature|credential|code))=[^&\s]{3,}"
    r"|\b(?:Bearer|Basic)\s+[\w.~+/=-]{6,}|\bAuthorization\s*:|\bpassword\s+\S{4,}"
    r"|hooks\.slack\.com/|discord(?:app)?\.com/api/webhooks/|webhook\.office\.com|/webhooks?/\S{8,}"
    r"|api\.telegram\.org/bot\d+:|\bmachine\s+\S+\s+login\s",
    re.IGNORECASE,
)
_ASSIGNED = re.compile(
    r"(?P<flag>--?)?(?P<name>[A-Za-z_][\w.-]{1,60})\\?[\"']?\s*(?P<sign>=|:|,|\s)\s*\\?[\"']?(?P<value>[^\s\"',;&\\}]{3,})"
)
"""A name with a value in a text: an option of a command line, a setting of JSON or a connection string."""
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


def is_secret(name: str, value: Any = None) -> bool:
    """Whether a setting of this name holds a key or a token.

    Args:
        name: as it is written: `apiKey`, `--api-key`, `WANDB_API_KEY`.
        value: what it holds; a `..._key` that holds a plain word names a column.
    """
    told = _told_by_name(name)
    if told is not None:
        return told
    return not (isinstance(value, str) and re.fullmatch(r"[a-z][a-z_]{0,23}", value))


@lru_cache(_KEPT)
def _told_by_name(name: str) -> bool | None:
    """Whether a name says by itself that it is a secret's; None where its value decides."""
    plain = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
    words = [word for word in re.split(r"[^a-z0-9]+", plain) if word]
    if not words:
        return False
    if _SECRET_WORDS.intersection(words) or _SECRET_WORDS.intersection(map("".join, pairwise(words))):
        return True
    last, before = words[-1].rstrip("0123456789"), words[-2] if len(words) > 1 else ""
    if last == "token":
        return not _TEXT_TOKEN.search("_".join(words))
    if last == "auth":
        return True
    if last != "key" or before in _ORDINARY_KEY:
        return False
    return True if before in _BEFORE_KEY else None


def short_path(text: str) -> str:
    """A text with every path in it cut to its last part."""
    return _PATH.sub(lambda found: found[1] or found[2] or "", text)


def _secrets(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for name, one in value.items():
            if isinstance(one, str) and is_secret(str(name), one):
                yield one
            else:
                yield from _secrets(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _secrets(one)


def _cleaned(value: Any, secrets: set[str], private: bool) -> Any:
    if isinstance(value, Mapping):
        named = next((value[one] for one in ("name", "key", "option") if isinstance(value.get(one), str)), "")
        kept = {}
        for name, one in value.items():
            if is_secret(str(name), one) or (not private and _PERSONAL_NAME.search(str(name).lower())):
                continue
            if named and str(name) in ("value", "val") and is_secret(named, one):
                continue
            kept[_text(str(name), secrets, private)] = _cleaned(one, secrets, private)
        return kept
    if isinstance(value, list | tuple):
        return _listed(value, secrets, private)
    return _text(value, secrets, private) if isinstance(value, str) else value


def _listed(values: Sequence[Any], secrets: set[str], private: bool) -> list[Any]:
    """A list; of a command line, and of a pair, what stands behind the name of a secret is left out."""
    kept: list[Any] = []
    before = ""
    for one in values:
        option = before.startswith("-") or len(values) == 2
        if isinstance(one, str) and option and "=" not in before and is_secret(before, one) and one[:1] != "-":
            kept.append(LEFT_OUT)
        else:
            kept.append(_cleaned(one, secrets, private))
        before = one if isinstance(one, str) and len(one) < 64 else ""
    return kept


def _text(text: str, secrets: set[str], private: bool) -> str:
    if any(secret in text for secret in secrets):
        return LEFT_OUT
    return _known_text(text, private) if len(text) <= _SHORT else _plain_text(text, private)


def _plain_text(text: str, private: bool) -> str:
    if _SECRET_TEXT.search(text) or _assigns(text):
        return LEFT_OUT
    text = text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    return text if private else short_path(text)


_known_text = lru_cache(_KEPT)(_plain_text)


def _assigns(text: str) -> bool:
    """Whether a text gives a value to the name of a secret."""
    if "=" not in text and ":" not in text and "-" not in text:
        return False
    at = 0
    while found := _ASSIGNED.search(text, at):
        spaced = found["sign"] not in "=:"
        if is_secret(found["name"], found["value"]) and (not spaced or found["flag"]):
            return True
        at = found.start("value")
    return False
