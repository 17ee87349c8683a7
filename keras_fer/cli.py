"""The command `keras-fer`: parses, calls, prints."""

import argparse
import contextlib
import dataclasses
import json
import os
import pathlib
import sys
import warnings

import keras_fer
from keras_fer import zoo

_SCHEMA = """\
--json prints one line for each image:
  {"path": str, "faces": [FACE, ...], "error": null or str}
FACE, largest first:
  {"box": [x, y, width, height], "label": str, "confidence": 0-1,
   "probabilities": {label: 0-1, ...}}
Boxes are in pixels of the upright image. "faces" is empty where none was found.

Exit status: 0 when every image was read, 1 when one could not be (the others are
still done), 2 on wrong usage."""

_AUDIT = """\
DATASET_OR_FOLDER is one of
  a folder of images; subfolders named like splits (train, test, val, ...) are the
    splits and theirs the labels, otherwise subfolders are labels
  a folder of SPLIT.npz files with the arrays images, label and subject (the last two
    where known)
  a TFDS dataset that is prepared, such as fer2013 or ferplus/votes, or its folder;
    TFDS_DATA_DIR says where datasets are, if not in ~/tensorflow_datasets

--json prints one object; see `keras_fer.audit.audit`.

Exit status: 0 when every image was read, whatever was found, 1 when one could not be
(the others are still compared), 2 on wrong usage."""


