"""The command `keras-fer`; each of its commands has a module here."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

import keras_fer
from keras_fer.cli import audit, evaluate, export, info, predict, train
from keras_fer.cli import list as list_
from keras_fer.console import discard_output, open_standard_streams, print_error

_COMMANDS = {
    "predict": predict,
    "list": list_,
    "info": info,
    "train": train,
    "evaluate": evaluate,
    "export": export,
    "audit": audit,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
        arguments: Default: those of the process.

    Returns:
        The exit status: 0 on success, 1 on failure, 130 after Ctrl-C.

    Raises:
        SystemExit: With status 2 on wrong usage, 0 after `--help` and `--version`.
    """
    open_standard_streams()
    try:
        options = parse(arguments)
        return int(options.run(options))
    except KeyboardInterrupt:
        print_error("keras-fer", "interrupted")
        return 130
    except BrokenPipeError:
        discard_output()  # The reader has closed the pipe.
    except (ImportError, MemoryError, OSError, RuntimeError, ValueError) as error:
        if isinstance(error, OSError) and error.filename == "standard output":
            discard_output()
        print_error("keras-fer", error)
    return 1


def build_parser() -> argparse.ArgumentParser:
    """Builds the parser; options that it returns have `run`, a function of them."""
    parser = argparse.ArgumentParser(
        "keras-fer",
        description="Facial expression recognition in images.",
        epilog="`keras-fer photo.jpg` is `keras-fer predict photo.jpg`.",
    )
    parser.add_argument(
        "--version", action="version", version=f"keras-fer {keras_fer.__version__}"
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in _COMMANDS.values():
        command.add_parser(commands)
    return parser


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options in arguments; those that begin with an image are of `predict`."""
    given = [*(sys.argv[1:] if arguments is None else arguments)]
    if given and given[0] not in _COMMANDS:
        first = given[0]
        path = os.path.lexists(first) or any(mark in first for mark in "./*?")
        if first == "-" or (path and not first.startswith("-")):
            given = ["predict", *given]
    return build_parser().parse_args(given)
