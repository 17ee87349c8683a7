"""`keras-fer evaluate`: scores of a model on labeled images."""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import warnings
from typing import Any

from keras_fer.cli.model import (
    DETECTOR_HELP,
    HELP,
    SOURCE_HELP,
    can_be_balanced,
    check_model,
    load_detector,
    report_failed,
)
from keras_fer.console import print_output, show_warning, without_native_output

_EPILOG = """\
In SOURCE, other spellings of an expression (happy, angry) are understood. A label that
MODEL does not know is an error.

--json prints one object; its keys are in docs/reference/cli.md.

Exit status: 0 if every image was read; 1 if some could not be read (the others are
evaluated), or nothing could be evaluated; 2 on wrong usage."""


def add_parser(commands: Any) -> None:
    """Adds the command to the subparsers of `keras-fer`."""
    parser = commands.add_parser(
        "evaluate",
        help="measure a model on labeled images",
        description="Prints accuracy, recall and calibration of a model on labeled "
        "images, and precision, recall and F1 of each class.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", metavar="MODEL", help=HELP)
    parser.add_argument("source", metavar="SOURCE", help=SOURCE_HELP)
    parser.add_argument(
        "--split", metavar="NAME", help="evaluate on this split of SOURCE"
    )
    parser.add_argument("--detector", default="none", help=DETECTOR_HELP)
    parser.add_argument(
        "--balanced", action="store_true", help="as for `keras-fer predict`"
    )
    parser.add_argument(
        "--plot",
        type=pathlib.Path,
        metavar="FILE",
        help="draw the confusion matrix and the reliability diagram, .png, .pdf or "
        ".svg",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace --plot FILE if it exists"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run, parser=parser)


def run(options: argparse.Namespace) -> int:
    """Prints the scores as a table or as JSON."""
    from keras_fer.files import check_free
    from keras_fer.labeled import read_source, select_split

    check_model(options)
    if options.balanced and not can_be_balanced(options.model):
        options.parser.error(f"--balanced is for presets, got {options.model!r}")
    if options.plot:
        if options.plot.suffix not in (".png", ".pdf", ".svg"):
            options.parser.error("--plot must end in .png, .pdf or .svg")
        if not options.overwrite:
            check_free(options.plot)
    # Before anything heavy is imported: a wrong path is told at once.
    select_split(read_source(options.source), options.split, options.source)
    warnings.showwarning = show_warning
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    detector = load_detector(options)
    with without_native_output():
        from keras_fer.evaluation import evaluate
        from keras_fer.faces import load_model

        load_model(options.model, options.balanced)  # Is kept, and used below.
    result = evaluate(
        options.model,
        options.source,
        split=options.split,
        detector=detector,
        balanced=options.balanced,
    )
    if options.json:
        print_output(json.dumps(result.to_dict(), allow_nan=False))
    else:
        print_output(result.table())
    if options.plot:
        result.plot(options.plot, options.overwrite)
    return report_failed(result)
