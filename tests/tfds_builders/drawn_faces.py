"""Trees of drawn images in the layouts of CK+, Aff-Wild2, SFEW, FED-RO, Oulu, JAFFE.

They are shapes and no one's face. `python -m tests.tfds_builders.drawn_faces` writes
the `dummy_data` of these six builders again.
"""

import pathlib
import shutil
import zlib

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image, ImageDraw

SIX = ("Anger", "Disgust", "Fear", "Happiness", "Sadness", "Surprise")
SEVEN = ("Angry", "Disgust", "Fear", "Happy", "Neutral", "Sad", "Surprise")
NAMES = "Neutral,Anger,Disgust,Fear,Happiness,Sadness,Surprise"


def build(cls, root, config=None, file_format=None, **options):
    """A builder of the tree in `root / "manual"`, built in `root / "built"`."""
    builder = cls(data_dir=root / "built", config=config)
    builder.download_and_prepare(
        download_config=tfds.download.DownloadConfig(
            manual_dir=root / "manual", **options
        ),
        file_format=file_format,
    )
    return builder


def examples(builder):
    """Split -> id -> example of all that was built."""
    return {
        split: {
            example["id"].decode(): example
            for example in tfds.as_numpy(builder.as_dataset(split=split))
        }
        for split in builder.info.splits
    }


def left_over(root):
    """Files of data in `root / "built"`: none after builds that failed."""
    files = [path for path in (root / "built").rglob("*") if path.is_file()]
    return [path for path in files if ".config" not in path.parts]


def draw(path, size=(32, 24), mode="RGB", **options):
    """An image of shapes that the path's last parts decide."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(zlib.crc32("/".join(path.parts[-5:]).encode()))
    width, height = size
    bands = len(mode) if mode == "RGB" else 1

    def color():
        shades = tuple(int(shade) for shade in rng.integers(0, 256, bands))
        return shades if bands > 1 else shades[0]

    image = Image.new(mode, size, color())
    canvas = ImageDraw.Draw(image)
    canvas.ellipse((width // 4, 1, 3 * width // 4, height - 2), fill=color())
    for x in (3, 5):
        canvas.rectangle(
            (x * width // 8 - 1, height // 3, x * width // 8 + 1, height // 3 + 2),
            fill=color(),
        )
    bend = int(rng.integers(0, height // 4))
    box = (3 * width // 8, height // 2, 5 * width // 8, height // 2 + 2 + bend)
    canvas.ellipse(box, fill=color())
    image.save(path, **options)


def ck_plus(root):
    """Eleven labeled subjects, one of them in color, and one sequence without."""
    root = root / "ck_plus"
    for i in range(12):
        subject, labeled = f"S{5 + 7 * i:03d}", i < 11
        part = pathlib.Path(subject) / "001"
        for frame in range(1, 6 if labeled else 3):
            name = f"{subject}_001_{frame:08d}"
            mode = "RGB" if i == 3 else "L"
            draw(root / "cohn-kanade-images" / part / f"{name}.png", mode=mode)
            x, y = np.meshgrid(np.arange(17) + 8 + i / 4, np.arange(4) * 4 + 4)
            path = root / "Landmarks" / part / f"{name}_landmarks.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            np.savetxt(path, np.stack([x.ravel(), y.ravel()], 1), fmt="  %.2f")
        emotions = root / "Emotion" / part
        emotions.mkdir(parents=True)
        if labeled:
            path = emotions / f"{name}_emotion.txt"
            path.write_text(f"   {1 + i % 7:.7e}\n")
    return root


def aff_wild2(root, codes=7):
    """Three videos for the annotation of a year; the second has two people."""
    root = root / "aff_wild2"
    folder = "EXPR_Set" if codes == 7 else "EXPR_Classification_Challenge"
    names = NAMES if codes == 7 else f"{NAMES},Other"
    lines = {
        "Train_Set/1-30-1280x720": (0, 1, -1, 2),
        "Train_Set/video2_left": (3, 4),
        "Train_Set/video2_right": (5, codes - 1),
        "Validation_Set/video9": (6, -1, 0),
    }
    for name, values in lines.items():
        path = root / folder / f"{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join([names, *map(str, values)]) + "\n")
        for frame in range(1, len(values) + 1):
            crop = root / "cropped_aligned" / path.stem / f"{frame:05d}.jpg"
            draw(crop, size=(112, 112), quality=20, optimize=True)
    return root


def sfew(root):
    """Both layouts, two images an expression in train and one in validation."""
    root = root / "sfew"
    for part, size in (("{}_Aligned_Faces", (24, 30)), ("{}", (36, 28))):
        for split, count in (("Train", 2), ("Val", 1)):
            for code in SEVEN:
                for i in range(count):
                    name = f"{code}/Film{split}_00{i}0.png"
                    draw(root / part.format(split) / name, size=size)
    return root


def fed_ro(root):
    """One image an expression, and a second of fear."""
    root = root / "fed_ro"
    for code in (*SIX, "Neutral"):
        for i in range(2 if code == "Fear" else 1):
            draw(root / code.lower() / f"{i}.jpg", quality=50, optimize=True)
    return root


def oulu_casia(root, camera="VL", light="Strong"):
    """Eleven subjects with one sequence of five frames, of expressions in turn.

    The third subject has all six.
    """
    root = root / "oulu_casia"
    for i in range(11):
        subject = root / camera / light / f"P{i + 1:03d}"
        for code in SIX if i == 2 else (SIX[i % 6],):
            for frame in range(5):
                path = subject / code / f"{frame:03d}.jpeg"
                draw(path, size=(16, 12), quality=50, optimize=True)
    return root


def jaffe(root):
    """Ten subjects, seven expressions in turn; the first subject has two images."""
    root = root / "jaffe"
    subjects = ("KA", "KL", "KM", "KR", "MK", "NA", "NM", "TM", "UY", "YM", "KA")
    codes = ("AN", "DI", "FE", "HA", "NE", "SA", "SU")
    for i, subject in enumerate(subjects):
        name = f"{subject}.{codes[i % 7]}{1 + i // 7}.{39 + i}.tiff"
        draw(root / name, size=(256, 256), mode="L", compression="tiff_deflate")
    return root


if __name__ == "__main__":
    builders = pathlib.Path(__file__).parents[2] / "tfds_builders"
    for make in (ck_plus, aff_wild2, sfew, fed_ro, oulu_casia, jaffe):
        folder = builders / make.__name__ / "dummy_data"
        shutil.rmtree(folder, ignore_errors=True)
        make(folder)
    aff_wild2(builders / "aff_wild2" / "dummy_data", codes=8)
