"""What commands print: one printable line per error, and nothing of C libraries."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import threading
from collections.abc import Iterator
from typing import Any

# Two threads that redirect at once would restore each other's redirection.
_redirecting = threading.RLock()


def printable(text: str) -> str:
    """Text with backslash escapes for what could control a terminal.

    These are control characters, line separators, marks of direction, and the
    surrogates that stand for undecodable bytes in file names.
    """
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode()
        for char in text
    )


def one_line(error: object) -> str:
    """An error's message on one printable line; its class if it has no message."""
    return printable(" ".join(str(error).split())) or type(error).__name__


def print_error(program: str, error: object) -> None:
    """Prints `PROGRAM: MESSAGE` as one line to standard error, if anybody reads it."""
    with contextlib.suppress(OSError):
        print(f"{program}: {one_line(error)}", file=sys.stderr, flush=True)


def show_warning(message: object, category: type, *_args: Any, **_kwargs: Any) -> None:
    """For `warnings.showwarning`: a warning for users as a line, no others."""
    if issubclass(category, UserWarning):
        print_error("keras-fer", message)


def print_output(output: str | bytes) -> None:
    """Prints a text and a newline, or bytes, to standard output at once.

    Raises:
        BrokenPipeError: The reader has closed the pipe.
        OSError: It cannot be written; the message names standard output.
    """
    try:
        if isinstance(output, bytes):
            sys.stdout.buffer.write(output)
            sys.stdout.buffer.flush()
        else:
            print(output, flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OSError(error.errno, error.strerror, "standard output") from error


def open_standard_streams() -> None:
    """Makes standard input, output and error usable if they are closed.

    Otherwise the next file that is opened takes the number of a closed one, and what
    C libraries print ends in it. Characters that a stream cannot encode are escaped.
    """
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(number)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))
        if isinstance(stream := getattr(sys, name), io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def discard_output() -> None:
    """Drops what is still to be written to standard output, also at exit."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextlib.contextmanager
def without_native_output() -> Iterator[None]:
    """Discards what C and C++ libraries write to standard error.

    Exceptions pass. What Python writes to standard error meanwhile, in any thread, is
    lost too; other threads wait here for their turn.
    """
    with _redirecting:
        if sys.stderr is not None:
            sys.stderr.flush()
        try:
            kept = os.dup(2)
        except OSError:  # There is no standard error.
            yield
            return
        try:
            with open(os.devnull, "wb") as nowhere:
                os.dup2(nowhere.fileno(), 2)
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
