"""Where a model looks: heat maps over images."""

import inspect
import weakref

import keras
import numpy as np
from keras import ops

from keras_fer.faces.images import as_image
from keras_fer.models.probe import Probe, is_graph, unfold

METHODS = ("grad_input", "grad_cam", "attention")

# Images a pass, which bounds memory: a gradient keeps all that the model computes.
_BATCH = 16


def explain(model, images, method="grad_input", layer=None):
    """Heat maps of what a model's prediction rests on, one for each image.

    - `"grad_input"`: `|dS/df| * f` at a layer, with S the sum of the logits'
      magnitudes, averaged over the channels; below 0 is 0. What PAL trains (Bonnard et
      al., arXiv 2203.12905).
    - `"grad_cam"`: `relu(sum_c alpha_c f_c)` at a layer, with `alpha_c` the mean
      gradient of the predicted class's logit over the places of channel c (Selvaraju
      et al., "Grad-CAM", ICCV 2017).
    - `"attention"`: the map of an attention layer. Attention to places is averaged
      over the channels (and over local and global maps). Attention to channels alone
      has no places: it weighs the magnitudes of the layer's input, `sum_c m_c |f_c|`.
      Attention among patches is what each receives from all.

    A map is upsampled bilinearly and scaled to a maximum of 1, so that maps compare
    places of one image, not images. The model runs in inference mode; no map
    depends on the images beside it.

    Args:
        model: A functional or sequential model with one input, images, and one
            output, such as any of `keras_fer.models`. The gradient methods want it to
            end in logits or in a softmax.
        images: `(B, H, W, 1)` or `(B, H, W, 3)`, 0–255, as the model takes them.
        method: `"grad_input"`, `"grad_cam"` or `"attention"`.
        layer: Name of the layer, also inside a nested model. Default: the last one
            with a map that is large enough (see `keras_fer.models.probe.Probe`), or
            the last attention layer.

    Returns:
        `(B, H, W)` float32 in [0, 1]; zeros where nothing is attributed to an image.

    Raises:
        ValueError: The method is unknown, the images have another shape, the model
            is of another kind or has no attention layer, or there is no such layer.
        NotImplementedError: A gradient on a backend that is neither TensorFlow nor
            JAX.
    """
    if method not in METHODS:
        raise ValueError(
            f"`method` should be one of {', '.join(METHODS)}. "
            f"Received: method={method!r}"
        )
    if not is_graph(model) or not len(model.inputs) == len(model.outputs) == 1:
        raise ValueError(
            "Expected a functional or sequential model with one input and one output. "
            f"Received: model={model!r}. Load one with keras_fer.zoo.load."
        )
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[-1] not in (1, 3):
        raise ValueError(
            "Expected images of shape (batch, height, width, 1) or (batch, height, "
            f"width, 3). Received: shape={images.shape}. Add the batch axis to a "
            "single image with image[None]; drop an alpha channel with "
            "images[..., :3]."
        )
    find = {"grad_input": _grad_input, "grad_cam": _grad_cam, "attention": _attention}
    heat = np.zeros(images.shape[:3], "float32")
    for start in range(0, len(images), _BATCH):
        batch = images[start : start + _BATCH]
        found = ops.cast(find[method](model, batch, layer), "float32")
        heat[start : start + _BATCH] = ops.image.resize(
            found[..., None],
            images.shape[1:3],
            antialias=True,
            data_format="channels_last",
        )[..., 0]
    highest = heat.max(axis=(1, 2), keepdims=True)
    return heat / np.where(highest > 0, highest, 1)


