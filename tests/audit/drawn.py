import io

import numpy as np
from PIL import Image, ImageDraw


def drawn(seed, size=48):
    """A drawn face of its own, gray uint8 (size, size)."""
    rng = np.random.default_rng(seed)
    image = Image.new("L", (192, 192), int(rng.integers(0, 256)))
    draw = ImageDraw.Draw(image)
    for _ in range(12):  # Something behind it.
        x, y, r = rng.integers(0, 192, 3)
        shape = [int(x - r // 3), int(y - r // 3), int(x + r // 3), int(y + r // 3)]
        draw.ellipse(shape, fill=int(rng.integers(0, 256)))
    x, y = rng.integers(-20, 20, 2)
    skin, dark = int(rng.integers(120, 240)), int(rng.integers(0, 90))
    draw.ellipse([30 + x, 10 + y, 160 + x, 185 + y], fill=skin)
    for side in (65, 125):
        draw.ellipse([side - 10 + x, 70 + y, side + 10 + x, 85 + y], fill=dark)
    draw.rectangle([70 + x, 130 + y, 120 + x, 130 + y + rng.integers(5, 30)], fill=dark)
    return np.asarray(image.resize((size, size), Image.Resampling.BOX))


def jpeg(image, quality=60):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def write(folder, images):
    for name, image in images.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    return folder


def names(entries):
    return {frozenset(image["name"] for image in e["images"]) for e in entries}


def save(path, **arrays):
    path.parent.mkdir(exist_ok=True)
    np.savez(path, **arrays)
