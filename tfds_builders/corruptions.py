"""Images made harder: masked, occluded, corrupted. Deterministic by id.

A derivation depends on the image and its id alone: not on the process, the machine's
hash seed, or what was derived before. Between severities of one corruption the noise
is the same, only stronger.

Masks and the occlusions of a part of the face follow landmarks where there are any:
68 points in iBUG's order, or five (eyes, nose, mouth corners). Otherwise they follow
the usual proportions of a face within its box.
"""

import hashlib
import io

import numpy as np
from PIL import Image, ImageDraw

FAMILIES = ("masked", "occluded", "corrupted")
OCCLUSIONS = (
    "eyes",
    "mouth",
    "half_left",
    "half_right",
    "random_block",
    "grid",
    "cutout",
)
SEVERITIES = (1, 2, 3, 4, 5)

# Parameters of Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to
# Common Corruptions and Perturbations", ICLR 2019 (github.com/hendrycks/robustness):
# those of CIFAR-10-C, made for 32 px, and of ImageNet-C, made for 224 px. The first
# are for images of up to 64 px, the second, far too strong for those, for larger
# ones. Lengths (radii, sigmas, shifts) are in pixels of 32 and 224 px
# and scaled to the image's shorter side.
_PARAMETERS = {
    "gaussian_noise": (
        (0.04, 0.06, 0.08, 0.09, 0.10),
        (0.08, 0.12, 0.18, 0.26, 0.38),
    ),
    "shot_noise": ((500, 250, 100, 75, 50), (60, 25, 12, 5, 3)),
    "impulse_noise": ((0.01, 0.02, 0.03, 0.05, 0.07), (0.03, 0.06, 0.09, 0.17, 0.27)),
    # radius, blur of the disk's edge
    "defocus_blur": (
        ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),
        ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
    ),
    # sigma, shift, iterations
    "glass_blur": (
        ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)),
        ((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)),
    ),
    # radius, sigma
    "motion_blur": (
        ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)),
        ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),
    ),
    # last zoom, step
    "zoom_blur": (
        ((1.06, 0.01), (1.11, 0.01), (1.16, 0.01), (1.21, 0.01), (1.26, 0.01)),
        ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03)),
    ),
    # mean, deviation, zoom of the flakes, threshold, radius, sigma, share of image
    "snow": (
        (
            (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
            (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
            (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
            (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
            (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
        ),
        (
            (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
            (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
            (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
            (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
            (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
        ),
    ),
    # shares of image and frost
    "frost": (
        ((1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45)),
        ((1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75)),
    ),
    # thickness, decay of the fractal
    "fog": (
        ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)),
        ((1.5, 2), (2.0, 2), (2.5, 1.7), (2.5, 1.5), (3.0, 1.4)),
    ),
    "brightness": ((0.05, 0.1, 0.15, 0.2, 0.3), (0.1, 0.2, 0.3, 0.4, 0.5)),
    "contrast": ((0.75, 0.5, 0.4, 0.3, 0.15), (0.4, 0.3, 0.2, 0.1, 0.05)),
    # strength, sigma, shift of the corners
    "elastic_transform": (
        (
            (0, 0, 2.56),
            (1.6, 6.4, 2.24),
            (2.56, 1.92, 1.92),
            (3.2, 1.28, 1.6),
            (3.2, 0.96, 0.96),
        ),
        (
            (488, 170.8, 24.4),
            (488, 19.52, 48.8),
            (12.2, 2.44, 4.88),
            (17.08, 2.44, 4.88),
            (29.28, 2.44, 4.88),
        ),
    ),
    "pixelate": ((0.95, 0.9, 0.85, 0.75, 0.65), (0.6, 0.5, 0.4, 0.3, 0.25)),
    "jpeg_compression": ((80, 65, 58, 50, 40), (25, 18, 15, 10, 7)),
}
CORRUPTIONS = tuple(_PARAMETERS)

_KINDS = {None: (), "masked": (), "occluded": OCCLUSIONS, "corrupted": CORRUPTIONS}

# A face in its box, by the usual proportions: fractions of width and height.
_EYES = np.array([[0.30, 0.38], [0.70, 0.38]])
_NOSE = np.array([[0.50, 0.60]])
_MOUTH = np.array([[0.35, 0.78], [0.65, 0.78]])
_LIPS = np.array([[0.50, 0.72], [0.50, 0.86]])
_BRIDGE = np.array([[0.50, 0.46]])
# From the left cheek over the chin to the right one, and the tops of the ears.
_JAW = np.array(
    [
        [0.05, 0.52],
        [0.08, 0.66],
        [0.15, 0.80],
        [0.29, 0.92],
        [0.50, 0.98],
        [0.71, 0.92],
        [0.85, 0.80],
        [0.92, 0.66],
        [0.95, 0.52],
    ]
)
_EARS = np.array([[-0.01, 0.38], [1.01, 0.38]])

# Cloths in light that shows all of their color.
_CLOTHS = ((150, 196, 218), (238, 240, 242), (158, 206, 186))


def check(way, kind, severity):
    """Raises a `ValueError` where a derivation is not one of those here.

    Args:
        way: `None` or one of `FAMILIES`.
        kind: `None`, or one of `OCCLUSIONS` or `CORRUPTIONS` where the way has kinds.
        severity: `None`, or 1 to 5 for `"corrupted"`.
    """
    if way not in _KINDS:
        raise ValueError(
            f"Unknown way to derive images. Received: corruption={way!r}. "
            f"Expected None or one of {', '.join(FAMILIES)}."
        )
    kinds = _KINDS[way]
    if kind is not None and kind not in kinds:
        expected = f"None or one of {', '.join(kinds)}" if kinds else "None"
        raise ValueError(
            f"Unknown kind. Received: corruption={way!r}, kind={kind!r}. "
            f"Expected {expected}."
        )
    if severity is None:
        return
    if way != "corrupted":
        raise ValueError(
            f"Only corruptions have a severity. Received: corruption={way!r}, "
            f"severity={severity!r}. Expected None."
        )
    if isinstance(severity, bool) or severity not in SEVERITIES:
        raise ValueError(
            f"Unknown severity. Received: severity={severity!r}. Expected None or one "
            f"of {', '.join(map(str, SEVERITIES))}."
        )


def apply(image, id, way, kind=None, severity=None, landmarks=None, bbox=None):
    """Derives an image.

    Args:
        image: uint8 `(H, W, 1)` or `(H, W, 3)`.
        id: Decides whatever is left to chance.
        way: One of `FAMILIES`.
        kind: One of `OCCLUSIONS` or `CORRUPTIONS`; `None` for one that the id decides.
        severity: Of a corruption, 1 to 5; `None` for one that the id decides.
        landmarks: `(68, 2)` or `(5, 2)`, x and y as fractions of width and height.
            Other numbers of points, and points that are not finite or all the same,
            are as none.
        bbox: Box of the face, a `tfds.features.BBox` of fractions; `None` where the
            whole image is the face.

    Returns:
        The derived image, of the same shape and type, and the facts about it: none,
        `{"occlusion": kind}`, or `{"corruption": kind, "severity": severity}`.
    """
    check(way, kind, severity)
    image = np.asarray(image)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] not in (1, 3):
        raise ValueError(
            f"Not an image. Received: shape={image.shape}, dtype={image.dtype}. "
            "Expected uint8 of shape (H, W, 1) or (H, W, 3)."
        )
    if way is None:
        return image, {}
    kinds = _KINDS[way]
    chosen = _random(id, way)
    # Both are drawn in any case: the id decides the same severity for a given kind.
    drawn = str(chosen.choice(kinds)) if kinds else None
    strength = int(chosen.choice(SEVERITIES))
    kind = drawn if kind is None else kind
    rng = _random(id, way, kind)
    if way == "masked":
        return _mask(image, _Face(landmarks, bbox), rng), {}
    if way == "occluded":
        return _occlude(image, kind, _Face(landmarks, bbox), rng), {"occlusion": kind}
    severity = strength if severity is None else int(severity)
    facts = {"corruption": kind, "severity": severity}
    return _corrupt(image, kind, severity, rng), facts


def _random(*parts):
    """A generator that these parts decide, in every process."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=16).digest()
    return np.random.default_rng(int.from_bytes(digest))


class _Face:
    """Where the parts of a face are: points as fractions of the image."""

    def __init__(self, landmarks, bbox):
        low, high = np.zeros(2), np.ones(2)
        if bbox is not None:
            low = np.array([bbox.xmin, bbox.ymin], float)
            high = np.array([bbox.xmax, bbox.ymax], float)
        self.box = low, high

        points = None if landmarks is None else np.asarray(landmarks, float)
        if points is not None and not (
            points.shape in ((68, 2), (5, 2))
            and np.isfinite(points).all()
            and (np.ptp(points, axis=0) > 0).all()
        ):
            points = None

        if points is not None and len(points) == 68:
            self.eyes = points[36:48].reshape(2, 6, 2).mean(axis=1)
            self.bridge = points[28:30].mean(axis=0)
            self.mouth = points[48:]
            self.jaw, self.ears = points[2:15], points[[0, 16]]
            return
        if points is None:
            corners = np.array([[0, 0], [1, 0], [0, 1]])
            template, points = corners, low + corners * (high - low)
        else:
            template = np.concatenate([_EYES, _NOSE, _MOUTH])
        # The affine map that takes the usual points to those of this face.
        template = np.insert(template, 2, 1, axis=1)
        matrix = np.linalg.lstsq(template, points, rcond=None)[0]
        self.eyes, self.bridge, self.mouth, self.jaw, self.ears = (
            np.insert(part, 2, 1, axis=1) @ matrix
            for part in (_EYES, _BRIDGE, np.concatenate([_MOUTH, _LIPS]), _JAW, _EARS)
        )
        self.bridge = self.bridge[0]

    @property
    def width(self):
        """Of the face, from cheek to cheek."""
        return np.linalg.norm(self.jaw[-1] - self.jaw[0])


# Masks.


def _mask(image, face, rng):
    """A surgical mask from the bridge of the nose along the jaw to the chin."""
    height, width = image.shape[:2]
    size = np.array([width, height])
    # Drawn larger and shrunk, so that edges are smooth; large images less so, since
    # it would take much memory.
    over = int(np.clip(2048 // max(height, width), 1, 4))

    def pixels(points):
        return [tuple(point) for point in points * size * over]

    along = np.linspace(0, 1, 33)[:, None]
    lower = _resample(face.jaw, len(along))
    straight = lower[0] + along * (lower[-1] - lower[0])
    bump = np.sin(np.pi * along) ** 1.3
    upper = straight + bump * (face.bridge - straight[len(along) // 2])
    line = max(1, round(0.012 * face.width * width * over))

    cover = Image.new("L", tuple((size * over).tolist()))
    light = Image.new("L", cover.size, 255)
    draw, shade = ImageDraw.Draw(cover), ImageDraw.Draw(light)
    for ear, side in ((face.ears[0], 1), (face.ears[1], -1)):
        # A strap from the upper corner and one from further down the cheek.
        cheek = lower[:: 1 if side == 1 else -1][6]
        for corner in (lower[0 if side == 1 else -1], cheek):
            draw.line(pixels(np.array([corner, ear])), fill=255, width=line)
    draw.polygon(pixels(np.concatenate([upper, lower[::-1]])), fill=255)
    for i in range(len(along) - 1):  # It is round: darker towards the cheeks.
        strip = np.concatenate([upper[i : i + 2], lower[i : i + 2][::-1]])
        fill = 165 + 90 * np.sin(np.pi * (i + 0.5) / (len(along) - 1)) ** 0.7
        shade.polygon(pixels(strip), fill=int(fill))
    for down in (0.28, 0.46, 0.64):  # Pleats: a dark fold, a bright one under it.
        fold = upper + down * (lower - upper)
        shade.line(pixels(fold), fill=150, width=line, joint="curve")
        shade.line(
            pixels(fold + 0.02 * (lower - upper)), fill=240, width=line, joint="curve"
        )
    shade.line(pixels(upper), fill=190, width=2 * line, joint="curve")

    cover, light = (
        np.asarray(canvas.resize((width, height), Image.Resampling.BOX), float) / 255
        for canvas in (cover, light)
    )
    if not cover.any():  # The face lies outside of the image.
        return image.copy()
    cloth = np.array(_CLOTHS[rng.integers(len(_CLOTHS))], float)
    if image.shape[2] == 1:
        cloth = cloth @ [[0.299], [0.587], [0.114]]
    # As bright as the face behind it.
    around = (
        np.percentile(image.max(axis=2)[cover > 0.5], 75) if cover.max() > 0.5 else 0
    )
    cloth = cloth * np.clip(around / 200, 0.35, 1)
    cover, light = cover[..., None], light[..., None]
    return np.rint(image * (1 - cover) + cloth * light * cover).astype(np.uint8)


def _resample(points, number):
    """Points at even steps along a line."""
    steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
    place = np.concatenate([[0], np.cumsum(steps)])
    wanted = np.linspace(0, place[-1], number)
    return np.stack([np.interp(wanted, place, axis) for axis in points.T], axis=1)


# Occlusions.


def _occlude(image, kind, face, rng):
    """Blackens a part."""
    if kind in ("grid", "cutout"):
        return _occlude_with_keras_cv(image, kind, rng)
    low, high = face.box
    if kind in ("eyes", "mouth"):
        points = face.eyes if kind == "eyes" else face.mouth
        # The points lie within the part: some of the eyes' distance is added.
        spread = np.ptp(face.eyes[:, 0])
        around = spread * np.array([0.45, 0.28] if kind == "eyes" else [0.20, 0.14])
        around[1] *= image.shape[1] / image.shape[0]
        low, high = points.min(axis=0) - around, points.max(axis=0) + around
    elif kind == "random_block":
        side = rng.uniform(0.3, 0.5)
        low = low + rng.uniform(0, 1 - side, 2) * (high - low)
        high = low + side * (face.box[1] - face.box[0])
    else:
        middle = np.clip((face.bridge[0] + face.mouth[:, 0].mean()) / 2, 0, 1)
        low, high = low.copy(), high.copy()
        (high if kind == "half_left" else low)[0] = middle
    size = np.array(image.shape[1::-1])
    (x0, y0), (x1, y1) = np.clip(np.rint([low * size, high * size]), 0, size).astype(
        int
    )
    image = image.copy()
    image[y0:y1, x0:x1] = 0
    return image


def _occlude_with_keras_cv(image, kind, rng):
    """GridMask or RandomCutout of keras-cv."""
    import keras_cv
    import tensorflow as tf

    # With a seed of 0 and with ranges as factors, these layers draw from TensorFlow's
    # global state. With any other seed and fixed factors, from a generator of their
    # own, so a new layer with a seed is the same anywhere.
    seed = int(rng.integers(1, 2**31))

    def fixed(low, high):
        return keras_cv.core.ConstantFactorSampler(float(rng.uniform(low, high)))

    if kind == "grid":
        layer = keras_cv.layers.GridMask(fixed(0.3, 0.6), 0.1, seed=seed)
    else:
        layer = keras_cv.layers.RandomCutout(
            fixed(0.3, 0.5), fixed(0.3, 0.5), seed=seed
        )
    result = layer(tf.convert_to_tensor(image, tf.float32), training=True)
    return np.asarray(result).astype(np.uint8)


# Corruptions. Each takes and returns float32 (H, W, C) in 0 to 1.


def _corrupt(image, kind, severity, rng):
    side = min(image.shape[:2])
    small = side <= 64
    parameters = _PARAMETERS[kind][0 if small else 1][severity - 1]
    if not isinstance(parameters, tuple):
        parameters = (parameters,)
    scale = side / (32 if small else 224)
    x = image.astype(np.float32) / 255
    x = _CORRUPT[kind](x, scale, rng, *parameters)
    x = x.reshape(image.shape)  # OpenCV drops an axis of one channel.
    return np.rint(np.clip(x, 0, 1) * 255).astype(np.uint8)


def _gaussian_noise(x, scale, rng, deviation):
    return x + deviation * rng.standard_normal(x.shape)


def _shot_noise(x, scale, rng, photons):
    return rng.poisson(x * photons) / photons


def _impulse_noise(x, scale, rng, amount):
    chance, salt = rng.random(x.shape), rng.random(x.shape) < 0.5
    return np.where(chance < amount, salt, x)


def _defocus_blur(x, scale, rng, radius, edge):
    import cv2

    # A disk of the pixels that the radius was made for, drawn finer than ours: of the
    # scale, these are no whole number.
    fine, sigma = 8, edge * scale
    reach = int(np.ceil((radius + 0.5) * scale + 3 * sigma))
    side = 2 * reach + 1
    axis = (np.arange(side * fine) + 0.5) / fine - side / 2
    axis = np.rint(axis / scale) ** 2
    disk = (axis[:, None] + axis <= radius**2).astype(np.float32)
    disk = disk.reshape(side, fine, side, fine).mean(axis=(1, 3))
    disk = cv2.GaussianBlur(disk, (0, 0), sigma)
    return cv2.filter2D(x, -1, disk / disk.sum())


def _glass_blur(x, scale, rng, sigma, shift, iterations):
    x = _blur(x, sigma * scale)
    height, width = x.shape[:2]
    rows, columns = np.mgrid[:height, :width]
    for _ in range(iterations):
        # Every pixel takes the value of a near one. A scaled shift is no whole number
        # of pixels: it is rounded up as often as its fraction says.
        shifts = scale * rng.integers(-shift, shift, (2, height, width))
        down, right = np.floor(shifts + rng.random(shifts.shape)).astype(int)
        x = x[
            np.clip(rows + down, 0, height - 1), np.clip(columns + right, 0, width - 1)
        ]
    return _blur(x, sigma * scale)


def _motion_blur(x, scale, rng, radius, sigma):
    return _move(x, radius * scale, sigma * scale, rng.uniform(-45, 45))


def _zoom_blur(x, scale, rng, last, step):
    import cv2

    height, width = x.shape[:2]
    zooms = np.arange(1, last, step)
    total = x.copy()
    for zoom in zooms:
        matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), 0, zoom)
        total += cv2.warpAffine(x, matrix, (width, height)).reshape(x.shape)
    return total / (len(zooms) + 1)


def _snow(x, scale, rng, mean, deviation, zoom, threshold, radius, sigma, share):
    import cv2

    height, width = x.shape[:2]
    # Flakes are of one pixel of the size that the parameters were made for.
    grow = zoom * max(scale, 1)
    size = max(2, round(height / grow)), max(2, round(width / grow))
    flakes = mean + deviation * rng.standard_normal(size)
    flakes = cv2.resize(flakes, (width, height), interpolation=cv2.INTER_LINEAR)
    flakes = np.clip(np.where(flakes < threshold, 0, flakes), 0, 1)
    flakes = _move(flakes, radius * scale, sigma * scale, rng.uniform(-135, -45))
    gray = x @ np.float32([0.299, 0.587, 0.114]) if x.shape[2] == 3 else x[..., 0]
    x = share * x + (1 - share) * np.maximum(x, gray[..., None] * 1.5 + 0.5)
    return x + (flakes + np.rot90(flakes, 2))[..., None]


def _frost(x, scale, rng, share, thickness):
    ice = _ice(*x.shape[:2], rng)[..., None]
    if x.shape[2] == 3:
        ice = ice * [0.86, 0.95, 1.0]
    return share * x + thickness * ice


def _fog(x, scale, rng, thickness, decay):
    brightest = x.max()
    x = x + thickness * _fractal(*x.shape[:2], decay, rng)[..., None]
    return x * brightest / (brightest + thickness)


def _brightness(x, scale, rng, more):
    # The value of HSV rises; hue and saturation stay.
    value = x.max(axis=2, keepdims=True)
    brighter = np.clip(value + more, 0, 1)
    return np.where(value > 0, x * brighter / np.maximum(value, 1e-6), brighter)


def _contrast(x, scale, rng, share):
    mean = x.mean(axis=(0, 1))
    return (x - mean) * share + mean


def _elastic_transform(x, scale, rng, strength, sigma, corners):
    import cv2

    height, width = x.shape[:2]
    middle = np.float32([width // 2, height // 2])
    reach = min(height, width) // 3
    points = middle + reach * np.float32([[1, 1], [1, -1], [-1, -1]])
    moved = points + corners * scale * rng.uniform(-1, 1, (3, 2)).astype(np.float32)
    matrix = cv2.getAffineTransform(points, moved.astype(np.float32))
    border = cv2.BORDER_REFLECT_101
    x = cv2.warpAffine(x, matrix, (width, height), borderMode=border)
    columns, rows = np.meshgrid(np.arange(width), np.arange(height))
    right, down = (
        strength * scale * _blur(rng.uniform(-1, 1, (height, width)), sigma * scale)
        for _ in range(2)
    )
    return cv2.remap(
        x,
        (columns + right).astype(np.float32),
        (rows + down).astype(np.float32),
        cv2.INTER_LINEAR,
        borderMode=border,
    )


def _pixelate(x, scale, rng, share):
    height, width = x.shape[:2]
    image = _image(x)
    size = max(1, int(width * share)), max(1, int(height * share))
    image = image.resize(size, Image.Resampling.BOX)
    image = image.resize((width, height), Image.Resampling.BOX)
    return np.asarray(image, np.float32) / 255


def _jpeg_compression(x, scale, rng, quality):
    file = io.BytesIO()
    _image(x).save(file, "JPEG", quality=quality)
    with Image.open(file) as image:
        return np.asarray(image, np.float32) / 255


_CORRUPT = {kind: globals()[f"_{kind}"] for kind in CORRUPTIONS}


def _image(x):
    x = np.rint(x * 255).astype(np.uint8)
    return Image.fromarray(x[..., 0] if x.shape[2] == 1 else x)


def _blur(x, sigma):
    import cv2

    if sigma <= 0:
        return x
    return cv2.GaussianBlur(x, (0, 0), sigma, borderType=cv2.BORDER_REFLECT).reshape(
        x.shape
    )


def _move(x, radius, sigma, angle):
    """Motion blur: a half Gaussian along a line, as ImageMagick's."""
    import cv2

    steps = np.arange(2 * max(1, round(radius)) + 1)
    weights = np.exp(-(steps**2) / (2 * sigma**2))
    way = np.deg2rad(angle)
    reach = len(steps) - 1
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
    places = np.rint([steps * np.sin(way), steps * np.cos(way)]).astype(int)
    np.add.at(kernel, tuple(reach + places), weights / weights.sum())
    return cv2.filter2D(x, -1, kernel, borderType=cv2.BORDER_REPLICATE)


def _fractal(height, width, decay, rng):
    """Cloudy noise from 0 to 1: every finer octave is weaker by `decay`.

    As the benchmark's diamond-square plasma, up to its grid.
    """
    import cv2

    total, weight, cells = np.zeros((height, width)), 1.0, 2
    while cells <= max(height, width):
        coarse = rng.uniform(-1, 1, (cells + 1, cells + 1))
        fine = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
        total += weight * fine
        weight, cells = weight / decay, cells * 2
    total -= total.min()
    return total / max(total.max(), 1e-6)


def _ice(height, width, rng):
    """Frost on a window from 0 to 1: feathers of needles over a cloudy film.

    The benchmark pastes photographs of frost; these are drawn.
    """
    size = np.ceil(np.array([width, height]) * 256 / max(width, height)).astype(int)
    canvas = Image.new("L", tuple(size.tolist()))
    draw = ImageDraw.Draw(canvas)
    for _ in range(26):
        start, way = rng.uniform(0, size), rng.uniform(0, 2 * np.pi)
        _needle(draw, start, way, rng.uniform(60, 150), 3)
    needles = canvas.resize((width, height), Image.Resampling.BOX)
    film = _fractal(height, width, 1.7, rng)
    return np.clip(0.25 + 0.45 * film + 0.5 * np.asarray(needles) / 255, 0, 1)


def _needle(draw, start, way, length, depth):
    """A needle of ice and, at 60 degrees, smaller ones on its sides."""
    end = start + length * np.array([np.cos(way), np.sin(way)])
    draw.line([*start, *end], fill=110 + 45 * depth, width=depth)
    if depth == 1:
        return
    for place in np.arange(0.12, 0.95, 0.11):
        for side in (-1, 1):
            _needle(
                draw,
                start + place * (end - start),
                way + side * np.pi / 3,
                0.38 * length * (1 - place),
                depth - 1,
            )
