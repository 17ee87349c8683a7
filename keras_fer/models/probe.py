"""A model opened at a layer: its map there, and the gradient with respect to it."""

import keras
from keras import layers, ops
from keras.src.models.functional import Functional

from keras_fer.layers.class_probabilities import ClassProbabilities

# Attribution wants a map of at least 14x14, and takes 6x6 from small images.
_SIDE, _SMALL_SIDE, _SMALL_IMAGE = 14, 6, 112

# Layers that make no features of their own.
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
            of static size. Default: the last one that all paths to the logits pass and
            that has at least 14x14 places, or 6x6 where the model sees images
            smaller than 112 pixels.

    Attributes:
        layer: Name of the layer.
        map_shape: `(H, W, C)` of its output.

    Raises:
        ValueError: The model is of another kind, there is no such layer, or it is not
            in the path to the logits. Candidates are listed.
    """

    def __init__(self, model, layer=None):
        if not is_graph(model) or len(model.inputs) != 1 or len(model.outputs) != 1:
            raise ValueError(
                "Expected a functional or sequential model with one input and one "
                f"output. Received: model={model!r}"
            )
        steps = []

        def look(operation, inputs, call):
            outputs = call()
            steps.append((operation, inputs, outputs))
            return outputs

        images, logits, _ = _trace(model, look)
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
            layer = _default_layer(leaves, shapes, model)
        if layer not in shapes:
            problem = "does not exist or has no such output"
            if layer in maps:
                off = id(maps[layer]) not in made
                problem = "is not in that path" if off else "has no static size"
            raise ValueError(
                "Expected a layer in the path to the logits whose output is (batch, "
                f"height, width, channels). Received: layer={layer!r}, which {problem}."
                f" Candidates: {', '.join(shapes) or 'none'}."
            )
        self.layer = layer
        self.map_shape = shapes[self.layer]
        zeros = keras.Input(self.map_shape, dtype=maps[layer].dtype)
        features = []

        def add(operation, inputs, call):
            outputs = call()
            if operation.name != layer:
                return outputs
            features.append(outputs)
            # A name that no layer of the model has.
            return layers.Add(dtype=outputs.dtype, name="probe")([outputs, zeros])

        images, logits, outputs = _trace(model, add)
        if len(features) > 1:
            raise ValueError(
                "Expected a layer that is used once. Received: "
                f"layer={layer!r}, used {len(features)} times."
            )
        self._graph = keras.Model(
            [images, zeros],
            {"features": features[0], "logits": logits, "outputs": outputs},
        )

    def __call__(self, images, score, training=False):
        """Runs the model.

        Args:
            images: Images, as the model takes them.
            score: Function from logits `(B, n)` to one score for each image, `(B,)`.
            training: As for any Keras layer.

        Returns:
            A dictionary: `"outputs"`, what the model gives; `"logits"` `(B, n)`;
            `"features"`, the layer's map `(B, H, W, C)`; `"gradient"`, that of each
            image's score with respect to its map.

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
                "Attribution needs a gradient inside a model, which is here for "
                f"TensorFlow and JAX. Received: KERAS_BACKEND={backend}"
            )
        return {**values, "gradient": gradient}

    def _tensorflow(self, images, zeros, score, training):
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(zeros)
            values = self._graph([images, zeros], training=training)
            scores = score(values["logits"])
        return values, tape.gradient(scores, zeros)

    def _jax(self, images, zeros, score, training):
        import jax

        graph = self._graph
        trainable = [variable.value for variable in graph.trainable_variables]
        other = [variable.value for variable in graph.non_trainable_variables]

        # What changes while the model runs, such as BatchNorm's averages, has to leave
        # the differentiated function as a value.
        def run(zeros):
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


def unfold(model, inputs, visit):
    """Applies a model's layers, and those of models nested in it, to new inputs.

    Weights are shared. A nested model leaves no trace in the new graph, so that what
    is inside can be reached from outside.

    Args:
        model: A functional or sequential model.
        inputs: `keras.KerasTensor`s like its inputs.
        visit: Function `(operation, inputs, call) -> outputs`, called for every layer
            and nested model, in the order of the graph, with a list of the tensors
            that go in; `call(**options)` computes its own outputs.

    Returns:
        The outputs.
    """

    def step(operation, *args, **kwargs):
        def call(**options):
            if is_graph(operation):
                return unfold(operation, args[0], visit)
            return operation(*args, **kwargs, **options)

        inputs = [
            tensor
            for tensor in keras.tree.flatten((args, kwargs))
            if keras.utils.is_keras_tensor(tensor)
        ]
        return visit(operation, inputs, call)

    if isinstance(model, keras.Sequential):
        for layer in model.layers:
            inputs = step(layer, inputs)
        return inputs
    return model._run_through_graph(inputs, call_fn=step)


def is_graph(operation):
    """Whether a layer is a model that does nothing but run its graph."""
    return isinstance(operation, keras.Model) and type(operation).call in (
        Functional.call,
        keras.Sequential.call,
    )


def _trace(model, visit):
    """Unfolds a model: new input, logits and outputs."""
    last = {}

    def remember(operation, inputs, call):
        outputs = visit(operation, inputs, call)
        if not is_graph(operation):
            last[id(outputs)] = (operation, inputs, outputs)
        return outputs

    (old,) = model.inputs
    images = keras.Input(batch_shape=old.shape, dtype=old.dtype)
    (outputs,) = keras.tree.flatten(unfold(model, images, remember))
    return images, _logits(*last[id(outputs)]), outputs


def _logits(operation, inputs, outputs):
    """The logits behind a model's output.

    A softmax sums to 1 whatever goes in, so the sum of its outputs can be attributed
    to nothing; the logits are wanted.
    """
    activation = getattr(operation, "activation", None)
    softmax = activation is keras.activations.softmax
    if isinstance(operation, layers.Dense) and softmax:
        return _DenseLogits(operation)(inputs[0])
    if isinstance(operation, layers.Dense) and activation is keras.activations.linear:
        return outputs
    if isinstance(operation, (ClassProbabilities, layers.Softmax)) or softmax:
        # Models that vote have several logit vectors for an image.
        if len(inputs[0].shape) == 3:
            return layers.GlobalAveragePooling1D(dtype="float32", name="mean_vote")(
                inputs[0]
            )
        return inputs[0]
    raise ValueError(
        "Expected a model that ends in logits (a linear Dense layer) or in a softmax. "
        f"Received: a model whose last layer is {operation!r}"
    )


class _DenseLogits(layers.Layer):
    """A dense layer without its activation, on the same weights."""

    def __init__(self, dense):
        super().__init__(dtype=dense.dtype_policy)
        self.dense = dense

    def call(self, inputs):
        logits = ops.matmul(inputs, self.dense.kernel)
        return logits + self.dense.bias if self.dense.use_bias else logits


def _default_layer(leaves, shapes, model):
    """The last layer with a map that is large enough, and that every path passes."""
    size = getattr(model, "input_size", None) or model.inputs[0].shape[1]
    small = size is not None and size < _SMALL_IMAGE
    least = _SMALL_SIDE if small else _SIDE
    # Leaves come in the order of the graph: what leads from before a leaf to behind it
    # passes it by.
    place = {
        id(tensor): index
        for index, (_, _, outputs) in enumerate(leaves)
        for tensor in keras.tree.flatten(outputs)
    }
    spans = [
        (place.get(id(tensor), -1), index)
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
            f"No layer has a map of at least {least}x{least} places. Received: "
            f"{', '.join(f'{name} {shape}' for name, shape in shapes.items())}. "
            "Pass `layer`, or a model with a larger input."
        )
    return large[-1]