def overlay(image, heat, opacity=0.5):
    """Lays a heat map over an image, in the colors of Matplotlib's viridis.

    The image stays as it is where there is no heat.

    Args:
        image: `(H, W)`, `(H, W, 1)` or `(H, W, 3)`, gray or RGB, 0–255.
        heat: `(H, W)` in [0, 1].
        opacity: Share of the color where the heat is 1, in [0, 1].

    Returns:
        `(H, W, 3)` uint8 RGB.

    Raises:
        ImageError: The array is not an image.
        ValueError: The heat has another size or range, or `opacity` is out of range.
    """
    import matplotlib

    image, heat = as_image(image), np.asarray(heat, dtype="float32")
    if heat.shape != image.shape[:2]:
        raise ValueError(
            f"Expected a heat map of the image's size, {image.shape[:2]}. Received: "
            f"shape={heat.shape}. Lay maps over the images that were explained, or "
            "put one of a crop on its photo with keras_fer.faces.paste_heatmap."
        )
    if not ((heat >= 0) & (heat <= 1)).all():
        raise ValueError(
            f"Expected heat from 0 to 1. Received: {heat.min():g} to {heat.max():g}. "
            "Divide it by its maximum."
        )
    if not 0 <= opacity <= 1:
        raise ValueError(
            f"`opacity` should be from 0 to 1. Received: opacity={opacity!r}"
        )
    colors = matplotlib.colormaps["viridis"](heat)[..., :3] * 255
    share = opacity * heat[..., None]
    return np.rint((1 - share) * image + share * colors).astype(np.uint8)


def _grad_input(model, images, layer):
    def score(logits):
        return ops.sum(ops.abs(logits), axis=-1)

    values = _opened(Probe, model, layer)(images, score)
    attribution = ops.abs(values["gradient"]) * values["features"]
    return ops.relu(ops.mean(attribution, axis=-1))


def _grad_cam(model, images, layer):
    def score(logits):
        return ops.max(logits, axis=-1)  # That of the predicted class.

    values = _opened(Probe, model, layer)(images, score)
    weights = ops.mean(values["gradient"], axis=(1, 2), keepdims=True)
    return ops.relu(ops.sum(weights * values["features"], axis=-1))


def _attention(model, images, layer):
    inputs, attend = _opened(_attention_layer, model, layer)
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
        "Expected an attention map (batch, height, width, channels), (batch, 2, "
        "height, width, channels), (batch, 1, 1, channels), or (batch, places, places) "
        f"of a layer over a map. Received: {tuple(attention.shape)} over "
        f"{tuple(features.shape)}. Name another layer, or use grad_input or grad_cam."
    )


def _attention_layer(model, layer):
    """An attention layer, after a model from images to its inputs."""
    found = {}

    # Keras makes no model of a layer that has one output here and two there, so the
    # layer itself is left out of the model that leads to it.
    def visit(operation, inputs, call):
        outputs = call()
        if "return_attention" in inspect.signature(operation.call).parameters:
            node = operation._inbound_nodes[outputs._keras_history.node_index]
            found[operation.name] = (operation, node.input_tensors)
        return outputs

    (old,) = model.inputs
    images = keras.Input(batch_shape=old.shape, dtype=old.dtype)
    on_path = keras.Model(images, unfold(model, images, visit)).operations
    found = {name: pair for name, pair in found.items() if pair[0] in on_path}
    if not found:
        raise ValueError(
            "Expected a model with an attention layer of keras_fer.layers in its path. "
            f"Received: {model.name!r}, which has none. Use grad_input or grad_cam."
        )
    layer = layer or list(found)[-1]
    if layer not in found:
        raise ValueError(
            "Expected an attention layer in the path to the prediction. Received: "
            f"layer={layer!r}. Candidates: {', '.join(found)}."
        )
    operation, inputs = found[layer]
    return keras.Model(images, inputs), operation


# Opening a model costs more than an image, and leaves nodes on its layers.
_graphs = weakref.WeakKeyDictionary()


def _opened(kind, model, layer):
    """A `Probe` or an attention layer of a model, made once."""
    graphs = _graphs.setdefault(model, {})
    if (kind, layer) not in graphs:
        graphs[kind, layer] = kind(model, layer)
    return graphs[kind, layer]
