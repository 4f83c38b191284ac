"""Where a number was computed: the machine and the versions of the libraries. Hashes of files and of JSON values."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
import resource
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

LIBRARIES = ("numpy", "open_clip_torch", "pandas", "pillow", "pyarrow", "timm", "torch", "torchvision", "transformers")


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_json(value: Any) -> str:
    """SHA-256 of a JSON value, independent of key order and spacing."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def library_versions() -> dict[str, str]:
    """Versions of Python and of the libraries that take part in a number."""
    return {"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in LIBRARIES}


def cpu_name() -> str:
    """Model name of the processor, or its architecture where the system does not tell."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def cores() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory_gib() -> float:
    """Physical memory of this machine in GiB."""
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)


def machine(device: str = "cpu") -> dict[str, Any]:
    """Hardware facts of a record; names the accelerator that ``device`` stands for, and no host.

    ``threads`` is how many this process really uses.
    """
    torch = sys.modules.get("torch")
    facts: dict[str, Any] = {
        "cpu": cpu_name(),
        "cores": cores(),
        "threads": torch.get_num_threads() if torch else None,
        "memory_gib": memory_gib(),
        "device": "cpu",
    }
    if torch and device.startswith("cuda"):
        facts["device"] = torch.cuda.get_device_name(device)
    return facts


def peak_memory_mib() -> int:
    """Largest resident set of this process since ``forget_peak``, or since its start, in MiB."""
    status = Path("/proc/self/status")
    if status.is_file():
        found = next((line for line in status.read_text().splitlines() if line.startswith("VmHWM")), None)
        if found:
            return round(int(found.split()[1]) / 2**10)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10))


def forget_peak() -> None:
    """Begin to measure ``peak_memory_mib`` again, where the system can."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
