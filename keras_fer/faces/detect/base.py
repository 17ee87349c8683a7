"""What a detector is, and what it finds."""

from __future__ import annotations

import dataclasses
import functools
import importlib
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any, ClassVar

import numpy as np

Box = tuple[int, int, int, int]
Detection = tuple[np.ndarray, float | None, np.ndarray | None]


@dataclasses.dataclass(frozen=True)
class _Seen:
    """What a face's probabilities come from; a copy in another process has no model."""

    crop: np.ndarray
    model: Any

    @functools.cached_property
    def embedding(self) -> np.ndarray:
        if not hasattr(self.model, "embed"):
            what = "after pickling" if self.model is None else f"of {self.model!r}"
            raise ValueError(
                f"A face has no embedding {what}: that needs a model with `embed`, "
                "such as those of keras_fer.zoo.load. Use model.embed(face.crop[None])."
            )
        embedding: np.ndarray = self.model.embed(self.crop[None])[0]
        return embedding

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "model": None}

    def __deepcopy__(self, memo: object) -> _Seen:
        return self


@dataclasses.dataclass(frozen=True)
class Face:
    """One face of an image.

    Attributes:
        box: `(x, y, width, height)` in whole pixels, inside the image.
        detector: `"mtcnn"`, `"haar"` or `"yunet"`; `"none"` for a whole image,
            `"boxes"` for a box of the caller, or the name of the caller's function.
        score: The detector's confidence, 0–1; `None` without one, as for `"haar"`.
        landmarks: Five points `(x, y)` in pixels: left eye, right eye, nose, left and
            right corner of the mouth. Left and right are those of the image, for an
            upright face. `None` without, as for `"haar"`.
        probabilities: Label to probability, from `analyze`; `None` from `detect`.
    """

    box: Box
    detector: str
    score: float | None = None
    landmarks: tuple[tuple[float, float], ...] | None = None
    probabilities: dict[str, float] | None = None

    # No field: it is no part of `==`, `repr` and `dataclasses.asdict`.
    _seen: ClassVar[_Seen | None] = None

    @property
    def crop(self) -> np.ndarray | None:
        """What the model was given, or `None` before `analyze`.

        The upright square around the face, `(S, S, 3)` uint8 RGB at the model's input
        size. `keras_fer.faces.crop` gives it at the resolution of the image.
        """
        return None if self._seen is None else self._seen.crop

    @property
    def embedding(self) -> np.ndarray | None:
        """The model's features of the face, or `None` before `analyze`.

        `(D,)` float32, what the model's last layer takes; computed on first use.

        Raises:
            ValueError: The model has no `embed`, or the face comes from another
                process, where the model is.
        """
        return None if self._seen is None else self._seen.embedding

    @property
    def label(self) -> str | None:
        """The most probable label, or `None` before `analyze`."""
        if not self.probabilities:
            return None
        return max(self.probabilities, key=self.probabilities.__getitem__)

    @property
    def confidence(self) -> float | None:
        """The probability of `label`, or `None` before `analyze`."""
        return max(self.probabilities.values()) if self.probabilities else None

    def top(self, number: int = 3) -> list[tuple[str, float]]:
        """The most probable labels.

        Args:
            number: How many, at most.

        Returns:
            Pairs of a label and its probability, most probable first; empty before
            `analyze`.
        """
        pairs = (self.probabilities or {}).items()
        return sorted(pairs, key=lambda pair: -pair[1])[:number]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, as `keras-fer predict --json` prints them.

        Returns:
            `box`, a list of four integers; `label`; `confidence`; and `probabilities`.
            Before `analyze`, the last three are `None`.
        """
        return {
            "box": list(self.box),
            "label": self.label,
            "confidence": self.confidence,
            "probabilities": self.probabilities,
        }


def classified(
    face: Face, probabilities: dict[str, float], crop: np.ndarray, model: Any
) -> Face:
    """A face with what a model says of it.

    Args:
        face: From a detector.
        probabilities: Label to probability.
        crop: What the model was given, `(S, S, 3)` uint8 RGB.
        model: With `embed`, for `Face.embedding`.
    """
    face = dataclasses.replace(face, probabilities=probabilities)
    # A copy: a row of a batch would keep all of it.
    object.__setattr__(face, "_seen", _Seen(crop.copy(), model))
    return face


def percent(probability: float, digits: int = 0) -> str:
    """A probability for people; never 100 %, which no model can know.

    Args:
        probability: 0–1.
        digits: After the decimal point.
    """
    return ">99%" if probability > 0.99 else f"{probability:.{digits}%}"


@dataclasses.dataclass(frozen=True)
class Detector:
    """A loaded detector.

    Attributes:
        name: `"mtcnn"`, `"haar"`, `"yunet"`, `"none"`, or that of your function.
        run: Function of an image `(H, W, 3)` uint8 RGB, the side of the smallest face
            in pixels, and the lowest score. Returns for each face its box `(4,)`,
            `(x, y, width, height)`; its score; and its landmarks `(5, 2)`. All are
            floats in pixels of that image.
        min_confidence: Default of the lowest score; `None` without scores.
        long_side: Larger images are scaled down to that; `None` for the default.
        sha256: Hash of the file of YuNet; `None` for the others.
        for_threads: Function that returns the same detector for several threads, which
            may run it at once; `None` for a detector that takes one image after the
            other, in order.
    """

    name: str
    run: Callable[[np.ndarray, float, float | None], Iterable[Detection]]
    min_confidence: float | None = None
    long_side: float | None = None
    sha256: str | None = None
    for_threads: Callable[[], Detector] | None = None


def import_package(package: str) -> ModuleType:
    """Imports a detector's package.

    Raises:
        ImportError: It cannot be imported; the message says how to install it.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise ImportError(
            f"Face detection needs the package {package!r}, which cannot be imported "
            f'({error}). Install it with: pip install "keras-fer[faces]"'
        ) from error
