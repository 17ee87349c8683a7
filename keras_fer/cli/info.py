"""`keras-fer info`: data, scores and license of a model."""

from __future__ import annotations

import argparse
import dataclasses
import os
from typing import Any

from keras_fer import zoo
from keras_fer.cli.model import HELP, check_model
from keras_fer.console import print_output, printable, without_native_output


def add_parser(commands: Any) -> None:
    """Adds the command to the subparsers of `keras-fer`."""
    parser = commands.add_parser(
        "info",
        help="describe a model",
        description="Prints a model's paper, data, scores, license and hash.",
    )
    parser.add_argument("model", metavar="MODEL", help=HELP)
    parser.set_defaults(run=run, parser=parser)


def run(options: argparse.Namespace) -> int:
    """Prints one fact per line."""
    check_model(options)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with without_native_output():
        model = zoo.info(options.model)
    facts = dataclasses.asdict(model)
    if model.balance:
        facts["balance"] = {"tau": model.balance.tau, **model.balance.score}
    for key, value in facts.items():
        if isinstance(value, dict):
            value = ", ".join(f"{name} {number}" for name, number in value.items())
        elif isinstance(value, tuple):
            value = ", ".join(value)
        elif isinstance(value, int):
            value = f"{value:,}"
        value = "-" if value is None else printable(str(value))
        print_output(f"{key:14}{value}")
    return 0
