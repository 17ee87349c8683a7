"""`keras-fer predict`: faces and expressions in images."""

from __future__ import annotations

import argparse
import dataclasses
import os
import pathlib
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from keras_fer import zoo
from keras_fer.cli.model import HELP, can_be_balanced, check_model, load_detector
from keras_fer.cli.output import OutputFolder, is_output
from keras_fer.console import (
    one_line,
    print_error,
    print_output,
    printable,
    show_warning,
    without_native_output,
)

if TYPE_CHECKING:
    import keras
    import numpy as np

    from keras_fer.cli.formats import Printer
    from keras_fer.faces import Detector, Face
    from keras_fer.faces.analyze import Analysis
    from keras_fer.runtime import OnnxModel

_STANDARD_INPUT = "-"

# Annotated images have a longer side of at least that: captions need the space.
_LEAST_SIDE = 320

# What is wrong with one image; the others are still processed.
_PROBLEMS = (OSError, ValueError, MemoryError)

_EPILOG = """\
--json prints one line per image:
  {"path": str, "faces": [FACE, ...], "error": null or str}
FACE, largest first:
  {"box": [x, y, width, height], "label": str, "confidence": 0-1,
   "probabilities": {label: 0-1, ...}}
Boxes are in pixels of the upright image. "faces" is empty if no face was found.

--csv and --parquet print a table with one row per face, and one per image without a
face or with an error.

--out writes what --json, --csv or --parquet print to a file. Faces of many images are
classified at once, and memory does not grow with their number. The file appears when it
is complete. Repeat the command to go on with a run that was killed; FILE.rows.jsonl
holds what is finished, and FILE.run.json says what the results were made with. A file
of another model, detector or list of images is refused.

Exit status: 0 if every image was read; 1 if some could not be read (the others are
still processed); 2 on wrong usage."""


def add_parser(commands: Any) -> None:
    """Adds the command to the subparsers of `keras-fer`."""
    parser = commands.add_parser(
        "predict",
        help="detect faces in images and classify their expressions",
        description="Detects the faces in images and classifies their expressions.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "paths",
        nargs="*",
        metavar="PATH",
        help="images, folders, patterns and URLs; - for standard input (default: a "
        "sample portrait)",
    )
    parser.add_argument(
        "--model",
        default="patt_lite",
        help=f"{HELP} (default: %(default)s)",
    )
    parser.add_argument(
        "--detector",
        default="mtcnn",
        help="mtcnn, haar, yunet, a YuNet .onnx file, or none for images that are face "
        "crops (default: %(default)s)",
    )
    parser.add_argument(
        "--balanced",
        action="store_true",
        help="find rare expressions, such as disgust and fear, more often, at the cost "
        "of accuracy where they are rare; `keras-fer info` has the scores",
    )
    parser.add_argument(
        "--min-size",
        type=float,
        metavar="PIXELS",
        help="longer side of the smallest face (default: all that are found)",
    )
    parser.add_argument(
        "--min-confidence",
        type=float,
        metavar="SCORE",
        help="lowest score of the detector, 0-1 (default: that of the detector)",
    )
    parser.add_argument(
        "--max-faces",
        type=_positive,
        metavar="N",
        help="classify the N largest faces of an image only",
    )
    parser.add_argument(
        "--top-k",
        type=_positive,
        default=1,
        metavar="K",
        help="print the K most probable expressions of a face (default: %(default)s)",
    )
    formats = parser.add_mutually_exclusive_group()
    formats.add_argument("--json", action="store_true", help="print JSON lines")
    formats.add_argument("--csv", action="store_true", help="print a CSV table")
    formats.add_argument(
        "--parquet",
        action="store_true",
        help="print a Parquet file (needs keras-fer[bulk])",
    )
    formats.add_argument(
        "--out",
        metavar="FILE",
        type=pathlib.Path,
        help="write the same to a file that ends in .jsonl, .csv or .parquet; for many "
        "images, because a run that was killed goes on",
    )
    parser.add_argument(
        "--save",
        metavar="DIR",
        type=pathlib.Path,
        help="write annotated images to DIR, as NAME_faces.png; small ones are "
        "enlarged, a name that is taken gets a number, and no file is replaced",
    )
    parser.add_argument(
        "--explain",
        action="store_true",
        help="with --save, also write saliency maps of the faces, one image per "
        "method: NAME_hires_cam.png, NAME_smooth_grad.png, NAME_grad_cam.png, "
        "NAME_grad_input.png and, where an attention layer prefers a part of a face, "
        "NAME_attention.png",
    )
    parser.set_defaults(run=run, parser=parser)


