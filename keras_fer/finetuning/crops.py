"""The faces of a run on disk, so that a resumed run need not detect them again."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Sequence
from typing import Any, TextIO

import numpy as np

from keras_fer.faces.analyze import resize_crops
from keras_fer.faces.detect import Detector
from keras_fer.labeled import Crop, LabeledImage, read_crops


def cached_crops(
    folder: pathlib.Path, items: Sequence[LabeledImage], detector: Detector, size: int
) -> tuple[np.ndarray, list[Crop]]:
    """Reads and crops images, or goes on where that was interrupted.

    Args:
        folder: Of the run.
        items: From `read_source`; the same as before.
        detector: See `read_crops`.
        size: Side of the crops in pixels.

    Returns:
        uint8 `(M, size, size, 3)`, a read-only array on disk of the images with a face,
        and a `Crop` without pixels for each of the `N` images.
    """
    from tqdm import tqdm

    journal, file = folder / "crops.jsonl", folder / "crops.bin"
    crops = [
        Crop(item, **entry) for item, entry in zip(items, _known(journal), strict=False)
    ]
    used = sum(not crop.problem for crop in crops)
    if not file.is_file() or file.stat().st_size < used * size * size * 3:
        crops, used = [], 0
    with open(journal, "w") as lines, open(file, "ab") as pixels:
        pixels.truncate(used * size * size * 3)
        for crop in crops:
            _write(lines, crop)
        rest = read_crops(items[len(crops) :], detector)
        # On a terminal only, to standard error.
        for crop in tqdm(
            rest, total=len(items), initial=len(crops), unit="image", disable=None
        ):
            if crop.pixels is not None:
                pixels.write(resize_crops([crop.pixels], size).tobytes())
                pixels.flush()
                used += 1
            _write(lines, crop)
            lines.flush()
            crops.append(dataclasses.replace(crop, pixels=None))
    shape = (used, size, size, 3)
    if not used:  # An empty file cannot be mapped.
        return np.empty(shape, np.uint8), crops
    return np.memmap(file, np.uint8, "r", shape=shape), crops


def _write(lines: TextIO, crop: Crop) -> None:
    lines.write(json.dumps({"faces": crop.faces, "error": crop.error}) + "\n")


def _known(journal: pathlib.Path) -> list[dict[str, Any]]:
    """What is known of the first images; a line that a kill cut off is not."""
    entries: list[dict[str, Any]] = []
    if journal.is_file():
        for line in journal.read_text("utf-8").splitlines():
            try:
                entries.append(json.loads(line))
            except ValueError:
                break
    return entries
