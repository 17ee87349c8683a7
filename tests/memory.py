"""Peak memory of this process."""

import pathlib
import re


def peak(reset=False):
    """Peak memory in bytes, where Linux tells; else 0."""
    try:
        if reset:
            pathlib.Path("/proc/self/clear_refs").write_text("5")
        status = pathlib.Path("/proc/self/status").read_text()
    except OSError:
        return 0
    return int(re.search(r"VmHWM:\s*(\d+) kB", status)[1]) * 1024