def run(options: argparse.Namespace) -> int:
    """Prints the faces of every image."""
    from tqdm import tqdm

    from keras_fer.bulk import FORMATS, to_record

    check_model(options)
    if options.balanced and not can_be_balanced(options.model):
        options.parser.error(f"--balanced is for presets, got {options.model!r}")
    if options.explain and not options.save:
        options.parser.error("--explain needs --save DIR, where it writes its images")
    if options.out and options.save:
        options.parser.error("--out writes a results file, not the images of --save")
    if options.parquet and sys.stdout.isatty():
        options.parser.error(
            "--parquet prints bytes, which are not for a terminal. Redirect them to a "
            "file, or pass --out FILE.parquet"
        )
    if options.out and options.out.suffix.lower() not in FORMATS:
        options.parser.error(f"--out must end in {', '.join(FORMATS)}")
    output = OutputFolder(options.save) if options.save else None
    paths = _inputs(options.paths or [sample_portrait()])
    if options.out:
        return _write(options, paths)
    warnings.showwarning = show_warning
    tools: _Tools | None = None

    def labels() -> Sequence[str]:
        # A model is not loaded for errors alone.
        return tools.model.labels if tools else zoo.info(options.model).labels

    printer = _printer(options, labels)
    failed = 0
    # On a terminal with several images only; tqdm writes to standard error.
    for path in tqdm(paths, unit="image", disable=None if len(paths) > 1 else True):
        found: list[Face] = []
        problem = None
        try:
            image = _read(path)
        except _PROBLEMS as error:
            problem = one_line(error)
        else:
            # For the first image that can be read: a wrong path is told at once.
            tools = tools or _Tools.load(options)
            try:
                analysis = tools.analyze(image, options)
                found = analysis.faces
                if output:
                    output.write(_stem(path), _annotated(analysis, tools, path))
            except _PROBLEMS as error:
                problem = one_line(error)
        failed += problem is not None
        with tqdm.external_write_mode(sys.stdout):
            printer.print(to_record(path, found, problem))
        if problem is not None:
            with tqdm.external_write_mode(sys.stderr):
                print_error("keras-fer", problem)
    printer.close()
    if failed and len(paths) > 1:
        print_error("keras-fer", f"{failed} of {len(paths)} images failed")
    return 1 if failed else 0


@dataclasses.dataclass(frozen=True)
class _Tools:
    """What images are analyzed with.

    Attributes:
        detector: The detector.
        model: The model.
        methods: Saliency methods that the model allows.
    """

    detector: Detector
    model: keras.Model | OnnxModel
    methods: list[str]

    @classmethod
    def load(cls, options: argparse.Namespace) -> _Tools:
        """Loads what the options name; wrong ones end the process."""
        from keras_fer import faces

        detector = _load_detector(options)
        # Gradients need Keras.
        load = zoo.load if options.explain else faces.load_model
        model = load(options.model, balanced=options.balanced)
        return cls(detector, model, _methods(model) if options.explain else [])

    def analyze(self, image: np.ndarray, options: argparse.Namespace) -> Analysis:
        """The faces of an image, within the limits that the options name."""
        from keras_fer.faces.analyze import analyze_in

        return analyze_in(
            image,
            self.model,
            self.detector,
            min_size=options.min_size,
            min_confidence=options.min_confidence,
            max_faces=options.max_faces,
        )


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more, got {text!r}")
    return int(text)


def _read(path: str) -> np.ndarray:
    """An image from a file, a URL, or standard input."""
    from keras_fer.faces.images import ImageError, read_image
    from keras_fer.faces.inputs import open_image

    if path != _STANDARD_INPUT:
        return open_image(path)
    try:
        return read_image(sys.stdin.buffer.read())
    except ImageError as error:
        text = str(error).removeprefix("The image")
        raise ImageError(f"Standard input{text}") from None


