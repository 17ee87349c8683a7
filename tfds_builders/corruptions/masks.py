"""Surgical masks."""

import numpy as np
from PIL import Image, ImageDraw

# RGB of the fabrics under full light.
_FABRICS = ((150, 196, 218), (238, 240, 242), (158, 206, 186))


def mask(image, face, rng):
    """Draws a surgical mask from the bridge of the nose along the jaw to the chin.

    Args:
        image: uint8 `(H, W, 1)` or `(H, W, 3)`.
        face: A `Face`.
        rng: A `numpy.random.Generator`; draws the fabric.

    Returns:
        A new image of the same shape and type.
    """
    height, width = image.shape[:2]
    size = np.array([width, height])
    # Supersampled for smooth edges; large images less so, which bounds the memory.
    factor = int(np.clip(2048 // max(height, width), 1, 4))

    def pixels(points):
        return [tuple(point) for point in points * size * factor]

    along = np.linspace(0, 1, 33)[:, None]
    lower = _resample(face.jaw, len(along))
    straight = lower[0] + along * (lower[-1] - lower[0])
    bump = np.sin(np.pi * along) ** 1.3
    upper = straight + bump * (face.bridge - straight[len(along) // 2])
    line = max(1, round(0.012 * face.width * width * factor))

    cover = Image.new("L", tuple((size * factor).tolist()))
    light = Image.new("L", cover.size, 255)
    draw, shade = ImageDraw.Draw(cover), ImageDraw.Draw(light)
    for ear, side in ((face.ears[0], 1), (face.ears[1], -1)):
        # One strap from the upper corner and one from further down the cheek.
        cheek = lower[:: 1 if side == 1 else -1][6]
        for corner in (lower[0 if side == 1 else -1], cheek):
            draw.line(pixels(np.array([corner, ear])), fill=255, width=line)
    draw.polygon(pixels(np.concatenate([upper, lower[::-1]])), fill=255)
    for i in range(len(along) - 1):  # Round: darker towards the cheeks.
        strip = np.concatenate([upper[i : i + 2], lower[i : i + 2][::-1]])
        fill = 165 + 90 * np.sin(np.pi * (i + 0.5) / (len(along) - 1)) ** 0.7
        shade.polygon(pixels(strip), fill=int(fill))
    for down in (0.28, 0.46, 0.64):  # Pleats: a dark fold with a bright edge below.
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
    if not cover.any():  # The face lies outside the image.
        return image.copy()
    fabric = np.array(_FABRICS[rng.integers(len(_FABRICS))], float)
    if image.shape[2] == 1:
        fabric = fabric @ [[0.299], [0.587], [0.114]]
    # As bright as the face behind it.
    brightness = (
        np.percentile(image.max(axis=2)[cover > 0.5], 75) if cover.max() > 0.5 else 0
    )
    fabric = fabric * np.clip(brightness / 200, 0.35, 1)
    cover, light = cover[..., None], light[..., None]
    return np.rint(image * (1 - cover) + fabric * light * cover).astype(np.uint8)


def _resample(points, number):
    """Points at equal distances along a polyline."""
    steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
    distance = np.concatenate([[0], np.cumsum(steps)])
    wanted = np.linspace(0, distance[-1], number)
    return np.stack([np.interp(wanted, distance, axis) for axis in points.T], axis=1)
