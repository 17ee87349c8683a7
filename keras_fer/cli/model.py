"""What commands that take a model have in common."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from keras_fer.console import one_line, print_error

if TYPE_CHECKING:
    from keras_fer.evaluation import Evaluation
    from keras_fer.faces import Detector

HELP = (
    "a name from `keras-fer list`, hf://user/repo[@revision], a .keras file, or a "
    "folder of zoo.train"
)

SOURCE_HELP = (
    "a folder of class subfolders, or of splits (train, val, test) of them; or a CSV "
    "file with the columns path and label and, optionally, subject and split"
)

DETECTOR_HELP = (
    "none for images that are face crops; mtcnn, haar, yunet or a YuNet .onnx file for "
    "photos, whose largest face is used (default: %(default)s)"
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


def can_be_balanced(name: str) -> bool:
    """Whether a name is that of a preset with the frequencies of its classes."""
    from keras_fer import zoo
    from keras_fer.zoo.loading import is_file

    return not is_file(name) and zoo.info(name).balance is not None


def load_detector(options: argparse.Namespace) -> Detector:
    """Loads `options.detector`; an unknown one ends the process."""
    from keras_fer import faces

    try:
        name = None if options.detector == "none" else options.detector
        return faces.load_detector(name)
    except ValueError as error:
        options.parser.error(one_line(error))
        raise  # `error` has ended the process.


def report_failed(result: Evaluation) -> int:
    """Prints a line per image that was left out; returns the exit status."""
    for path in result.without_face:
        print_error("keras-fer", f"no face was found in {path!r}")
    for error in result.unreadable.values():
        print_error("keras-fer", error)
    return 1 if result.unreadable else 0
