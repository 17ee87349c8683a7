"""What the builders share: configs, features, canonical labels, skips."""

import contextlib
import dataclasses
import io

import numpy as np
import tensorflow_datasets as tfds
from absl import logging
from PIL import Image
from tensorflow_datasets.core import shuffle

from keras_fer.labels import LABELS, from_dataset
from tfds_builders import corruptions

# What TensorFlow can decode; other images are stored as their pixels.
_STORED_AS_THEY_ARE = ("JPEG", "PNG")

# What Pillow raises where an image is damaged, or a header claims a huge one.
UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)

# Bytes of examples in memory while a dataset is built.
_BUFFER = 16 * 2**20

# Names that a report keeps of each kind of skip.
_NAMES = 20


@dataclasses.dataclass(eq=False, kw_only=True)
class FaceConfig(tfds.core.BuilderConfig):
    """A config of a builder of faces.

    Attributes:
        classes: Number of expressions, the first ones of `keras_fer.LABELS`.
        corruption: What is done to every image: `None`, `"masked"`, `"occluded"` or
            `"corrupted"`; see `tfds_builders.corruptions`.
        kind: Which occlusion or corruption; `None` for one that the id decides.
        severity: Of a corruption, 1 to 5; `None` for one that the id decides.
    """

    classes: int = 7
    corruption: str | None = None
    kind: str | None = None
    severity: int | None = None

    def __post_init__(self):
        """Checks the derivation."""
        corruptions.check(self.corruption, self.kind, self.severity)


def with_corruptions(configs):
    """Configs and, for each, those with masked, occluded and corrupted images.

    They are named `masked`, `occluded` and `corrupted` for the first config, and
    `NAME_masked` and so on for the others. For one kind of corruption, replace fields:
    `tfds.builder("fer2013", config=dataclasses.replace(Builder.builder_configs[
    "corrupted"], name="fog_3", kind="fog", severity=3))`.
    """
    result = list(configs)
    for config in configs:
        prefix = "" if config is configs[0] else f"{config.name}_"
        for way in corruptions.FAMILIES:
            result.append(
                dataclasses.replace(
                    config,
                    name=f"{prefix}{way}",
                    description=f"{config.description} Images are {way}.",
                    corruption=way,
                )
            )
    return result


class FaceBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """A dataset of faces and their expressions.

    A subclass sets `CODES`, makes its `_info` with `face_info`, and yields what `face`
    returns. What cannot be used is skipped by `skip`, never in silence: the counts and
    the first names are logged and kept in `builder.info.metadata["skipped"]`.

    Attributes:
        CODES: The dataset's name in `keras_fer.labels.DATASET_CODES`.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release."}
    CODES: str

    def face_info(
        self, channels=3, original_label=np.int64, shape=(None, None), **features
    ):
        """The `DatasetInfo`, with the package's README and citation.

        Args:
            channels: 1 for gray images, 3 for RGB.
            original_label: Type of the source's own code: `np.int64` or `np.str_`.
            shape: Height and width, where all images have one size.
            **features: What the source has besides: `votes`, `landmarks` and `bbox` as
                fractions of width and height, `subject`, `video`, `frame`, `valence`,
                `arousal`, attributes.
        """
        config = self.builder_config
        if config.corruption == "corrupted":
            features = {**features, "corruption": tfds.features.Text()}
            features["severity"] = tfds.features.Scalar(np.int64)
        if config.corruption == "occluded":
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
        """A key and an example, or `None` where there is none.

        A code without an expression among the config's classes, and an image that is
        missing or damaged, are skipped.

        Args:
            id: Unique and the same for every build.
            image: Path of an image, or uint8 `(H, W)` or `(H, W, C)`.
            code: The source's own code of the expression.
            label: The expression's name, where not the code but something else decides
                (such as votes).
            **features: See `face_info`.
        """
        if label is None:
            try:
                label = from_dataset(self.CODES, code)
            except ValueError:
                return self.skip(f"label {code!r} outside the codes", id)
            if label is None:
                return self.skip(f"label {code!r} is no expression", id)
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
        if config.corruption is not None:
            stored, facts = corruptions.apply(
                image,
                id,
                config.corruption,
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
        """The folder `manual_dir/NAME`, NAME being the dataset's.

        Args:
            dl_manager: The `tfds.download.DownloadManager`.
            *parts: Folders that must be in it, such as `"Emotion"`.

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
        """Counts and names something that is left out."""
        skipped = self.info.metadata["skipped"].setdefault(
            reason, {"count": 0, "first": []}
        )
        skipped["count"] += 1
        if len(skipped["first"]) < _NAMES:
            skipped["first"].append(str(name))

    @contextlib.contextmanager
    def uncounted(self):
        """Skips inside are not counted: those of faces that an earlier split had."""
        counted = self.info.metadata["skipped"]
        self.info.metadata["skipped"] = {}
        try:
            yield
        finally:
            self.info.metadata["skipped"] = counted

    def _download_and_prepare(self, dl_manager, download_config):
        """Builds, then says what was skipped."""
        # Whatever an earlier build, or half of one, has counted is not this one's.
        self.info.metadata["skipped"] = {}
        # TFDS keeps up to 1,000 MiB of examples in memory before it sorts them on disk.
        kept = shuffle.MAX_MEM_BUFFER_SIZE
        shuffle.MAX_MEM_BUFFER_SIZE = _BUFFER
        try:
            super()._download_and_prepare(dl_manager, download_config)
        finally:
            shuffle.MAX_MEM_BUFFER_SIZE = kept
        for reason, skipped in self.info.metadata["skipped"].items():
            logging.warning(
                "%s: %d skipped, %s, such as %s",
                self.name,
                skipped["count"],
                reason,
                ", ".join(skipped["first"][:3]),
            )


def _read(path, channels):
    """What to store of an image, and its pixels."""
    with open(path, "rb") as file:
        content = file.read()
    with Image.open(io.BytesIO(content)) as image:
        pixels = np.asarray(image.convert("L" if channels == 1 else "RGB"))
        pixels = pixels.reshape(*pixels.shape[:2], channels)
        # A gray file among RGB ones would come out gray where OpenCV decodes it, as
        # `tfds.data_source` has it do.
        mode = "L" if channels == 1 else "RGB"
        if image.format in _STORED_AS_THEY_ARE and image.mode == mode:
            return io.BytesIO(content), pixels
    return pixels, pixels
