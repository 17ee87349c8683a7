import subprocess
import sys

import keras
import numpy as np
import pytest

from keras_fer import zoo
from keras_fer.faces import ImageError, analyze, crop, detect
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
