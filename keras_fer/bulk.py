"""Many images at once: to a results file that can be resumed, or across machines.

Importing this is light, and neither `predict` nor `ray_dataset` imports Keras or
TensorFlow for presets.
"""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import csv
import dataclasses
import hashlib
import io
import itertools
import json
import os
import pathlib
import threading
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from keras_fer import faces
from keras_fer._version import __version__
from keras_fer.console import one_line
from keras_fer.faces.analyze import check_max_faces, classify_many_in, named_model
from keras_fer.faces.detect import AnyDetector, Face, detect_many_in
from keras_fer.faces.show import sheet, to_png
from keras_fer.files import link

if TYPE_CHECKING:
    import keras
    import pandas
    import pyarrow
    import ray.data

    from keras_fer.runtime import OnnxModel

__all__ = ["Results", "predict", "ray_dataset", "to_record"]

# Images whose faces are classified together, and whose results are written together. In
# another batch a probability differs by rounding, so a resumed run keeps to these.
_CHUNK = 64
# Images that are decoded ahead, and bytes of those, or of the images that a detector
# gets at once. Both bound memory.
_AHEAD = 64
_BYTES = 2**27
# Columns of a face's box.
_BOX = ("x", "y", "width", "height")
# Images in the overview of a notebook.
_SHOWN = 9
# Rows of a Parquet row group.
_ROWS = 4096

FORMATS = (".parquet", ".csv", ".jsonl")
"""Suffixes of the files that `predict` writes."""

Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
Record = dict[str, Any]
Row = tuple[Any, ...]


@dataclasses.dataclass(frozen=True)
class Results:
    """What `predict` wrote.

    Attributes:
        path: The results file.
        images: Number of images.
        faces: Number of faces that were found in them.
        failed: Number of images that could not be read.
    """

    path: pathlib.Path
    images: int
    faces: int
    failed: int

    def to_dataframe(self) -> pandas.DataFrame:
        """Reads the file.

        Returns:
            The rows of the CSV and Parquet files, see `predict`; what does not apply
            is missing. Of JSON lines, a row per image.

        Raises:
            ImportError: pandas is not installed.
        """
        try:
            import pandas
        except ImportError as error:
            raise ImportError(
                "to_dataframe needs pandas. Install it with: pip install pandas"
            ) from error
        match self.path.suffix.lower():
            case ".csv":
                integers = dict.fromkeys(("face", *_BOX), "Int32")
                return pandas.read_csv(self.path, dtype=integers)
            case ".parquet":
                return pandas.read_parquet(self.path)
            case _:
                return pandas.read_json(self.path, lines=True)

    def _repr_png_(self) -> bytes | None:
        """The first images that can be read, with their faces, for Jupyter."""
        shown: list[tuple[np.ndarray, list[Face]]] = []
        for path, found in _read_faces(self.path):
            if len(shown) == _SHOWN:
                break
            image = _read(path)
            if not isinstance(image, Exception):
                shown.append((image, found))
        overview = sheet(shown)
        return None if overview is None else to_png(overview)


