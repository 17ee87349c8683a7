"""What a recipe starts from: a preset, a run of `zoo.train`, or a `.keras` file."""

import dataclasses

import keras_fer
from zoo.shared_labels import match


@dataclasses.dataclass(frozen=True)
class Start:
    """What was started from, for the run's `run.json`.

    Attributes:
        name: As the recipe names it.
        sha256: Hash of its weights, or of its file.
        labels: Its labels.
        kept: Labels whose rows of the last layer were kept.
    """

    name: str
    sha256: str | None
    labels: tuple
    kept: tuple


def start_from(name, model):
    """Gives a model the weights of another one of the same architecture.

    Labels are matched by name, in whatever spelling and order. Labels that the other
    one does not have get untrained rows of the last layer, with a warning.

    Args:
        name: A preset, a folder of `zoo.train`, a `.keras` file, or `hf://user/repo`.
        model: The model to train. Its weights are replaced.

    Returns:
        A `Start`.

    Raises:
        FileNotFoundError: There is no such file, or the run has not ended.
        ValueError: There is no such preset; the other model has another architecture,
            weights of other shapes, or no label in common.
    """
    info = keras_fer.zoo.info(name)
    if info.architecture != model.architecture:
        raise ValueError(
            f"start must be a {model.architecture}, which the recipe trains, but "
            f"{str(name)!r} is a {info.architecture}. Choose another start."
        )
    try:
        shared = match(info.labels, model.labels)
    except ValueError:
        raise ValueError(
            f"start must know some of the labels {', '.join(model.labels)}, but "
            f"{str(name)!r} has {', '.join(info.labels)}. Choose another start."
        ) from None
    given = keras_fer.zoo.load(name)
    # In the spelling of the other one, so that its rows are found.
    spelled = {
        label: shared.labels[place]
        for label, place in zip(model.labels, shared.index, strict=True)
        if place >= 0
    }
    wanted = tuple(spelled.get(label, label) for label in model.labels)
    if wanted != given.labels:
        given = given.replace_head(wanted)
    _check_shapes(name, given, model)
    model.set_weights(given.get_weights())
    return Start(str(name), info.sha256, tuple(info.labels), shared.labels)


def copy_backbone(name, model):
    """Gives the backbone of a model the weights of the layers that another one has.

    Args:
        name: A preset or another model, as `start_from` takes.
        model: The model to train. Layers that the other one lacks stay as they are.

    Returns:
        A `Start`, with no rows kept.

    Raises:
        ValueError: There is no such preset, or it has another backbone.
    """
    source, info = keras_fer.zoo.load(name), keras_fer.zoo.info(name)
    theirs = {layer.name: layer for layer in source.get_layer("backbone").layers}
    shared = [
        (layer, theirs[layer.name])
        for layer in model.get_layer("backbone").layers
        if layer.weights and layer.name in theirs
    ]
    if not shared or any(_shapes(one) != _shapes(other) for one, other in shared):
        raise ValueError(
            f"start_backbone must have the backbone of the recipe's model, but "
            f"{str(name)!r} has another one. Choose another preset."
        )
    for layer, other in shared:
        layer.set_weights(other.get_weights())
    return Start(str(name), info.sha256, tuple(info.labels), ())


def _shapes(layer):
    return [tuple(weight.shape) for weight in layer.weights]


def _check_shapes(name, given, model):
    """Refuses weights of other shapes, and says which arguments may be the cause."""
    pairs = list(zip(given.weights, model.weights, strict=False))
    different = [(one, own) for one, own in pairs if one.shape != own.shape]
    counts = len(given.weights), len(model.weights)
    if counts[0] == counts[1] and not different:
        return
    own = model.arguments
    changed = [
        f"{key}={value!r} instead of {own.get(key)!r}"
        for key, value in given.arguments.items()
        if value != own.get(key)
    ]
    if counts[0] != counts[1]:
        problem = f"it has {counts[0]} weights, not {counts[1]}"
    else:
        one, mine = different[0]
        shapes = tuple(one.shape), tuple(mine.shape)
        problem = f"{mine.path} has the shape {shapes[0]}, not {shapes[1]}"
    raise ValueError(
        f"start {str(name)!r} has other weights than the {model.architecture} of the "
        f"recipe: {problem}. Its arguments: {'; '.join(changed) or 'the same'}."
    )
