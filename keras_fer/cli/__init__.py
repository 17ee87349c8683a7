"""The command `keras-fer`; each of its commands has a module here."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

import keras_fer
from keras_fer.cli import audit, info, predict
from keras_fer.cli import list as list_
from keras_fer.console import print_error


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
        arguments: Default: those of the process.

    Returns:
        The exit status: 0 on success, 1 on failure.

    Raises:
        SystemExit: With status 2 on wrong usage, 0 after `--help` and `--version`.
    """
    options = build_parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except BrokenPipeError:
        # The reader has closed the pipe; without this, Python reports it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (ImportError, OSError, RuntimeError, ValueError) as error:
        print_error("keras-fer", error)
    return 1


def build_parser() -> argparse.ArgumentParser:
    """Builds the parser; options that it returns have `run`, a function of them."""
    parser = argparse.ArgumentParser(
        "keras-fer", description="Facial expression recognition in images."
    )
    parser.add_argument(
        "--version", action="version", version=f"keras-fer {keras_fer.__version__}"
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in (predict, list_, info, audit):
        command.add_parser(commands)
    return parser
