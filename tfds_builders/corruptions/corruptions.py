"""The 15 common corruptions of Hendrycks and Dietterich (ICLR 2019).

Parameters are those of "Benchmarking Neural Network Robustness to Common Corruptions
and Perturbations" (github.com/hendrycks/robustness): `small` those of CIFAR-10-C, made
for 32 pixels and used here for images of up to 64, `large` those of ImageNet-C, made
for 224 pixels and used for all others. Lengths (radii, sigmas, shifts) are in pixels of
32 or 224 and scaled to the image's shorter side.
"""

import functools
import io

import numpy as np
from PIL import Image, ImageDraw

from tfds_builders.corruptions.registry import Registry

KINDS = Registry()


def _corruption(small, large):
    """Registers a corruption with its parameters, one entry per severity.

    The decorated function maps float32 `(H, W, C)` in 0 to 1, a scale for lengths, a
    `numpy.random.Generator` and the parameters of one severity to an array of the same
    size; values outside 0 to 1 are clipped. What is registered maps a uint8 image, a
    severity and a generator to a uint8 image.
    """

    def register(function):
        @functools.wraps(function)
        def corrupt(image, severity, rng):
            side = min(image.shape[:2])
            levels, made_for = (small, 32) if side <= 64 else (large, 224)
            parameters = levels[severity - 1]
            if not isinstance(parameters, tuple):
                parameters = (parameters,)
            x = image.astype(np.float32) / 255
            x = function(x, side / made_for, rng, *parameters)
            x = x.reshape(image.shape)  # OpenCV drops an axis of one channel.
            return np.rint(np.clip(x, 0, 1) * 255).astype(np.uint8)

        KINDS.register(corrupt)
        return function

    return register


@_corruption(
    small=(0.04, 0.06, 0.08, 0.09, 0.1),
    large=(0.08, 0.12, 0.18, 0.26, 0.38),
)
def gaussian_noise(x, scale, rng, deviation):
    """Normal noise."""
    return x + deviation * rng.standard_normal(x.shape)


@_corruption(
    small=(500, 250, 100, 75, 50),
    large=(60, 25, 12, 5, 3),
)
def shot_noise(x, scale, rng, photons):
    """Poisson noise of few photons."""
    return rng.poisson(x * photons) / photons


@_corruption(
    small=(0.01, 0.02, 0.03, 0.05, 0.07),
    large=(0.03, 0.06, 0.09, 0.17, 0.27),
)
def impulse_noise(x, scale, rng, fraction):
    """Salt and pepper."""
    chance, salt = rng.random(x.shape), rng.random(x.shape) < 0.5
    return np.where(chance < fraction, salt, x)


