"""The machine and the versions, for the report."""

import os
import platform
from pathlib import Path


def describe():
    return {
        "cpu": processor(),
        "cores": len(os.sched_getaffinity(0)),
        "caches": caches(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "kernel": platform.release(),
        "libc": " ".join(platform.libc_ver()),
        "huge_pages": read("/sys/kernel/mm/transparent_hugepage/enabled"),
        "python": platform.python_version(),
    }


def processor():
    for line in read("/proc/cpuinfo").splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def caches():
    """Of the first core: "L1 Data 32K"."""
    found = []
    for folder in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        level, kind, size = (read(folder / name) for name in ("level", "type", "size"))
        shared = read(folder / "shared_cpu_list")
        found.append(f"L{level} {kind} {size}" + (f" shared by cores {shared}" if shared not in ("", "0") else ""))
    return found


def read(path):
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""
