"""Which crop margin suits each face detector?

Models are trained on the crops of a dataset's authors and used on those of a detector,
and every detector draws its boxes differently. This measures, for each detector, the
margin at which its crops are closest to those of FER2013:

    python -m benchmarks.crop_margin --data FER2013_DIR --detectors mtcnn haar

Method: random *training* images (48x48, so that no evaluation uses them) are enlarged
to 160 pixels and placed in the center of a 320-pixel image, whose border reflects the
crop, blurred so that it holds no second face. A face is detected there and cropped
again, aligned, with every margin. The prediction on that crop is compared with the one
on the original 48x48 crop. A crop that reaches beyond the original sees the artificial
border, so margins that are too wide lose: the model was trained with less context.

Columns: fraction of faces found; agreement of the top label; mean absolute difference
of probabilities; intersection over union of the two squares (before rotation); side of
the new crop relative to the original's.
"""

import argparse
import pathlib

import numpy as np

import keras_fer
from benchmarks import record
from keras_fer import faces
from keras_fer.faces.analyze import predict_crops

SIDE, CANVAS = 160, 320
COLUMNS = ("margin", "found", "agreement", "difference", "iou", "side")
DETECTOR_NAMES = {".onnx": "yunet"}
MARGINS = np.round(np.arange(-0.10, 0.41, 0.05), 2)


def scene(crop):
    """A 48x48 grayscale crop in the center of a larger RGB image, uint8."""
    import cv2

    border = (CANVAS - SIDE) // 2
    face = cv2.resize(crop, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    image = cv2.copyMakeBorder(face, *[border] * 4, cv2.BORDER_REPLICATE)
    image = cv2.GaussianBlur(image, (0, 0), SIDE / 8)
    image[border : border + SIDE, border : border + SIDE] = face
    return np.repeat(image[..., None], 3, axis=-1)


def overlap(face, margin):
    """IoU of a face's crop and the original's square, and the ratio of their sides."""
    x, y, width, height = face.box
    side = max(width, height) * (1 + 2 * margin)
    # Distance of the two centers along each axis; the original's is the canvas center.
    away = np.abs([x + width / 2 - CANVAS / 2, y + height / 2 - CANVAS / 2])
    shared = np.clip(np.minimum((side + SIDE) / 2 - away, min(side, SIDE)), 0, None)
    shared = shared.prod()
    return shared / (side**2 + SIDE**2 - shared), side / SIDE


def measure(model, detector, crops, original):
    """Rows of (margin, found, agreement, difference, IoU, side) for one detector."""
    scenes = [scene(crop) for crop in crops]
    found = [(i, faces.detect(image, detector)) for i, image in enumerate(scenes)]
    # The face of the original is the one in the center.
    found = [(i, max(f, key=lambda face: overlap(face, 0)[0])) for i, f in found if f]
    if not found:
        return []
    expected = original[[i for i, _ in found]]
    rows = []
    for margin in MARGINS:
        again = predict_crops(
            model, [faces.crop(scenes[i], face, margin=margin) for i, face in found]
        )
        agreement = (again.argmax(-1) == expected.argmax(-1)).mean()
        geometry = np.mean([overlap(face, margin) for _, face in found], axis=0)
        difference = np.abs(again - expected).mean()
        fraction = len(found) / len(crops)
        rows.append((margin, fraction, agreement, difference, *geometry))
    return rows


def main():
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, help="folder with train.npz")
    parser.add_argument("--model", default="patt_lite", help="a name from the zoo")
    parser.add_argument(
        "--detectors", nargs="+", default=["mtcnn", "haar"], help="or a .onnx file"
    )
    parser.add_argument("--n", type=int, default=300, help="number of images")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=pathlib.Path, help="write JSON there")
    arguments = parser.parse_args()

    model = keras_fer.zoo.load(arguments.model)
    with np.load(pathlib.Path(arguments.data) / "train.npz") as data:
        crops = data["images"]
    chosen = np.random.default_rng(arguments.seed).choice(
        len(crops), arguments.n, replace=False
    )
    crops = crops[chosen]
    original = predict_crops(model, [np.repeat(c[..., None], 3, -1) for c in crops])

    print(f"{arguments.model}, n={arguments.n}, seed={arguments.seed}")
    print("detector        margin  found  agreement  difference    IoU   side")
    measured = []
    for detector in arguments.detectors:
        name = DETECTOR_NAMES.get(pathlib.Path(detector).suffix, detector)
        for values in measure(model, detector, crops, original):
            row = dict(zip(COLUMNS, map(float, values), strict=True))
            measured.append({"detector": name, **row})
            print(
                f"{name:<14}  {row['margin']:+6.2f}  {row['found']:5.3f}  "
                f"{row['agreement']:9.3f}  {row['difference']:10.4f}  "
                f"{row['iou']:5.3f}  {row['side']:5.3f}"
            )
    # The difference is less noisy than the agreement: it uses all probabilities.
    best = [
        min(
            (row for row in measured if row["detector"] == name),
            key=lambda row: row["difference"],
        )
        for name in dict.fromkeys(row["detector"] for row in measured)
    ]
    for row in best:
        print(f"best margin for {row['detector']}: {row['margin']}")
    if arguments.out:
        result = {
            "model": arguments.model,
            "n": arguments.n,
            "seed": arguments.seed,
            "best": best,
            "measured": measured,
        }
        record.write(arguments.out, "crop_margin", result)


if __name__ == "__main__":
    main()