def predict(
    paths: Paths,
    out: str | os.PathLike[str],
    model: str | keras.Model | OnnxModel = "patt_lite",
    detector: AnyDetector = "mtcnn",
    align: bool = True,
    *,
    min_size: float | None = None,
    min_confidence: float | None = None,
    max_faces: int | None = None,
    balanced: bool = False,
    threads: int | None = None,
) -> Results:
    """Detects and classifies the faces of many images, into a results file.

    Images are decoded in threads beside detection and classification, and memory does
    not grow with their number. On a terminal, standard error shows the progress.

    A run that was killed goes on when it is called again: what is finished is not
    computed again, and on the same machine the file is byte by byte that of an
    unbroken run. It appears when it is complete; until then, `OUT.rows.jsonl` holds
    what is finished. `OUT.run.json` says what the results were made with, and stays.

    Args:
        paths: Images, folders and patterns; see `keras_fer.faces.find_images`. An
            image that cannot be read becomes a row with its error. Of an animation,
            the first frame is taken.
        out: A `.parquet`, `.csv` or `.jsonl` file in an existing folder. JSON lines are
            those of `keras-fer predict --json`, one per image. The others have a row
            per face, in the order of the images and then by size, and a row for an
            image without a face. Their columns are `path`; `face`, 0 for the largest;
            `x`, `y`, `width`, `height` in pixels of the upright image; `label`;
            `confidence`; `probability_LABEL` for each label; and `error`. What does
            not apply is null, in CSV empty.
        model: See `keras_fer.analyze`.
        detector: See `keras_fer.faces.detect`; `None` for images that are face crops.
            Two functions of the same name are taken for the same detector.
        align: See `keras_fer.faces.crop`.
        min_size: See `keras_fer.faces.detect`.
        min_confidence: See `keras_fer.faces.detect`.
        max_faces: See `keras_fer.analyze`.
        balanced: See `keras_fer.analyze`.
        threads: Threads that decode images; `None` for one per core.

    Returns:
        A `Results`.

    Raises:
        BlockingIOError: Another process is writing these results.
        FileExistsError: The file exists and is not of this function, or of another
            model, detector, option or list of images. Nothing is overwritten.
        ImportError: PyArrow, for Parquet, or another package is not installed.
        OSError: The file cannot be written.
        ValueError: An argument is invalid, or the model returns NaN.
    """
    target = pathlib.Path(out)
    write = _writer(target)
    if threads is not None and threads < 1:
        raise ValueError(f"threads must be at least 1, got {threads}.")
    files = faces.find_images(paths)
    limits = (min_size, min_confidence, max_faces)
    analyzer = _Analyzer(model, detector, align, *limits, balanced)
    settings = {
        **analyzer.settings,
        "number_of_images": len(files),
        "list_of_images": _sha256(os.fsencode(f"{path}\n") for path in files),
    }
    with _Run(target, settings, files) as run:
        if run.results is None:
            _analyze(run, files, analyzer, threads or os.cpu_count() or 1)
            run.publish(write)
        assert run.results is not None
        return Results(target, len(files), **run.results)


