"""What a cell ran on."""

from __future__ import annotations

from astraios.records import EnvironmentRow
from astraios.runs import environment


def current(device: str) -> EnvironmentRow:
    """This process's environment.

    Args:
        device: torch device string, for instance "cpu" or "cuda:0".
    """
    if not device.startswith("cuda"):
        return environment.current(device)
    import torch

    return environment.current(torch.cuda.get_device_name(device))
