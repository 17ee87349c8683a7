"""A drawn face and its landmarks, and every kind of corruption."""

import hashlib

import numpy as np
from PIL import Image, ImageDraw

from tfds_builders import corruptions

ALL = [
    ("masked", None),
    *(("occluded", kind) for kind in corruptions.OCCLUSIONS),
    *(("corrupted", kind) for kind in corruptions.CORRUPTIONS),
]


def face(size=100, channels=3):
    """A drawn face, uint8 (size, size, channels)."""
    image = Image.new("RGB", (200, 200), (70, 90, 80))
    draw = ImageDraw.Draw(image)
    draw.ellipse([10, -5, 190, 198], fill=(215, 170, 140))
    for x in (60, 140):
        draw.ellipse([x - 16, 68, x + 16, 84], fill="white")
        draw.ellipse([x - 7, 70, x + 7, 83], fill=(40, 30, 20))
    draw.line([100, 84, 92, 120, 106, 120], fill=(150, 100, 80), width=4)
    draw.arc([70, 130, 130, 168], 20, 160, fill=(170, 40, 40), width=6)
    image = image.convert("RGB" if channels == 3 else "L")
    image = image.resize((size, size), Image.Resampling.BOX)
    return np.asarray(image).reshape(size, size, channels)


def points(turn=0.0):
    """68 points of a plain face, turned about its middle by an angle."""
    angle = np.linspace(0, np.pi, 17)
    jaw = np.stack([0.5 - 0.42 * np.cos(angle), 0.38 + 0.56 * np.sin(angle)], axis=1)
    brows = np.stack([np.linspace(0.2, 0.8, 10), np.full(10, 0.28)], axis=1)
    nose = np.stack([np.full(4, 0.5), np.linspace(0.38, 0.58, 4)], axis=1)
    nostrils = np.stack([np.linspace(0.44, 0.56, 5), np.full(5, 0.62)], axis=1)
    round6 = np.linspace(0, 2 * np.pi, 6, endpoint=False)
    eye = np.stack([0.08 * np.cos(round6), 0.03 * np.sin(round6)], axis=1)
    outer = np.pi + np.linspace(0, 2 * np.pi, 12, endpoint=False)
    mouth = np.stack([0.15 * np.cos(outer), 0.05 * np.sin(outer)], axis=1)
    mouth = np.concatenate([mouth, 0.6 * mouth[[0, 2, 3, 4, 6, 8, 9, 10]]])
    parts = [jaw, brows, nose, nostrils, eye + [0.32, 0.38], eye + [0.68, 0.38]]
    result = np.concatenate([*parts, mouth + [0.5, 0.75]]) - 0.5
    matrix = [[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]
    return result @ matrix + 0.5


def five(points):
    eyes = points[36:48].reshape(2, 6, 2).mean(axis=1)
    return np.concatenate([eyes, points[[30, 48, 54]]])


def changed(image, family, kind=None, at=(), **where):
    """Whether the pixels at these points (fractions) are other than before."""
    result, _ = corruptions.apply(image, "face", family, kind, **where)
    x, y = np.int64(np.asarray(at) * image.shape[1::-1]).T
    return (result != image).any(axis=2)[y, x]


def fingerprint(backwards=False):
    """A hash of many results for one face, in either order."""
    jobs = [(family, kind, f"id{n}") for family, kind in ALL for n in range(2)]
    jobs += [
        (family, None, f"id{n}") for family in corruptions.FAMILIES for n in range(12)
    ]
    image = face(48, 1)
    done = {}
    for family, kind, name in reversed(jobs) if backwards else jobs:
        result, facts = corruptions.apply(image, name, family, kind)
        done[family, kind, name] = result.tobytes(), facts
    return hashlib.sha1(repr([done[job] for job in jobs]).encode()).hexdigest()
