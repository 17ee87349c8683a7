"""Saliency maps: which parts of an image a prediction rests on."""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_fer.models.classifier import check_images, check_outputs
from keras_fer.models.graph import unfold
from keras_fer.saliency.probe import Probe, check_model

METHODS = ("smooth_grad", "hires_cam", "grad_cam", "grad_input", "attention")

# Images per pass. It bounds memory: a gradient keeps all activations of the model.
_BATCH = 16

# Of `smooth_grad`: noisy copies of each image; standard deviation of the noise; and of
# the Gaussian filter, as a share of the map's side.
_COPIES, _NOISE, _FILTER = 16, 25.5, 1 / 32

# Feature maps that `hires_cam` fuses.
_LEVELS = 3

# Attention that differs by less than this share of its maximum prefers no position.
_LEAST_CONTRAST = 0.5


def explain(
    model: keras.Model,
    images: Any,
    method: str = "smooth_grad",
    layer: str | None = None,
) -> np.ndarray:
    """Computes one saliency map per image.

    - `"smooth_grad"`: `relu(sum_c mean_k(dM/dx_c) * (x_c - mean(x_c)))` at the pixels
      x, where M is the predicted class's logit minus the mean of the others, and its
      gradient is averaged over noisy copies k of the image (Smilkov et al.,
      "SmoothGrad", arXiv 1706.03825; 16 copies, the noise a tenth of the range). It is
      as fine as the image; a Gaussian filter of a 32nd of the side joins neighbors.
    - `"hires_cam"`: `sum_c dM/df_c * f_c` at a layer ("Use HiResCAM
      instead of Grad-CAM", arXiv 2011.08891), fused over the last layer with a large
      enough feature map and the last ones of the next two finer resolutions: their
      maps, each divided by its largest magnitude, are added and clipped at 0. With
      `layer`, of that layer alone.
    - `"grad_input"`: `|dS/df| * f` at a layer with output f, where S is the sum of the
      logits' magnitudes, averaged over the channels and clipped at 0. This is what PAL
      trains (Bonnard et al., arXiv 2203.12905).
    - `"grad_cam"`: `relu(sum_c alpha_c f_c)` at a layer, where `alpha_c` is the mean
      over all spatial positions of the gradient of the predicted class's logit with
      respect to channel c (Selvaraju et al., "Grad-CAM", ICCV 2017).
    - `"attention"`: the map of an attention layer. Spatial attention is averaged over
      the channels (and over local and global maps). Channel attention `m` weighs the
      magnitudes of the layer's input: `sum_c m_c |f_c|`. Attention among
      patches is averaged over the patches that attend. The map of an image is zero if
      its attention prefers no position: the least value is over half the largest.

    `python -m benchmarks.saliency` measures them by `insertion_deletion`. The default
    is the best there.

    A map is upsampled bilinearly and scaled to a maximum of 1, so values compare
    positions of one image, not images. The model runs in inference mode; no map
    depends on the other images of the batch.

    Args:
        model: A functional or sequential model with one input, images, and one
            output, such as any of `keras_fer.models`. For the gradient methods it has
            to end in logits or in a softmax.
        images: `(B, H, W, 1)` or `(B, H, W, 3)`, 0–255, as the model takes them.
        method: One of the above.
        layer: Name of a layer, also inside a nested model. Default: the last one
            with a large enough feature map (see `keras_fer.saliency.Probe`), or the
            last attention layer. `"smooth_grad"` has none.

    Returns:
        `(B, H, W)` float32 in [0, 1]; all zeros for an image without attribution.

    Raises:
        ValueError: The method is unknown or has no layer, the images have another shape
            or NaN, the model is of another kind, has no attention layer or returns NaN,
            or there is no such layer.
        NotImplementedError: A gradient method on a backend other than TensorFlow and
            JAX.
    """
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, got {method!r}.")
    check_model(model)
    images = np.asarray(images)
    check_images("images", images, allow_empty=True)
    if method == "smooth_grad" and layer is not None:
        raise ValueError(
            "layer must be None for smooth_grad, which is about pixels, got "
            f"{layer!r}. Leave it out, or use hires_cam."
        )
    attribute = _ATTRIBUTE[method]
    heat = np.zeros(images.shape[:3], "float32")
    for start in range(0, len(images), _BATCH):
        batch = images[start : start + _BATCH]
        maps = ops.cast(attribute(model, batch, layer), "float32")
        heat[start : start + _BATCH] = ops.image.resize(
            maps[..., None],
            images.shape[1:3],
            antialias=True,
            data_format="channels_last",
        )[..., 0]
    check_outputs(model, heat)
    highest = heat.max(axis=(1, 2), keepdims=True)
    return heat / np.where(highest > 0, highest, 1)


