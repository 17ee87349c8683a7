import dataclasses
import io
import pathlib
import pickle
import shutil
import subprocess
import sys
import weakref

import keras
import numpy as np
import pytest
from PIL import Image

from keras_fer import zoo
from keras_fer.faces import ImageError, analyze, crop, detect, draw
from keras_fer.faces.analyze import predict_crops


def test_portrait(portrait_path, portrait, model):
    (face,) = analyze(portrait_path, model, detector="haar")
    assert tuple(face.probabilities) == model.labels
    assert sum(face.probabilities.values()) == pytest.approx(1, abs=1e-5)
    assert face.confidence == max(face.probabilities.values())
    assert face.probabilities[face.label] == face.confidence
    assert analyze(portrait, model, detector="haar") == [face]


def test_is_the_models_own_prediction(portrait, model):
    """Batching crops at one size does what the model does to a single crop."""
    (found,) = detect(portrait, "mtcnn")
    (face,) = analyze(portrait, model)
    alone = np.asarray(model(crop(portrait, found)[None]))[0]
    np.testing.assert_allclose(list(face.probabilities.values()), alone, atol=2e-3)


def test_forty_faces_in_one_go(crowd, model):
    faces = analyze(crowd, model, detector="haar")
    assert len(faces) == 40
    values = np.array([list(face.probabilities.values()) for face in faces])
    assert values.shape == (40, 8) and np.isfinite(values).all()


def test_more_faces_than_a_forward_pass_takes(crowd, model):
    faces = analyze(np.tile(crowd, (2, 1, 1)), model, detector="haar")
    assert len(faces) == 80
    assert all(face.label in model.labels for face in faces)


def test_no_face(model):
    assert analyze(np.zeros((50, 50, 3)), model, detector="haar") == []


def test_models_are_balanced_when_they_are_loaded(portrait, model):
    with pytest.raises(ValueError, match="balanced=True is for the name of a model"):
        analyze(portrait, model, balanced=True)


def test_bad_image(model, tmp_path):
    with pytest.raises(ImageError, match="There is no file"):
        analyze(tmp_path / "none.jpg", model, detector="haar")
    with pytest.raises(ImageError, match="Multiply"):
        analyze(np.full((50, 50), 0.5), model, detector="haar")
    for value in (np.nan, np.inf):
        image = np.full((50, 50, 3), 100.0)
        image[20, 30, 1] = value
        with pytest.raises(ImageError, match="got NaN or infinity"):
            analyze(image, model, detector="haar")


def test_model_without_labels(portrait):
    plain = keras.Sequential(
        [keras.Input((None, None, 3)), keras.layers.GlobalAveragePooling2D()]
    )
    with pytest.raises(ValueError, match="labels"):
        analyze(portrait, plain, detector="haar")


def test_presets_need_neither_keras_nor_tensorflow(portrait_path):
    code = (
        "import sys, keras_fer\n"
        f"(face,) = keras_fer.analyze({portrait_path!r})\n"
        "print(face.label, [m for m in ('keras', 'tensorflow') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "neutral []", done.stderr


def test_a_preset_gives_what_its_keras_model_gives(portrait):
    (face,) = analyze(portrait, "patt_lite")
    (other,) = analyze(portrait, zoo.load("patt_lite"))
    assert face.box == other.box and face.label == other.label
    for label, probability in other.probabilities.items():
        assert face.probabilities[label] == pytest.approx(probability, abs=0.02)


@pytest.mark.medium
def test_a_model_that_returns_nan_is_named(portrait):
    model = keras.models.clone_model(zoo.load("patt_lite"))
    model.name = "diverged"
    logits = model.get_layer("logits")
    logits.set_weights([np.nan * weight for weight in logits.get_weights()])
    with pytest.raises(ValueError, match="The model 'diverged' returned NaN"):
        analyze(portrait, model, detector="haar")
    with pytest.raises(ValueError, match="The model 'diverged' returned NaN"):
        predict_crops(model, [portrait[:64, :64]])


def test_boxes_of_the_caller_keep_their_order(portrait):
    (found,) = analyze(portrait)
    x, y, width, height = found.box
    boxes = [(x + 0.2, y, width, height), (-20, -20, 60, 50)]
    face, corner = analyze(portrait, boxes=boxes)
    assert (face.box, corner.box) == (found.box, (0, 0, 40, 30))
    assert face.detector == "boxes" and face.label == "neutral"
    assert analyze(portrait, boxes=[]) == []


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        ([(1, 2, 3)], r"boxes\[0\] must be four numbers"),
        ([(0, 0, 9, 9), (0, 0, 0, 9)], r"boxes\[1\] must have a positive width"),
        ([(0, 0, np.nan, 9)], r"boxes\[0\] must be finite"),
        ([(512, 0, 9, 9)], r"boxes\[0\] must overlap the image of 512x600"),
        ([("a", 0, 9, 9)], "must be four numbers"),
        (7, "boxes must be a list"),
        ((1, 2, 3, 4), r"boxes\[0\] must be four numbers"),
    ],
)
def test_bad_boxes(portrait, boxes, message):
    with pytest.raises(ValueError, match=message):
        analyze(portrait, boxes=boxes)


