"""Trunks: the convolutional networks that the papers build on."""

import pathlib

import keras

# Files with ImageNet weights may end here; the rest of the network is not needed by
# any model of the package.
_LAST_LAYER = "conv_dw_13_relu"


def mobilenet_v1(size, cut, weights="imagenet", name="mobilenet_v1"):
    """MobileNetV1 (Howard et al., 2017), width 1, up to a layer.

    Args:
        size: Side of the square input, in pixels.
        cut: Name of the last layer, such as `"conv_dw_9_relu"`.
        weights: `"imagenet"` (Keras downloads them once), a `.h5` file with the
            weights of `keras.applications.MobileNet` up to `conv_dw_13_relu`, or
            `None` for random ones.
        name: Name of the model.

    Returns:
        A `keras.Model` from `(B, size, size, 3)` in [-1, 1] to the layer's output.

    Raises:
        FileNotFoundError: The weights file does not exist.
        ValueError: The network has no layer of that name, or the file does not fit.
    """
    network = keras.applications.MobileNet(
        input_shape=(size, size, 3),
        include_top=False,
        weights="imagenet" if weights == "imagenet" else None,
    )
    if weights not in (None, "imagenet"):
        path = pathlib.Path(weights)
        if not path.is_file():
            raise FileNotFoundError(
                f"No trunk weights. Received: weights={str(weights)!r}. Expected "
                '"imagenet", None, or an existing .h5 file.'
            )
        keras.Model(network.input, network.get_layer(_LAST_LAYER).output).load_weights(
            path
        )
    return keras.Model(network.input, network.get_layer(cut).output, name=name)


def freeze_batch_norm(trunk):
    """Makes the BatchNorm of a trunk use its stored statistics, also in training.

    PAtt-Lite fine-tunes so. With statistics that already fit, it spares small batches
    their noise, and a training step on a CPU takes half the time.

    Args:
        trunk: A `keras.Model`; its `BatchNormalization` layers become untrainable.
    """
    for layer in trunk.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False