def _smooth_grad(model: keras.Model, images: Any, layer: None) -> Any:
    probe = _cached(_pixel_probe, model, images.shape[1:])
    pixels = ops.cast(images, "float32")
    margin = _margin(probe(pixels, _largest)["logits"])
    gradient: Any = 0
    # The same noise for every image, in every call.
    random = np.random.default_rng(0)
    for _ in range(_COPIES):
        noise = random.normal(scale=_NOISE, size=images.shape[1:]).astype("float32")
        gradient = gradient + probe(pixels + noise, margin)["gradient"]
    deviation = pixels - ops.mean(pixels, axis=(1, 2), keepdims=True)
    attribution = ops.relu(ops.sum(gradient * deviation, axis=-1))
    return _blurred(attribution, _FILTER)


def _pixel_probe(model: keras.Model, shape: tuple[int, ...]) -> Probe:
    """A probe at the images themselves, of a model that takes images of one shape."""
    images = keras.Input(shape, dtype="float32")
    pixels = keras.layers.Identity(dtype="float32", name="pixels")(images)
    # A node that holds the model would keep it alive.
    outputs = unfold(model, pixels, lambda operation, inputs, call: call())
    return Probe(keras.Model(images, outputs), "pixels")


def _blurred(maps: Any, share: float) -> Any:
    """Applies a Gaussian filter to `(B, H, W)`; `share` is its width over the side."""
    for axis, side in enumerate(maps.shape[1:]):
        distance = np.subtract.outer(np.arange(side), np.arange(side)) / (share * side)
        weights = np.exp(-(distance**2) / 2)
        weights /= weights.sum(axis=1, keepdims=True)
        equation = "yi,bix->byx" if axis == 0 else "xi,byi->byx"
        maps = ops.einsum(equation, ops.convert_to_tensor(weights, "float32"), maps)
    return maps


def _hires_cam(model: keras.Model, images: Any, layer: str | None) -> Any:
    probes = _cached(_levels, model, layer)
    margin = _margin(probes[0](images, _largest)["logits"])
    size = probes[-1].map_shape[:2]
    fused: Any = 0
    for probe in probes:
        values = probe(images, margin)
        maps = ops.sum(values["gradient"] * values["features"], axis=-1, keepdims=True)
        maps = ops.cast(maps, "float32")
        highest = ops.max(ops.abs(maps), axis=(1, 2, 3), keepdims=True)
        maps = maps / ops.where(highest > 0, highest, 1)
        fused = fused + ops.image.resize(maps, size, data_format="channels_last")
    return ops.relu(fused[..., 0])


def _levels(model: keras.Model, layer: str | None) -> list[Probe]:
    """Probes at the default layer and at finer ones, as far as there are; or at one."""
    probes = [Probe(model, layer)]
    while layer is None and len(probes) < _LEVELS:
        try:
            finer = min(probes[-1].map_shape[:2]) + 1
            probes.append(Probe(model, min_side=finer))
        except ValueError:  # There is no finer one.
            break
    return probes


def _margin(logits: Any) -> Callable[[Any], Any]:
    """A score: the logit of the class with the highest one, minus the others' mean."""
    classes = logits.shape[-1]
    chosen = ops.one_hot(ops.argmax(logits, axis=-1), classes, dtype=logits.dtype)
    weights = chosen - (1 - chosen) / max(1, classes - 1)
    return lambda logits: ops.sum(logits * weights, axis=-1)


def _largest(logits: Any) -> Any:
    """A score: the logit of the predicted class."""
    return ops.max(logits, axis=-1)


