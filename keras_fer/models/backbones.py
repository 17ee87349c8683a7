"""Backbones: the convolutional networks that the papers build on.

A backbone is a `keras.Model` from normalized images, `(B, size, size, 3)` in [-1, 1],
to a dictionary of feature maps by stride: `"stride_8"`, `"stride_16"` and so on, up to
where the backbone is cut. Each is the last feature map of its stride.

A backbone has **insertion points** for attention layers. `attention` is a function
`(features, previous, name) -> features` that is called for each of them, with the
feature map F of a block, the feature map F_prev of the same shape that the block
received, and a name for the layer.
"""

import os
import pathlib
from collections.abc import Callable
from typing import Any, TypeAlias

import keras
from keras import layers

from keras_fer.layers.types import FeatureMaps, Tensor

# Applies an attention layer at an insertion point: F, F_prev and a name to the new F.
InsertedAttention: TypeAlias = Callable[[Tensor, Tensor, str], Tensor]

# A weights file, `"imagenet"` where the backbone has it, or `None` for random weights.
Weights: TypeAlias = str | os.PathLike[str] | None

# Files with ImageNet weights of MobileNetV1 end here; the rest of the network is its
# classifier.
_MOBILENET_END = "conv_dw_13_relu"


def mobilenet_v1(
    size: int,
    cut: str = "stride_16",
    weights: Weights = None,
    attention: InsertedAttention | None = None,
    name: str = "mobilenet_v1",
) -> keras.Model:
    """MobileNetV1 (Howard et al., 2017), width 1, of `keras.applications`.

    Insertion points: the ends of the blocks that keep size and channels, so that F_prev
    needs no projection: 3, 5 and 7 to 11.

    Args:
        size: Side in pixels of the square input.
        cut: The last layer, such as `"conv_dw_9_relu"`, or a stride, such as
            `"stride_16"` (`conv_pw_11_relu`).
        weights: `"imagenet"` (Keras downloads it once), a `.h5` file with the weights
            of `keras.applications.MobileNet` up to `conv_dw_13_relu`, or `None` for
            random weights.
        attention: Attention at the insertion points, or `None`.
        name: Name of the model.

    Returns:
        The backbone.

    Raises:
        FileNotFoundError: The weights file does not exist.
        ValueError: There is no layer named `cut`, or the file does not fit.
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


def vgg16(
    size: int,
    cut: str = "stride_16",
    weights: Weights = None,
    attention: InsertedAttention | None = None,
    name: str = "vgg16",
) -> keras.Model:
    """VGG16 (Simonyan & Zisserman, 2015) of `keras.applications`, convolutions only.

    Its weights expect BGR images minus the mean of ImageNet, to which the backbone
    converts its input. Insertion points: the last convolution of every block; F_prev is
    the output of the one before it.

    Args:
        size: Side in pixels of the square input, at least 32.
        cut: The last layer, such as `"block4_conv3"`, or a stride: `"stride_8"` is
            `block4_conv3`, `"stride_16"` is `block5_conv3`.
        weights: `"imagenet"` (Keras downloads it once), a `.h5` file with the weights
            of `keras.applications.VGG16(include_top=False)`, or `None` for random
            weights.
        attention: Attention at the insertion points, or `None`.
        name: Name of the model.

    Returns:
        The backbone.

    Raises:
        FileNotFoundError: The weights file does not exist.
        ValueError: There is no layer named `cut`, or the file does not fit.
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


def resnet18(
    size: int,
    cut: str = "stride_32",
    weights: Weights = None,
    attention: InsertedAttention | None = None,
    name: str = "resnet18",
) -> keras.Model:
    """ResNet-18 (He et al., 2016), which `keras.applications` does not have.

    Insertion points: the end of every residual branch, before it is added to the
    shortcut; F_prev is the shortcut, that is, the block's input after its projection.

    Args:
        size: Side in pixels of the square input.
        cut: The last block, such as `"conv4_block2_out"`, or a stride.
        weights: A file that `save_weights` of this backbone wrote, or `None` for random
            weights.
        attention: Attention at the insertion points, or `None`.
        name: Name of the model.

    Returns:
        The backbone.

    Raises:
        FileNotFoundError: The weights file does not exist.
        ValueError: There is no layer named `cut`, or the file does not fit.
    """
    return _resnet(size, (2, 2, 2, 2), False, cut, weights, attention, name)