def _is_no_file(path: str) -> bool:
    """Whether a path stands for standard input or is a URL."""
    from keras_fer.faces.url import is_url

    return path == _STANDARD_INPUT or is_url(path)


def _stem(path: str) -> str:
    """What the names of annotated images begin with."""
    if path == _STANDARD_INPUT:
        return "stdin"
    return pathlib.PurePath(path.partition("?")[0] if _is_no_file(path) else path).stem


def _write(options: argparse.Namespace, paths: list[str]) -> int:
    """Writes the results file, and prints what is in it."""
    from keras_fer import bulk
    from keras_fer.cli.formats import count

    for path in paths:
        if _is_no_file(path):
            options.parser.error(f"--out is for files, got {path!r}")
    tools = _Tools.load(options)
    results = bulk.predict(
        paths,
        options.out,
        tools.model,
        tools.detector,
        min_size=options.min_size,
        min_confidence=options.min_confidence,
        max_faces=options.max_faces,
    )
    path = printable(str(results.path))
    images, found = count(results.images, "image"), count(results.faces, "face")
    print_output(f"{path}: {images}, {found}")
    if results.failed:
        failed = f"{results.failed} of {results.images} images failed"
        print_error("keras-fer", f"{failed}; see 'error' in {path}")
    return 1 if results.failed else 0


def sample_portrait() -> str:
    """Path of a public-domain portrait that Matplotlib comes with."""
    import importlib.util

    # Matplotlib itself is not imported, which would be slow.
    package = importlib.util.find_spec("matplotlib")
    if package is None or package.origin is None:
        raise FileNotFoundError(
            "The sample portrait comes with Matplotlib, which is not installed. Pass "
            "the path of an image, or install it with: pip install matplotlib"
        )
    data = pathlib.Path(package.origin).parent / "mpl-data" / "sample_data"
    return str(data / "grace_hopper.jpg")


def _inputs(paths: Sequence[str]) -> list[str]:
    """The images to read, without those in folders that an earlier run wrote."""
    from keras_fer import faces

    inputs, skipped = [], 0
    for path in paths:
        if _is_no_file(path):
            inputs.append(path)
            continue
        found = faces.find_images(path)
        if found == [path]:
            inputs.append(path)
            continue
        kept = [file for file in found if not is_output(file)]
        inputs += kept
        skipped += len(found) - len(kept)
    if skipped:
        print_error(
            "keras-fer",
            f"skipped images that --save wrote: {skipped}. Name a file to read it.",
        )
    return inputs


def _load_detector(options: argparse.Namespace) -> Detector:
    """Loads the detector before the first image: its errors come once."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if options.explain or options.model not in zoo.list():
        with without_native_output():
            import keras  # noqa: F401
    return load_detector(options)


def _printer(
    options: argparse.Namespace, labels: Callable[[], Sequence[str]]
) -> Printer:
    from keras_fer.cli import formats

    if options.json:
        return formats.JsonPrinter()
    if options.csv:
        return formats.CsvPrinter(labels)
    if options.parquet:
        return formats.ParquetPrinter(labels)
    return formats.TextPrinter(options.top_k)


def _methods(model: keras.Model) -> list[str]:
    """The saliency methods that the model allows; reports why others are skipped."""
    import numpy as np

    from keras_fer.saliency import METHODS, explain

    blank = np.zeros((1, model.input_size, model.input_size, 3), "uint8")
    methods = []
    for method in METHODS:
        try:
            explain(model, blank, method)
        except ValueError as error:
            print_error("keras-fer", f"{method} is skipped. {error}")
        else:
            methods.append(method)
    return methods


def _annotated(analysis: Analysis, tools: _Tools, path: str) -> dict[str, np.ndarray]:
    """The image with its faces, and one per saliency method that has an answer."""
    from keras_fer.faces.draw import draw_resized, overlay_in

    images = {"faces": analysis.image}
    if analysis.faces:
        for method in tools.methods:
            heat = analysis.explain(tools.model, method)
            if not heat.any():
                print_error(
                    "keras-fer", f"{method} prefers no part of a face in {path!r}"
                )
                continue
            images[method] = overlay_in(analysis.image, heat)
    return {
        kind: draw_resized(image, analysis.faces, least=_LEAST_SIDE)
        for kind, image in images.items()
    }
