import json

import keras
import numpy as np
import pytest
from PIL import Image

import keras_fer
from keras_fer.finetuning import TrainingSettings, train
from keras_fer.labeled import read_source
from keras_fer.layers.image_normalization import ImageNormalization
from keras_fer.models.classifier import ExpressionClassifier, classify
from keras_fer.models.saved import load_saved
from tests.audit.drawn import drawn

pytestmark = pytest.mark.medium

SETTINGS = TrainingSettings(head_epochs=3, epochs=2, batch_size=8, head_rate=1e-2)


def tiny(path, several=False):
    """Writes a tiny model of three expressions, on one feature map or several."""
    keras.utils.set_random_seed(0)
    crops = keras.Input((24, 24, 3))
    first = keras.layers.Conv2D(4, 3, strides=2, padding="same")(crops)
    x = keras.layers.BatchNormalization()(first)
    x = keras.layers.Conv2D(8, 3, strides=2, activation="relu", padding="same")(x)
    backbone = keras.Model(crops, [x, first] if several else x, name="backbone")
    images = keras.Input((None, None, None))
    x = backbone(ImageNormalization(24, name="normalization")(images))
    if several:
        x = keras.layers.Concatenate()([keras.layers.Flatten()(each) for each in x])
    x = keras.layers.Dropout(0.2)(keras.layers.Flatten()(x))
    outputs = classify(x, ["anger", "happiness", "fear"])
    ExpressionClassifier(images, outputs).save(path)
    return path


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """A `.keras` file of a tiny model."""
    return tiny(tmp_path_factory.mktemp("start") / "start.keras")


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    """Drawn faces of two classes, one of them upside down; and a damaged file."""
    folder = tmp_path_factory.mktemp("faces")
    for seed in range(80):
        image = drawn(seed)
        path = folder / ("happy", "calm")[seed % 2] / f"{seed:02}.png"
        path.parent.mkdir(exist_ok=True)
        # Bright above or below: easy, but not for an untrained head.
        half = np.linspace(-60, 60, 48)[:, None] * (-1) ** (seed % 2)
        shaded = np.clip(image + half, 0, 255).astype("uint8")
        Image.fromarray(shaded).save(path)
    (folder / "calm" / "99.png").write_bytes(b"damaged")
    return folder


@pytest.fixture(scope="module")
def trained(start, faces, tmp_path_factory):
    """The result of an unbroken run, and its lines."""
    lines = []
    path = tmp_path_factory.mktemp("out") / "mine.keras"
    result = train(faces, path, start, settings=SETTINGS, report=lines.append)
    return result, lines


def test_the_file_is_a_model_of_the_classes(trained, faces):
    result, lines = trained
    # Not every class is an expression, so `happy` stays.
    assert result.labels == ("calm", "happy")
    assert [each.name for each in result.path.parent.iterdir()] == ["mine.keras"]
    model = load_saved(result.path)
    assert model.labels == result.labels
    held = [image for image in result.images if image.split == "val"]
    pixels = np.stack([np.asarray(Image.open(each.path)) for each in held])[..., None]
    predicted = model.predict(pixels, verbose=0).argmax(axis=1)
    right = [
        model.labels[index] == image.label
        for index, image in zip(predicted, held, strict=True)
    ]
    assert result.evaluation.accuracy == pytest.approx(100 * np.mean(right))
    assert result.evaluation.accuracy > 75
    assert result.trained_on == 64 and len(held) == 16
    assert list(result.evaluation.unreadable) == [str(faces / "calm" / "99.png")]
    assert lines[0] == "80 images: calm 40, happy 40"
    assert "1 images could not be read and are left out" in lines
    assert len(result.history["head"]) <= 3
    json.dumps(result.to_dict(), allow_nan=False)
    # BatchNorm is frozen in it as in every model of the zoo, the rest is not.
    loaded = keras_fer.zoo.load(result.path)
    frozen = [layer for layer in loaded.get_layer("backbone").layers if layer.weights]
    assert {
        type(layer).__name__ for layer in frozen if not layer.trainable_weights
    } == {"BatchNormalization"}
    again = keras_fer.evaluate(result.path, faces)
    assert again.scores["n"] == 80 and again.accuracy > 75


def test_the_split_can_be_saved_and_used_again(trained, tmp_path):
    result, _ = trained
    result.save_split(tmp_path / "split.csv")
    items = read_source(tmp_path / "split.csv")
    again = keras_fer.evaluate(result.path, tmp_path / "split.csv", split="val")
    assert len(items) == 80
    assert again.scores["confusion"] == result.evaluation.scores["confusion"]
    with pytest.raises(FileExistsError):
        result.save_split(tmp_path / "split.csv")


