"""Local and global attention of SCAN-CCI: 25 crops of a feature map, and the whole."""

import keras
import numpy as np
from keras import ops

from keras_fer.layers.spatio_channel_attention import SpatioChannelAttention

_CROPS = 5  # along each side


@keras.saving.register_keras_serializable(package="keras_fer")
class LocalGlobalAttention(keras.layers.Layer):
    """Attention over 25 crops and the whole (Gera & Balasubramanian, 2007.10298).

    The map is cut into 5x5 crops without overlap. Each goes through a
    `SpatioChannelAttention` and is averaged over its places; the maximum over the
    crops, channel by channel, is the local descriptor. The whole map through one more
    and averaged is the global one. Both together are scaled to length 1.

    The paper knows maps of 28x28, cut at 6, 12, 18 and 24. Our interpretation for
    others: the side of a crop is `ceil(side / 5)`, and the last one takes what is left;
    where nothing would be left, sides are as equal as possible.

    Args:
        shared: Whether all crops share one attention (the authors' script for RAF-DB)
            instead of one each.
        official_bottom_strip: Whether to cut the lowest strip as the authors' code
            does: not its four blocks, but its four **rows**, each folded to a crop.
            For weights from that code only; needs a strip that is four rows high.

    Call arguments:
        features: `(B, H, W, C)` with static H and W of at least 5.
        training: Whether BatchNorm uses the batch's statistics.
        return_attention: Also return the masks.

    Returns:
        `(B, 2 * C)`, local then global, of length 1; or that and the masks
        `(B, 2, H, W, C)` in (0, 1): those of the crops in their places, and that of
        the whole.

    Raises:
        ValueError: H or W is unknown or under 5, or the lowest strip does not fit
            `official_bottom_strip`.
    """

    def __init__(self, shared=False, official_bottom_strip=False, **kwargs):
        super().__init__(**kwargs)
        self.shared = shared
        self.official_bottom_strip = official_bottom_strip

    def build(self, input_shape):
        """Creates the attentions."""
        sides = tuple(input_shape[1:3])
        if len(input_shape) != 4 or None in sides or min(sides) < _CROPS:
            raise ValueError(
                "Expected a feature map of shape (batch, height, width, channels) with "
                f"static height and width of at least {_CROPS}. "
                f"Received: shape={tuple(input_shape)}. Use a larger input or an "
                "earlier map."
            )
        self.rows, self.columns = (_edges(side) for side in sides)
        lowest = sides[0] - self.rows[-2]
        if self.official_bottom_strip and lowest != _CROPS - 1:
            raise ValueError(
                f"`official_bottom_strip` needs a lowest strip of {_CROPS - 1} rows, "
                f"as in a map of 28x28. Received: shape={tuple(input_shape)}, whose "
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

    def call(self, features, training=False, return_attention=False):
        """Describes the map."""
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
        return descriptor, ops.stack([self._paste_heatmap(masks), mask], axis=1)

    def crops(self, features):
        """The 25 crops, row by row: a list of `(B, h, w, C)`."""
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

    def _paste_heatmap(self, crops):
        """Crops to the map they were cut from."""
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

    def get_config(self):
        """Constructor arguments."""
        return {
            **super().get_config(),
            "shared": self.shared,
            "official_bottom_strip": self.official_bottom_strip,
        }


def _edges(side):
    """Where a side is cut, from 0 to its end."""
    crop = -(-side // _CROPS)
    if crop * (_CROPS - 1) < side:
        return [*range(0, crop * _CROPS, crop), side]
    parts = np.array_split(np.arange(side), _CROPS)
    return [*(int(part[0]) for part in parts), side]
