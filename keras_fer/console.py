"""What commands print: one printable line per error, and nothing of C libraries."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator


def one_line(error: object) -> str:
    """An error's message on one line; the name of its class if it has none."""
    return " ".join(str(error).split()) or type(error).__name__


def print_error(program: str, error: object) -> None:
    """Prints `PROGRAM: MESSAGE` as one line to standard error."""
    print(f"{program}: {one_line(error)}", file=sys.stderr)


@contextlib.contextmanager
def without_native_output() -> Iterator[None]:
    """Discards what C and C++ libraries write to standard error.

    Exceptions pass. Python's own writes to standard error are lost too.
    """
    sys.stderr.flush()
    try:
        kept = os.dup(2)
    except OSError:  # There is no standard error.
        yield
        return
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
