"""What commands that take a model have in common."""

from __future__ import annotations

import argparse

from keras_fer.console import one_line

HELP = (
    "a name from `keras-fer list`, hf://user/repo[@revision], a .keras file, or a "
    "folder of zoo.train"
)


def check_model(options: argparse.Namespace) -> None:
    """Ends the process if `options.model` cannot be a model; Keras is not imported.

    Raises:
        FileNotFoundError: There is no such file.
    """
    from keras_fer import zoo
    from keras_fer.zoo.loading import is_file, saved_file

    try:
        if is_file(options.model):
            saved_file(options.model)
        else:
            zoo.info(options.model)
    except ValueError as error:
        options.parser.error(f"{one_line(error)} Or pass a .keras file.")