@_corruption(
    small=((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),
    large=((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
)
def defocus_blur(x, scale, rng, radius, edge_sigma):
    """Convolution with a disk."""
    import cv2

    # A disk in pixels of the original size, supersampled because the scale is not an
    # integer.
    fine, sigma = 8, edge_sigma * scale
    reach = int(np.ceil((radius + 0.5) * scale + 3 * sigma))
    side = 2 * reach + 1
    axis = (np.arange(side * fine) + 0.5) / fine - side / 2
    axis = np.rint(axis / scale) ** 2
    disk = (axis[:, None] + axis <= radius**2).astype(np.float32)
    disk = disk.reshape(side, fine, side, fine).mean(axis=(1, 3))
    disk = cv2.GaussianBlur(disk, (0, 0), sigma)
    return cv2.filter2D(x, -1, disk / disk.sum())


@_corruption(
    small=((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)),
    large=((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)),
)
def glass_blur(x, scale, rng, sigma, shift, iterations):
    """Pixels swapped with near ones between two Gaussian blurs."""
    x = _blur(x, sigma * scale)
    height, width = x.shape[:2]
    rows, columns = np.mgrid[:height, :width]
    for _ in range(iterations):
        # Every pixel takes the value of a neighbor. Scaled shifts are rounded
        # stochastically to whole pixels.
        shifts = scale * rng.integers(-shift, shift, (2, height, width))
        down, right = np.floor(shifts + rng.random(shifts.shape)).astype(int)
        x = x[
            np.clip(rows + down, 0, height - 1), np.clip(columns + right, 0, width - 1)
        ]
    return _blur(x, sigma * scale)


@_corruption(
    small=((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)),
    large=((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),
)
def motion_blur(x, scale, rng, radius, sigma):
    """Blur along a line at -45 to 45 degrees."""
    return _move(x, radius * scale, sigma * scale, rng.uniform(-45, 45))


@_corruption(
    small=((1.06, 0.01), (1.11, 0.01), (1.16, 0.01), (1.21, 0.01), (1.26, 0.01)),
    large=((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03)),
)
def zoom_blur(x, scale, rng, last, step):
    """Mean of the image at several zooms."""
    import cv2

    height, width = x.shape[:2]
    zooms = np.arange(1, last, step)
    total = x.copy()
    for zoom in zooms:
        matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), 0, zoom)
        total += cv2.warpAffine(x, matrix, (width, height)).reshape(x.shape)
    return total / (len(zooms) + 1)


@_corruption(
    small=(
        (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
        (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
        (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
        (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
        (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
    ),
    large=(
        (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
        (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
        (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
        (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
        (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
    ),
)
def snow(x, scale, rng, mean, deviation, zoom, threshold, radius, sigma, weight):
    """Falling flakes over a whitened image."""
    import cv2

    height, width = x.shape[:2]
    # A flake is one pixel of the original size.
    grow = zoom * max(scale, 1)
    size = max(2, round(height / grow)), max(2, round(width / grow))
    flakes = mean + deviation * rng.standard_normal(size)
    flakes = cv2.resize(flakes, (width, height), interpolation=cv2.INTER_LINEAR)
    flakes = np.clip(np.where(flakes < threshold, 0, flakes), 0, 1)
    flakes = _move(flakes, radius * scale, sigma * scale, rng.uniform(-135, -45))
    gray = x @ np.float32([0.299, 0.587, 0.114]) if x.shape[2] == 3 else x[..., 0]
    x = weight * x + (1 - weight) * np.maximum(x, gray[..., None] * 1.5 + 0.5)
    return x + (flakes + np.rot90(flakes, 2))[..., None]


@_corruption(
    small=((1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45)),
    large=((1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75)),
)
def frost(x, scale, rng, weight, thickness):
    """Ice crystals over a darkened image."""
    ice = _ice(*x.shape[:2], rng)[..., None]
    if x.shape[2] == 3:
        ice = ice * [0.86, 0.95, 1.0]
    return weight * x + thickness * ice


@_corruption(
    small=((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)),
    large=((1.5, 2), (2.0, 2), (2.5, 1.7), (2.5, 1.5), (3.0, 1.4)),
)
def fog(x, scale, rng, thickness, decay):
    """Cloudy noise over the image."""
    brightest = x.max()
    x = x + thickness * _fractal(*x.shape[:2], decay, rng)[..., None]
    return x * brightest / (brightest + thickness)


@_corruption(
    small=(0.05, 0.1, 0.15, 0.2, 0.3),
    large=(0.1, 0.2, 0.3, 0.4, 0.5),
)
def brightness(x, scale, rng, increase):
    """HSV's value is raised; hue and saturation stay."""
    value = x.max(axis=2, keepdims=True)
    brighter = np.clip(value + increase, 0, 1)
    return np.where(value > 0, x * brighter / np.maximum(value, 1e-6), brighter)


@_corruption(
    small=(0.75, 0.5, 0.4, 0.3, 0.15),
    large=(0.4, 0.3, 0.2, 0.1, 0.05),
)
def contrast(x, scale, rng, factor):
    """Distances to the mean of each channel shrink."""
    mean = x.mean(axis=(0, 1))
    return (x - mean) * factor + mean


@_corruption(
    small=(
        (0, 0, 2.56),
        (1.6, 6.4, 2.24),
        (2.56, 1.92, 1.92),
        (3.2, 1.28, 1.6),
        (3.2, 0.96, 0.96),
    ),
    large=(
        (488, 170.8, 24.4),
        (488, 19.52, 48.8),
        (12.2, 2.44, 4.88),
        (17.08, 2.44, 4.88),
        (29.28, 2.44, 4.88),
    ),
)
def elastic_transform(x, scale, rng, strength, sigma, corners):
    """An affine map, then smooth random displacements."""
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


@_corruption(
    small=(0.95, 0.9, 0.85, 0.75, 0.65),
    large=(0.6, 0.5, 0.4, 0.3, 0.25),
)
def pixelate(x, scale, rng, factor):
    """Fewer, larger pixels."""
    height, width = x.shape[:2]
    image = _image(x)
    size = max(1, int(width * factor)), max(1, int(height * factor))
    image = image.resize(size, Image.Resampling.BOX)
    image = image.resize((width, height), Image.Resampling.BOX)
    return np.asarray(image, np.float32) / 255


@_corruption(
    small=(80, 65, 58, 50, 40),
    large=(25, 18, 15, 10, 7),
)
def jpeg_compression(x, scale, rng, quality):
    """JPEG artifacts."""
    file = io.BytesIO()
    _image(x).save(file, "JPEG", quality=quality)
    with Image.open(file) as image:
        return np.asarray(image, np.float32) / 255


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
    """Convolution with a half Gaussian along a line, as ImageMagick's motion blur."""
    import cv2

    steps = np.arange(2 * max(1, round(radius)) + 1)
    weights = np.exp(-(steps**2) / (2 * sigma**2))
    angle = np.deg2rad(angle)
    reach = len(steps) - 1
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
    offsets = np.rint([steps * np.sin(angle), steps * np.cos(angle)]).astype(int)
    np.add.at(kernel, tuple(reach + offsets), weights / weights.sum())
    return cv2.filter2D(x, -1, kernel, borderType=cv2.BORDER_REPLICATE)


def _fractal(height, width, decay, rng):
    """Cloudy noise from 0 to 1: every finer octave is weaker by the factor `decay`.

    Replaces the benchmark's diamond-square plasma, which needs a square of side 2ⁿ.
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
    """Frost on a window from 0 to 1: ice needles over a cloudy film.

    Replaces the benchmark's photographs of frost.
    """
    size = np.ceil(np.array([width, height]) * 256 / max(width, height)).astype(int)
    canvas = Image.new("L", tuple(size.tolist()))
    draw = ImageDraw.Draw(canvas)
    for _ in range(26):
        start, angle = rng.uniform(0, size), rng.uniform(0, 2 * np.pi)
        _needle(draw, start, angle, rng.uniform(60, 150), 3)
    needles = canvas.resize((width, height), Image.Resampling.BOX)
    film = _fractal(height, width, 1.7, rng)
    return np.clip(0.25 + 0.45 * film + 0.5 * np.asarray(needles) / 255, 0, 1)


def _needle(draw, start, angle, length, depth):
    """Draws an ice needle with smaller ones branching off at 60 degrees."""
    end = start + length * np.array([np.cos(angle), np.sin(angle)])
    draw.line([*start, *end], fill=110 + 45 * depth, width=depth)
    if depth == 1:
        return
    for fraction in np.arange(0.12, 0.95, 0.11):
        for side in (-1, 1):
            _needle(
                draw,
                start + fraction * (end - start),
                angle + side * np.pi / 3,
                0.38 * length * (1 - fraction),
                depth - 1,
            )
