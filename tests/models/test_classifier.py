import subprocess
import sys
import warnings

import keras
import numpy as np
import pytest
from keras import ops

from keras_fer import models
from keras_fer._compat import saved_shapes
from keras_fer.models import PAttLite, ScanCCI
from tests.contract import disturb, settle
from tests.marks import rest_medium

LABELS = ("calm", "tense", "other", "none")
BUILDERS = {
    "patt_lite": lambda: PAttLite(labels=LABELS, input_size=48, backbone_weights=None),
    "scan_cci": lambda: ScanCCI(
        labels=LABELS, input_size=48, backbone="mobilenet_v1", shared=True
    ),
}


@pytest.fixture(scope="module", params=rest_medium(BUILDERS))
def model(request, images):
    model = BUILDERS[request.param]()
    disturb(model)
    settle(model, images)
    model.get_layer("probabilities").temperature = 0.7
    return model


@pytest.fixture(scope="module")
def classifier(images):
    model = BUILDERS["patt_lite"]()
    disturb(model)
    settle(model, images)
    model.compile(keras.optimizers.SGD(0.0), "sparse_categorical_crossentropy")
    return model


def predict(model, images):
    return model.predict(images, verbose=0)


class TestScaleOdds:
    def test_probabilities_are_multiplied_and_sum_to_1(self, model, images):
        before = model.get_weights()
        factors = (0.5, 1.0, 3.0, 20.0)
        expected = predict(model, images) * factors
        model.scale_odds(factors)
        after = predict(model, images)
        expected /= expected.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(after, expected, atol=1e-5)
        model.scale_odds([1 / factor for factor in factors])
        for one, another in zip(model.get_weights(), before, strict=True):
            np.testing.assert_allclose(one, another, atol=1e-6)

    @pytest.mark.parametrize(
        "factors",
        [(1, 1, 1), (1, 1, 1, 0), (1, 1, 1, -1), (1, 1, 1, np.inf), ["x"] * 4, 1.0],
        ids=str,
    )
    def test_other_factors_are_refused(self, classifier, factors):
        with pytest.raises(ValueError, match="factors must be 4 positive, finite"):
            classifier.scale_odds(factors)


def test_the_last_layer_takes_the_embedding(model, images):
    features = model.embed(images, batch_size=7)
    assert features.shape == (40, model.get_layer("logits").kernel.shape[0])
    if type(model).__name__ == "ExpressionClassifier":
        kernel, bias = model.get_layer("logits").get_weights()
        powers = np.exp((features @ kernel + bias) / 0.7)
        expected = powers / powers.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(predict(model, images), expected, atol=1e-5)
    with pytest.raises(ValueError, match="x must have the shape"):
        model.embed(images[0])


