"""Backbones: the convolutional networks that the papers build on.

A backbone is a `keras.Model` from normalized images, `(B, size, size, 3)` in [-1, 1],
to a dictionary of feature maps by their stride: `"stride_8"`, `"stride_16"` and so on,
up to where the backbone is cut. Each map is the last one of its stride.

A backbone has **slots**, where an attention layer may stand. `attention` is a function
`(features, previous, name) -> features` that is called for every slot: with the map F,
the map F_prev of the same channels and size that the block received, and a name.
"""

import pathlib

import keras
from keras import layers

# Files with ImageNet weights of MobileNetV1 may end here: the rest of the network is
# its classifier.
_MOBILENET_END = "conv_dw_13_relu"


def mobilenet_v1(
    size, cut="stride_16", weights="imagenet", attention=None, name="mobilenet_v1"
):
    """MobileNetV1 (Howard et al., 2017), width 1, of `keras.applications`.

    Slots: the blocks that keep size and channels, so that F_prev, which they receive,
    needs no projection: 3, 5 and 7 to 11.

    Args:
        size: Side of the square input, in pixels.
        cut: The last layer, such as `"conv_dw_9_relu"`, or a stride, such as
            `"stride_16"` (`conv_pw_11_relu`).
        weights: `"imagenet"` (Keras downloads them once), a `.h5` file with the
            weights of `keras.applications.MobileNet` up to `conv_dw_13_relu`, or
            `None` for random ones.
        attention: What stands in the slots, or `None`.
        name: Name of the model.

    Returns:
        The backbone.

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
        end = network.get_layer(_MOBILENET_END).output
        _load(keras.Model(network.input, end), weights)
    ends = {2: 1, 4: 3, 8: 5, 16: 11, 32: 13}
    return _assemble(
        network,
        cut,
        {f"stride_{stride}": f"conv_pw_{block}_relu" for stride, block in ends.items()},
        {
            f"conv_pw_{block}_relu": f"conv_pw_{block - 1}_relu"
            for block in (3, 5, 7, 8, 9, 10, 11)
        },
        attention,
        name,
    )


def vgg16(size, cut="stride_16", weights="imagenet", attention=None, name="vgg16"):
    """VGG16 (Simonyan & Zisserman, 2015) of `keras.applications`, convolutions only.

    Its weights expect BGR images minus the mean of ImageNet; the backbone brings its
    input into that form. Slots: the last convolution of every block, F_prev is the one
    before it.

    Args:
        size: Side of the square input, in pixels, at least 32.
        cut: The last layer, such as `"block4_conv3"`, or a stride: `"stride_8"` is
            `block4_conv3`, `"stride_16"` is `block5_conv3`.
        weights: `"imagenet"` (Keras downloads them once), a `.h5` file with the
            weights of `keras.applications.VGG16(include_top=False)`, or `None`.
        attention: What stands in the slots, or `None`.
        name: Name of the model.

    Returns:
        The backbone.

    Raises:
        FileNotFoundError: The weights file does not exist.
        ValueError: The network has no layer of that name, or the file does not fit.
    """
    images = keras.Input((size, size, 3))
    mean = (123.68, 116.779, 103.939)
    rgb = layers.Rescaling(127.5, [127.5 - value for value in mean], name="zero_mean")(
        images
    )
    network = keras.applications.VGG16(
        input_tensor=rgb[..., ::-1],
        include_top=False,
        weights="imagenet" if weights == "imagenet" else None,
    )
    if weights not in (None, "imagenet"):
        _load(network, weights)
    last = {1: 2, 2: 2, 3: 3, 4: 3, 5: 3}
    return _assemble(
        network,
        cut,
        {f"stride_{2 ** (b - 1)}": f"block{b}_conv{c}" for b, c in last.items()},
        {f"block{b}_conv{c}": f"block{b}_conv{c - 1}" for b, c in last.items()},
        attention,
        name,
    )


def resnet18(size, cut="stride_32", weights=None, attention=None, name="resnet18"):
    """ResNet-18 (He et al., 2016), which `keras.applications` does not have.

    Slots: the end of every residual branch, before it is added to the shortcut; F_prev
    is the shortcut, which is the block's input after its projection.

    Args:
        size: Side of the square input, in pixels.
        cut: The last block, such as `"conv4_block2_out"`, or a stride.
        weights: A file that `save_weights` made from this backbone, or `None`.
        attention: What stands in the slots, or `None`.
        name: Name of the model.

    Returns:
        The backbone.

    Raises:
        FileNotFoundError: The weights file does not exist.
        ValueError: The network has no layer of that name, or the file does not fit.
    """
    return _resnet(size, (2, 2, 2, 2), False, cut, weights, attention, name)


def resnet50(size, cut="stride_32", weights=None, attention=None, name="resnet50"):
    """ResNet-50 v1.5, which strides in the 3x3 convolution of a bottleneck.

    `keras.applications.ResNet50` is the first version, which strides in the first 1x1
    convolution; the papers' code uses this one. Slots are as in `resnet18`.

    Args:
        size: Side of the square input, in pixels.
        cut: The last block, such as `"conv4_block6_out"`, or a stride.
        weights: A file that `save_weights` made from this backbone, or `None`.
        attention: What stands in the slots, or `None`.
        name: Name of the model.

    Returns:
        The backbone.

    Raises:
        FileNotFoundError: The weights file does not exist.
        ValueError: The network has no layer of that name, or the file does not fit.
    """
    return _resnet(size, (3, 4, 6, 3), True, cut, weights, attention, name)


BACKBONES = {
    "mobilenet_v1": mobilenet_v1,
    "resnet18": resnet18,
    "resnet50": resnet50,
    "vgg16": vgg16,
}


def build_backbone(kind, size, **options):
    """Builds a backbone by its name, as the nested model `"backbone"` of a larger one.

    Args:
        kind: One of `BACKBONES`.
        size: Side of the square input, in pixels.
        **options: Those of the backbone's function.

    Raises:
        ValueError: There is no such backbone.
    """
    if kind not in BACKBONES:
        raise ValueError(
            f"`backbone` should be one of {', '.join(BACKBONES)}. "
            f"Received: backbone={kind!r}"
        )
    return BACKBONES[kind](size, name="backbone", **options)


def last_map(maps):
    """The map with the largest stride."""
    return maps[max(maps, key=lambda name: int(name.removeprefix("stride_")))]


def freeze_batch_norm(backbone):
    """Makes the BatchNorm of a backbone use its stored statistics, also in training.

    PAtt-Lite fine-tunes so. With statistics that already fit, it spares small batches
    their noise, and a training step on a CPU takes half the time.

    Args:
        backbone: A `keras.Model`; its `BatchNormalization` layers become untrainable.
    """
    for layer in backbone.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False


def _resnet(size, depths, bottleneck, cut, weights, attention, name):
    """Layers are named as in `keras.applications`."""
    images = keras.Input((size, size, 3))
    x = _convolution(images, 64, 7, 2, "conv1")
    x = layers.ReLU(name="conv1_relu")(x)
    x = layers.ZeroPadding2D(1, name="pool1_pad")(x)
    x = layers.MaxPooling2D(3, 2, name="pool1_pool")(x)
    for stage, depth in enumerate(depths, start=2):
        for index in range(1, depth + 1):
            stride = 2 if stage > 2 and index == 1 else 1
            x = _block(
                x,
                64 * 2 ** (stage - 2),
                stride,
                bottleneck,
                attention,
                f"conv{stage}_block{index}",
            )
    ends = {
        f"stride_{2**stage}": f"conv{stage}_block{depth}_out"
        for stage, depth in enumerate(depths, start=2)
    }
    backbone = _assemble(
        keras.Model(images, x),
        cut,
        {"stride_2": "conv1_relu", **ends},
        {},
        None,
        name,
    )
    if weights is not None:
        _load(backbone, weights)
    return backbone


def _block(x, filters, stride, bottleneck, attention, name):
    """A residual block."""
    width = filters * 4 if bottleneck else filters
    shortcut = x
    if stride > 1 or x.shape[-1] != width:
        shortcut = _convolution(x, width, 1, stride, f"{name}_0")
    if bottleneck:
        kernels = ((filters, 1, 1), (filters, 3, stride), (width, 1, 1))
    else:
        kernels = ((filters, 3, stride), (width, 3, 1))
    for index, (channels, kernel, step) in enumerate(kernels, start=1):
        if index > 1:
            x = layers.ReLU(name=f"{name}_{index - 1}_relu")(x)
        x = _convolution(x, channels, kernel, step, f"{name}_{index}")
    if attention is not None:
        x = attention(x, shortcut, f"{name}_attention")
    x = layers.Add(name=f"{name}_add")([shortcut, x])
    return layers.ReLU(name=f"{name}_out")(x)


def _convolution(x, filters, kernel, stride, name):
    """Convolution and BatchNorm, padded and with the epsilon of the papers' code."""
    if kernel > 1:
        x = layers.ZeroPadding2D(kernel // 2, name=f"{name}_pad")(x)
    x = layers.Conv2D(
        filters,
        kernel,
        stride,
        use_bias=False,
        kernel_initializer="he_normal",
        name=f"{name}_conv",
    )(x)
    return layers.BatchNormalization(epsilon=1e-5, name=f"{name}_bn")(x)


def _assemble(network, cut, ends, slots, attention, name):
    """Cuts a network, fills its slots and names its maps.

    Args:
        network: The whole network.
        cut: Name of a layer, or of a stride.
        ends: The last layer of every stride, by the stride's name, in order.
        slots: Names of layers to the names of those that gave F_prev.
        attention: See the module.
        name: Name of the backbone.
    """
    order = [layer.name for layer in network.layers]
    last = ends.get(cut, cut)
    if last not in order:
        raise ValueError(
            f"`cut` should be one of {', '.join(ends)} or the name of a layer of the "
            f"network. Received: cut={cut!r}"
        )
    maps = {}
    for stride, end in ends.items():
        maps[stride] = min(end, last, key=order.index)
        if maps[stride] == last:
            break
    found = {layer: network.get_layer(layer).output for layer in maps.values()}
    backbone = keras.Model(
        network.inputs[0],
        {stride: found[layer] for stride, layer in maps.items()},
        name=name,
    )
    if attention is None or not slots:
        return backbone

    seen = {}

    def fill(layer, *args, **kwargs):
        x = layer(*args, **kwargs)
        if layer.name in slots:
            x = attention(x, seen[slots[layer.name]], f"{layer.name}_attention")
        seen[layer.name] = x
        return x

    return keras.models.clone_model(
        backbone, clone_function=lambda layer: layer, call_function=fill
    )


def _load(network, weights):
    path = pathlib.Path(weights)
    if not path.is_file():
        raise FileNotFoundError(
            f"No backbone weights. Received: weights={str(weights)!r}. Expected an "
            'existing file, None, or "imagenet" where the backbone has it.'
        )
    network.load_weights(path)