def main(arguments=None):
    """Runs the command line; returns the exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        return options.run(options)
    except _UsageError as error:
        parser.error(str(error))
    except BrokenPipeError:
        # The reader of a pipe has left; Python would complain once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (ImportError, OSError, RuntimeError, ValueError) as error:
        return _fail(error)


class _UsageError(Exception):
    pass


def _parser():
    parser = argparse.ArgumentParser(
        "keras-fer", description="Facial expression recognition."
    )
    parser.add_argument(
        "--version", action="version", version=f"keras-fer {keras_fer.__version__}"
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    predict = commands.add_parser(
        "predict",
        help="find faces in images and what they express",
        description="Finds the faces in images and what they express.",
        epilog=_SCHEMA,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    predict.add_argument(
        "paths",
        nargs="*",
        metavar="PATH",
        help="images, folders and patterns (default: a sample portrait)",
    )
    predict.add_argument(
        "--model",
        default="patt_lite",
        help="a name from `keras-fer list`, or hf://user/repo[@revision] (%(default)s)",
    )
    predict.add_argument(
        "--detector",
        default="mtcnn",
        help="mtcnn, haar, yunet, or a YuNet .onnx file (%(default)s)",
    )
    predict.add_argument("--json", action="store_true", help="print JSON lines")
    predict.add_argument(
        "--save",
        metavar="DIR",
        type=pathlib.Path,
        help="write annotated images there, as NAME_faces.png",
    )
    predict.add_argument(
        "--explain",
        action="store_true",
        help="with --save, also write where the model looks on each face, one heat map "
        "a method: NAME_grad_input.png, NAME_grad_cam.png, NAME_attention.png (the "
        "last for models with an attention layer)",
    )
    predict.set_defaults(run=_predict)

    names = commands.add_parser("list", help="list the models")
    names.add_argument("pattern", nargs="?", default="*", help="such as 'patt*'")
    names.set_defaults(run=_list)

    audit = commands.add_parser(
        "audit",
        help="find duplicates and leaks in a dataset",
        description="Finds identical and nearly identical images within and across "
        "splits, conflicting labels of identical images, and subjects in several "
        "splits.",
        epilog=_AUDIT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    audit.add_argument("source", metavar="DATASET_OR_FOLDER")
    audit.add_argument("--json", action="store_true", help="print one JSON object")
    audit.set_defaults(run=_audit)

    info = commands.add_parser("info", help="what there is to know about a model")
    info.add_argument(
        "name", help="one from `keras-fer list`, or hf://user/repo[@revision]"
    )
    info.set_defaults(run=_info)
    return parser


def _list(options):
    for name in zoo.list(options.pattern):
        model = zoo.info(name)
        alias = "" if model.name == name else f" = {model.name}"
        print(f"{name}{alias}")
    return 0


def _audit(options):
    from keras_fer import audit

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    report = audit.audit(options.source)
    print(json.dumps(report) if options.json else audit.table(report))
    failed = report["unreadable"]["count"]
    if failed:
        count = f"{failed} of {failed + report['images']}"
        print(f"keras-fer: {count} images failed", file=sys.stderr)
    return 1 if failed else 0


def _info(options):
    try:
        model = zoo.info(options.name)
    except ValueError as error:
        raise _UsageError(error) from None
    for key, value in dataclasses.asdict(model).items():
        if isinstance(value, dict):
            value = ", ".join(f"{name} {number}" for name, number in value.items())
        elif isinstance(value, tuple):
            value = ", ".join(value)
        elif isinstance(value, int):
            value = f"{value:,}"
        print(f"{key:14}{'-' if value is None else value}")
    return 0


def _predict(options):
    from tqdm import tqdm

    from keras_fer import faces

    try:
        zoo.info(options.model)
    except ValueError as error:
        raise _UsageError(error) from None
    if options.explain and not options.save:
        raise _UsageError("--explain writes images: say where with --save DIR")
    if options.save:
        options.save.mkdir(parents=True, exist_ok=True)
    paths = faces.find_images(options.paths or _sample())
    _start(options.detector)
    model = zoo.load(options.model)
    warnings.showwarning = _show_warning
    methods = _methods(model) if options.explain else ()

    failed = 0
    taken = set()
    # On a terminal with several images only; tqdm writes to standard error.
    for path in tqdm(paths, unit="image", disable=None if len(paths) > 1 else True):
        found, error = [], None
        try:
            image = faces.read_image(path)
            found = faces.analyze(image, model=model, detector=options.detector)
            if options.save:
                target = options.save / _name(path, taken)
                _save(image, found, target, model, methods)
        except (OSError, ValueError, MemoryError) as problem:
            error = _one_line(problem)
            failed += 1
        with tqdm.external_write_mode(sys.stdout):
            if options.json:
                print(json.dumps(_record(path, found, error)), flush=True)
            elif error is None:
                print(_text(path, found), flush=True)
        if error is not None:
            with tqdm.external_write_mode(sys.stderr):
                print(f"keras-fer: {error}", file=sys.stderr)
    if failed and len(paths) > 1:
        print(f"keras-fer: {failed} of {len(paths)} images failed", file=sys.stderr)
    return 1 if failed else 0


def _sample():
    import importlib.resources

    data = importlib.resources.files("matplotlib") / "mpl-data" / "sample_data"
    return [str(data / "grace_hopper.jpg")]


def _start(detector):
    """Loads Keras and the detector, so that what is wrong with them is said once."""
    import numpy as np

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from keras_fer import faces

    with _without_native_chatter():
        import keras  # noqa: F401
    try:
        faces.detect(np.zeros((64, 64, 3), "uint8"), detector)
    except ValueError as error:
        raise _UsageError(error) from None


@contextlib.contextmanager
def _without_native_chatter():
    """Hides what C++ libraries print while they are loaded (nothing that is raised)."""
    sys.stderr.flush()
    try:
        kept = os.dup(2)
    except OSError:  # There is no standard error.
        yield
        return
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _record(path, found, error):
    return {
        "path": path,
        "faces": [
            {
                "box": list(face.box),
                "label": face.label,
                "confidence": face.confidence,
                "probabilities": face.probabilities,
            }
            for face in found
        ],
        "error": error,
    }


def _text(path, found):
    if not found:
        return f"{path}: no face found"
    lines = [f"{path}: {len(found)} face{'s' if len(found) > 1 else ''}"]
    for face in found:
        x, y, width, height = face.box
        where = f"{width}x{height} at ({x}, {y})"
        lines.append(f"  {face.label} {face.confidence:.1%}  {where}")
    return "\n".join(lines)


def _name(path, taken):
    """A name of its own for every image, also for two of one name."""
    stem = pathlib.Path(path).stem
    name, number = stem, 1
    while name in taken:
        number += 1
        name = f"{stem}_{number}"
    taken.add(name)
    return name


def _methods(model):
    """The methods that can explain a model; says of the others why they cannot."""
    import numpy as np

    from keras_fer.explanation import METHODS, explain

    blank = np.zeros((1, model.input_size, model.input_size, 3), "uint8")
    methods = []
    for method in METHODS:
        try:
            explain(model, blank, method)
        except ValueError as error:
            line = f"{method} is left out. {_one_line(error)}"
            print(f"keras-fer: {line}", file=sys.stderr)
        else:
            methods.append(method)
    return methods


def _save(image, found, target, model, methods):
    """Writes an image with its faces, and one for each method."""
    from PIL import Image

    from keras_fer import faces

    images = {"faces": image}
    if found and methods:
        from keras_fer.explanation import overlay

        for method in methods:
            heat = faces.explain_faces(model, image, found, method)
            images[method] = overlay(image, heat)
    for name, canvas in images.items():
        file = target.with_name(f"{target.name}_{name}.png")
        Image.fromarray(faces.draw(canvas, found)).save(file)


def _show_warning(message, category, *_args, **_kwargs):
    if issubclass(category, UserWarning):
        print(f"keras-fer: {_one_line(message)}", file=sys.stderr)


def _one_line(error):
    return " ".join(str(error).split()) or type(error).__name__


def _fail(error):
    print(f"keras-fer: {_one_line(error)}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
