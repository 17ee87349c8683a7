"""What a recipe says, and what most recipes say alike."""

import dataclasses
import inspect
from collections.abc import Callable

import keras

BACKBONES = ("learned", "frozen", "cached")
BATCH_NORMS = ("learned", "frozen")
FOLDS = 10


def adamw(rate, **options):
    """AdamW with a weight decay of 0.01; gradients are cut to a global norm of 3."""
    return keras.optimizers.AdamW(
        rate, weight_decay=0.01, global_clipnorm=3.0, **options
    )


def cosine(rate, steps, epochs):
    """A warm-up over the first tenth, then half a cosine down to a hundredth."""
    warmup = steps // 10
    return keras.optimizers.schedules.CosineDecay(
        rate / 20,
        max(1, steps - warmup),
        alpha=0.01,
        warmup_target=rate,
        warmup_steps=warmup,
    )


def constant(rate, steps, epochs):
    """The rate as it is."""
    return rate


@dataclasses.dataclass(frozen=True)
class Stage:
    """A part of the training, with an optimizer of its own.

    Attributes:
        epochs: Passes over the training part.
        rate: Peak learning rate.
        input_size: Side in pixels to which the network resizes its images.
        augmentation: Makes what images pass while training: a list of Keras layers,
            or for PAL one `JointAugmentation`. They are part of the network, so they
            run where it runs, on TensorFlow and JAX.
        backbone: `"learned"`; `"frozen"`, when only what follows it learns; or
            `"cached"`: frozen, and its features are computed once, without
            augmentation, and kept in memory as float16.
        batch_norm: `"learned"`, or `"frozen"` for the backbone's stored statistics.
        schedule: Makes the learning rate from the peak, the steps and the epochs.
        mixing: Makes layers for whole batches, `{"images", "labels"}`: Keras' `MixUp`
            and `CutMix`. They run on the host, before a batch is handed over.
        patience: Epochs without a better validation score before the stage ends, or
            `None` for never.
    """

    epochs: int
    rate: float
    input_size: int
    augmentation: Callable = list
    backbone: str = "learned"
    batch_norm: str = "frozen"
    schedule: Callable = cosine
    mixing: Callable = list
    patience: int | None = None

    def __post_init__(self):
        """Checks the choices."""
        for name, choices in (("backbone", BACKBONES), ("batch_norm", BATCH_NORMS)):
            if getattr(self, name) not in choices:
                raise ValueError(
                    f"`{name}` of a stage should be one of {', '.join(choices)}. "
                    f"Received: {name}={getattr(self, name)!r}"
                )


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Everything that makes a result, besides the data and the backbone's weights.

    Attributes:
        architecture: Name of a function in `keras_fer.models`.
        arguments: What it is called with, besides labels, backbone weights and the
            stages' input size.
        dataset: Name of a dataset; see `zoo.data.open_split`.
        stages: In order. Each starts from the best epoch of the one before.
        start: A preset to start from, instead of a backbone trained on ImageNet.
        train: Split that is trained on, such as `"train"`; `"folds"` for datasets with
            ten folds of subjects: all but the two of the next attributes.
        validation: Split that epochs are chosen on; `None` for a twelfth of `train`,
            held out by the pixels' checksum. With folds, the one after that of `test`.
        duplicates: `"near"` or `"exact"`: which duplicates are kept on one side when a
            part is held out; see `zoo.data.hold_out`.
        test: Split that the result is reported on. Training does not open it.
        batch: Images a step, over all devices.
        optimizer: Makes it from a rate or schedule, and options for the average.
        ema: Momentum of the moving average of the weights, which is what is kept;
            `None` keeps the weights themselves.
        label_smoothing: Share of the target that goes to all classes alike.
        class_weights: Whether every class weighs the same in the loss.
        balanced_sampling: Whether every class is drawn as often.
        attribution: Arguments of `keras_fer.training.PrivilegedAttribution`, or `None`
            to train without landmarks.
        teacher: A preset whose logits are learned too, through Keras' `Distiller`, or
            `None`. Augmentation then runs on the host: both see the same images.
        temperature: Of the distillation.
        seed: Seed of everything random.
        name: Of its file; `zoo.train.find` sets it.
    """

    architecture: str
    arguments: dict
    dataset: str
    stages: tuple
    start: str | None = None
    train: str = "train"
    validation: str | None = None
    duplicates: str = "near"
    test: str = "public_test"
    batch: int = 64
    optimizer: Callable = adamw
    ema: float | None = 0.998
    label_smoothing: float = 0.0
    class_weights: bool = False
    balanced_sampling: bool = False
    attribution: dict | None = None
    teacher: str | None = None
    temperature: float = 3.0
    seed: int = 0
    name: str | None = None

    def fold(self, number):
        """The recipe with one of ten folds as `test` and the next as `validation`.

        Raises:
            ValueError: There is no such fold.
        """
        if not 0 <= number < FOLDS:
            raise ValueError(f"Received: fold {number}. Expected 0 to {FOLDS - 1}.")
        chosen = (number + 1) % FOLDS
        others = (i for i in range(FOLDS) if i not in (number, chosen))
        return dataclasses.replace(
            self,
            train="+".join(f"fold_{other}" for other in others),
            validation=f"fold_{chosen}",
            test=f"fold_{number}",
        )

    def facts(self):
        """The recipe as values for JSON; of a function, its source."""

        def value(item):
            if dataclasses.is_dataclass(item):
                fields = dataclasses.fields(item)
                return {each.name: value(getattr(item, each.name)) for each in fields}
            if isinstance(item, (tuple, list)):
                return [value(each) for each in item]
            if isinstance(item, dict):
                return {key: value(each) for key, each in item.items()}
            if callable(item):
                return "list" if item is list else inspect.getsource(item).strip()
            return item

        return value(self)
