"""What exported models have in common, whatever they run on."""

from __future__ import annotations

import abc
import dataclasses
import json
import os
import pathlib
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_fer.labels import check_factors

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

# Key of our JSON in the metadata of an exported file.
METADATA = "keras_fer"


@dataclasses.dataclass(frozen=True)
class ExportInfo:
    """What an exported file says about itself.

    Attributes:
        labels: Names of the outputs, in order.
        input: What the model expects, in words.
        input_size: Side in pixels to which the graph resizes images.
        preset: Name of the preset, `"hf://user/repo@commit"`, or `None` for other
            models.
        license: License of the weights.
        weights_sha256: SHA-256 of the weights file, or `None` for other models.
        precision: `"float32"`, `"float16"` or `"int8"`.
        keras_fer: Version of the package that exported it.
    """

    labels: tuple[str, ...]
    input: str
    input_size: int
    preset: str | None
    license: str | None
    weights_sha256: str | None
    precision: str
    keras_fer: str

    def to_json(self) -> str:
        """The same as JSON."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> ExportInfo:
        """Reads what `to_json` wrote.

        Raises:
            ValueError: It is something else.
        """
        try:
            values: dict[str, Any] = json.loads(text)
            info = cls(**{**values, "labels": tuple(values["labels"])})
            if len(info.labels) < 2 or not all(
                isinstance(label, str) for label in info.labels
            ):
                raise ValueError(f"labels {info.labels!r}")
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            raise ValueError(
                f"its metadata is malformed ({str(error):.200})"
            ) from error
        return info


class ExportedModel(abc.ABC):
    """A file that `keras_fer.export` wrote, on a runtime without Keras.

    Attributes:
        labels: Names of the outputs, in order.
        input_size: Side in pixels to which the graph resizes images.
        info: What the file says about itself, an `ExportInfo`.
    """

    labels: tuple[str, ...]
    input_size: int
    info: ExportInfo
    _factors: npt.NDArray[np.float32] | None = None

    @abc.abstractmethod
    def _run(self, batch: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Probabilities of uint8 `(B, H, W, 3)`."""

    def _describe(
        self, path: pathlib.Path, metadata: str | None, outputs: int | None
    ) -> None:
        """Sets the attributes from the metadata of a file.

        Args:
            path: The file, for messages.
            metadata: JSON; `None` for a file that has none, or other inputs and
                outputs.
            outputs: Number of classes that the graph returns.

        Raises:
            ValueError: The file was not written by `keras_fer.export`.
        """
        if metadata is None:
            raise ValueError(
                f"{str(path)!r} was not written by keras_fer.export. Export the model "
                "again."
            )
        try:
            self.info = ExportInfo.from_json(metadata)
        except ValueError as error:
            raise ValueError(f"{str(path)!r} cannot be used: {error}") from error
        if outputs != len(self.info.labels):
            raise ValueError(
                f"{str(path)!r} names {len(self.info.labels)} labels and has "
                f"{outputs} outputs. Export the model again."
            )
        self.labels = self.info.labels
        self.input_size = self.info.input_size

    def predict(
        self, images: npt.ArrayLike | Sequence[np.ndarray], batch_size: int = 64
    ) -> npt.NDArray[np.float32]:
        """Class probabilities of face images.

        Args:
            images: `(B, H, W, 1 or 3)`, gray or RGB, 0–255, uint8 or float (which is
                rounded), any H and W; or a sequence of `(H, W, 1 or 3)` of
                different sizes.
            batch_size: Images per forward pass, which bounds memory.

        Returns:
            float32 `(B, len(labels))`.

        Raises:
            ValueError: The images have another shape, are empty, or hold values that
                are not finite or outside of 0–255.
        """
        probabilities = self._in_batches(self._run, images, batch_size)
        if self._factors is not None:
            probabilities = probabilities * self._factors
            probabilities /= probabilities.sum(axis=1, keepdims=True)
        return probabilities

    def _in_batches(
        self,
        run: Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.float32]],
        images: npt.ArrayLike | Sequence[np.ndarray],
        batch_size: int,
    ) -> npt.NDArray[np.float32]:
        """Applies a function of uint8 `(B, H, W, 3)` to images; see `predict`."""
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}.")
        if isinstance(images, (list, tuple)) and len({np.shape(i) for i in images}) > 1:
            batches = [np.asarray(image)[None] for image in images]
            return np.concatenate(
                [self._in_batches(run, batch, batch_size) for batch in batches]
            )
        batch = as_uint8(np.asarray(images))
        return np.concatenate(
            [
                run(batch[start : start + batch_size])
                for start in range(0, len(batch), batch_size)
            ]
        )

    def scale_odds(self, factors: Sequence[float]) -> None:
        """Multiplies the probability of each class by a factor, in place.

        As `scale_odds` of the models in Keras.

        Args:
            factors: Positive and finite, one per label.

        Raises:
            ValueError: The factors are others.
        """
        values = np.array(check_factors(factors, self.labels))
        before = 1.0 if self._factors is None else self._factors
        self._factors = (before * values / values.max()).astype(np.float32)

    @property
    def factors(self) -> tuple[float, ...] | None:
        """What `scale_odds` was given, up to a common factor, or `None`."""
        return None if self._factors is None else tuple(self._factors.tolist())


def read(path: str | os.PathLike[str]) -> tuple[pathlib.Path, bytes]:
    """A path and the content of its file.

    Raises:
        FileNotFoundError: There is no such file.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {str(path)!r}.")
    return path, path.read_bytes()


def as_uint8(images: np.ndarray) -> npt.NDArray[np.uint8]:
    """A checked batch of RGB images, uint8 `(B, H, W, 3)`.

    Raises:
        ValueError: See `ExportedModel.predict`.
    """
    if images.ndim != 4 or images.shape[-1] not in (1, 3):
        raise ValueError(
            "images must have shape (batch, height, width, 1) or (batch, height, "
            f"width, 3), got {images.shape}. Add the batch axis to a single image with "
            "image[None]; drop an alpha channel with image[..., :3]."
        )
    if not images.size:
        raise ValueError(f"images must not be empty, got shape {images.shape}.")
    if images.dtype != np.uint8:
        if images.dtype.kind not in "iuf":
            raise ValueError(f"images must be numbers, got dtype {images.dtype}.")
        low, high = images.min(), images.max()
        if not (0 <= low and high <= 255):  # Also where one of them is NaN.
            raise ValueError(
                f"images must be finite and in 0–255, got values from {low} to {high}."
            )
        images = np.rint(images).astype(np.uint8)
    return np.ascontiguousarray(images.repeat(4 - images.shape[-1], axis=-1)[..., :3])