def ray_dataset(
    source: Paths | ray.data.Dataset,
    model: str = "patt_lite",
    detector: str | os.PathLike[str] | None = "mtcnn",
    align: bool = True,
    *,
    min_size: float | None = None,
    min_confidence: float | None = None,
    max_faces: int | None = None,
    balanced: bool = False,
    actors: int | tuple[int, int] | None = None,
    num_cpus: float = 1,
) -> ray.data.Dataset:
    """Detects and classifies the faces of many images on a Ray cluster.

    Each actor loads the model and the detector once. Ray starts lost actors again and
    repeats their work.

    Args:
        source: Images, folders and patterns as for `predict`, which every node must be
            able to read; `.parquet` files; or a Ray dataset, such as
            `ray.data.read_binary_files(folder, include_paths=True)`. Datasets and
            Parquet files have the columns `path` (the image is read from there),
            `bytes` (the content of an image file) or both, or a column `image` that
            holds these as a structure, as in datasets of the Hugging Face Hub.
        model: A name that `keras_fer.zoo.load` knows.
        detector: A name, the path of a YuNet file on every node, or `None` for images
            that are face crops.
        align: See `keras_fer.faces.crop`.
        min_size: See `keras_fer.faces.detect`.
        min_confidence: See `keras_fer.faces.detect`.
        max_faces: See `keras_fer.analyze`.
        balanced: See `keras_fer.analyze`.
        actors: Number of actors, or the least and the most; `None` for as many as
            the cluster has room for.
        num_cpus: Cores per actor, which is also its number of threads.

    Returns:
        A dataset that is computed when it is read or written, with the rows and columns
        of `predict`'s Parquet files, in their order. From paths, the values are the
        same, too; from datasets, which Ray cuts differently, up to rounding.

    Raises:
        ImportError: Ray or PyArrow is not installed.
        ValueError: An argument is invalid. In an actor: see `predict`.
    """
    if not isinstance(model, str):
        raise ValueError(
            f"model must be a name that every actor can load, got {model!r}. See "
            "keras_fer.zoo.list() and keras_fer.zoo.push."
        )
    pyarrow = import_pyarrow("ray_dataset")
    try:
        import ray.data
    except ImportError as error:
        raise ImportError(
            'ray_dataset needs Ray. Install it with: pip install "keras-fer[ray]"'
        ) from error
    batch_size: int | None = _CHUNK
    if isinstance(source, ray.data.Dataset):
        dataset = source
    else:
        files = faces.find_images(source)
        parquet = [file.lower().endswith(".parquet") for file in files]
        if any(parquet) and not all(parquet):
            raise ValueError(
                "source must be images or .parquet files, got both. Make one dataset "
                "of each, and join their results with union."
            )
        if parquet and all(parquet):
            dataset = ray.data.read_parquet(files)
        else:
            # A block of the dataset is a chunk of `predict`.
            tables = [pyarrow.table({"path": part}) for part in _chunks(files)]
            dataset = ray.data.from_arrow(tables)
            batch_size = None
    limits = (min_size, min_confidence, max_faces)
    least, most = actors if isinstance(actors, tuple) else (actors or 1, actors)
    result = dataset.map_batches(
        _Actor,
        fn_constructor_args=(model, detector, align, *limits, balanced),
        batch_size=batch_size,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(min_size=least, max_size=most),
        num_cpus=num_cpus,
    )
    result.context.execution_options.preserve_order = True
    return result


def to_record(
    path: str | None, found: Sequence[Face], error: Exception | str | None = None
) -> Record:
    """The results of an image as one JSON object.

    Args:
        path: Of the image.
        found: Its faces, with probabilities.
        error: Why it could not be read.

    Returns:
        What `keras-fer predict --json` prints.
    """
    return {
        "path": path,
        "faces": [face.to_dict() for face in found],
        "error": None if error is None else one_line(error),
    }


class _Analyzer:
    """From chunks of images to records.

    Attributes:
        labels: Names of the outputs of the model.
        settings: What the results depend on, besides the images.
    """

    def __init__(
        self,
        model: str | keras.Model | OnnxModel,
        detector: AnyDetector,
        align: bool,
        min_size: float | None,
        min_confidence: float | None,
        max_faces: int | None,
        balanced: bool,
    ) -> None:
        check_max_faces(max_faces)
        loaded: Any = named_model(model, balanced)
        found = faces.load_detector(detector)

        def detect(images: Sequence[np.ndarray]) -> list[list[Face]]:
            several = detect_many_in(images, found, min_size, min_confidence)
            return [each[:max_faces] for each in several]

        detect([np.zeros((8, 8, 3), np.uint8)])  # Invalid limits raise now.
        self._model, self._detect, self._align = loaded, detect, align
        self.labels = tuple(loaded.labels)
        preset = getattr(getattr(loaded, "info", None), "preset", None)
        name = model if isinstance(model, str) else getattr(model, "name", None)
        self.settings = {
            "keras_fer": __version__,
            "model": preset or name,
            "model_sha256": _fingerprint(loaded),
            "labels": list(self.labels),
            "detector": found.name,
            "detector_sha256": found.sha256,
            "align": align,
            "min_size": min_size,
            "min_confidence": min_confidence,
            "max_faces": max_faces,
            "balanced": balanced,
        }

    def records(
        self, paths: Sequence[str | None], images: Iterable[np.ndarray | Exception]
    ) -> list[Record]:
        """The records of a chunk of images, or of why they could not be read."""
        problems: list[Exception | None] = []

        def detected() -> Iterator[tuple[np.ndarray, list[Face]]]:
            for group in _groups(images):
                for image, found in zip(group, self._faces(group), strict=True):
                    if isinstance(found, Exception):
                        problems.append(found)
                    elif isinstance(image, np.ndarray):
                        problems.append(None)
                        yield image, found

        classified = iter(classify_many_in(detected(), self._model, self._align))
        return [
            to_record(path, [] if problem else next(classified), problem)
            for path, problem in zip(paths, problems, strict=True)
        ]

    def _faces(
        self, group: Sequence[np.ndarray | Exception]
    ) -> list[list[Face] | Exception]:
        """The faces of images, or what is wrong with an image or its detection."""
        readable = [each for each in group if not isinstance(each, Exception)]
        try:
            found = iter(self._detect(readable) if readable else [])
        except (OSError, ValueError, MemoryError) as error:
            if len(group) == 1:
                return [error]
            return [each for image in group for each in self._faces([image])]
        return [each if isinstance(each, Exception) else next(found) for each in group]