def _grad_input(model: keras.Model, images: Any, layer: str | None) -> Any:
    def score(logits: Any) -> Any:
        return ops.sum(ops.abs(logits), axis=-1)

    values = _cached(Probe, model, layer)(images, score)
    attribution = ops.abs(values["gradient"]) * values["features"]
    return ops.relu(ops.mean(attribution, axis=-1))


def _grad_cam(model: keras.Model, images: Any, layer: str | None) -> Any:
    values = _cached(Probe, model, layer)(images, _largest)
    weights = ops.mean(values["gradient"], axis=(1, 2), keepdims=True)
    return ops.relu(ops.sum(weights * values["features"], axis=-1))


def _attention(model: keras.Model, images: Any, layer: str | None) -> Any:
    inputs, attend = _cached(_attention_layer, model, layer)
    features, *others = keras.tree.flatten(inputs(images, training=False))
    _, attention = attend(features, *others, return_attention=True)
    maps = _attention_map(features, attention)
    highest = ops.max(maps, axis=(1, 2), keepdims=True)
    lowest = ops.min(maps, axis=(1, 2), keepdims=True)
    return ops.where(lowest > (1 - _LEAST_CONTRAST) * highest, 0 * maps, maps)


def _attention_map(features: Any, attention: Any) -> Any:
    if len(attention.shape) == 5:
        return ops.mean(attention, axis=(1, 4))
    if len(attention.shape) == 4 and tuple(attention.shape[1:3]) == (1, 1):
        return ops.sum(attention * ops.abs(features), axis=-1)
    if len(attention.shape) == 4:
        return ops.mean(attention, axis=-1)
    if len(attention.shape) == 3 and len(features.shape) == 4:
        return ops.reshape(ops.mean(attention, axis=1), features.shape[:3])
    raise ValueError(
        "An attention map must have the shape (batch, height, width, channels), "
        "(batch, 2, height, width, channels), (batch, 1, 1, channels), or, over a "
        "feature map, (batch, positions, positions); got "
        f"{tuple(attention.shape)} over {tuple(features.shape)}. Name another layer "
        "or method."
    )


def _attention_layer(model: keras.Model, layer: str | None) -> Any:
    """A model from images to an attention layer's inputs, and that layer."""
    found: dict[str, Any] = {}

    # The layer returns two tensors when asked for its map, but one in the graph, so
    # the model ends at its inputs.
    def visit(operation: Any, inputs: Any, call: Any) -> Any:
        outputs = call()
        if "return_attention" in inspect.signature(operation.call).parameters:
            found[operation.name] = (operation, inputs)
        return outputs

    (old,) = model.inputs
    images = keras.Input(batch_shape=old.shape, dtype=old.dtype)
    on_path = keras.Model(images, unfold(model, images, visit)).operations
    found = {name: pair for name, pair in found.items() if pair[0] in on_path}
    if not found:
        raise ValueError(
            "method 'attention' needs a model with an attention layer of "
            f"keras_fer.layers on the path to its output, which {model.name!r} has "
            "not. Use another method."
        )
    layer = layer or list(found)[-1]
    if layer not in found:
        raise ValueError(
            "layer must name an attention layer on the path to the output, got "
            f"{layer!r}. Candidates: {', '.join(found)}."
        )
    operation, inputs = found[layer]
    return keras.Model(images, inputs), operation


_ATTRIBUTE: dict[str, Callable[..., Any]] = {
    "smooth_grad": _smooth_grad,
    "hires_cam": _hires_cam,
    "grad_input": _grad_input,
    "grad_cam": _grad_cam,
    "attention": _attention,
}

# Building a graph takes longer than running it, and adds nodes to the layers.
_graphs: weakref.WeakKeyDictionary[keras.Model, dict[Any, Any]] = (
    weakref.WeakKeyDictionary()
)


def _cached(kind: Any, model: keras.Model, key: Any) -> Any:
    """What `kind(model, key)` builds, such as a `Probe` at a layer, built once."""
    graphs = _graphs.setdefault(model, {})
    if (kind, key) not in graphs:
        graphs[kind, key] = kind(model, key)
    return graphs[kind, key]