def resnet50(
    size: int,
    cut: str = "stride_32",
    weights: Weights = None,
    attention: InsertedAttention | None = None,
    name: str = "resnet50",
) -> keras.Model:
    """ResNet-50 v1.5, which strides in the 3x3 convolution of a bottleneck.

    `keras.applications.ResNet50` is the first version, which strides in the first 1x1
    convolution; the papers' code uses this one. Insertion points: as in `resnet18`.

    Args:
        size: Side in pixels of the square input.
        cut: The last block, such as `"conv4_block6_out"`, or a stride.
        weights: A file that `save_weights` of this backbone wrote, or `None` for random
            weights.
        attention: Attention at the insertion points, or `None`.
        name: Name of the model.

    Returns:
        The backbone.

    Raises:
        FileNotFoundError: The weights file does not exist.
        ValueError: There is no layer named `cut`, or the file does not fit.
    """
    return _resnet(size, (3, 4, 6, 3), True, cut, weights, attention, name)


BACKBONES = {
    "mobilenet_v1": mobilenet_v1,
    "resnet18": resnet18,
    "resnet50": resnet50,
    "vgg16": vgg16,
}


def build_backbone(kind: str, size: int, **options: Any) -> keras.Model:
    """Builds a backbone by name, as the nested model `"backbone"` of a larger one.

    Args:
        kind: One of `BACKBONES`.
        size: Side in pixels of the square input.
        **options: Further arguments of the backbone's function.

    Returns:
        The backbone.

    Raises:
        FileNotFoundError: The weights file does not exist.
        ValueError: There is no such backbone, or an option is invalid.
    """
    if kind not in BACKBONES:
        raise ValueError(
            f"backbone must be one of {', '.join(BACKBONES)}, got {kind!r}."
        )
    return BACKBONES[kind](size, name="backbone", **options)


def last_feature_map(maps: FeatureMaps) -> Tensor:
    """Returns the feature map with the largest stride.

    Args:
        maps: Output of a backbone.
    """
    return maps[max(maps, key=lambda name: int(name.removeprefix("stride_")))]


def freeze_batch_norm(backbone: keras.Model) -> None:
    """Freezes the BatchNorm layers of a backbone: stored statistics, also in training.

    PAtt-Lite fine-tunes so. With statistics that already fit the data it avoids the
    noise of small batches, and a training step on a CPU takes half the time.
    `keras_fer.zoo.load` applies it to trained weights. To undo it, make the layers
    trainable and compile the model again:

        for layer in model.get_layer("backbone").layers:
            layer.trainable = True

    Args:
        backbone: A `keras.Model`; its `BatchNormalization` layers become untrainable.
    """
    for layer in backbone.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False


def _resnet(
    size: int,
    depths: tuple[int, ...],
    bottleneck: bool,
    cut: str,
    weights: Weights,
    attention: InsertedAttention | None,
    name: str,
) -> keras.Model:
    """Builds a ResNet whose layers are named as in `keras.applications`."""
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


def _block(
    x: Tensor,
    filters: int,
    stride: int,
    bottleneck: bool,
    attention: InsertedAttention | None,
    name: str,
) -> Tensor:
    """Applies a residual block."""
    width = filters * 4 if bottleneck else filters
    shortcut = x
    if stride > 1 or x.shape[-1] != width:
        shortcut = _convolution(x, width, 1, stride, f"{name}_0")
    kernels: tuple[tuple[int, int, int], ...]
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


def _convolution(
    x: Tensor, filters: int, kernel: int, stride: int, name: str
) -> Tensor:
    """Applies convolution and BatchNorm, padding and epsilon as in the papers' code."""
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


def _assemble(
    network: keras.Model,
    cut: str,
    ends: dict[str, str],
    insertion_points: dict[str, str],
    attention: InsertedAttention | None,
    name: str,
) -> keras.Model:
    """Cuts a network, inserts attention and names the feature maps.

    Args:
        network: The whole network.
        cut: Name of a layer or of a stride.
        ends: The last layer of every stride, by the name of the stride, in order.
        insertion_points: Names of the layers that compute F, to those that compute
            F_prev.
        attention: See the module.
        name: Name of the backbone.
    """
    order = [layer.name for layer in network.layers]
    last = ends.get(cut, cut)
    if last not in order:
        raise ValueError(
            f"cut must be one of {', '.join(ends)} or the name of a layer of the "
            f"network, got {cut!r}."
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
    if attention is None or not insertion_points:
        return backbone

    seen: dict[str, Tensor] = {}

    def insert(layer: keras.layers.Layer, *args: Any, **kwargs: Any) -> Tensor:
        x = layer(*args, **kwargs)
        if layer.name in insertion_points:
            previous = seen[insertion_points[layer.name]]
            x = attention(x, previous, f"{layer.name}_attention")
        seen[layer.name] = x
        return x

    return keras.models.clone_model(
        backbone, clone_function=lambda layer: layer, call_function=insert
    )


def _load(network: keras.Model, weights: str | os.PathLike[str]) -> None:
    """Loads a weights file."""
    path = pathlib.Path(weights)
    if not path.is_file():
        raise FileNotFoundError(
            f"backbone_weights must be an existing file, None, or (with mobilenet_v1 "
            f'and vgg16) "imagenet", got {str(weights)!r}.'
        )
    network.load_weights(path)
