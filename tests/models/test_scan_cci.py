import keras
import numpy as np
import pytest

from keras_fer.models import ScanCCI
from tests.contract import ModelContract, count, disturb, settle
from tests.models.published import MOBILENET, scan


@pytest.mark.medium
class TestContract(ModelContract):
    model = ScanCCI
    arguments = {"input_size": 48, "backbone": "mobilenet_v1", "shared": True}
    # Two attentions, a dense layer on 2 x 256, ECA, and the quadrants' two layers.
    parameters = (
        MOBILENET[0]
        + 2 * scan(256)[0]
        + (512 * 3 + 3)
        + 5
        + (512 * 256 + 256 + 256 * 3 + 3),
        MOBILENET[1] + 2 * scan(256)[1],
    )


# Millions, with the 1024 x 7 + 7 of the attention branch's last layer.
@pytest.mark.medium
@pytest.mark.parametrize(("shared", "parameters"), [(False, 70.20), (True, 13.54)])
def test_published_counts(shared, parameters):
    model = ScanCCI(7, shared=shared)
    assert round(count(model.trainable_weights) / 1e6, 2) == parameters
    maps = model.get_layer("backbone").output
    assert maps["stride_8"].shape == (None, 28, 28, 512)
    assert maps["stride_16"].shape == (None, 14, 14, 1024)


@pytest.fixture(scope="module")
def model(images):
    model = ScanCCI(
        labels=["calm", "tense", "other"],
        input_size=48,
        backbone="mobilenet_v1",
        shared=True,
    )
    disturb(model)
    settle(model, images)
    return model


def logits(model, images, training=False):
    votes = keras.Model(model.input, model.get_layer("probabilities").input)
    return np.asarray(votes(images, training=training))


def log_softmax(x):
    x = x - x.max(axis=-1, keepdims=True)
    return x - np.log(np.exp(x).sum(axis=-1, keepdims=True))


@pytest.mark.medium
def test_the_prediction_is_the_softmax_of_the_mean_of_five(model, images):
    five = logits(model, images[:7])
    assert five.shape == (7, 5, 3)
    np.testing.assert_allclose(
        model.predict(images[:7], verbose=0),
        np.exp(log_softmax(five.mean(axis=1))),
        atol=1e-5,
    )
    features = keras.Model(model.input, model.get_layer("attention").output)
    kernel, bias = model.get_layer("logits").get_weights()
    attention = features.predict(images[:7], verbose=0) @ kernel + bias
    np.testing.assert_allclose(five[:, 0], attention, atol=1e-4)


@pytest.mark.medium
@pytest.mark.parametrize(
    ("targets", "weighted"),
    [pytest.param("sparse", False, marks=pytest.mark.slow), ("one-hot", True)],
)
def test_the_loss_in_fit_is_that_of_the_paper(model, images, targets, weighted):
    rng = np.random.default_rng(0)
    batch, classes = images[:14], rng.integers(0, 3, 14)
    sample_weight = rng.random(14) if weighted else np.ones(14)
    # Cross-entropy of each vote, for each image.
    weights = model.get_weights()
    scores = log_softmax(logits(model, batch, training=True))
    losses = -scores[np.arange(14), :, classes]
    expected = np.mean(
        sample_weight * (0.2 * losses[:, 0] + 0.8 * losses[:, 1:].sum(axis=1))
    )
    model.set_weights(weights)
    one_hot = targets == "one-hot"
    model.compile(
        keras.optimizers.SGD(0.0),
        "categorical_crossentropy" if one_hot else "sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    history = model.fit(
        batch,
        np.eye(3)[classes] if one_hot else classes,
        sample_weight=sample_weight if weighted else None,
        batch_size=14,
        verbose=0,
    ).history
    assert history["loss"][0] == pytest.approx(expected, rel=1e-4)
    accuracy = np.mean(scores.mean(axis=1).argmax(axis=1) == classes)
    assert history["accuracy"][0] == pytest.approx(accuracy)
    model.set_weights(weights)


@pytest.mark.medium
def test_evaluation_has_the_loss_of_the_prediction(model, images):
    classes = np.arange(14) % 3
    model.compile("sgd", "sparse_categorical_crossentropy")
    probabilities = model.predict(images[:14], verbose=0)
    expected = -np.log(probabilities[np.arange(14), classes]).mean()
    scores = model.evaluate(images[:14], classes, verbose=0, return_dict=True)
    assert scores["loss"] == pytest.approx(expected, rel=1e-4)


@pytest.mark.medium
def test_a_new_head_keeps_the_context(model, images):
    fresh = model.replace_head(["a", "b"])
    old, new = (net.get_layer("context") for net in (model, fresh))
    for part in ("attention", "hidden"):
        for a, b in zip(
            getattr(old, part).get_weights(),
            getattr(new, part).get_weights(),
            strict=True,
        ):
            np.testing.assert_array_equal(a, b)
    assert fresh.predict(images[:3], verbose=0).shape == (3, 2)


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="backbone must be .*got 'vgg'"):
        ScanCCI(7, backbone="vgg")
    with pytest.raises(ValueError, match="input_size must be .*got 32"):
        ScanCCI(7, input_size=32)
    with pytest.raises(ValueError, match="lowest strip has 1"):
        ScanCCI(7, input_size=48, backbone="mobilenet_v1", official_bottom_strip=True)
