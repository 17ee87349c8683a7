"""The class of all models, and what their functions share."""

import functools
import inspect
import warnings
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, ParamSpec, Self, TypeVar

import keras
import numpy as np
from keras import ops

from keras_fer._compat import is_validation_of_fit, nested_layers
from keras_fer.labels import LABELS, check_factors
from keras_fer.layers.class_probabilities import ClassProbabilities
from keras_fer.layers.precision import full_precision
from keras_fer.layers.types import Tensor
from keras_fer.models.graph import is_graph, unfold

# Names in a warning.
_MOST_NAMED = 10

# Sides in pixels of the square to which models resize images.
_LARGEST_INPUT = 1024

# Arguments of a model's function that do not describe its network.
_NOT_DESCRIBING = ("num_classes", "labels", "backbone_weights", "name")


@keras.saving.register_keras_serializable(package="keras_fer")
class ExpressionClassifier(keras.Model):
    """A functional model from images to the probabilities of named classes.

    Inputs are gray or RGB images `(B, H, W, 1)` or `(B, H, W, 3)`, uint8 or float,
    0–255, of any height and width. Outputs are probabilities `(B, num_classes)`,
    float32 (float64 where that is Keras' default), in the order of `labels`.

    Every model has these layers: an `ImageNormalization` named `"normalization"`
    comes first, then a nested model named `"backbone"`; a `Dense` layer is named
    `"logits"`, and a `ClassProbabilities`, the last layer, `"probabilities"`.
    """

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the outputs."""
        return self.get_layer("probabilities").labels

    @property
    def input_size(self) -> int:
        """Side in pixels of the square to which the model resizes images."""
        return self.get_layer("normalization").size

    @property
    def architecture(self) -> str | None:
        """Name of the function in `keras_fer.models` that builds this network.

        `None` if none does: the model was put together by hand, or one of the arguments
        has no place in a JSON file. Models that are saved and loaded, those of
        `from_config` and of `replace_head` keep it; those of `keras.models.clone_model`
        do not. Layers that are changed in place are not noticed.
        """
        return self._built_by[0] if self._built_by else None

    @property
    def arguments(self) -> dict[str, Any]:
        """What `architecture` is called with, besides the classes, weights and name."""
        return dict(self._built_by[1]) if self._built_by else {}

    # Name of a function and its arguments; set by `architecture`.
    _built_by: tuple[str, dict[str, Any]] | None = None

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        if self._built_by:
            config["built_by"] = [*self._built_by]
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Self:
        config = dict(config)
        built_by = config.pop("built_by", None)
        model = super().from_config(config, custom_objects)
        _set_built_by(model, built_by)
        return model

    def replace_head(self, labels: Sequence[str]) -> Self:
        """Builds a model for other classes on the layers of this one.

        Classes that this model has keep their trained rows of the last layer, so a
        permutation of the labels permutes the probabilities, and a subset
        renormalizes them. New classes get random rows, with a warning. The temperature
        belongs to the trained rows: it is kept with any of them, and otherwise 1.

        Args:
            labels: Names of the classes, at least two, in the order of the outputs.

        Returns:
            A model of the same class with a last layer of its own. It shares all other
            layers, and their weights, with this one.

        Raises:
            ValueError: There are fewer than two labels, or a label occurs twice.
        """
        new = [label for label in labels if label not in self.labels]
        temperature = self.get_layer("probabilities").temperature
        if len(new) == len(labels):
            temperature = 1.0
        probabilities = self._build_head(labels, temperature)
        model = type(self)(self.input, probabilities, name=self.name)
        _set_built_by(model, self._built_by)
        for old, head in zip(self._heads(), model._heads(), strict=True):
            _copy_rows(old, head, self.labels, labels)
        if new:
            named = ", ".join(new[:_MOST_NAMED]) + ", …" * (len(new) > _MOST_NAMED)
            warnings.warn(
                f"new head: {len(new)} of {len(labels)} classes are untrained "
                f"({named}); fit before use",
                stacklevel=2,
            )
        return model

    def scale_odds(self, factors: Sequence[float]) -> None:
        """Multiplies the probability of each class by a factor, in place.

        The probabilities then still sum to 1. This changes the bias of the last layer
        only, so it is kept by saving, export and further training. With a power of the
        inverse class frequencies it is logit adjustment (Menon et al., "Long-tail
        Learning via Logit Adjustment", ICLR 2021, equation 9).

        Args:
            factors: Positive and finite, one per label.

        Raises:
            ValueError: The factors are others.
        """
        shift = np.log(check_factors(factors, self.labels))
        shift *= self.get_layer("probabilities").temperature
        for head in self._heads():
            kernel, bias = head.get_weights()
            head.set_weights([kernel, bias + shift])

    def _heads(self) -> list[keras.layers.Dense]:
        """The layers that have weights for each class."""
        return [self.get_layer("logits")]

    def _build_head(self, labels: Sequence[str], temperature: float) -> Tensor:
        """Applies new last layers to what the old ones take."""
        return classify(self.get_layer("logits").input, labels, temperature)

    # === Layers by name, also those of the backbone ===

    @property
    def feature_layers(self) -> dict[str, tuple[int, int, int]]:
        """Layers with a feature map: name to its `(height, width, channels)`.

        In the order of the graph; layers of the backbone are among them.
        """
        _, steps = self._steps()
        return {
            layer.name: tuple(outputs.shape[1:])
            for layer, outputs in steps
            if not is_graph(layer)
            and len(getattr(outputs, "shape", ())) == 4
            and None not in outputs.shape[1:]
        }

    def feature_extractor(self, layers: Sequence[str]) -> keras.Model:
        """Builds a model from images to the outputs of layers.

        Args:
            layers: Names of layers, such as those in `feature_layers`; any other layer
                with one output, such as `"logits"`, may be named as well.

        Returns:
            A model from images, as this one takes them, to a dictionary of name to
            output, `(B, height, width, channels)` for feature maps. It shares all
            layers with this one, and can be trained through.

        Raises:
            ValueError: There is no such layer; the message lists those with a feature
                map.
        """
        images, steps = self._steps()
        found = {layer.name: outputs for layer, outputs in steps}
        for name in layers:
            if name not in found or not keras.utils.is_keras_tensor(found[name]):
                raise ValueError(
                    f"layers must name layers with one output, got {name!r}. Those "
                    f"with a feature map are {', '.join(self.feature_layers)}."
                )
        if not layers:
            raise ValueError("layers must name at least one layer, got none.")
        return keras.Model(images, {name: found[name] for name in layers})

    def train_from(self, layer: str) -> None:
        """Lets `fit` train the layers from one on, and freezes those before it.

        "From one on" is in the order of the graph. BatchNorm layers of the backbone
        stay frozen, as `keras_fer.zoo.load` leaves them. Compile the model again
        afterwards.

        Args:
            layer: Name of the first layer to train, also inside the backbone: one of
                its last blocks, or `"logits"` for the last layer alone.

        Raises:
            ValueError: There is no such layer.
        """
        _, steps = self._steps()
        leaves = [each for each, _ in steps if not is_graph(each)]
        names = [each.name for each in leaves]
        if layer not in names:
            raise ValueError(
                f"layer must name a layer of the model, got {layer!r}. There are "
                f"{', '.join(names)}."
            )
        backbone = self.get_layer("backbone").layers
        self.trainable = True  # Also of models and layers that hold others.
        first = names.index(layer)
        for number, each in enumerate(leaves):
            frozen = isinstance(each, keras.layers.BatchNormalization)
            each.trainable = number >= first and not (frozen and each in backbone)

    def _steps(self) -> tuple[Any, list[tuple[Any, Any]]]:
        """New images, and all layers with their outputs in the order of the graph."""
        steps = []

        def record(layer: Any, _: Any, call: Any) -> Any:
            outputs = call()
            steps.append((layer, outputs))
            return outputs

        (old,) = self.inputs
        images = keras.Input(batch_shape=old.shape, dtype=old.dtype)
        unfold(self, images, record)
        return images, steps

    # === Checks of arrays ===

    def fit(self, x: Any = None, *args: Any, **kwargs: Any) -> keras.callbacks.History:
        """Trains as `keras.Model.fit` does; arrays are checked beforehand.

        `x` and `validation_data` are checked where they are arrays. In datasets and
        generators only rank and channels are checked, when the first batch arrives;
        their values are not.

        Raises:
            ValueError: See `check_images`.

        Warns:
            UserWarning: The images seem to be in 0–1; or several replicas train, each
                with BatchNorm statistics of its own part of the batch.
        """
        given = inspect.signature(keras.Model.fit).bind(self, x, *args, **kwargs)
        held_out = given.arguments.get("validation_data")
        held_out, _, _ = keras.utils.unpack_x_y_sample_weight(held_out)
        check_images("x", x)
        check_images("validation_data", held_out)
        warn_if_scaled(x, held_out)
        warn_of_replicas(self)
        return super().fit(x, *args, **kwargs)

    def evaluate(self, x: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Evaluates as `keras.Model.evaluate` does; `x` is checked as in `fit`."""
        if not is_validation_of_fit(kwargs):
            check_images("x", x)
            warn_if_scaled(x)
        return super().evaluate(x, *args, **kwargs)

    def predict(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """Predicts as `keras.Model.predict` does; `x` is checked as in `fit`.

        Raises:
            ValueError: See `check_images` and `check_outputs`.
        """
        check_images("x", x)
        warn_if_scaled(x)
        outputs = super().predict(x, *args, **kwargs)
        check_outputs(self, outputs)
        return outputs

    def embed(self, x: Any, batch_size: int = 32) -> np.ndarray:
        """Features of images: what the last layer, `"logits"`, takes.

        In them, faces of similar expressions are near to each other; a classifier of
        few parameters can be trained on them.

        Args:
            x: Images as for `predict`; checked as in `fit`.
            batch_size: Images per forward pass.

        Returns:
            `(B, D)`.

        Raises:
            ValueError: See `check_images` and `check_outputs`.
        """
        check_images("x", x)
        warn_if_scaled(x)
        features = keras.Model(self.inputs, self.get_layer("logits").input)
        outputs = features.predict(x, batch_size=batch_size, verbose=0)
        check_outputs(self, outputs)
        return outputs


_Arguments = ParamSpec("_Arguments")
_Model = TypeVar("_Model", bound=ExpressionClassifier)


def architecture(
    function: Callable[_Arguments, _Model],
) -> Callable[_Arguments, _Model]:
    """Decorates a function of this package whose models remember how they were built.

    See `ExpressionClassifier.architecture`.

    Args:
        function: Returns an `ExpressionClassifier`.
    """
    signature = inspect.signature(function)

    @functools.wraps(function)
    def build(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Model:
        model = function(*args, **kwargs)
        given = signature.bind(*args, **kwargs)
        given.apply_defaults()
        arguments = {
            name: float(value) if isinstance(value, float) else value
            for name, value in given.arguments.items()
            if name not in _NOT_DESCRIBING
        }
        if all(isinstance(value, (float, int, str)) for value in arguments.values()):
            _set_built_by(model, (function.__name__, arguments))
        return model

    return build


def _set_built_by(model: ExpressionClassifier, built_by: Any) -> None:
    # Keras would track it, and saves what it tracks.
    object.__setattr__(model, "_built_by", built_by and tuple(built_by))


def classify(
    features: Tensor, labels: Sequence[str], temperature: float = 1.0
) -> Tensor:
    """Applies the head that models share: a dense layer and a softmax.

    The logits are float32 under mixed precision, too, and float64 where that is Keras'
    default.

    Args:
        features: `(B, C)`.
        labels: Names of the classes.
        temperature: See `ClassProbabilities`.

    Returns:
        Probabilities `(B, len(labels))`.
    """
    dtype = full_precision()
    logits = keras.layers.Dense(len(labels), dtype=dtype, name="logits")(features)
    return ClassProbabilities(labels, temperature, dtype=dtype, name="probabilities")(
        logits
    )


def check_images(
    name: str,
    images: Any,
    channels: Collection[int] = (1, 3),
    allow_empty: bool = False,
) -> None:
    """Raises a `ValueError` unless an array is a batch of images of finite values.

    Args:
        name: Name of the argument.
        images: `x` of `keras.Model.fit`: an array or tensor, alone or in a list or
            dictionary of one entry. Anything else, such as a dataset or a generator,
            is not checked.
        channels: The numbers of channels that the model takes.
        allow_empty: Whether the batch may have no images.
    """
    if isinstance(images, (list, tuple)) and len(images) != 1:
        raise ValueError(
            f"{name} must be one array of images, got a {type(images).__name__} of "
            f"{len(images)}. Stack images of one size with numpy.stack."
        )
    images = _array(images)
    if images is None:
        return
    shape = tuple(images.shape)
    if len(shape) != 4 or shape[-1] not in channels:
        expected = " or ".join(f"(batch, height, width, {n})" for n in channels)
        raise ValueError(
            f"{name} must have the shape {expected}, got {shape}. {_reshape(shape)}"
        )
    if 0 in (shape[1:] if allow_empty else shape):
        raise ValueError(
            f"{name} must have at least one image and one pixel, got an empty array of "
            f"shape {shape}. Check the selection that it came from."
        )
    if _is_float(images):
        library = ops if ops.is_tensor(images) else np
        if not library.all(library.isfinite(images)):
            raise ValueError(
                f"{name} must have finite values, got NaN or infinity in an array of "
                f"shape {shape}. Leave out these images, or replace the values, for "
                "example with numpy.nan_to_num."
            )


def check_outputs(model: keras.Model, outputs: np.ndarray) -> None:
    """Raises a `ValueError` if a model returns NaN or infinity.

    Args:
        model: The model, for its name.
        outputs: Probabilities or saliency maps.
    """
    if not np.isfinite(outputs).all():
        raise ValueError(
            f"The model {model.name!r} returned NaN or infinity. If its inputs are "
            "finite and in 0–255, its weights are damaged or its training diverged: "
            "load other weights."
        )


def warn_if_scaled(*batches: Any) -> None:
    """Warns the caller's caller, once, if images seem to be in 0–1.

    That is, if they are floats, the largest of which is above 0 and at most 1.

    Args:
        *batches: Images that `check_images` has checked.
    """
    for images in map(_array, batches):
        if images is None or not _is_float(images):
            continue
        library = ops if ops.is_tensor(images) else np
        if 0 < float(library.max(images)) <= 1:
            warnings.warn(
                "images seem to be in 0–1, 0–255 expected; multiply by 255",
                stacklevel=3,
            )
            return


def warn_of_replicas(model: keras.Model) -> None:
    """Warns the caller's caller if replicas learn BatchNorm statistics apart.

    Args:
        model: To be trained, under its `tf.distribute` strategy if it has one.
    """
    strategy = getattr(model, "distribute_strategy", None)
    replicas = getattr(strategy, "num_replicas_in_sync", 1)
    names = [
        layer.name
        for layer in nested_layers(model)
        if isinstance(layer, keras.layers.BatchNormalization)
        and layer.trainable
        and not layer.synchronized
    ]
    if replicas > 1 and names:
        named = ", ".join(names[:_MOST_NAMED]) + ", …" * (len(names) > _MOST_NAMED)
        warnings.warn(
            f"each of {replicas} replicas normalizes by its own part of the batch in "
            f"{named}; freeze these layers with trainable=False, or use large batches",
            stacklevel=3,
        )


def _copy_rows(
    old: keras.layers.Dense,
    new: keras.layers.Dense,
    old_labels: Sequence[str],
    labels: Sequence[str],
) -> None:
    """Copies the weights of the classes that two layers share; others stay."""
    to = [index for index, label in enumerate(labels) if label in old_labels]
    rows = [old_labels.index(labels[index]) for index in to]
    weights = [np.array(value) for value in new.get_weights()]
    for value, trained in zip(weights, old.get_weights(), strict=True):
        value[..., to] = trained[..., rows]
    new.set_weights(weights)


def _array(images: Any) -> Any:
    """The array in `x` of `fit`, or `None` for a dataset or a generator."""
    if isinstance(images, (list, tuple, dict)) and len(images) == 1:
        (images,) = images.values() if isinstance(images, dict) else images
    return images if hasattr(images, "__array__") else None


def _is_float(array: Any) -> bool:
    return "float" in keras.backend.standardize_dtype(array.dtype)


def _reshape(shape: tuple[int, ...]) -> str:
    """What to do about images of a wrong shape."""
    if len(shape) == 3:
        return (
            "Add the missing axis: image[None] for a single image, images[..., None] "
            "for a grayscale batch."
        )
    if len(shape) == 4 and shape[-1] == 4:
        return "Drop the alpha channel with images[..., :3]."
    if len(shape) == 4 and shape[1] in (1, 3):
        return "Move the channels to the end with numpy.moveaxis(images, 1, -1)."
    return "The channels come last."


def check_input_size(size: Any, least: int, most: int = _LARGEST_INPUT) -> None:
    """Raises a `ValueError` unless `input_size` is an integer in a range.

    Args:
        size: The input size.
        least: Smallest input size, in pixels.
        most: Largest input size, in pixels.
    """
    if not isinstance(size, int) or not least <= size <= most:
        raise ValueError(
            f"input_size must be an integer from {least} to {most}, got {size!r}."
        )


def resolve_labels(
    num_classes: int | None, labels: Iterable[str] | None
) -> tuple[str, ...]:
    """Derives the class names from the arguments of a model's function.

    Args:
        num_classes: Number of classes, at least 2. `None` means the number of `labels`,
            or 7 if those are `None` as well.
        labels: Names of the classes. `None` means the canonical expressions for 7 and 8
            classes, and `"class_0"`, `"class_1"`, … for other numbers.

    Returns:
        Distinct names, at least two.

    Raises:
        ValueError: There are fewer than two classes, the number of names differs from
            `num_classes`, or a name occurs twice.
    """
    if labels is None:
        num_classes = 7 if num_classes is None else num_classes
        if (
            not isinstance(num_classes, int)
            or isinstance(num_classes, bool)
            or num_classes < 2
        ):
            raise ValueError(
                f"num_classes must be an integer of at least 2, got {num_classes!r}."
            )
        if num_classes in (7, 8):
            return LABELS[:num_classes]
        return tuple(f"class_{index}" for index in range(num_classes))
    if isinstance(labels, str):
        raise ValueError(f"labels must be a list of names, got {labels!r}.")
    labels = tuple(labels)
    if num_classes is not None and num_classes != len(labels):
        raise ValueError(
            "labels must have one name per class, got "
            f"num_classes={num_classes!r} and {len(labels)} labels: {labels}."
        )
    if len(labels) < 2 or len(set(labels)) != len(labels):
        raise ValueError(f"labels must be at least two distinct names, got {labels}.")
    return labels
