"""The machine that a result was measured on."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import torch


def hardware() -> dict[str, str | int]:
    """Returns processor, cores, threads and versions, for reports."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count() or 1,
        "threads": torch.get_num_threads(),
        # One that nothing was computed on is not what a result was measured on.
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_initialized() else "none",
        "python": platform.python_version(),
        "torch": torch.__version__.split("+")[0],
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine()
    )
