"""What a recipe says."""

import dataclasses
from collections.abc import Callable


@dataclasses.dataclass(frozen=True)
class Stage:
    """A part of fine-tuning with its own optimizer.

    Attributes:
        epochs: Passes over the training part.
        rate: Peak learning rate: a warm-up over the first tenth, then a half cosine.
        batch_norm: `"learned"`, or `"frozen"` for the trunk's stored statistics.
        input_size: Side in pixels to which the network resizes its pictures.
        augmentation: Makes the layers that pictures pass while training.
    """

    epochs: int
    rate: float
    batch_norm: str
    input_size: int
    augmentation: Callable


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Everything that makes a result, besides the data and the trunk's weights.

    Attributes:
        architecture: Name of a function in `keras_fer.models`.
        arguments: What it is called with, besides labels, trunk weights and the
            stages' input size.
        dataset: Name of a function in `zoo.data`.
        stages: Fine-tuning of the whole network, in order.
        start: A preset to start from, instead of a trunk trained on ImageNet.
        head_epochs: Epochs of the head alone, on cached features of the frozen trunk,
            at the first stage's input size.
        head_rate: Their learning rate.
        batch: Pictures a step.
        weight_decay: Of AdamW.
        clip: Largest global norm of a gradient.
        label_smoothing: Share of the target that goes to all classes alike.
        ema: Momentum of the moving average of the weights, which is what is kept.
        seed: Seed of everything random.
    """

    architecture: str
    arguments: dict
    dataset: str
    stages: tuple
    start: str | None = None
    head_epochs: int = 4
    head_rate: float = 1e-3
    batch: int = 64
    weight_decay: float = 0.01
    clip: float = 3.0
    label_smoothing: float = 0.0
    ema: float = 0.998
    seed: int = 0