class _Actor:
    """What `ray_dataset` runs on a worker."""

    def __init__(self, *arguments: Any) -> None:
        import cv2

        # Ray sets it to the number of cores of the actor.
        cv2.setNumThreads(int(os.environ.get("OMP_NUM_THREADS", 1)))
        self._analyzer = _Analyzer(*arguments)

    def __call__(self, batch: pyarrow.Table) -> pyarrow.Table:
        if "image" in batch.column_names:
            rows = batch.column("image").to_pylist()
        else:
            rows = batch.to_pylist()
        if rows and not {"path", "bytes"} & set(rows[0]):
            raise ValueError(
                "The dataset must have a column 'path', 'bytes' or 'image', got "
                f"{', '.join(batch.column_names)}. Rename yours."
            )
        paths = [row.get("path") for row in rows]
        with _without_warnings():
            images = (_read(row.get("bytes") or row.get("path") or b"") for row in rows)
            records = self._analyzer.records(paths, images)
        labels = self._analyzer.labels
        return to_table(to_rows(records, labels), labels)


class _Run:
    """The files of one run of `predict`: the results, their settings and a journal.

    The journal has a line per image. It is locked while it is written, and becomes the
    results or is converted to them, which are linked to their name in one step.

    Attributes:
        done: Number of images in the journal.
        results: Numbers of faces and failed images, if the results file is complete.
    """

    def __init__(
        self, target: pathlib.Path, settings: dict[str, Any], files: Sequence[str]
    ) -> None:
        self._target, self._settings, self._files = target, settings, files
        self._journal = target.with_name(f"{target.name}.rows.jsonl")
        self._facts = target.with_name(f"{target.name}.run.json")
        self._counts = {"faces": 0, "failed": 0}
        self.done = 0
        self.results: dict[str, int] | None = None

    def __enter__(self) -> _Run:
        # Unbuffered: nothing is left to be written when writing has failed.
        self._file = open(self._journal, "a+b", buffering=0)
        try:
            _lock(self._file, self._target)
            recorded = self._check()
            if os.path.lexists(self._target):
                self.results = recorded["results"]
                self._close()
            else:
                if recorded["results"] is not None:  # The results were deleted.
                    self._record(None)
                self._recover()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if not self._file.closed:
            empty = self._file.seek(0, os.SEEK_END) == 0
            self._file.close()
            if empty:
                self._journal.unlink(missing_ok=True)

    def append(self, records: Sequence[Record]) -> None:
        """Adds the next records to the journal."""
        lines = "".join(f"{json.dumps(each, allow_nan=False)}\n" for each in records)
        rest = memoryview(lines.encode())
        with _naming(self._journal):
            while rest:
                rest = rest[self._file.write(rest) :]
        self._count(records)

    def publish(self, write: _Writer | None) -> None:
        """Makes the results file from the complete journal."""
        source = self._journal
        if write:
            source = self._target.with_name(f"{self._target.name}.tmp")
            source.unlink(missing_ok=True)
        try:
            with _naming(source), open(source, "xb" if write else "ab") as file:
                if write:
                    write(file, self._records(), self._settings)
                file.flush()
                os.fsync(file.fileno())
            self._record(self._counts)
            link(source, self._target)
        finally:
            if write:
                source.unlink(missing_ok=True)
        self.results = self._counts
        self._close()

    def _check(self) -> dict[str, Any]:
        """What is known of the results, after it was found to be this run's."""
        advice = "Name another file for the results, or move this one away."
        if not os.path.lexists(self._facts):
            for path in (self._target, self._journal):
                # The journal has just been made, if it is empty.
                if os.path.lexists(path) and (
                    path == self._target or path.stat().st_size
                ):
                    raise FileExistsError(
                        f"{str(path)!r} exists, without {self._facts.name!r}, so what "
                        f"it was made with is unknown. {advice}"
                    )
            self._record(None)
        try:
            recorded: dict[str, Any] = json.loads(self._facts.read_text("utf-8"))
            settings, results = recorded["settings"], recorded["results"]
            differing = [
                key for key in self._settings if settings[key] != self._settings[key]
            ]
        except (ValueError, KeyError, TypeError) as error:
            raise FileExistsError(
                f"{str(self._facts)!r} is not a file that this wrote. {advice}"
            ) from error
        for key in differing:
            raise FileExistsError(
                f"{str(self._target)!r} is of a run with another "
                f"{key.replace('_', ' ')}: {settings[key]!r}, not "
                f"{self._settings[key]!r}. Name another file for the results, or "
                f"delete it and {self._facts.name!r}."
            )
        if results is None and os.path.lexists(self._target):
            raise FileExistsError(
                f"{str(self._target)!r} exists, and is not of the run that is to be "
                f"finished. {advice}"
            )
        return recorded

    def _record(self, results: dict[str, int] | None) -> None:
        facts = {"settings": self._settings, "results": results}
        temporary = self._facts.with_name(f"{self._facts.name}.tmp")
        with _naming(self._facts):
            temporary.write_text(json.dumps(facts, indent=1) + "\n", "utf-8")
            os.replace(temporary, self._facts)

    def _recover(self) -> None:
        """Keeps the whole chunks at the start of the journal and drops the rest."""
        size = 0
        lines = self._lines()
        for part in _chunks(self._files):
            found = list(itertools.islice(lines, len(part)))
            try:
                records = [json.loads(line) for line in found]
                if [record["path"] for record in records] != part:
                    break
                self._count(records)
            except (ValueError, KeyError, TypeError):
                break
            size += sum(map(len, found))
        self._file.truncate(size)

    def _count(self, records: Sequence[Record]) -> None:
        self.done += len(records)
        self._counts["faces"] += sum(len(each["faces"]) for each in records)
        self._counts["failed"] += sum(each["error"] is not None for each in records)

    def _lines(self) -> Iterator[bytes]:
        with open(self._journal, "rb") as file:
            yield from (line for line in file if line.endswith(b"\n"))

    def _records(self) -> Iterator[Record]:
        return map(json.loads, self._lines())

    def _close(self) -> None:
        self._file.close()
        self._journal.unlink(missing_ok=True)


