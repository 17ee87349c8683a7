"""What a recipe consists of, and what most recipes have in common."""

import ast
import dataclasses
import inspect
from collections.abc import Callable

import keras

from zoo.data import DUPLICATES

BACKBONES = ("learned", "frozen", "cached")
BATCH_NORMS = ("learned", "frozen")
FOLDS = 10
SELECTIONS = {
    "accuracy": lambda row: row["val_accuracy"],
    "loss": lambda row: -row["val_loss"],
}
"""What makes an epoch better than another: functions of its logs."""


def adamw(rate, **options):
    """AdamW, weight decay 0.01, gradients clipped to a global norm of 3."""
    return keras.optimizers.AdamW(
        rate, weight_decay=0.01, global_clipnorm=3.0, **options
    )


def cosine(rate, steps, epochs):
    """Linear warm-up over the first tenth, then cosine decay to a hundredth."""
    warmup = steps // 10
    return keras.optimizers.schedules.CosineDecay(
        rate / 20,
        max(1, steps - warmup),
        alpha=0.01,
        warmup_target=rate,
        warmup_steps=warmup,
    )


def constant(rate, steps, epochs):
    """A constant rate."""
    return rate


@dataclasses.dataclass(frozen=True)
class Stage:
    """One stage of training, with a new optimizer.

    Attributes:
        epochs: Epochs at most.
        rate: Peak learning rate.
        input_size: Side in pixels to which the network resizes its images.
        augmentation: Returns what training images pass: a list of Keras layers or, for
            PAL, one `JointAugmentation`. They are part of the network and run on its
            device, on TensorFlow and JAX.
        backbone: `"learned"`; `"frozen"`, so that only the rest learns; or `"cached"`:
            frozen, with its features computed once, without augmentation, and kept in
            memory as float16.
        batch_norm: `"learned"`, or `"frozen"`: the backbone's BatchNorm uses its stored
            statistics.
        schedule: Function of the peak rate, the number of steps and the number of
            epochs that returns a learning rate or a Keras schedule.
        mixing: Returns layers for whole batches, `{"images", "labels"}`: Keras' `MixUp`
            and `CutMix`. They run on the host.
        patience: Epochs without a better validation accuracy after which the stage
            ends, or `None` to train all epochs.
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
        _check_choice("backbone of a stage", self.backbone, BACKBONES)
        _check_choice("batch_norm of a stage", self.batch_norm, BATCH_NORMS)


@dataclasses.dataclass(frozen=True)
class Recipe:
    """All that determines a result but the data and the backbone's initial weights.

    Attributes:
        architecture: Name of a function in `keras_fer.models`.
        arguments: Its arguments besides the labels, the input size and the backbone's
            weights.
        dataset: Name of a dataset; see `zoo.data.open_split`.
        stages: In order; each starts from the best epoch of the one before.
        start: What to start from instead of a backbone trained on ImageNet: a preset, a
            folder of `zoo.train` or a `.keras` file, of the same architecture. Labels
            are matched by name.
        start_backbone: A preset of another architecture whose backbone to start from:
            layers of the same name take its weights, all others those of
            `--backbone-weights`.
        mixture: Several datasets to train on together, `dataset` among them, and the
            share of each in the images that are drawn: `{"affectnet/full_7": 0.9,
            "raf_db": 0.1}`. Their labels are matched by name to those of `dataset`.
            `None` for `dataset` alone.
        train: Split to train on, such as `"train"`; `"folds"` for datasets with ten
            folds of subjects: all folds but those of `validation` and `test`.
        validation: Split for checkpoint selection; `None` for a twelfth of `train`,
            held out by the checksums of the pixels. With folds, the one after `test`.
        selection: What the best epoch of a stage is: that of the highest validation
            `"accuracy"`, or of the lowest `"loss"`, which is less noisy where the
            validation part is small.
        duplicates: `"near"` or `"exact"`: which duplicates stay on one side of the
            hold-out; see `zoo.data.hold_out`.
        test: Split to report on. Neither training nor selection opens it.
        batch: Images per step, over all devices.
        optimizer: Function of a rate or schedule, and of options for the moving
            average, that returns an optimizer.
        ema: Momentum of the moving average of the weights, which is what is evaluated
            and kept; `None` to keep the weights themselves.
        label_smoothing: Share of each target spread over all classes.
        class_weights: Whether all classes weigh the same in the loss.
        balanced_sampling: Whether all classes are drawn equally often.
        attribution: Arguments of `keras_fer.training.PrivilegedAttribution`, or `None`
            to train without landmarks.
        teacher: A preset whose logits are learned as well, through Keras' `Distiller`,
            or `None`. Augmentation then runs on the host, so that both see the same
            images.
        temperature: Temperature of the distillation.
        seed: Seed of everything random.
        name: Name of its file; set by `zoo.recipes.load`.
    """

    architecture: str
    arguments: dict
    dataset: str
    stages: tuple
    start: str | None = None
    start_backbone: str | None = None
    mixture: dict | None = None
    train: str = "train"
    validation: str | None = None
    selection: str = "accuracy"
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

    def __post_init__(self):
        """Checks the choices, and that the test split is only reported on."""
        _check_choice("duplicates", self.duplicates, DUPLICATES)
        _check_choice("selection", self.selection, SELECTIONS)
        if self.mixture is not None:
            self._check_mixture()
        for name in ("train", "validation"):
            for part in (getattr(self, name) or "").split("+"):
                part = part.partition("[")[0]
                if part == self.test or part.endswith("test"):
                    raise ValueError(
                        f"{name} must not name a test split, got {part!r}. Test splits "
                        "are for reporting; pass another split, or for validation None "
                        "to hold out a part of train."
                    )

    def _check_mixture(self):
        if self.dataset not in self.mixture or len(self.mixture) < 2:
            raise ValueError(
                f"mixture must name {self.dataset!r}, the dataset of the recipe, and "
                f"others, got {', '.join(self.mixture) or 'none'}."
            )
        if not all(0 < share < float("inf") for share in self.mixture.values()):
            raise ValueError(
                f"The shares of a mixture must be above 0, got {self.mixture}."
            )
        if self.train == "folds":
            raise ValueError(
                "mixture cannot be combined with folds of subjects: the others have "
                "none. Train on the others first, and pass the run as start."
            )

    def fold(self, number):
        """The recipe for one of ten folds.

        Args:
            number: Index of the fold to test on; the next one is for validation.

        Raises:
            ValueError: There is no such fold.
        """
        if not 0 <= number < FOLDS:
            raise ValueError(f"fold must be from 0 to {FOLDS - 1}, got {number}.")
        validation = (number + 1) % FOLDS
        others = (i for i in range(FOLDS) if i not in (number, validation))
        return dataclasses.replace(
            self,
            train="+".join(f"fold_{other}" for other in others),
            validation=f"fold_{validation}",
            test=f"fold_{number}",
        )

    def facts(self):
        """The recipe as values for JSON, with the source code of its functions."""
        return _facts(self)

    def differences(self, facts):
        """Names of the attributes in which another recipe's facts differ.

        Functions are compared by their code, without comments and docstrings. An
        attribute that the other recipe does not have counts as its default.

        Args:
            facts: `facts()` of the other recipe, from JSON.
        """
        mine, other = _comparable(_facts(self)), _comparable(facts)
        defaults = [_comparable(_defaults(each)) for each in (Recipe, Stage)]
        other = {**defaults[0], **other}
        other["stages"] = [{**defaults[1], **each} for each in other["stages"]]
        return [name for name in {**mine, **other} if mine.get(name) != other.get(name)]


def _check_choice(name, value, choices):
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}.")


def _facts(item):
    if dataclasses.is_dataclass(item):
        fields = dataclasses.fields(item)
        return {each.name: _facts(getattr(item, each.name)) for each in fields}
    if isinstance(item, (tuple, list)):
        return [_facts(each) for each in item]
    if isinstance(item, dict):
        return {key: _facts(each) for key, each in item.items()}
    if callable(item):
        return "list" if item is list else inspect.getsource(item).strip()
    return item


def _defaults(kind):
    return {
        field.name: _facts(field.default)
        for field in dataclasses.fields(kind)
        if field.default is not dataclasses.MISSING
    }


def _comparable(item):
    """Facts in which source code is without comments, docstrings and layout."""
    if isinstance(item, list):
        return [_comparable(each) for each in item]
    if isinstance(item, dict):
        return {key: _comparable(each) for key, each in item.items()}
    if not (isinstance(item, str) and item.startswith("def ")):
        return item
    (function,) = ast.parse(item).body
    if ast.get_docstring(function) is not None:
        del function.body[0]
    return ast.unparse(function)
