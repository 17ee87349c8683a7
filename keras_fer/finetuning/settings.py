"""How a model is fine-tuned."""

from __future__ import annotations

import dataclasses
from typing import Literal


@dataclasses.dataclass(frozen=True)
class TrainingSettings:
    """Settings of `keras_fer.train`.

    Attributes:
        hold_out: Share of the images that is held out to select the best epoch and to
            evaluate, about; not used where the data say which images are held out.
        by: What is held out: single files (`"file"`) or all images of a subject
            (`"subject"`). `None` for subjects where they are known, otherwise files.
        head_epochs: Epochs of what follows the backbone, at most. The backbone is
            frozen, and its features are computed once.
        epochs: Epochs of the last layers, at most, on augmented images.
        unfreeze: Share of the backbone's layers, the last ones, that are then trained,
            0 to 1. BatchNorm stays frozen.
        patience: Epochs without a better one after which either stops.
        batch_size: Images per step.
        head_rate: Learning rate of the head.
        rate: Peak learning rate of the last layers.
        class_weights: Whether all classes weigh the same, however many images they
            have. The best epoch is then that of the highest mean recall, otherwise of
            the lowest loss.
        augment: Whether images are changed at random: mirrored, moved, rotated, scaled,
            lightened.
        seed: Of everything random.

    Raises:
        ValueError: A value is out of range.
    """

    hold_out: float = 0.2
    by: Literal["file", "subject"] | None = None
    head_epochs: int = 10
    epochs: int = 20
    unfreeze: float = 0.5
    patience: int = 5
    batch_size: int = 32
    head_rate: float = 1e-3
    rate: float = 3e-4
    class_weights: bool = False
    augment: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.hold_out <= 0.5:
            raise ValueError(
                f"hold_out must be above 0 and at most 0.5, got {self.hold_out}."
            )
        if self.by not in (None, "file", "subject"):
            raise ValueError(f"by must be 'file', 'subject' or None, got {self.by!r}.")
        if not 0 <= self.unfreeze <= 1:
            raise ValueError(f"unfreeze must be from 0 to 1, got {self.unfreeze}.")
        for name in ("head_rate", "rate"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(
                    f"{name} must be above 0 and below 1, got {getattr(self, name)}."
                )
        least = {"head_epochs": 0, "epochs": 0, "seed": 0, "patience": 1}
        for name, smallest in {**least, "batch_size": 1}.items():
            if getattr(self, name) < smallest:
                raise ValueError(
                    f"{name} must be {smallest} or more, got {getattr(self, name)}."
                )
        if not self.head_epochs and not (self.epochs and self.unfreeze):
            raise ValueError(
                "Nothing would be trained: head_epochs must not be 0 where epochs or "
                "unfreeze is."
            )
