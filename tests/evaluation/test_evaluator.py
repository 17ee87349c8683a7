import json

import numpy as np
import pytest
from PIL import Image
from sklearn import metrics

import keras_fer
from keras_fer.evaluation import evaluate

LABELS = ("happiness", "anger", "fear")


class Reader:
    """A model that reads its probabilities from the color of an image."""

    labels, input_size = LABELS, 16

    def predict(self, images):
        colors = np.asarray(images, "float64").mean(axis=(1, 2))
        return colors / colors.sum(axis=1, keepdims=True)


def write(path, color):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (16, 16), tuple(int(value) for value in color)).save(path)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """A folder of two classes, and the truth and colors of its images in order."""
    folder, rng = tmp_path_factory.mktemp("faces"), np.random.default_rng(0)
    truth = np.repeat([1, 0], 70)  # angry, happy
    colors = rng.integers(1, 200, (140, 3)) + 100 * np.eye(3, dtype=int)[truth] // 2
    for number, (label, color) in enumerate(zip(truth, colors, strict=True)):
        name = ("Happy", "angry")[label]
        write(folder / name / f"{number:03}.png", color)
    order = np.argsort(truth, kind="stable")  # "Happy" sorts before "angry"
    return folder, truth[order], colors[order] / colors[order].sum(1, keepdims=True)


def test_scores_are_those_of_scikit_learn(drawn):
    folder, truth, probabilities = drawn
    result = evaluate(Reader(), folder)
    predicted = probabilities.argmax(axis=1)
    found = result.to_dict()
    assert found["images"] == 140 and result.labels == LABELS
    assert found["accuracy"] == 100 * metrics.accuracy_score(truth, predicted)
    low, high = found["intervals"]["accuracy"]
    assert low < found["accuracy"] < high
    # Over the two classes that have images.
    expected = 100 * metrics.balanced_accuracy_score(truth, predicted)
    assert found["mean_recall"] == pytest.approx(expected)
    low, high = found["intervals"]["mean_recall"]
    assert low < expected < high
    expected = metrics.log_loss(truth, probabilities, labels=range(3))
    assert found["nll"] == pytest.approx(expected)
    assert (
        found["confusion"]
        == metrics.confusion_matrix(truth, predicted, labels=range(3)).tolist()
    )
    assert found["per_class"]["fear"] == {
        "precision": None,
        "recall": None,
        "f1": None,
        "support": 0,
    }
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    table = result.table()
    assert f"accuracy {found['accuracy']:.1f} %" in table
    assert table.splitlines()[-1].split() == ["fear", "-", "-", "-", "0"]


def test_unknown_labels_are_one_error_with_both_lists(drawn, tmp_path):
    for name in ("happy", "calm", "bored"):
        write(tmp_path / name / "1.png", (1, 2, 3))
    message = (
        "does not know bored, calm of .*its labels are happiness, anger, fear, those "
        "of the images happiness, bored, calm"
    )
    with pytest.raises(ValueError, match=message):
        evaluate(Reader(), tmp_path)


def test_images_that_are_left_out_are_named(tmp_path):
    for number in range(4):
        write(tmp_path / "fear" / f"{number}.png", (1, 2, 100))
    (tmp_path / "fear" / "1.png").write_bytes(b"damaged")
    found = iter(([(0, 0, 9, 9)], [], [(0, 0, 9, 9), (1, 1, 9, 9)]))
    result = evaluate(Reader(), tmp_path, detector=lambda image: next(found))
    assert result.scores["n"] == 2 and result.accuracy == 100
    assert list(result.unreadable) == [str(tmp_path / "fear" / "1.png")]
    assert result.without_face == (str(tmp_path / "fear" / "2.png"),)
    assert result.several_faces == 1
    with pytest.raises(ValueError, match="None of the 4 images .* no face was found"):
        evaluate(Reader(), tmp_path, detector=lambda image: [])


def test_the_plot_is_an_image_and_replaces_none(drawn, tmp_path):
    result = evaluate(Reader(), drawn[0])
    path = tmp_path / "plot.png"
    result.plot(path)
    with Image.open(path) as image:
        assert np.asarray(image.convert("L")).std() > 10
    before = path.read_bytes()
    with pytest.raises(FileExistsError, match="exists. Choose another name"):
        result.plot(path)
    assert path.read_bytes() == before
    result.plot(path, overwrite=True)
    assert [each.name for each in tmp_path.iterdir()] == ["plot.png"]


def test_a_preset_by_name(tmp_path, images):
    (tmp_path / "sad").mkdir()
    for number, image in enumerate(images[:4]):
        Image.fromarray(image[..., 0]).save(tmp_path / "sad" / f"{number}.png")
    result = keras_fer.evaluate("patt_lite", tmp_path)
    assert result.model == "patt_lite" and result.labels == keras_fer.LABELS
    model = keras_fer.zoo.load("patt_lite", runtime="onnx")
    sad = keras_fer.LABELS.index("sadness")
    expected = -np.log(model.predict(images[:4])[:, sad]).mean()
    assert result.scores["nll"] == pytest.approx(expected, rel=0.05)
