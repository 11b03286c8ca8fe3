"""What a run ran on: versions and device, never a host name, a path, a token or a key."""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from astraios.records import EnvironmentRow

PACKAGES = ("astraios", "torch", "transformers", "peft", "accelerate", "bitsandbytes", "tokenizers", "numpy", "trl",
            "lightning", "unsloth")  # fmt: skip
"""Those whose version can change a number."""


@cache
def current(device: str) -> EnvironmentRow:
    """This process's environment.

    Args:
        device: name of the accelerator, or cpu.
    """
    packages = {}
    for package in PACKAGES:
        try:
            packages[package] = version(package)
        except PackageNotFoundError:
            continue
    if revision := code_revision():
        packages["astraios"] = f"{packages.get('astraios', '0')}+{revision}"
    about: dict[str, Any] = {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "device": device,
        "packages": packages,
    }
    environment_id = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]
    return EnvironmentRow(environment_id=environment_id, **about)


HERE = Path(__file__).resolve().parents[2]
"""The checkout that astraios runs from, where it runs from one."""


@cache
def code_revision(folder: Path = HERE, within: tuple[str, ...] = ("astraios", "db")) -> str | None:
    """The commit of a checkout, as a local version label (g1234567, and .changed where files differ from it).

    None for what was installed from a package.

    Args:
        folder: a folder of the checkout.
        within: folders and files that matter.
    """
    if not (folder / ".git").exists():
        return None

    def git(*words: str) -> str:
        command = ["git", "-C", str(folder), *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no", "--", *within)
        return f"g{git('rev-parse', '--short=12', 'HEAD')}{'.changed' if changed else ''}"
    except (OSError, subprocess.SubprocessError):
        return None
