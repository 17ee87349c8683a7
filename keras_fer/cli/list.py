"""`keras-fer list`: the names of the pretrained models."""

from __future__ import annotations

import argparse
from typing import Any

from keras_fer import zoo
from keras_fer.console import print_output


def add_parser(commands: Any) -> None:
    """Adds the command to the subparsers of `keras-fer`."""
    parser = commands.add_parser(
        "list", help="list the models", description="Lists the models by name."
    )
    parser.add_argument(
        "pattern", nargs="?", default="*", help="such as 'patt*' (default: all)"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Prints one name per line, and what an alias stands for."""
    for name in zoo.list(options.pattern):
        model = zoo.info(name)
        alias = "" if model.name == name else f" = {model.name}"
        print_output(f"{name}{alias}")
    return 0
