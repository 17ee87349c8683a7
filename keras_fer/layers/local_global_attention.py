"""Local and global attention of SCAN-CCI: 25 crops and the whole feature map."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_fer.layers.checks import check_feature_map
from keras_fer.layers.spatio_channel_attention import SpatioChannelAttention
from keras_fer.layers.types import Config, Shape, Tensor

_CROPS = 5  # along each axis


@keras.saving.register_keras_serializable(package="keras_fer")
class LocalGlobalAttention(keras.layers.Layer):
    """Attention over 25 crops and the whole (Gera & Balasubramanian, 2007.10298).

    The feature map is cut into 5x5 crops without overlap. A `SpatioChannelAttention`
    refines each crop, which is then averaged over its spatial positions; the maximum
    over the crops, per channel, is the local descriptor. One more attention refines the
    whole feature map, whose average is the global descriptor. The concatenation of both
    is L2-normalized.

    The paper's feature map is 28x28, cut at 6, 12, 18 and 24. Our interpretation for
    other sizes: the side of a crop is `ceil(side / 5)` and the last crop takes the
    rest; where nothing would remain, the sides are as equal as possible.

    Args:
        shared: Whether all crops share one attention (as in the authors' script for
            RAF-DB) instead of having one each.
        official_bottom_strip: Whether to cut the lowest strip as the authors' code
            does: into its four **rows**, each reshaped to a crop, instead of four
            blocks. Only for weights from that code; the strip must be four rows high.

    Call arguments:
        features: `(B, H, W, C)` with static H and W of at least 5.
        training: Whether BatchNorm uses the statistics of the batch.
        return_attention: Whether to return the masks as well.

    Returns:
        `(B, 2 * C)`, the local and the global descriptor, of length 1; with
        `return_attention`, also the masks `(B, 2, H, W, C)` in (0, 1): first those of
        the crops, each at its position in the feature map, then that of the whole.

    Raises:
        ValueError: H or W is unknown or under 5, or the lowest strip does not fit
            `official_bottom_strip`.
    """

    def __init__(
        self, shared: bool = False, official_bottom_strip: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.shared = shared
        self.official_bottom_strip = official_bottom_strip

    def build(self, input_shape: Shape) -> None:
        check_feature_map(input_shape, least=_CROPS)
        height, width = input_shape[1:3]
        self.rows, self.columns = _edges(height), _edges(width)
        lowest = height - self.rows[-2]
        if self.official_bottom_strip and lowest != _CROPS - 1:
            raise ValueError(
                f"official_bottom_strip needs a lowest strip of {_CROPS - 1} rows, as "
                f"in a feature map of 28x28, got shape {tuple(input_shape)}, whose "
                f"lowest strip has {lowest}."
            )
        number = 1 if self.shared else _CROPS**2
        self.local_attentions = [
            SpatioChannelAttention(dtype=self.dtype_policy, name=f"local_{index}")
            for index in range(number)
        ]
        self.global_attention = SpatioChannelAttention(
            dtype=self.dtype_policy, name="global"
        )
        for attention in (*self.local_attentions, self.global_attention):
            attention.build(input_shape)

    def call(
        self, features: Tensor, training: bool = False, return_attention: bool = False
    ) -> Tensor | tuple[Tensor, Tensor]:
        masks, pooled = [], []
        for index, crop in enumerate(self.crops(features)):
            attention = self.local_attentions[0 if self.shared else index]
            outputs, mask = attention(crop, training=training, return_attention=True)
            pooled.append(ops.mean(outputs, axis=(1, 2)))
            masks.append(mask)
        local = ops.max(ops.stack(pooled), axis=0)
        outputs, mask = self.global_attention(
            features, training=training, return_attention=True
        )
        both = ops.concatenate([local, ops.mean(outputs, axis=(1, 2))], axis=-1)
        # Squares of half-precision numbers leave their range.
        descriptor = ops.normalize(ops.cast(both, "float32"), axis=-1)
        descriptor = ops.cast(descriptor, self.compute_dtype)
        if not return_attention:
            return descriptor
        return descriptor, ops.stack([self.paste_crops(masks), mask], axis=1)

    def crops(self, features: Tensor) -> list[Tensor]:
        """Cuts a feature map into 25 crops.

        Args:
            features: `(B, H, W, C)` of the size that the layer was built for.

        Returns:
            The crops row by row, each `(B, h, w, C)`.
        """
        crops = [
            features[:, top:bottom, left:right]
            for top, bottom in zip(self.rows, self.rows[1:], strict=False)
            for left, right in zip(self.columns, self.columns[1:], strict=False)
        ]
        if self.official_bottom_strip:
            strip = features[:, self.rows[-2] :, : self.columns[-2]]
            folded = (-1, _CROPS - 1, self.columns[1], features.shape[-1])
            first = _CROPS * (_CROPS - 1)
            for row in range(_CROPS - 1):
                crops[first + row] = ops.reshape(strip[:, row], folded)
        return crops

    def paste_crops(self, crops: list[Tensor]) -> Tensor:
        """Puts crops together to the feature map they were cut from.

        Args:
            crops: 25 tensors `(B, h, w, C)`, in the order of `crops`.

        Returns:
            `(B, H, W, C)`.
        """
        strips = [
            ops.concatenate(crops[start : start + _CROPS], axis=2)
            for start in range(0, _CROPS**2, _CROPS)
        ]
        if self.official_bottom_strip:
            first = _CROPS * (_CROPS - 1)
            rows = [
                ops.reshape(crop, (-1, 1, self.columns[-2], crop.shape[-1]))
                for crop in crops[first:-1]
            ]
            strips[-1] = ops.concatenate(
                [ops.concatenate(rows, axis=1), crops[-1]], axis=2
            )
        return ops.concatenate(strips, axis=1)

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "shared": self.shared,
            "official_bottom_strip": self.official_bottom_strip,
        }


def _edges(side: int) -> list[int]:
    """Positions at which a side is cut, from 0 to its end."""
    crop = -(-side // _CROPS)
    if crop * (_CROPS - 1) < side:
        return [*range(0, crop * _CROPS, crop), side]
    parts = np.array_split(np.arange(side), _CROPS)
    return [*(int(part[0]) for part in parts), side]
