"""The base of all builders: configs, features, labels and skipped examples."""

import contextlib
import dataclasses
import io

import numpy as np
import tensorflow_datasets as tfds
from absl import logging
from PIL import Image

from keras_fer.labels import LABELS, from_dataset
from tfds_builders import corruptions
from tfds_builders._compat import shuffle_buffer

# Formats that TensorFlow decodes; images in others are stored as their pixels.
_STORED_AS_THEY_ARE = ("JPEG", "PNG")

# What Pillow raises for damaged images and for headers that claim huge ones.
UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)

# Bytes of examples kept in memory while a dataset is built.
_BUFFER = 16 * 2**20

# Names that are kept for each reason to skip.
NAMES = 20


@dataclasses.dataclass(eq=False, kw_only=True)
class FaceConfig(tfds.core.BuilderConfig):
    """A config of a face dataset.

    Attributes:
        classes: Number of expressions: the first ones of `keras_fer.LABELS`.
        family: What is applied to every image: `None`, `"masked"`, `"occluded"` or
            `"corrupted"`; see `tfds_builders.corruptions`.
        kind: Which occlusion or corruption; `None` draws one by the id.
        severity: Of a corruption, 1 to 5; `None` draws one by the id.
    """

    classes: int = 7
    family: str | None = None
    kind: str | None = None
    severity: int | None = None

    def __post_init__(self):
        """Checks family, kind and severity."""
        corruptions.check(self.family, self.kind, self.severity)


def with_corruptions(configs):
    """Configs and, for each of them, one per family of corruptions.

    Those of the first config are named `masked`, `occluded` and `corrupted`, those of
    the others `NAME_masked` and so on. For a single kind of corruption, replace fields:
    `tfds.builder("fer2013", config=dataclasses.replace(Builder.builder_configs[
    "corrupted"], name="fog_3", kind="fog", severity=3))`.
    """
    result = list(configs)
    for config in configs:
        prefix = "" if config is configs[0] else f"{config.name}_"
        for family in corruptions.FAMILIES:
            result.append(
                dataclasses.replace(
                    config,
                    name=f"{prefix}{family}",
                    description=f"{config.description} Images are {family}.",
                    family=family,
                )
            )
    return result


class FaceBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """A dataset of faces and their expressions.

    A subclass sets `CODES`, builds its `_info` with `face_info`, and yields what `face`
    returns. Unusable examples go through `skip`, never silently: their counts and first
    names are logged and stored in `builder.info.metadata["skipped"]`.

    Attributes:
        CODES: The dataset's name in `keras_fer.labels.DATASET_CODES`.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release."}
    CODES: str

    def face_info(
        self, channels=3, original_label=np.int64, shape=(None, None), **features
    ):
        """The `DatasetInfo`, with README and citation from the builder's folder.

        Args:
            channels: 1 for grayscale images, 3 for RGB.
            original_label: Type of the source's own code: `np.int64` or `np.str_`.
            shape: Height and width, if all images have the same size.
            **features: Further features: `votes`, `landmarks` and `bbox` (fractions of
                width and height), `subject`, `video`, `frame`, `valence`, `arousal`,
                attributes.
        """
        config = self.builder_config
        if config.family == "corrupted":
            features = {**features, "corruption": tfds.features.Text()}
            features["severity"] = tfds.features.Scalar(np.int64)
        if config.family == "occluded":
            features = {**features, "occlusion": tfds.features.Text()}
        text = original_label is np.str_
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(*shape, channels)),
                    "label": tfds.features.ClassLabel(names=LABELS[: config.classes]),
                    "original_label": (
                        tfds.features.Text() if text else tfds.features.Scalar(np.int64)
                    ),
                    "id": tfds.features.Text(),
                    **features,
                }
            ),
            supervised_keys=("image", "label"),
            metadata=tfds.core.MetadataDict(skipped={}),
        )

    def face(self, id, image, code, label=None, **features):
        """A key and an example, or `None` for an example that is skipped.

        Skipped are codes of no expression or of one outside the config's classes, and
        images that are missing, damaged or of another size.

        Args:
            id: Unique, and the same in every build.
            image: Path of an image, or uint8 `(H, W)` or `(H, W, C)`.
            code: The source's own code of the expression.
            label: Name of the expression, if it does not follow from the code (for
                example, from votes).
            **features: See `face_info`.
        """
        if label is None:
            try:
                label = from_dataset(self.CODES, code)
            except ValueError:
                return self.skip(f"label {code!r} outside the codes", id)
            if label is None:
                return self.skip(f"label {code!r} is not an expression", id)
        if label not in LABELS[: self.builder_config.classes]:
            return self.skip(f"{label} is not among the classes", id)
        channels = self.info.features["image"].shape[-1]
        stored = image
        if not isinstance(image, np.ndarray):
            try:
                stored, image = _read(image, channels)
            except FileNotFoundError:
                return self.skip("image is missing", id)
            except UNREADABLE as error:
                return self.skip(f"image is damaged ({type(error).__name__})", id)
        elif image.ndim == 2:
            stored = image = image[..., None]
        expected = self.info.features["image"].shape
        if not all(a in (None, b) for a, b in zip(expected, image.shape, strict=True)):
            return self.skip(f"image of size {image.shape[1]}x{image.shape[0]}", id)
        config = self.builder_config
        if config.family is not None:
            stored, facts = corruptions.apply(
                image,
                id,
                config.family,
                kind=config.kind,
                severity=config.severity,
                landmarks=features.get("landmarks"),
                bbox=features.get("bbox"),
            )
            features = {**features, **facts}
        return id, {
            "image": stored,
            "label": label,
            "original_label": code,
            "id": id,
            **features,
        }

    def manual_folder(self, dl_manager, *parts):
        """The folder `manual_dir/NAME`, where NAME is the dataset's.

        Args:
            dl_manager: The `tfds.download.DownloadManager`.
            *parts: Folders that it must contain, such as `"Emotion"`.

        Raises:
            FileNotFoundError: The folder or one of its parts is missing.
        """
        folder = dl_manager.manual_dir / self.name
        for needed in (folder, *(folder / part for part in parts)):
            if not needed.is_dir():
                raise FileNotFoundError(
                    f"{self.name} has no folder {needed}. "
                    f"{self.MANUAL_DOWNLOAD_INSTRUCTIONS}"
                )
        return folder

    def skip(self, reason, name):
        """Counts an unusable example under a reason and keeps the first names."""
        skipped = self.info.metadata["skipped"].setdefault(
            reason, {"count": 0, "first": []}
        )
        skipped["count"] += 1
        if len(skipped["first"]) < NAMES:
            skipped["first"].append(str(name))

    @contextlib.contextmanager
    def uncounted(self):
        """Context in which skips are not counted: an earlier split counted them."""
        counted = self.info.metadata["skipped"]
        self.info.metadata["skipped"] = {}
        try:
            yield
        finally:
            self.info.metadata["skipped"] = counted

    def _download_and_prepare(self, dl_manager, download_config):
        """Builds, then logs what was skipped."""
        # Drop the counts of an earlier or an interrupted build.
        self.info.metadata["skipped"] = {}
        with shuffle_buffer(_BUFFER):
            super()._download_and_prepare(dl_manager, download_config)
        for reason, skipped in self.info.metadata["skipped"].items():
            logging.warning(
                "%s: skipped %d examples (%s), for example %s",
                self.name,
                skipped["count"],
                reason,
                ", ".join(skipped["first"][:3]),
            )


def _read(path, channels):
    """An image as it is stored (its file or its pixels), and its pixels."""
    with open(path, "rb") as file:
        content = file.read()
    with Image.open(io.BytesIO(content)) as image:
        pixels = np.asarray(image.convert("L" if channels == 1 else "RGB"))
        pixels = pixels.reshape(*pixels.shape[:2], channels)
        # A grayscale file among RGB ones is stored as RGB: `tfds.data_source` decodes
        # with OpenCV, which would return one channel.
        mode = "L" if channels == 1 else "RGB"
        if image.format in _STORED_AS_THEY_ARE and image.mode == mode:
            return io.BytesIO(content), pixels
    return pixels, pixels