def _analyze(
    run: _Run, files: Sequence[str], analyzer: _Analyzer, threads: int
) -> None:
    """Completes the journal of a run."""
    from tqdm import tqdm

    with (
        _without_warnings(),
        contextlib.closing(_read_ahead(files[run.done :], threads)) as images,
        # On a terminal only; tqdm writes to standard error.
        tqdm(total=len(files), initial=run.done, unit="image", disable=None) as bar,
    ):
        for part in _chunks(files[run.done :]):
            run.append(analyzer.records(part, itertools.islice(images, len(part))))
            bar.update(len(part))


def _read_ahead(
    files: Sequence[str], threads: int
) -> Generator[np.ndarray | Exception]:
    """Images, or why they cannot be read, in order, decoded by threads.

    Beyond `_BYTES` of decoded images, only the next one is decoded.
    """
    change = threading.Condition()
    held, following, closed = 0, 0, False

    def read(index: int) -> np.ndarray | Exception:
        nonlocal held
        with change:
            change.wait_for(lambda: closed or index == following or held < _BYTES)
            if closed:
                return InterruptedError()
        image = _read(files[index])
        with change:
            held += getattr(image, "nbytes", 0)
        return image

    pending: collections.deque[concurrent.futures.Future[np.ndarray | Exception]]
    pending = collections.deque()
    indices = iter(range(len(files)))
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        try:
            while True:
                for index in itertools.islice(indices, _AHEAD - len(pending)):
                    pending.append(pool.submit(read, index))
                if not pending:
                    return
                image = pending.popleft().result()
                with change:
                    held -= getattr(image, "nbytes", 0)
                    following += 1
                    change.notify_all()
                yield image
        finally:
            with change:
                closed = True
                change.notify_all()
            pool.shutdown(cancel_futures=True)


