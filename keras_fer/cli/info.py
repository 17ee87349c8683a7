"""`keras-fer info`: data, scores and license of a model."""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any

from keras_fer import zoo
from keras_fer.console import one_line, print_output, printable


def add_parser(commands: Any) -> None:
    """Adds the command to the subparsers of `keras-fer`."""
    parser = commands.add_parser(
        "info",
        help="describe a model",
        description="Prints a model's paper, data, scores, license and hash.",
    )
    parser.add_argument(
        "name", help="a name from `keras-fer list`, or hf://user/repo[@revision]"
    )
    parser.set_defaults(run=run, parser=parser)


def run(options: argparse.Namespace) -> int:
    """Prints one fact per line."""
    try:
        model = zoo.info(options.name)
    except ValueError as error:
        options.parser.error(one_line(error))
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
