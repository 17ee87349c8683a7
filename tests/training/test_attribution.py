import contextlib
import inspect
import itertools
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import layers, ops

from keras_fer.models import AttentionNetwork, ScanCCI
from keras_fer.saliency import probe as probe_module
from keras_fer.training import (
    JointAugmentation,
    PrivilegedAttribution,
    attribution,
    landmark_heatmap,
    privileged_attribution_loss,
)
from tests.marks import rest_medium

BACKEND = keras.backend.backend()


def plain_loss(attribution, heatmap, channels):
    """The paper's sum over i, j, c, one position at a time, for one face."""
    height, width, number = attribution.shape
    if not heatmap.any():
        return 0.0
    used = range(max(1, number // 2) if channels == "half" else number)
    if channels == "all":
        maps = [attribution[..., c] for c in used]
    else:
        maps = [sum(attribution[..., c] for c in used) / len(used)]
    values = [m[i, j] for m in maps for i in range(height) for j in range(width)]
    mu = sum(values) / len(values)
    sigma = sum((value - mu) ** 2 for value in values) ** 0.5
    if sigma == 0:
        return 0.0
    return -sum(
        (m[i, j] - mu) / sigma * heatmap[i, j]
        for m in maps
        for i in range(height)
        for j in range(width)
    )


SHAPES = [(1, 2, 2, 1), (3, 6, 6, 8), (2, 5, 3, 7)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("channels", ["all", "mean", "half"])
@pytest.mark.parametrize("scale", [1.0, 1e-12, 1e12])
def test_loss_equals_plain_loops(shape, channels, scale):
    rng = np.random.default_rng(0)
    attribution = (scale * rng.normal(size=shape)).astype("float32")
    heatmap = rng.random(shape[:3]).astype("float32")
    heatmap[-1] = 0
    losses = privileged_attribution_loss(attribution, heatmap, channels)
    expected = [
        plain_loss(a.astype("float64"), h, channels)
        for a, h in zip(attribution, heatmap, strict=True)
    ]
    np.testing.assert_allclose(losses, expected, rtol=1e-4, atol=1e-5)


def test_loss_is_lowest_where_the_attribution_is_the_heatmap():
    heatmap = np.random.default_rng(0).random((2, 6, 6)).astype("float32")
    loss = privileged_attribution_loss(3 * heatmap[..., None] + 2, heatmap)
    centered = heatmap - heatmap.mean(axis=(1, 2), keepdims=True)
    lowest = -np.sqrt((centered**2).sum(axis=(1, 2)))
    np.testing.assert_allclose(loss, lowest, rtol=1e-5)


def gradient(function, x):
    """Of a sum, on whichever backend."""
    if BACKEND == "tensorflow":
        import tensorflow as tf

        x = tf.convert_to_tensor(x)
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = ops.sum(function(x))
        return np.asarray(tape.gradient(value, x))
    import jax

    return np.asarray(jax.grad(lambda x: ops.sum(function(x)))(x))


def test_nothing_to_compare_costs_and_teaches_nothing():
    """Faces without landmarks, and attributions that are the same everywhere."""
    rng = np.random.default_rng(0)
    attribution = rng.random((3, 4, 4, 2)).astype("float32")
    heatmap = rng.random((3, 4, 4)).astype("float32")
    attribution[0], heatmap[1] = 0.5, 0
    losses = np.asarray(privileged_attribution_loss(attribution, heatmap))
    slope = gradient(lambda a: privileged_attribution_loss(a, heatmap), attribution)
    assert np.isfinite(slope).all()
    assert losses[0] == losses[1] == 0 and losses[2] != 0
    assert not slope[:2].any() and slope[2].any()


@pytest.mark.parametrize(
    ("attribution", "heatmap", "message"),
    [
        (
            (2, 4, 4, 3),
            (2, 5, 4),
            r"heatmap \(2, 5, 4\) and attribution \(2, 4, 4, 3\)",
        ),
        ((2, 4, 4, 3), (3, 4, 4), r"heatmap \(3, 4, 4\)"),
        ((2, 4, 4, 3), (2, 4, 4, 1), r"heatmap \(2, 4, 4, 1\)"),
        ((2, 4, 4), (2, 4, 4), r"attribution must .*got \(2, 4, 4\)\."),
    ],
)
def test_other_shapes_are_refused(attribution, heatmap, message):
    with pytest.raises(ValueError, match=message):
        privileged_attribution_loss(np.ones(attribution), np.ones(heatmap))


@pytest.mark.parametrize("value", [-1.0, np.nan])
def test_negative_and_nan_heatmaps_are_refused(value):
    heatmap = np.ones((2, 4, 4))
    heatmap[1, 0, 0] = value
    for given in (heatmap, ops.convert_to_tensor(heatmap)):
        with pytest.raises(ValueError, match="in 1 of 2 heatmaps.*index 1"):
            privileged_attribution_loss(np.ones((2, 4, 4, 3)), given)
    network = PrivilegedAttribution(smooth())
    network.compile("sgd", "sparse_categorical_crossentropy")
    data = {"image": np.ones((2, 9, 9, 2)), "heatmap": np.resize(heatmap, (2, 9, 9))}
    with pytest.raises(ValueError, match="negative or non-finite"):
        network.fit(data, np.zeros(2), verbose=0)


def smooth(nested=False):
    """A small network without kinks: convolutions, a guided layer, a softmax."""
    image = keras.Input((9, 9, 2), name="image")
    x = layers.Conv2D(4, 3, padding="same", activation="silu", name="first")(image)
    x = layers.Conv2D(4, 3, padding="same", activation="softplus", name="guided")(x)
    y = layers.Conv2D(3, 3, strides=2, activation="silu", name="last")(x)
    side = layers.Conv2D(3, 3, strides=2, name="shortcut")(x)
    if nested:
        backbone = keras.Model(image, [y, side], name="backbone")
        image = keras.Input((9, 9, 2), name="image")
        y, side = backbone(image)
    y = layers.GlobalAveragePooling2D(name="pool")(layers.Add(name="add")([y, side]))
    return keras.Model(image, layers.Dense(3, activation="softmax", name="head")(y))


@contextlib.contextmanager
def float64():
    """Everything in double precision."""
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    try:
        with contextlib.ExitStack() as stack:
            if BACKEND == "jax":
                import jax
                from keras.src.backend.common import dtypes

                stack.enter_context(jax.enable_x64(True))
                # Keras on JAX computes means in float32, as it believes that there is
                # no float64.
                original = dtypes.result_type
                stack.callback(setattr, dtypes, "result_type", original)
                dtypes.result_type = lambda *types: (
                    "float64" if "float64" in map(str, types) else original(*types)
                )
            yield
    finally:
        keras.config.set_floatx("float32")
        keras.config.set_dtype_policy("float32")


def faces(number=5):
    rng = np.random.default_rng(0)
    images = rng.normal(size=(number, 9, 9, 2))
    heatmap = np.asarray(landmark_heatmap(rng.random((number, 6, 2)), 9, 0.08))
    heatmap = heatmap.astype("float64")
    heatmap[1] = 0
    return {"image": images, "heatmap": heatmap}, np.arange(number) % 3


def assert_gradient_is_that_of_finite_differences(**options):
    """One step of SGD goes down the slope that differences of the loss show."""
    with float64():
        keras.utils.set_random_seed(0)
        inputs, classes = faces()
        network = PrivilegedAttribution(smooth(), layer="guided", **options)
        network.compile(keras.optimizers.SGD(1.0), "sparse_categorical_crossentropy")
        batch = {**inputs, "truth": classes}
        start = [weight.numpy().copy() for weight in network.trainable_weights]

        def loss():
            y_pred = network(batch, training=True)
            return float(network.compute_loss(inputs, classes, y_pred))

        network.fit(inputs, classes, batch_size=5, verbose=0)
        moved = [
            before - weight.numpy()
            for before, weight in zip(start, network.trainable_weights, strict=True)
        ]
        for weight, before in zip(network.trainable_weights, start, strict=True):
            weight.assign(before)
        rng = np.random.default_rng(1)
        step = 1e-5
        for weight, before, slope in zip(
            network.trainable_weights, start, moved, strict=True
        ):
            for _ in range(3):
                place = tuple(rng.integers(0, side) for side in before.shape)
                values = []
                for sign in (1, -1):
                    changed = before.copy()
                    changed[place] += sign * step
                    weight.assign(changed)
                    values.append(loss())
                weight.assign(before)
                expected = (values[0] - values[1]) / (2 * step)
                np.testing.assert_allclose(
                    slope[place], expected, atol=1e-6, err_msg=weight.path
                )


@pytest.mark.parametrize(
    ("channels", "score", "method"),
    rest_medium(
        itertools.product(
            ["half", "all", "mean"],
            ["abs_logits", "true_class"],
            ["grad_input", "grad"],
        )
    ),
)
def test_gradient_is_that_of_finite_differences(channels, score, method):
    assert_gradient_is_that_of_finite_differences(
        channels=channels, score=score, method=method, weight=2.0
    )


def test_a_detached_attribution_is_caught(monkeypatch):
    attribute = PrivilegedAttribution._attribute

    def detached(self, *args, **kwargs):
        outputs, attribution = attribute(self, *args, **kwargs)
        return outputs, ops.stop_gradient(attribution)

    monkeypatch.setattr(PrivilegedAttribution, "_attribute", detached)
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        assert_gradient_is_that_of_finite_differences()


def assert_attribution_is_grad_input_of_the_logits(score):
    """After pooling and a dense layer the gradient is known: sum_k s_k W_ck / (H W)."""
    image = keras.Input((8, 8, 2))
    features = layers.Conv2D(5, 3, padding="same", activation="relu", name="f")(image)
    pooled = layers.GlobalAveragePooling2D()(features)
    head = layers.Dense(3, activation="softmax", name="head")
    model = keras.Model(image, head(pooled))
    images = np.random.default_rng(0).normal(size=(4, 8, 8, 2)).astype("float32")
    classes = np.array([0, 1, 2, 0])
    kernel, bias = head.get_weights()
    f = keras.Model(image, features).predict(images, verbose=0)
    logits = f.mean(axis=(1, 2)) @ kernel + bias
    signs = np.sign(logits) if score == "abs_logits" else np.eye(3)[classes]
    expected = np.abs(signs @ kernel.T / 64)[:, None, None] * f
    network = PrivilegedAttribution(model, score=score, layer="f")
    for y in (classes, classes[:, None], np.eye(3)[classes]):
        attribution = np.asarray(network.attribute(images, ops.convert_to_tensor(y)))
        np.testing.assert_allclose(attribution, expected, atol=1e-6)
    assert expected.max() > 1e-3


@pytest.mark.parametrize("score", ["abs_logits", "true_class"])
def test_attribution_is_grad_input_of_the_logits(score):
    assert_attribution_is_grad_input_of_the_logits(score)


def test_a_softmax_score_is_caught(monkeypatch):
    monkeypatch.setattr(
        probe_module, "_logits", lambda operation, inputs, outputs: outputs
    )
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        assert_attribution_is_grad_input_of_the_logits("abs_logits")


def assert_missing_landmarks_are_harmless(draw):
    """A step with a face without landmarks is that of a step with weight 0 for it."""
    rng = np.random.default_rng(0)
    landmarks = rng.random((2, 6, 2))
    landmarks[1] = np.nan
    images, classes = rng.normal(size=(2, 9, 9, 2)), np.array([0, 1])
    keras.utils.set_random_seed(0)
    network = PrivilegedAttribution(smooth(), layer="guided")
    network.compile(keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy")
    start = network.get_weights()
    # Zeros in the heatmap of one face: twice the mean over the other alone.
    results = []
    for heatmap in (draw(landmarks), draw(np.nan_to_num(landmarks, nan=-9.0))):
        network.set_weights(start)
        data = {"image": images, "heatmap": np.asarray(heatmap)}
        for _ in range(2):
            network.train_on_batch(data, classes)
        results.append(network.get_weights())
    for with_nan, without in zip(*results, strict=True):
        assert np.isfinite(with_nan).all(), "Not finite"
        np.testing.assert_array_equal(with_nan, without)


def test_missing_landmarks_are_harmless():
    assert_missing_landmarks_are_harmless(lambda points: landmark_heatmap(points, 9))


def test_a_nan_from_missing_landmarks_is_caught(monkeypatch):
    """The paper's formulas as they stand: a Gaussian of NaN, a map over its maximum."""

    def naive_loss(attribution, heatmap, channels):
        centered = attribution - ops.mean(attribution, axis=(1, 2, 3), keepdims=True)
        deviation = ops.sqrt(ops.sum(centered**2, axis=(1, 2, 3), keepdims=True))
        return -ops.sum(centered / deviation * heatmap[..., None], axis=(1, 2, 3))

    def naive_heatmap(points):
        grid = (np.arange(9) + 0.5) / 9
        x, y = points[..., None, None, 0], points[..., None, None, 1]
        distance = (grid[:, None] - y) ** 2 + (grid - x) ** 2
        return np.exp(-distance / 0.01).sum(axis=1)

    monkeypatch.setattr(attribution, "privileged_attribution_loss", naive_loss)
    with pytest.raises(AssertionError, match="Not finite"):
        assert_missing_landmarks_are_harmless(naive_heatmap)


def test_nested_models_are_seen_through():
    flat, nested = smooth(), smooth(nested=True)
    nested.set_weights(flat.get_weights())
    inputs, _ = faces()
    images = inputs["image"].astype("float32")
    for layer in ("first", "guided"):
        expected = PrivilegedAttribution(flat, layer).attribute(images)
        received = PrivilegedAttribution(nested, layer).attribute(images)
        np.testing.assert_allclose(received, expected, atol=1e-6)


@pytest.mark.medium
def test_attribution_does_not_depend_on_batch_dependence(images):
    network = PrivilegedAttribution(
        AttentionNetwork(3, input_size=48, backbone="mobilenet_v1", attention="iram")
    )
    together = np.asarray(network.attribute(images[:5]))
    for index in range(5):
        alone = np.asarray(network.attribute(images[index : index + 1]))
        np.testing.assert_allclose(alone[0], together[index], atol=1e-5)


@pytest.mark.medium
def test_default_layers_have_the_map_that_the_paper_wants():
    cases = {
        (224, "resnet50"): ("conv4_block6_out", (14, 14)),
        (224, "vgg16"): ("block5_conv3", (14, 14)),
        (48, "mobilenet_v1"): ("conv_pw_5_relu", (6, 6)),
    }
    for (size, backbone), (layer, places) in cases.items():
        model = AttentionNetwork(7, input_size=size, backbone=backbone)
        network = PrivilegedAttribution(model)
        assert (network._probe.layer, network.heatmap_size) == (layer, places)


@pytest.mark.medium
def test_fit_evaluate_predict_and_ship(images, tmp_path):
    model = AttentionNetwork(
        3, input_size=48, backbone="mobilenet_v1", attention="llam"
    )
    rng = np.random.default_rng(0)
    classes = rng.integers(0, 3, 20)
    network = PrivilegedAttribution(model, weight=0.5)
    network.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    heatmap = np.asarray(landmark_heatmap(rng.random((20, 51, 2)), 6))
    data = {"image": images[:20], "heatmap": heatmap}
    history = network.fit(data, classes, batch_size=10, verbose=0).history
    assert set(history) == {"loss", "accuracy", "attribution_loss"}
    assert history["attribution_loss"][0] != 0
    scores = network.evaluate(data, classes, batch_size=10, verbose=0, return_dict=True)
    plain = -np.log(model.predict(images[:20], verbose=0)[np.arange(20), classes])
    assert scores["loss"] == pytest.approx(
        plain.mean() + 0.5 * scores["attribution_loss"], rel=1e-3
    )
    losses = [
        plain_loss(a.astype("float64"), h, "half")
        for a, h in zip(
            np.asarray(network.attribute(images[:20])), heatmap, strict=True
        )
    ]
    assert scores["attribution_loss"] == pytest.approx(np.mean(losses), rel=1e-3)
    # What ships takes images alone.
    expected = network.predict(images[:20], verbose=0)
    np.testing.assert_allclose(model.predict(images[:20], verbose=0), expected)
    network.save(tmp_path / "network.keras")
    again = keras.saving.load_model(tmp_path / "network.keras")
    np.testing.assert_allclose(
        again.model.predict(images[:20], verbose=0), expected, atol=1e-6
    )
    assert len(network.trainable_weights) == len(model.trainable_weights)


def test_heatmaps_of_either_size_guide_alike():
    """One drawn at the size of the image equals one drawn at that of the map."""
    image = keras.Input((12, 12, 1))
    x = layers.Conv2D(2, 3, strides=2, padding="same", name="map")(image)
    outputs = layers.Dense(3)(layers.GlobalAveragePooling2D()(x))
    network = PrivilegedAttribution(keras.Model(image, outputs), layer="map")
    assert network.heatmap_size == (6, 6)
    landmarks = np.random.default_rng(0).random((5, 6, 2))
    landmarks[1] = np.nan
    inputs = {"image": np.ones((5, 12, 12, 1)), "truth": np.arange(5) % 3}
    fitted = [
        np.asarray(network({**inputs, "heatmap": landmark_heatmap(landmarks, size)})[2])
        for size in (12, 6)
    ]
    np.testing.assert_allclose(*fitted, atol=1e-5)
    np.testing.assert_allclose(fitted[0].max(axis=(1, 2)), [1, 0, 1, 1, 1], atol=1e-6)


@pytest.mark.medium
def test_sample_weights_count(images):
    network = PrivilegedAttribution(smooth(), layer="guided")
    network.compile(keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy")
    inputs, classes = faces(4)
    start = network.get_weights()
    only = {name: value[:2] for name, value in inputs.items()}
    network.train_on_batch(inputs, classes, sample_weight=np.array([2.0, 2, 0, 0]))
    weighted = network.get_weights()
    network.set_weights(start)
    network.train_on_batch(only, classes[:2])
    for a, b in zip(weighted, network.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


@pytest.mark.slow
def test_a_model_that_votes_keeps_its_own_loss(images):
    model = ScanCCI(3, input_size=48, backbone="mobilenet_v1", shared=True)
    start = model.get_weights()
    classes = np.arange(8) % 3
    losses = []
    network = PrivilegedAttribution(model, weight=0.0)
    data = {"image": images[:8], "heatmap": np.zeros((8, 48, 48), "float32")}
    for each, x in ((model, images[:8]), (network, data)):
        model.set_weights(start)
        each.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
        losses.append(each.train_on_batch(x, classes, return_dict=True)["loss"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert losses[0] > 3 * np.log(3) * 0.8


@pytest.mark.medium
def test_mixed_precision_trains(images):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        network = PrivilegedAttribution(
            AttentionNetwork(3, input_size=48, backbone="mobilenet_v1")
        )
    finally:
        keras.config.set_dtype_policy("float32")
    network.compile("sgd", "sparse_categorical_crossentropy")
    heatmap = np.asarray(landmark_heatmap(np.full((8, 5, 2), 0.4), 48))
    loss = network.train_on_batch(
        {"image": images[:8], "heatmap": heatmap}, np.arange(8) % 3
    )
    assert np.isfinite(loss).all()


STRATEGY = """
import sys
import keras, numpy as np, tensorflow as tf
from keras_fer import models, training
from keras_fer.models.backbones import freeze_batch_norm
from keras_fer.training import attribution
from tests.training.test_attribution import faces, smooth

tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0],
    [tf.config.LogicalDeviceConfiguration()] * 2,
)
if sys.argv[1] == "unscaled":
    attribution._replicas = lambda: 1
if "float64" in sys.argv[1]:
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
inputs, classes = faces(16)
inputs = {name: value.astype(keras.config.floatx()) for name, value in inputs.items()}
if sys.argv[1] == "float64 zoo":
    inputs["image"] = 100 * inputs["image"][..., :1]
data = tf.data.Dataset.from_tensor_slices((inputs, classes)).batch(8)
results = []
for strategy in (
    tf.distribute.get_strategy(),
    tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]),
):
    with strategy.scope():
        keras.utils.set_random_seed(0)
        if sys.argv[1] == "float64 zoo":
            model = models.AttentionNetwork(3, input_size=48, backbone="mobilenet_v1")
            freeze_batch_norm(model.get_layer("backbone"))
            network = training.PrivilegedAttribution(model)
        else:
            network = training.PrivilegedAttribution(smooth(), layer="guided")
        network.compile(keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy")
        start = network.get_weights()
        network.fit(data, epochs=2, shuffle=False, verbose=0)
    results.append(network.get_weights())
    assert strategy.num_replicas_in_sync == len(results)
assert max(np.abs(a - b).max() for a, b in zip(start, results[0])) > 1e-2
print(max(np.abs(a - b).max() for a, b in zip(*results)))
"""


@pytest.mark.medium
@pytest.mark.skipif(BACKEND != "tensorflow", reason="tf.distribute is TensorFlow's")
@pytest.mark.parametrize(
    ("case", "least", "most"),
    [
        ("scaled", 0, 1e-6),
        pytest.param("float64", 0, 1e-13, marks=pytest.mark.slow),
        pytest.param("float64 zoo", 0, 1e-10, marks=pytest.mark.slow),
        pytest.param("unscaled", 1e-6, 1, marks=pytest.mark.slow),
    ],
)
def test_two_replicas_end_where_one_device_does(case, least, most):
    """Four steps of SGD; without the scaling they end elsewhere."""
    output = subprocess.run(
        [sys.executable, "-c", STRATEGY, case],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.getcwd()},
        cwd=os.path.dirname(os.path.dirname(os.path.dirname(__file__))),
    ).stdout
    difference = float(output.split()[-1])
    assert least <= difference < most, difference


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layer": "nose"}, "'nose', which does not exist.*Candidates: first, guided"),
        ({"layer": "pool"}, "layer must name .*got 'pool'"),
        ({"layer": "aside"}, "got 'aside', which is not on that path"),
        ({"channels": "some"}, "channels must be one of all, mean, half, got 'some'"),
        ({"score": "softmax"}, "score must be .*abs_logits, true_class, got 'softmax'"),
        ({"method": "lime"}, "method must be one of grad_input, grad, got 'lime'"),
        ({"weight": -1}, "weight must be at least 0, got -1"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    image = keras.Input((9, 9, 2))
    model = smooth()
    # A branch beside the path to the logits: its output is multiplied out of them.
    aside = layers.Conv2D(2, 3, name="aside")(model.get_layer("guided").output)
    tower = keras.Model(model.input, [model.output, aside])
    outputs, _ = tower(image)
    with pytest.raises(ValueError, match=message):
        PrivilegedAttribution(keras.Model(image, outputs), **arguments)


def test_other_models_are_refused():
    image = keras.Input((9, 9, 2))

    class Own(keras.Model):
        def call(self, inputs):
            return inputs

    for model in (Own(), keras.Model(image, [image, image])):
        with pytest.raises(ValueError, match="functional or sequential model"):
            PrivilegedAttribution(model)
    flat = keras.Model(image, layers.Flatten()(layers.Conv2D(2, 3)(image)))
    with pytest.raises(ValueError, match="ends in logits.*last layer"):
        PrivilegedAttribution(flat)
    tiny = keras.Sequential(
        [
            keras.Input((5, 5, 1)),
            layers.Conv2D(2, 3),
            layers.Flatten(),
            layers.Dense(2, activation="softmax"),
        ]
    )
    with pytest.raises(ValueError, match="at least 6x6 positions.*Pass `layer`"):
        PrivilegedAttribution(tiny)
    assert PrivilegedAttribution(tiny, tiny.layers[0].name).heatmap_size == (3, 3)


def test_heatmaps_that_do_not_fit_are_refused(images):
    network = PrivilegedAttribution(
        AttentionNetwork(3, input_size=48, backbone="mobilenet_v1")
    )
    network.compile("sgd", "sparse_categorical_crossentropy")
    data = {"image": images[:4], "heatmap": np.zeros((4, 20, 20), "float32")}
    with pytest.raises(ValueError, match=r"\(6, 6\).*heatmap \([4None]+, 20, 20\)"):
        network.fit(data, np.zeros(4), verbose=0)
    for bad in (images[:4], {"image": images[:4]}):
        with pytest.raises(ValueError, match="images and heatmaps.*use `.model`"):
            network.fit(bad, np.zeros(4), verbose=0)


@pytest.fixture(scope="module")
def compiled():
    network = PrivilegedAttribution(
        AttentionNetwork(3, input_size=48, backbone="mobilenet_v1")
    )
    network.compile(keras.optimizers.SGD(0.0), "sparse_categorical_crossentropy")
    return network


@pytest.mark.parametrize(
    ("entry", "change", "message"),
    [
        (
            "image",
            lambda x: x[..., 0],
            r'\["image"\] must have the shape .*\(4, 48, 48\)',
        ),
        ("image", lambda x: x * np.nan, r'\["image"\] must have finite values'),
        ("image", lambda x: x[:0], r'\["image"\] must have at least one image'),
        ("heatmap", lambda x: x * np.nan, "negative or non-finite"),
        ("heatmap", lambda x: x[:, :5], r"heatmap \(4, 5, 6\)"),
    ],
)
def test_arrays_are_checked_before_an_epoch(compiled, images, entry, change, message):
    y = np.zeros(4)
    good = {"image": images[:4], "heatmap": np.ones((4, 6, 6), "float32")}
    bad = {**good, entry: change(good[entry])}
    steps = []
    count = keras.callbacks.LambdaCallback(on_train_begin=steps.append)
    options = {"verbose": 0, "callbacks": [count]}
    with pytest.raises(ValueError, match=message):
        compiled.fit(bad, y, **options)
    with pytest.raises(ValueError, match=message) as raised:
        compiled.fit(good, y, validation_data=(bad, y), **options)
    assert entry != "image" or str(raised.value).startswith("validation_data")
    with pytest.raises(ValueError, match=message):
        compiled.evaluate(bad, y, verbose=0)
    assert not steps
    if entry == "image":
        with pytest.raises(ValueError, match="^x must"):
            compiled.predict(bad["image"], verbose=0)
        with pytest.raises(ValueError, match=message):
            compiled.predict(bad, verbose=0)


@pytest.mark.medium
def test_images_in_0_to_1_warn_once(compiled, images):
    y = np.zeros(4)
    good = {"image": images[:4], "heatmap": np.ones((4, 6, 6), "float32")}
    scaled = {**good, "image": images[:4] / 255}
    for call in (
        lambda: compiled.fit(scaled, y, validation_data=(scaled, y), verbose=0),
        lambda: compiled.fit(good, y, validation_data=(scaled, y), verbose=0),
        lambda: compiled.evaluate(scaled, y, verbose=0),
        lambda: compiled.predict(scaled["image"], verbose=0),
    ):
        with pytest.warns(UserWarning, match="0–255 expected") as caught:
            call()
        (warning,) = [each for each in caught if "0–1" in str(each.message)]
        assert warning.filename == __file__


@pytest.mark.medium
def test_models_of_others_may_take_images_in_0_to_1(recwarn):
    network = PrivilegedAttribution(smooth(), layer="guided")
    network.compile("sgd", "sparse_categorical_crossentropy")
    data = {"image": np.ones((2, 9, 9, 2)), "heatmap": np.ones((2, 9, 9))}
    network.fit(data, np.zeros(2), verbose=0)
    assert not [each for each in recwarn if "0–255" in str(each.message)]
    data["image"] = np.ones((2, 9, 9, 3))
    with pytest.raises(ValueError, match=r"\(batch, height, width, 2\), got"):
        network.fit(data, np.zeros(2), verbose=0)


def test_config():
    network = PrivilegedAttribution(
        smooth(),
        layer="guided",
        channels="mean",
        weight=0.3,
        score="true_class",
        method="grad",
        augmentation=JointAugmentation([layers.RandomFlip(seed=1)]),
    )
    names = set(inspect.signature(PrivilegedAttribution.__init__).parameters)
    config = network.get_config()
    assert names - {"self", "kwargs"} <= set(config)
    again = PrivilegedAttribution.from_config(config)
    for name in ("layer", "channels", "weight", "score", "method"):
        assert getattr(again, name) == config[name] == getattr(network, name)
    assert isinstance(again.augmentation.layers[0], layers.RandomFlip)
    again.set_weights(network.get_weights())
    images = faces()[0]["image"]
    truth = ops.convert_to_tensor([0, 1, 2, 0, 1])
    np.testing.assert_allclose(
        again.attribute(images, truth), network.attribute(images, truth), atol=1e-6
    )