@pytest.mark.medium
@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="tf.distribute")
def test_replicas_with_statistics_of_their_own_are_told():
    code = """
import warnings
import keras, numpy as np, tensorflow as tf
from keras_fer.models import PAttLite
from keras_fer.models.backbones import freeze_batch_norm
(cpu,) = tf.config.list_physical_devices("CPU")
parts = [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(cpu, parts)
images = np.zeros((4, 48, 48, 1), "uint8")
for devices in (["CPU:0"], ["CPU:0", "CPU:1"]):
    with tf.distribute.MirroredStrategy(devices).scope():
        model = PAttLite(input_size=48, backbone_weights=None)
        freeze_batch_norm(model.get_layer("backbone"))
        model.compile("sgd", "sparse_categorical_crossentropy")
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        model.fit(images, np.arange(4), verbose=0)
    print([str(each.message) for each in seen if "replicas" in str(each.message)])
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-2:] == [
        "[]",
        "['each of 2 replicas normalizes by its own part of the batch in "
        "bottleneck_norm; freeze these layers with trainable=False, or use large "
        "batches']",
    ]


class TestReplaceHead:
    @pytest.mark.parametrize(
        "labels",
        rest_medium([(LABELS[::-1],), (("other", "calm"),), ((*LABELS[1:], "calm"),)]),
    )
    def test_known_labels_keep_their_rows(self, model, images, labels, recwarn):
        """They divide what the model gives the kept classes, in the new order."""
        kept = predict(model, images)[:, [LABELS.index(label) for label in labels]]
        head = model.replace_head(labels)
        assert not [w for w in recwarn if "head" in str(w.message)]
        assert type(head) is type(model) and head.labels == labels
        expected = kept / kept.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(predict(head, images), expected, atol=1e-5)
        assert head.get_layer("probabilities").temperature == 0.7

    @pytest.mark.medium
    def test_new_labels_are_untrained_beside_known_ones(self, model, images):
        labels = ("other", "angry", "calm", "sad")
        with pytest.warns(UserWarning) as caught:
            mixed = model.replace_head(labels)
        messages = [str(warning.message) for warning in caught]
        assert [message for message in messages if "head" in message] == [
            "new head: 2 of 4 classes are untrained (angry, sad); fit before use"
        ]
        before, after = predict(model, images), predict(mixed, images)
        # Odds of two kept classes do not depend on the others.
        np.testing.assert_allclose(
            np.log(after[:, 0] / after[:, 2]),
            np.log(before[:, 2] / before[:, 0]),
            atol=1e-3,
        )
        bias = mixed.get_layer("logits").get_weights()[1]
        trained = model.get_layer("logits").get_weights()[1]
        np.testing.assert_array_equal(bias, [trained[2], 0, trained[0], 0])
        assert mixed.get_layer("probabilities").temperature == 0.7

    def test_the_old_model_stays_as_it_was(self, model, images):
        expected = predict(model, images)
        with pytest.warns(UserWarning, match="1 of 2"):
            fresh = model.replace_head(["other", "a"])
        for name in ("logits", "context"):
            for layer in (each for each in fresh.layers if each.name == name):
                layer.set_weights([0 * weight for weight in layer.get_weights()])
        np.testing.assert_array_equal(predict(model, images), expected)

    def test_only_new_labels(self, model):
        with pytest.warns(UserWarning, match=r"2 of 2 classes .*\(a, b\)"):
            fresh = model.replace_head(["a", "b"])
        assert fresh.get_layer("probabilities").temperature == 1
        assert not fresh.get_layer("logits").get_weights()[1].any()

    def test_a_warning_names_ten_classes(self, model):
        with pytest.warns(UserWarning, match=r"12 of 12 .*class_9, …\); fit"):
            model.replace_head([f"class_{index}" for index in range(12)])

    @pytest.mark.medium
    def test_a_replaced_head_is_saved_and_loaded(self, model, images, tmp_path):
        head = model.replace_head(LABELS[::-1])
        head.save(tmp_path / "model.keras")
        loaded = keras.models.load_model(tmp_path / "model.keras")
        assert loaded.labels == LABELS[::-1]
        expected = predict(model, images)[:, ::-1]
        np.testing.assert_allclose(predict(loaded, images), expected, atol=1e-5)
        again = loaded.replace_head(LABELS)
        np.testing.assert_allclose(predict(again, images), expected[:, ::-1], atol=1e-5)

    @pytest.mark.parametrize("labels", [["calm"], ["calm", "calm"], "calm"])
    def test_bad_labels_are_refused(self, model, labels):
        with pytest.raises(ValueError, match="at least two distinct names"):
            model.replace_head(labels)

    @pytest.mark.medium
    def test_the_context_branch_keeps_its_options(self):
        """A head for other classes has the layer of the model, not the default one."""
        model = BUILDERS["scan_cci"]()
        config = model.get_config()
        for layer in config["layers"]:
            if layer["name"] == "context":
                layer["config"] |= {"kernel_size": 3, "units": 16}
        other = type(model).from_config(config)
        context = other.replace_head(LABELS[:2]).get_layer("context")
        assert (context.kernel_size, context.units) == (3, 16)
        assert context.num_classes == 2


def broken(images, value=np.nan):
    """Floats with one such pixel in the last image, far beyond the first batch."""
    images = images.astype("float32")
    images[-1, 0, 0, 0] = value
    return images


WRONG = {
    "one image": (lambda x: x[0], r"got \(48, 48, 1\)\. .*image\[None\]"),
    "no channels": (
        lambda x: x[..., 0],
        r"got \(40, 48, 48\)\. .*images\[\.\.\., None",
    ),
    "alpha": (lambda x: x.repeat(4, -1), r"\(40, 48, 48, 4\)\. Drop the alpha channel"),
    "first": (lambda x: np.moveaxis(x.repeat(3, -1), -1, 1), "numpy.moveaxis"),
    "table": (lambda x: x.reshape(40, -1), r"got \(40, 2304\)\. The channels"),
    "no images": (lambda x: x[:0], r"an empty array of shape \(0, 48, 48, 1\)\. Check"),
    "no pixels": (lambda x: x[:, :0], r"an empty array of shape \(40, 0, 48, 1\)"),
    "list": (list, "got a list of 40. Stack .*numpy.stack"),
    "NaN": (broken, r"NaN or infinity in an array of shape \(40, 48, 48, 1\)\. Leave"),
    "infinity": (lambda x: broken(x, -np.inf), "NaN or infinity"),
}


class TestChecks:
    @pytest.mark.parametrize("call", ["predict", "evaluate", "fit", "validation"])
    @pytest.mark.parametrize("wrong", WRONG)
    def test_wrong_arrays_are_refused(self, classifier, images, wrong, call):
        change, message = WRONG[wrong]
        x, y = change(images), np.zeros(40)
        steps = []
        count = keras.callbacks.LambdaCallback(on_train_begin=steps.append)
        options = {"verbose": 0, "callbacks": [count]}
        name = "validation_data" if call == "validation" else "x"
        with pytest.raises(ValueError, match=f"^{name} must .*{message}"):
            if call == "predict":
                classifier.predict(x, **options)
            elif call == "evaluate":
                classifier.evaluate(x, y, **options)
            elif call == "fit":
                classifier.fit(x, y, **options)
            else:
                classifier.fit(images, y, validation_data=(x, y), **options)
        assert not steps

    @pytest.mark.medium
    @pytest.mark.parametrize(
        "wrap",
        [
            ops.convert_to_tensor,
            lambda x: [x],
            lambda x: {"image": x},
            lambda x: ops.cast(x, "bfloat16"),
            lambda x: x.astype("float16"),
        ],
    )
    def test_nan_is_found_in_what_keras_takes(self, classifier, images, wrap):
        with pytest.raises(ValueError, match="NaN or infinity"):
            classifier.predict(wrap(broken(images)), verbose=0)
        whole = images.astype("float32")
        np.testing.assert_allclose(
            classifier.predict(wrap(whole), verbose=0),
            classifier.predict(whole, verbose=0),
            atol=1e-2,
        )

    def test_validation_data_is_found_by_position(self, classifier, images):
        y = np.zeros(40)
        data = (broken(images), y)
        with pytest.raises(ValueError, match="validation_data must have finite"):
            classifier.fit(images, y, 32, 1, 0, None, 0.0, data)

    @pytest.mark.medium
    @pytest.mark.parametrize("low", [0, -1])
    def test_images_in_0_to_1_warn_once(self, classifier, images, low):
        x, y = low + images / 255 * (1 - low), np.zeros(40)
        data = {"validation_data": (x, y)}
        for call in (
            lambda: classifier.predict(x, verbose=0),
            lambda: classifier.predict(ops.convert_to_tensor(x), verbose=0),
            lambda: classifier.evaluate(x, y, verbose=0),
            lambda: classifier.fit(x, y, epochs=2, verbose=0, **data),
            lambda: classifier.fit(images, y, epochs=2, verbose=0, **data),
        ):
            with pytest.warns(UserWarning, match="0–255 expected") as caught:
                call()
            (warning,) = [each for each in caught if "0–1" in str(each.message)]
            assert str(warning.message).endswith("; multiply by 255")
            assert warning.filename == __file__

    @pytest.mark.medium
    @pytest.mark.parametrize(
        "change",
        [
            lambda x: x,
            lambda x: x.astype("float32"),
            lambda x: x // 255,  # uint8
            lambda x: np.zeros_like(x),
            lambda x: np.zeros_like(x, "float32"),
        ],
    )
    def test_others_do_not_warn(self, classifier, images, change):
        x, y = change(images), np.zeros(40)
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message=".*0–255")
            classifier.predict(x, verbose=0)
            classifier.fit(x, y, validation_data=(x, y), verbose=0)

    @pytest.mark.medium
    def test_datasets_and_generators_pass(self, classifier, images):
        class Batches(keras.utils.PyDataset):
            def __len__(self):
                return 2

            def __getitem__(self, index):
                return images[20 * index : 20 * index + 20], np.zeros(20)

        expected = classifier.predict(images, verbose=0)
        dataset = Batches()
        np.testing.assert_allclose(
            classifier.predict(dataset, verbose=0), expected, atol=1e-5
        )
        generator = (dataset[index] for index in range(2))
        np.testing.assert_allclose(
            classifier.predict(generator, verbose=0), expected, atol=1e-5
        )
        scores = classifier.fit(dataset, validation_data=dataset, verbose=0).history
        assert np.isfinite(scores["val_loss"]).all()

    def test_a_model_that_returns_nan_is_named(self, images):
        model = PAttLite(
            labels=LABELS, input_size=48, backbone_weights=None, name="diverged"
        )
        logits = model.get_layer("logits")
        logits.set_weights([np.nan * weight for weight in logits.get_weights()])
        with pytest.raises(ValueError, match="The model 'diverged' returned NaN"):
            model.predict(images, verbose=0)


class TestArchitecture:
    def test_it_builds_the_same_network(self, model, tmp_path):
        function = getattr(models, model.architecture)
        again = function(labels=LABELS, **model.arguments)
        assert saved_shapes(again) == saved_shapes(model)
        assert model.arguments["input_size"] == 48
        assert not {"labels", "num_classes", "name"} & set(model.arguments)

    @pytest.mark.medium
    def test_saved_models_and_other_heads_keep_it(self, model, tmp_path):
        model.save(tmp_path / "model.keras")
        for kept in (
            keras.models.load_model(tmp_path / "model.keras"),
            type(model).from_config(model.get_config()),
            model.replace_head(LABELS[::-1]),
        ):
            assert kept.architecture == model.architecture
            assert kept.arguments == model.arguments

    def test_changed_models_have_none(self, model):
        changed = type(model)(model.input, model.output)
        assert changed.architecture is None and changed.arguments == {}
        own = models.AttentionNetwork(
            3, input_size=48, attention=lambda features, previous, name: features
        )
        assert own.architecture is None
