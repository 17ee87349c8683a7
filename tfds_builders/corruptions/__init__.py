"""Masked, occluded and corrupted images, deterministic by id.

A result depends on the image, its id and the arguments alone: not on the process, the
hash seed or earlier calls. Severities of one corruption share their noise and differ in
its strength.

Masks and occlusions of facial parts follow landmarks where they are given: 68 points in
iBUG's order, or five (eyes, nose, mouth corners). Otherwise they follow the typical
proportions of a face in its box.

Importing this is cheap: OpenCV, keras-cv and TensorFlow are imported on first use.
"""

import hashlib

import numpy as np

from tfds_builders.corruptions import corruptions, masks, occlusions
from tfds_builders.corruptions.face import Face

__all__ = ["CORRUPTIONS", "FAMILIES", "OCCLUSIONS", "SEVERITIES", "apply", "check"]

FAMILIES = ("masked", "occluded", "corrupted")
OCCLUSIONS = tuple(occlusions.KINDS)
CORRUPTIONS = tuple(corruptions.KINDS)
SEVERITIES = (1, 2, 3, 4, 5)

_KINDS = {None: (), "masked": (), "occluded": OCCLUSIONS, "corrupted": CORRUPTIONS}


def check(family, kind, severity):
    """Checks that a family, its kind and its severity go together.

    Args:
        family: `None` or one of `FAMILIES`.
        kind: One of `OCCLUSIONS` for `"occluded"`, one of `CORRUPTIONS` for
            `"corrupted"`, else `None`; `None` is valid for every family.
        severity: `None`, or for `"corrupted"` one of `SEVERITIES`.

    Raises:
        ValueError: They do not.
    """
    if family not in _KINDS:
        raise ValueError(
            f"family must be None or one of {', '.join(FAMILIES)}, got {family!r}."
        )
    kinds = _KINDS[family]
    if kind is not None and kind not in kinds:
        choices = f"None or one of {', '.join(kinds)}" if kinds else "None"
        raise ValueError(f"kind must be {choices} for family={family!r}, got {kind!r}.")
    if severity is None:
        return
    if family != "corrupted":
        raise ValueError(
            f"severity must be None for family={family!r}, got {severity!r}: only "
            "corrupted images have one."
        )
    if isinstance(severity, bool) or severity not in SEVERITIES:
        raise ValueError(
            f"severity must be None or one of {', '.join(map(str, SEVERITIES))}, got "
            f"{severity!r}."
        )


def apply(image, id, family, kind=None, severity=None, landmarks=None, bbox=None):
    """Masks, occludes or corrupts an image.

    Args:
        image: uint8 `(H, W, 1)` or `(H, W, 3)`.
        id: Seeds everything random, by its `repr`: `7`, `"7"` and `np.int64(7)` differ.
        family: One of `FAMILIES`, or `None` for the image as it is.
        kind: One of `OCCLUSIONS` or `CORRUPTIONS`; `None` draws one by the id.
        severity: Of a corruption, 1 to 5; `None` draws one by the id.
        landmarks: `(68, 2)` or `(5, 2)`, x and y as fractions of width and height.
            Arrays of another shape, with values that are not finite, or without extent
            along an axis are treated as `None`.
        bbox: Face box, a `tfds.features.BBox` of fractions; `None` where the face fills
            the image.

    Returns:
        The new image, of the same shape and type, and what was applied: `{}`,
        `{"occlusion": kind}`, or `{"corruption": kind, "severity": severity}`.

    Raises:
        ValueError: The image is no such array, or `check` fails.
    """
    check(family, kind, severity)
    image = np.asarray(image)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] not in (1, 3):
        raise ValueError(
            "image must be uint8 of shape (H, W, 1) or (H, W, 3), got "
            f"{image.dtype} of shape {image.shape}."
        )
    if family is None:
        return image, {}
    kinds = _KINDS[family]
    choice = _generator(id, family)
    # Both are always drawn: the severity of an id does not depend on whether its kind
    # was given.
    drawn_kind = str(choice.choice(kinds)) if kinds else None
    drawn_severity = int(choice.choice(SEVERITIES))
    kind = drawn_kind if kind is None else kind
    rng = _generator(id, family, kind)
    if family == "masked":
        return masks.mask(image, Face(landmarks, bbox), rng), {}
    if family == "occluded":
        image = occlusions.KINDS[kind](image, Face(landmarks, bbox), rng)
        return image, {"occlusion": kind}
    severity = drawn_severity if severity is None else int(severity)
    image = corruptions.KINDS[kind](image, severity, rng)
    return image, {"corruption": kind, "severity": severity}


def _generator(*parts):
    """A random generator seeded by these parts, the same in every process."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=16).digest()
    return np.random.default_rng(int.from_bytes(digest))
