"""What `predict` prints of each image: text for people, or a format for programs."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from keras_fer.bulk import columns, import_pyarrow, to_rows, to_table
from keras_fer.console import print_output, printable
from keras_fer.faces.detect.base import percent

Record = dict[str, Any]


class Printer(Protocol):
    """Prints records of images, as `keras_fer.bulk.to_record` returns them."""

    def print(self, record: Record) -> None:
        """Prints the next record."""

    def close(self) -> None:
        """Prints what is left."""


class TextPrinter:
    """Prints lines for people, none for an error.

    Args:
        top_k: Number of labels per face.
    """

    def __init__(self, top_k: int) -> None:
        self._top_k = top_k

    def print(self, record: Record) -> None:
        """Prints a line for the image and one per face."""
        if record["error"] is not None:
            return
        path, faces = printable(record["path"]), record["faces"]
        lines = [f"{path}: {count(len(faces), 'face') if faces else 'no face found'}"]
        for face in faces:
            x, y, width, height = face["box"]
            pairs = sorted(face["probabilities"].items(), key=lambda pair: -pair[1])
            labels = (
                f"{printable(label)} {percent(probability, 1)}"
                for label, probability in pairs[: self._top_k]
            )
            lines.append(f"  {', '.join(labels)}  {width}x{height} at ({x}, {y})")
        print_output("\n".join(lines))

    def close(self) -> None:
        """Nothing is left."""


class JsonPrinter:
    """Prints a line of JSON per image."""

    def print(self, record: Record) -> None:
        """Prints a line."""
        print_output(json.dumps(record, allow_nan=False))

    def close(self) -> None:
        """Nothing is left."""


class CsvPrinter:
    """Prints a header, then the rows of an image at once.

    Args:
        labels: Returns the labels of the model; called when they are needed.
    """

    def __init__(self, labels: Callable[[], Sequence[str]]) -> None:
        self._get_labels = labels
        self._labels: Sequence[str] | None = None

    def print(self, record: Record) -> None:
        """Prints the rows of an image."""
        rows: list[tuple[Any, ...]] = []
        if self._labels is None:
            self._labels = self._get_labels()
            rows.append(tuple(columns(self._labels)))
        rows += to_rows([record], self._labels)
        if sys.stdout.isatty():  # Names of files could control the terminal.
            rows = [tuple(map(_printable, row)) for row in rows]
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        print_output(text.getvalue().removesuffix("\n"))

    def close(self) -> None:
        """Nothing is left."""


class ParquetPrinter:
    """Prints a Parquet file at the end.

    Args:
        labels: Returns the labels of the model; called when they are needed.

    Raises:
        ImportError: PyArrow is not installed.
    """

    def __init__(self, labels: Callable[[], Sequence[str]]) -> None:
        import_pyarrow("--parquet")
        self._labels = labels
        self._records: list[Record] = []

    def print(self, record: Record) -> None:
        """Keeps a record: a Parquet file has its index at the end."""
        self._records.append(record)

    def close(self) -> None:
        """Prints the file."""
        import pyarrow.parquet

        labels = self._labels()
        file = io.BytesIO()
        table = to_table(to_rows(self._records, labels), labels)
        pyarrow.parquet.write_table(table, file)
        print_output(file.getvalue())


def _printable(value: Any) -> Any:
    return printable(value) if isinstance(value, str) else value


def count(number: int, what: str) -> str:
    """A number and a noun, in the plural if need be."""
    return f"{number} {what}{'' if number == 1 else 's'}"
