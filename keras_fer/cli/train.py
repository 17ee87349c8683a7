"""`keras-fer train`: a model for your own classes."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import pathlib
import sys
import warnings
from typing import Any

from keras_fer.cli.model import (
    DETECTOR_HELP,
    HELP,
    SOURCE_HELP,
    check_model,
    load_detector,
    report_failed,
)
from keras_fer.console import (
    print_output,
    printable,
    show_warning,
    without_native_output,
)

_EPILOG = """\
The head is trained first, then the last layers. The best epoch on held-out images is
kept; duplicates of an image are never on both sides, unless SOURCE says so. Images of a
split `train` are trained on, those of `val` or `dev` held out, others not opened. If
every class is an expression, other spellings (happy, angry) get its name.

Repeat the command to go on with a run that was killed; FILE.run holds what is finished,
and is removed at the end.

--json prints one object; its keys are in docs/reference/cli.md.

Exit status: 0 if the model was written and every image read; 1 if some images could not
be read (the others are used), or nothing was written; 2 on wrong usage."""


def add_parser(commands: Any) -> None:
    """Adds the command to the subparsers of `keras-fer`."""
    parser = commands.add_parser(
        "train",
        help="fine-tune a model on your own classes",
        description="Fine-tunes a model on labeled images and writes it to a .keras "
        "file, which all commands take.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", metavar="SOURCE", help=SOURCE_HELP)
    parser.add_argument(
        "-o",
        "--out",
        required=True,
        type=pathlib.Path,
        metavar="FILE",
        help="the .keras file to write",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace files that exist"
    )
    parser.add_argument(
        "--model",
        default="patt_lite",
        help=f"what to start from: {HELP} (default: %(default)s)",
    )
    parser.add_argument("--detector", default="none", help=DETECTOR_HELP)
    _add_settings(parser)
    parser.add_argument(
        "--save-split",
        type=pathlib.Path,
        metavar="FILE",
        help="write which images were held out to a CSV file, which `keras-fer "
        "evaluate --split val` reads",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run, parser=parser)


def _add_settings(parser: argparse.ArgumentParser) -> None:
    from keras_fer.finetuning.settings import TrainingSettings

    group = parser.add_argument_group("how to train")
    defaults = dataclasses.asdict(TrainingSettings())

    def add(name: str, help: str, **options: Any) -> None:
        flag = "--" + name.replace("_", "-")
        group.add_argument(flag, help=f"{help} (default: %(default)s)", **options)

    for name, metavar, help in (
        ("hold_out", "SHARE", "share of the images that is held out"),
        ("head_epochs", "N", "epochs of the head, at most"),
        ("epochs", "N", "epochs of the last layers, at most"),
        ("unfreeze", "SHARE", "share of the backbone's layers that is trained"),
        ("patience", "N", "epochs without a better one before stopping"),
        ("batch_size", "N", "images per step"),
        ("head_rate", "RATE", "learning rate of the head"),
        ("rate", "RATE", "peak learning rate of the last layers"),
        ("seed", "N", "of everything random"),
    ):
        default = defaults[name]
        add(name, help, metavar=metavar, default=default, type=type(default))
    group.add_argument(
        "--by",
        choices=("file", "subject"),
        help="hold out single files or whole subjects (default: subjects if they are "
        "known)",
    )
    group.add_argument(
        "--class-weights",
        action="store_true",
        help="all classes weigh the same, however many images they have",
    )
    group.add_argument(
        "--no-augment",
        dest="augment",
        action="store_false",
        help="do not change images at random",
    )


def run(options: argparse.Namespace) -> int:
    """Trains, and prints the scores on the held-out images."""
    from keras_fer.files import check_free
    from keras_fer.finetuning.settings import TrainingSettings
    from keras_fer.labeled import read_source

    if options.out.suffix != ".keras":
        options.parser.error(f"--out must end in .keras, got {str(options.out)!r}")
    names = [each.name for each in dataclasses.fields(TrainingSettings)]
    try:
        settings = TrainingSettings(**{name: getattr(options, name) for name in names})
    except ValueError as error:
        options.parser.error(str(error))
    check_model(options)
    for file in (options.out, options.save_split):
        if file and not options.overwrite:
            check_free(file)
    # Before anything heavy is imported: a wrong path is told at once.
    read_source(options.source)
    warnings.showwarning = show_warning
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    detector = load_detector(options)
    with without_native_output():
        import keras  # noqa: F401

        from keras_fer.finetuning import train
    result = train(
        options.source,
        options.out,
        options.model,
        detector=detector,
        settings=settings,
        overwrite=options.overwrite,
        report=_report,
    )
    if options.save_split:
        result.save_split(options.save_split, options.overwrite)
    if options.json:
        print_output(json.dumps(result.to_dict(), allow_nan=False))
    else:
        print_output(result.evaluation.table())
    return report_failed(result.evaluation)


def _report(line: str) -> None:
    print(printable(line), file=sys.stderr, flush=True)