def test_arguments_of_detection_pass_through(portrait):
    assert analyze(portrait, min_size=400) == []
    assert analyze(portrait, min_confidence=1.0) == []
    (face,) = analyze(portrait, detector=None)
    assert face.box == (0, 0, 512, 600) and face.label is not None
    with pytest.raises(
        ValueError, match="min_size, min_confidence and max_faces are for"
    ):
        analyze(portrait, boxes=[(0, 0, 9, 9)], min_size=20)


# Crops, embeddings, notebooks


def test_crop_and_embedding_are_those_of_the_model(portrait, model):
    (found,) = detect(portrait)
    assert (found.crop, found.embedding) == (None, None)
    (face,) = analyze(portrait, model)
    square = Image.fromarray(crop(portrait, found))
    size = (model.input_size, model.input_size)
    expected = np.asarray(square.resize(size, Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(face.crop, expected)
    np.testing.assert_allclose(
        face.embedding, model.embed(expected[None])[0], atol=1e-5
    )
    # On ONNX Runtime, too.
    (other,) = analyze(portrait)
    assert other.crop.shape == (96, 96, 3)
    assert (other.embedding.shape, other.embedding.dtype) == ((32,), np.float32)
    assert set(other.to_dict()) == {"box", "label", "confidence", "probabilities"}
    assert set(dataclasses.asdict(other)) == {
        field.name for field in dataclasses.fields(other)
    }


def test_faces_of_several_images_have_their_own_crops(portrait):
    flipped = np.ascontiguousarray(portrait[:, ::-1])
    (one,), (other,) = analyze([portrait, flipped])
    assert np.abs(one.crop.astype(int) - other.crop).mean() > 5
    for face, image in ((one, portrait), (other, flipped)):
        (alone,) = analyze(image)
        np.testing.assert_array_equal(face.crop, alone.crop)
        np.testing.assert_allclose(face.embedding, alone.embedding, atol=1e-5)


def test_faces_from_another_process(portrait):
    found = analyze(portrait)
    copy = pickle.loads(pickle.dumps(found))
    assert copy == found and type(copy) is list
    np.testing.assert_array_equal(copy[0].crop, found[0].crop)
    with pytest.raises(ValueError, match="no embedding after pickling.*face.crop"):
        copy[0].embedding  # noqa: B018


def shown(result):
    """What a notebook shows: an RGB array, or `None`."""
    png = result._repr_png_()
    return png and np.asarray(Image.open(io.BytesIO(png)))


def test_notebooks_show_the_faces(portrait, portrait_path):
    found = analyze(portrait_path)
    image = shown(found)
    np.testing.assert_array_equal(image, draw(portrait, found))
    for each in analyze([portrait_path, portrait]):
        np.testing.assert_array_equal(shown(each), image)
    bgr = portrait[..., ::-1].copy()
    np.testing.assert_array_equal(shown(analyze(bgr, channel_order="bgr")), image)
    small = np.ascontiguousarray(portrait[:200, :100])
    assert shown(analyze(small, detector=None)).shape == (320, 160, 3)


def test_an_image_that_is_gone_is_not_kept(tmp_path, portrait_path):
    path = shutil.copy(portrait_path, tmp_path)
    found = analyze(path)
    pathlib.Path(path).unlink()
    assert shown(found) is None
    assert shown(analyze(pathlib.Path(portrait_path).read_bytes())) is None
    image = Image.open(portrait_path)
    found, gone = analyze(image), weakref.ref(image)
    assert shown(found) is not None
    del image
    assert gone() is None and shown(found) is None