def _read(image: str | bytes) -> np.ndarray | Exception:
    try:
        return faces.read_image(image)
    except (OSError, ValueError, MemoryError) as error:
        return error


def _groups(
    images: Iterable[np.ndarray | Exception],
) -> Iterator[list[np.ndarray | Exception]]:
    """As many images at once as memory allows."""
    rest = iter(images)
    for first in rest:
        group, size = [first], getattr(first, "nbytes", 0)
        while size < _BYTES and (image := next(rest, None)) is not None:
            group.append(image)
            size += getattr(image, "nbytes", 0)
        yield group


@contextlib.contextmanager
def _without_warnings() -> Iterator[None]:
    # `read_image` changes the filters and back, which threads do in any order.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


_Writer = Callable[[IO[bytes], Iterable[Record], dict[str, Any]], None]


def _writer(target: pathlib.Path) -> _Writer | None:
    """What writes a file of this suffix; `None` for JSON lines."""
    suffix = target.suffix.lower()
    if suffix == ".jsonl":
        return None
    if suffix == ".csv":
        return _write_csv
    if suffix == ".parquet":
        import_pyarrow(f"{str(target)!r}")
        return _write_parquet
    raise ValueError(
        f"The results file must end in {', '.join(FORMATS)}, got {str(target)!r}."
    )


def import_pyarrow(what: str) -> Any:
    """Imports PyArrow with `pyarrow.parquet`.

    Args:
        what: What needs it, for the message.

    Raises:
        ImportError: It is not installed.
    """
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise ImportError(
            f'{what} needs PyArrow. Install it with: pip install "keras-fer[bulk]"'
        ) from error
    return pyarrow


def _write_csv(
    file: IO[bytes], records: Iterable[Record], settings: dict[str, Any]
) -> None:
    text = io.TextIOWrapper(file, "utf-8", newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns(settings["labels"]))
    writer.writerows(to_rows(records, settings["labels"]))
    text.detach()


def _write_parquet(
    file: IO[bytes], records: Iterable[Record], settings: dict[str, Any]
) -> None:
    import pyarrow.parquet

    labels = settings["labels"]
    metadata = {"keras_fer": json.dumps(settings)}
    schema = to_table((), labels).schema.with_metadata(metadata)
    rows = to_rows(records, labels)
    with pyarrow.parquet.ParquetWriter(file, schema) as writer:
        while group := list(itertools.islice(rows, _ROWS)):
            writer.write_table(to_table(group, labels).cast(schema))


