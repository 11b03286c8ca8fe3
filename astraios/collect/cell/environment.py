"""What a cell ran on: versions and device, never a host name, a path, a token or a key."""

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

PACKAGES = ("astraios", "torch", "transformers", "peft", "accelerate", "bitsandbytes", "tokenizers", "numpy")
"""Those whose version can change a number."""


def current(device: str) -> EnvironmentRow:
    """This process's environment.

    Args:
        device: torch device string, for instance "cpu" or "cuda:0".
    """
    name = device
    if device.startswith("cuda"):
        import torch

        name = torch.cuda.get_device_name(device)
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
        "device": name,
        "packages": packages,
    }
    environment_id = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]
    return EnvironmentRow(environment_id=environment_id, **about)


@cache
def code_revision(folder: Path = Path(__file__).resolve().parents[3]) -> str | None:
    """The commit of a checkout, as a local version label (g1234567, and .changed where files differ from it).

    None for what was installed from a package.
    """
    if not (folder / ".git").exists():
        return None

    def git(*words: str) -> str:
        command = ["git", "-C", str(folder), *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no", "--", "astraios", "db")
        return f"g{git('rev-parse', '--short=12', 'HEAD')}{'.changed' if changed else ''}"
    except (OSError, subprocess.SubprocessError):
        return None
