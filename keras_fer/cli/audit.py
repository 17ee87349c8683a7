"""`keras-fer audit`: duplicates and leaks in a dataset."""

from __future__ import annotations

import argparse
import json
import os
from typing import Any

from keras_fer.console import print_error, print_output

_EPILOG = """\
DATASET_OR_FOLDER is one of
  a folder of images; if it has subfolders named like splits (train, test, val, ...),
    these are the splits and their subfolders the labels, otherwise its subfolders
    are the labels
  a folder of SPLIT.npz files with the array images and, optionally, label and subject
  a prepared TFDS dataset, such as fer2013 or ferplus/votes, or its folder; set
    TFDS_DATA_DIR if your datasets are not in ~/tensorflow_datasets

--json prints one object; its keys are documented in `keras_fer.audit.audit`.

Exit status: 0 if every image was read, whatever was found; 1 if some could not be read
(the others are still compared); 2 on wrong usage."""


def add_parser(commands: Any) -> None:
    """Adds the command to the subparsers of `keras-fer`."""
    parser = commands.add_parser(
        "audit",
        help="find duplicates and leaks in a dataset",
        description="Finds exact and near-duplicate images within and across splits, "
        "conflicting labels of identical images, and subjects that occur in several "
        "splits.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", metavar="DATASET_OR_FOLDER")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Prints the report as a table or as JSON."""
    from keras_fer.audit import audit, table

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    report = audit(options.source)
    print_output(json.dumps(report) if options.json else table(report))
    failed = report["unreadable"]["count"]
    if failed:
        count = f"{failed} of {failed + report['images']}"
        print_error("keras-fer", f"{count} images failed")
    return 1 if failed else 0