def _read_faces(path: pathlib.Path) -> Iterator[tuple[str, list[Face]]]:
    """The images in a results file and their faces, with the most probable label."""
    for image, rows in itertools.groupby(_read_rows(path), lambda row: row["path"]):
        found = []
        for row in rows:
            if row["label"]:
                x, y, width, height = (int(row[side]) for side in _BOX)
                shares = {row["label"]: float(row["confidence"])}
                found.append(Face((x, y, width, height), "file", probabilities=shares))
        yield image, found


def _read_rows(path: pathlib.Path) -> Iterator[dict[str, Any]]:
    """A results file as rows by column, of which only some are there for JSON lines."""
    match path.suffix.lower():
        case ".csv":
            with open(path, encoding="utf-8", newline="") as file:
                yield from csv.DictReader(file)
        case ".parquet":
            with import_pyarrow(str(path)).parquet.ParquetFile(path) as table:
                for batch in table.iter_batches():
                    yield from batch.to_pylist()
        case _:
            with open(path, encoding="utf-8") as file:
                for record in map(json.loads, file):
                    for face in record["faces"] or [{"box": (), "label": None}]:
                        box = zip(_BOX, face["box"], strict=False)
                        yield {**face, "path": record["path"], **dict(box)}


def columns(labels: Sequence[str]) -> list[str]:
    """Names of the columns of a table of results; see `predict`."""
    probabilities = [f"probability_{label}" for label in labels]
    return ["path", "face", *_BOX, "label", "confidence", *probabilities, "error"]


def to_rows(records: Iterable[Record], labels: Sequence[str]) -> Iterator[Row]:
    """Records as rows of a table, one per face or image without a face."""
    for record in records:
        path = record["path"]
        if path is not None:
            # File names may hold bytes that are not text.
            path = path.encode("utf-8", "backslashreplace").decode()
        for index, face in enumerate(record["faces"]):
            probabilities = [face["probabilities"][label] for label in labels]
            confidence = (face["label"], face["confidence"], *probabilities)
            yield (path, index, *face["box"], *confidence, None)
        if not record["faces"]:
            yield (path, *(None for _ in columns(labels)[1:-1]), record["error"])


def to_table(rows: Iterable[Row], labels: Sequence[str]) -> pyarrow.Table:
    """Rows as a table of PyArrow."""
    import pyarrow

    kinds = {"path": "string", "label": "string", "error": "string"}
    kinds |= dict.fromkeys(("face", *_BOX), "int32")
    names = columns(labels)
    schema = pyarrow.schema([(name, kinds.get(name, "float32")) for name in names])
    values = list(zip(*rows, strict=True)) or [()] * len(names)
    return pyarrow.table(
        [pyarrow.array(v, f.type) for v, f in zip(values, schema, strict=True)],
        schema=schema,
    )


def _chunks(files: Sequence[str]) -> Iterator[list[str]]:
    for start in range(0, len(files), _CHUNK):
        yield list(files[start : start + _CHUNK])


def _fingerprint(model: Any) -> str:
    """Hash of an ONNX file and its factors, or of a Keras model's arrays."""
    known: str | None = getattr(model, "sha256", None)
    if known is not None:
        factors = getattr(model, "factors", None)
        return known if factors is None else _sha256([f"{known} {factors}".encode()])
    return _sha256(
        part
        for array in map(np.asarray, model.get_weights())
        for part in (f"{array.dtype} {array.shape}".encode(), array.tobytes())
    )


def _sha256(parts: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def _lock(file: IO[bytes], target: pathlib.Path) -> None:
    """Locks a file until it is closed, also by the end of the process."""
    try:
        import fcntl
    except ImportError:  # Windows.
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise BlockingIOError(
            f"Another process is writing {str(target)!r}. Wait for it to end."
        ) from error
    except OSError:  # The file system has no locks.
        pass


@contextlib.contextmanager
def _naming(path: pathlib.Path) -> Iterator[None]:
    """Adds a name to errors without one, such as that of a full disk."""
    try:
        yield
    except OSError as error:
        if error.filename is not None or error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error
