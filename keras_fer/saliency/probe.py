"""Feature maps inside a model, and the gradient of its logits with respect to them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import layers, ops

from keras_fer.layers.class_probabilities import ClassProbabilities
from keras_fer.models.graph import Visit, is_graph, unfold

# The default layer has at least 14x14 positions, or 6x6 where images are small.
_SIDE, _SMALL_SIDE, _SMALL_IMAGE = 14, 6, 112

# Layers without features of their own.
_PASSIVE = (
    layers.AveragePooling2D,
    layers.Dropout,
    layers.MaxPooling2D,
    layers.SpatialDropout2D,
    layers.ZeroPadding2D,
)


class Probe:
    """Runs a model and differentiates its logits with respect to a layer's output.

    The graph runs once, with zeros added to that output, and the gradient is taken
    with respect to those zeros. So it holds for every path from the layer to the
    logits, costs no second forward pass, and can itself be differentiated.

    Args:
        model: A functional or sequential `keras.Model` with one input, images, that
            ends in logits or in a softmax.
        layer: Name of a layer, also inside nested models, with a `(B, H, W, C)` output
            of static size. Default: the last one on every path to the logits with at
            least 14x14 spatial positions, or 6x6 where the model resizes images to
            less than 112 pixels.
        min_side: Least number of spatial positions per side of the default layer;
            `None` for the numbers above.

    Attributes:
        layer: Name of the layer.
        map_shape: `(H, W, C)`, the shape of its feature map.

    Raises:
        ValueError: The model is of another kind, has no such layer, or does not
            compute its logits from it. The message lists the candidates.
    """

    def __init__(
        self,
        model: keras.Model,
        layer: str | None = None,
        *,
        min_side: int | None = None,
    ) -> None:
        check_model(model)
        steps = []

        def record(operation: Any, inputs: Any, call: Any) -> Any:
            outputs = call()
            steps.append((operation, inputs, outputs))
            return outputs

        images, logits, _ = _trace(model, record)
        on_path = keras.Model(images, logits).operations
        made = {id(out) for op, _, out in steps if op in on_path}
        maps = {
            op.name: out for op, _, out in steps if len(getattr(out, "shape", ())) == 4
        }
        shapes = {
            name: tuple(out.shape[1:])
            for name, out in maps.items()
            if id(out) in made and None not in out.shape[1:]
        }
        if layer is None:
            leaves = [step for step in steps if step[0] in on_path]
            layer = _default_layer(leaves, shapes, min_side or _least_side(model))
        if layer not in shapes:
            problem = "which does not exist or has no such output"
            if layer in maps:
                off = id(maps[layer]) not in made
                problem = "which is not on that path" if off else "of no static size"
            raise ValueError(
                "layer must name a layer on the path to the logits with an output of "
                f"shape (batch, height, width, channels), got {layer!r}, {problem}. "
                f"Candidates: {', '.join(shapes) or 'none'}."
            )
        self.layer = layer
        self.map_shape = shapes[self.layer]
        zeros = keras.Input(self.map_shape, dtype=maps[layer].dtype)
        features = []

        def add_zeros(operation: Any, inputs: Any, call: Any) -> Any:
            outputs = call()
            if operation.name != layer:
                return outputs
            features.append(outputs)
            # A name that no layer of the model has.
            return layers.Add(dtype=outputs.dtype, name="probe")([outputs, zeros])

        images, logits, outputs = _trace(model, add_zeros)
        if len(features) > 1:
            raise ValueError(
                f"layer must name a layer that is called once, got {layer!r}, which is "
                f"called {len(features)} times. Name another layer."
            )
        self._graph = keras.Model(
            [images, zeros],
            {"features": features[0], "logits": logits, "outputs": outputs},
        )

    def __call__(
        self,
        images: Any,
        score: Callable[[Any], Any],
        training: bool = False,
    ) -> dict[str, Any]:
        """Runs the model.

        Args:
            images: Images, as the model takes them.
            score: Function from logits `(B, n)` to one score per image, `(B,)`.
            training: Whether to run in training mode.

        Returns:
            A dictionary of tensors: `"outputs"`, those of the model; `"logits"`
            `(B, n)`; `"features"`, the layer's feature map `(B, H, W, C)`;
            `"gradient"` `(B, H, W, C)`, that of each image's score with respect to
            its feature map.

        Raises:
            NotImplementedError: The backend is neither TensorFlow nor JAX.
        """
        images = ops.convert_to_tensor(images)
        zeros = ops.zeros(
            (ops.shape(images)[0], *self.map_shape), self._graph.inputs[1].dtype
        )
        backend = keras.backend.backend()
        if backend == "tensorflow":
            values, gradient = self._tensorflow(images, zeros, score, training)
        elif backend == "jax":
            values, gradient = self._jax(images, zeros, score, training)
        else:
            raise NotImplementedError(
                "Gradients inside a model are implemented for TensorFlow and JAX, not "
                f"for {backend}. Set KERAS_BACKEND=tensorflow or KERAS_BACKEND=jax."
            )
        return {**values, "gradient": gradient}

    def _tensorflow(
        self, images: Any, zeros: Any, score: Callable[[Any], Any], training: bool
    ) -> tuple[dict[str, Any], Any]:
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(zeros)
            values = self._graph([images, zeros], training=training)
            scores = score(values["logits"])
        return values, tape.gradient(scores, zeros)

    def _jax(
        self, images: Any, zeros: Any, score: Callable[[Any], Any], training: bool
    ) -> tuple[dict[str, Any], Any]:
        import jax

        graph = self._graph
        trainable = [variable.value for variable in graph.trainable_variables]
        other = [variable.value for variable in graph.non_trainable_variables]

        # Updated variables, such as BatchNorm's averages, leave the differentiated
        # function as values.
        def run(zeros: Any) -> tuple[Any, Any]:
            values, updates = graph.stateless_call(
                trainable, other, [images, zeros], training=training
            )
            return ops.sum(score(values["logits"])), (values, updates)

        gradient, (values, updates) = jax.grad(run, has_aux=True)(zeros)
        for variable, update in zip(
            graph.non_trainable_variables, updates, strict=True
        ):
            variable.assign(update)
        return values, gradient


def check_model(model: Any) -> None:
    """Raises unless a model is a graph with one input and one output.

    Raises:
        ValueError: The model is subclassed, no model at all, or has several inputs or
            outputs.
    """
    if not is_graph(model) or not len(model.inputs) == len(model.outputs) == 1:
        raise ValueError(
            "model must be a functional or sequential model with one input and one "
            f"output, got {model!r}. Load one with keras_fer.zoo.load."
        )


def _trace(model: keras.Model, visit: Visit) -> tuple[Any, Any, Any]:
    """Unfolds a model; returns its new input, logits and outputs."""
    last = {}

    def remember(operation: Any, inputs: Any, call: Any) -> Any:
        outputs = visit(operation, inputs, call)
        if not is_graph(operation):
            last[id(outputs)] = (operation, inputs, outputs)
        return outputs

    (old,) = model.inputs
    images = keras.Input(batch_shape=old.shape, dtype=old.dtype)
    (outputs,) = keras.tree.flatten(unfold(model, images, remember))
    return images, _logits(*last[id(outputs)]), outputs


def _logits(operation: Any, inputs: Any, outputs: Any) -> Any:
    """The logits behind a model's output.

    The sum of a softmax is 1 for any input, and its gradient zero: only logits can be
    attributed.
    """
    activation = getattr(operation, "activation", None)
    softmax = activation is keras.activations.softmax
    if isinstance(operation, layers.Dense) and softmax:
        return _DenseLogits(operation)(inputs[0])
    if isinstance(operation, layers.Dense) and activation is keras.activations.linear:
        return outputs
    if isinstance(operation, (ClassProbabilities, layers.Softmax)) or softmax:
        # Models that vote have several logit vectors per image.
        if len(inputs[0].shape) == 3:
            return layers.GlobalAveragePooling1D(dtype="float32", name="mean_vote")(
                inputs[0]
            )
        return inputs[0]
    raise ValueError(
        "model must be one that ends in logits (a linear Dense layer) or in a softmax, "
        f"got one whose last layer is {operation!r}."
    )


class _DenseLogits(layers.Layer):
    """A dense layer without its activation, on the same weights."""

    def __init__(self, dense: keras.layers.Dense) -> None:
        super().__init__(dtype=dense.dtype_policy)
        self.dense = dense

    def call(self, inputs: Any) -> Any:
        logits = ops.matmul(inputs, self.dense.kernel)
        return logits + self.dense.bias if self.dense.use_bias else logits


def _least_side(model: keras.Model) -> int:
    size = getattr(model, "input_size", None) or model.inputs[0].shape[1]
    return _SMALL_SIDE if size is not None and size < _SMALL_IMAGE else _SIDE


def _default_layer(leaves: Any, shapes: Any, least: int) -> str:
    """The last layer on every path whose feature map is large enough."""
    # Layers are in the order of the graph: a connection from one before a layer to one
    # after it bypasses that layer.
    position = {
        id(tensor): index
        for index, (_, _, outputs) in enumerate(leaves)
        for tensor in keras.tree.flatten(outputs)
    }
    spans = [
        (position.get(id(tensor), -1), index)
        for index, (_, inputs, _) in enumerate(leaves)
        for tensor in inputs
    ]
    large = [
        operation.name
        for index, (operation, _, _) in enumerate(leaves)
        if min(shapes.get(operation.name, (0, 0))[:2]) >= least
        and not isinstance(operation, _PASSIVE)
        and not any(first < index < last for first, last in spans)
    ]
    if not large:
        raise ValueError(
            f"No layer has a feature map of at least {least}x{least} positions. There "
            f"are: {', '.join(f'{name} {shape}' for name, shape in shapes.items())}. "
            "Pass `layer`, or a model with a larger input."
        )
    return str(large[-1])