class Stop(Exception):
    pass


def test_an_interrupted_run_goes_on(trained, start, faces, tmp_path):
    whole, _ = trained
    path, lines = tmp_path / "mine.keras", []

    def stop_at(beginning, stage):
        def report(line):
            lines.append(line)
            if stage in lines and line.startswith(beginning):
                raise Stop

        return report

    for report in (
        stop_at("epoch 2/3", "training the head"),
        stop_at("epoch 1/2", "training the last layers"),
    ):
        lines.clear()
        with pytest.raises(Stop):
            train(faces, path, start, settings=SETTINGS, report=report)
    # Each epoch was trained once.
    assert [line[:9] for line in lines if "/3" in line] == ["epoch 3/3"]
    other = TrainingSettings(head_epochs=3, epochs=2, batch_size=8, seed=5)
    with pytest.raises(ValueError, match="unfinished run, which differs in its set"):
        train(faces, path, start, settings=other, report=lines.append)
    assert not path.exists()
    result = train(faces, path, start, settings=SETTINGS, report=lines.append)
    assert [each.name for each in tmp_path.iterdir()] == ["mine.keras"]
    for one, other in zip(
        load_saved(path).get_weights(),
        load_saved(whole.path).get_weights(),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)
    losses = [[row["loss"] for row in logs] for logs in whole.history.values()]
    assert losses == [[row["loss"] for row in logs] for logs in result.history.values()]


def test_what_is_not_better_is_not_kept(trained, faces, tmp_path):
    """Known labels keep their rows, so the model starts as the one it is given."""
    before, _ = trained
    settings = TrainingSettings(head_epochs=0, epochs=1, rate=0.9)
    path = tmp_path / "mine.keras"
    lines = []
    result = train(faces, path, before.path, settings=settings, report=lines.append)
    (row,) = result.history["last_layers"]
    assert row["val_loss"] > before.evaluation.scores["nll"]
    assert not any("(best)" in line for line in lines)
    for one, other in zip(
        load_saved(path).get_weights(),
        load_saved(before.path).get_weights(),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)


def test_several_feature_maps(faces, tmp_path):
    start = tiny(tmp_path / "start.keras", several=True)
    settings = TrainingSettings(head_epochs=2, epochs=1, class_weights=True)
    result = train(faces, tmp_path / "mine.keras", start, settings=settings)
    assert [len(logs) for logs in result.history.values()] == [2, 1]
    assert load_saved(result.path).labels == result.labels


def test_files_of_others_are_kept(start, faces, tmp_path):
    path = tmp_path / "mine.keras"
    path.write_text("mine")
    with pytest.raises(FileExistsError, match="exists. Choose another name"):
        train(faces, path, start)
    assert path.read_text() == "mine"
    folder = tmp_path / "b.keras.run"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="holds other files"):
        train(faces, tmp_path / "b.keras", start)
    assert [each.name for each in folder.iterdir()] == ["notes.txt"]


def test_wrong_arguments(start, faces, tmp_path):
    with pytest.raises(ValueError, match="must end in .keras"):
        train(faces, tmp_path / "mine.h5", start)
    with pytest.raises(FileNotFoundError, match="no folder"):
        train(faces, tmp_path / "none" / "mine.keras", start)
    with pytest.raises(ValueError, match="at least two classes, got calm"):
        train(_one_class(tmp_path), tmp_path / "mine.keras", start)
    for wrong in ({"hold_out": 0}, {"unfreeze": 2}, {"by": "x"}, {"epochs": -1}):
        with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be"):
            TrainingSettings(**wrong)


def test_a_run_that_has_not_started_can_be_changed(start, faces, tmp_path):
    path, lines = tmp_path / "mine.keras", []
    wrong = TrainingSettings(by="subject")
    with pytest.raises(ValueError, match="needs to know the subjects"):
        train(faces, path, start, settings=wrong, report=lines.append)
    settings = TrainingSettings(head_epochs=1, epochs=0)
    assert train(faces, path, start, settings=settings).path == path


def test_a_class_without_a_usable_image_is_an_error(start, tmp_path):
    for name in ("calm", "sad"):
        (tmp_path / "faces" / name).mkdir(parents=True)
        (tmp_path / "faces" / name / "1.png").write_bytes(b"damaged")
    Image.fromarray(drawn(0)).save(tmp_path / "faces" / "calm" / "2.png")
    with pytest.raises(ValueError, match="No image of sad can be used; .*1.png"):
        train(tmp_path / "faces", tmp_path / "mine.keras", start)


def _one_class(folder):
    (folder / "faces" / "calm").mkdir(parents=True)
    Image.fromarray(drawn(0)).save(folder / "faces" / "calm" / "1.png")
    return folder / "faces"
