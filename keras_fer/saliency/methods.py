"""Saliency maps: which parts of an image a prediction rests on."""

from __future__ import annotations

import inspect
import weakref
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_fer.models.classifier import check_images, check_outputs
from keras_fer.saliency.probe import Probe, check_model, unfold

METHODS = ("grad_input", "grad_cam", "attention")

# Images per pass. It bounds memory: a gradient keeps all activations of the model.
_BATCH = 16


def explain(
    model: keras.Model,
    images: Any,
    method: str = "grad_input",
    layer: str | None = None,
) -> np.ndarray:
    """Computes one saliency map per image.

    - `"grad_input"`: `|dS/df| * f` at a layer with output f, where S is the sum of the
      logits' magnitudes, averaged over the channels and clipped at 0. This is what PAL
      trains (Bonnard et al., arXiv 2203.12905).
    - `"grad_cam"`: `relu(sum_c alpha_c f_c)` at a layer, where `alpha_c` is the mean
      over all spatial positions of the gradient of the predicted class's logit with
      respect to channel c (Selvaraju et al., "Grad-CAM", ICCV 2017).
    - `"attention"`: the map of an attention layer. Spatial attention is averaged over
      the channels (and over local and global maps). Channel attention `m` weighs the
      magnitudes of the layer's input: `sum_c m_c |f_c|`. Attention among
      patches is averaged over the patches that attend.

    A map is upsampled bilinearly and scaled to a maximum of 1, so values compare
    positions of one image, not images. The model runs in inference mode; no map
    depends on the other images of the batch.

    Args:
        model: A functional or sequential model with one input, images, and one
            output, such as any of `keras_fer.models`. For the gradient methods it has
            to end in logits or in a softmax.
        images: `(B, H, W, 1)` or `(B, H, W, 3)`, 0–255, as the model takes them.
        method: `"grad_input"`, `"grad_cam"` or `"attention"`.
        layer: Name of a layer, also inside a nested model. Default: the last one
            with a large enough feature map (see `keras_fer.saliency.Probe`), or the
            last attention layer.

    Returns:
        `(B, H, W)` float32 in [0, 1]; all zeros for an image without attribution.

    Raises:
        ValueError: The method is unknown, the images have another shape or NaN, the
            model is of another kind, has no attention layer or returns NaN, or there
            is no such layer.
        NotImplementedError: A gradient method on a backend other than TensorFlow and
            JAX.
    """
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, got {method!r}.")
    check_model(model)
    images = np.asarray(images)
    check_images("images", images, allow_empty=True)
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


def _grad_input(model: keras.Model, images: Any, layer: str | None) -> Any:
    def score(logits: Any) -> Any:
        return ops.sum(ops.abs(logits), axis=-1)

    values = _cached(Probe, model, layer)(images, score)
    attribution = ops.abs(values["gradient"]) * values["features"]
    return ops.relu(ops.mean(attribution, axis=-1))


def _grad_cam(model: keras.Model, images: Any, layer: str | None) -> Any:
    def score(logits: Any) -> Any:
        return ops.max(logits, axis=-1)  # That of the predicted class.

    values = _cached(Probe, model, layer)(images, score)
    weights = ops.mean(values["gradient"], axis=(1, 2), keepdims=True)
    return ops.relu(ops.sum(weights * values["features"], axis=-1))


def _attention(model: keras.Model, images: Any, layer: str | None) -> Any:
    inputs, attend = _cached(_attention_layer, model, layer)
    features, *others = keras.tree.flatten(inputs(images, training=False))
    _, attention = attend(features, *others, return_attention=True)
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
        f"{tuple(attention.shape)} over {tuple(features.shape)}. Name another layer, "
        "or use grad_input or grad_cam."
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
            "not. Use grad_input or grad_cam."
        )
    layer = layer or list(found)[-1]
    if layer not in found:
        raise ValueError(
            "layer must name an attention layer on the path to the output, got "
            f"{layer!r}. Candidates: {', '.join(found)}."
        )
    operation, inputs = found[layer]
    return keras.Model(images, inputs), operation


_ATTRIBUTE = {
    "grad_input": _grad_input,
    "grad_cam": _grad_cam,
    "attention": _attention,
}

# Building a graph takes longer than running it, and adds nodes to the layers.
_graphs: weakref.WeakKeyDictionary[keras.Model, dict[Any, Any]] = (
    weakref.WeakKeyDictionary()
)


def _cached(kind: Any, model: keras.Model, layer: str | None) -> Any:
    """A `Probe` or an `_attention_layer` of a model, built once per model and layer."""
    graphs = _graphs.setdefault(model, {})
    if (kind, layer) not in graphs:
        graphs[kind, layer] = kind(model, layer)
    return graphs[kind, layer]
