"""LLAM: channel attention that uses the previous feature map and no bottleneck."""

from typing import Any

import keras
from keras import layers, ops

from keras_fer.layers.checks import check_kernel_size
from keras_fer.layers.efficient_channel_attention import adaptive_kernel_size
from keras_fer.layers.types import Config, Shape, Tensor


@keras.saving.register_keras_serializable(package="keras_fer")
class LosslessAttention(keras.layers.Layer):
    """Lossless attention (Wang et al., "LLAM", arXiv 2001.11869).

    Stated in the abstract: the attention map also uses the information of the
    **previous layer**, does **not reduce dimensionality**, and is fused with the
    feature map. The paper's equations were not available; our interpretation is a
    channel attention of the ECA family over descriptors of both feature maps, fused by
    multiplication:

    `m = sigmoid(Conv1D_k([GAP(F), GMP(F), GAP(P), GMP(P)]))`, `out = F * m`

    where `F` is the feature map and `P` the previous one: four descriptors per channel.

    Args:
        use_previous: Whether to use the previous feature map.
        use_max: Whether to use global maxima (GMP) beside the averages (GAP).
        residual: Whether to add the input: `out = F + F * m`.
        spatial: Whether spatial attention follows: a 7x7 convolution over the mean and
            the maximum of the channels of the refined `F` and of `P`. See
            `InformationReuseAttention`.
        kernel_size: Size of the convolution's kernel in channels, odd. `None` derives
            it from the number of channels; see `EfficientChannelAttention`.

    Call arguments:
        features: `(B, H, W, C)`.
        previous: `(B, H', W', C)`, the input of the block that computes `features`,
            after its projection. Not needed with `use_previous=False`. With `spatial`
            its spatial descriptors are resized to H and W where H' and W' differ, which
            then have to be static.
        return_attention: Whether to return the attention map as well.

    Returns:
        A tensor of the shape of `features`; with `return_attention`, also the attention
        map in (0, 1): `(B, 1, 1, C)`, or `(B, H, W, C)` with `spatial`.

    Raises:
        ValueError: The previous feature map is missing or has another number of
            channels, or `kernel_size` is neither `None` nor an odd positive integer.
    """

    def __init__(
        self,
        use_previous: bool = True,
        use_max: bool = True,
        residual: bool = False,
        spatial: bool = False,
        kernel_size: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if kernel_size is not None:
            check_kernel_size(kernel_size)
        self.use_previous = use_previous
        self.use_max = use_max
        self.residual = residual
        self.spatial = spatial
        self.kernel_size = kernel_size

    def build(self, features_shape: Shape, previous_shape: Shape | None = None) -> None:
        channels = features_shape[-1]
        if self.use_previous and (
            previous_shape is None or previous_shape[-1] != channels
        ):
            received = previous_shape and tuple(previous_shape)
            raise ValueError(
                f"previous must have as many channels as features, {channels}, got "
                f"shape {received}. Project it with a 1x1 convolution, or pass "
                "use_previous=False."
            )
        maps = 2 if self.use_previous else 1
        options = {
            "padding": "same",
            "use_bias": False,
            "activation": "sigmoid",
            "dtype": self.dtype_policy,
        }
        self.channel_attention = layers.Conv1D(
            1,
            self.kernel_size or adaptive_kernel_size(channels),
            name="channel_attention",
            **options,
        )
        descriptors = maps * (2 if self.use_max else 1)
        self.channel_attention.build((None, channels, descriptors))
        if self.spatial:
            self.spatial_attention = layers.Conv2D(
                1, 7, name="spatial_attention", **options
            )
            self.spatial_attention.build((None, None, None, 2 * maps))

    def call(
        self,
        features: Tensor,
        previous: Tensor | None = None,
        return_attention: bool = False,
    ) -> Tensor | tuple[Tensor, Tensor]:
        maps = [features, previous] if self.use_previous else [features]
        pools = [ops.mean, ops.max] if self.use_max else [ops.mean]
        descriptors = [pool(x, axis=(1, 2)) for x in maps for pool in pools]
        attention = self.channel_attention(ops.stack(descriptors, axis=-1))
        attention = ops.transpose(attention, (0, 2, 1))[:, None]
        if self.spatial:
            refined = [features * attention, *maps[1:]]
            descriptors = [
                self._resized(pool(x, axis=-1, keepdims=True), features)
                for x in refined
                for pool in (ops.mean, ops.max)
            ]
            attention = attention * self.spatial_attention(
                ops.concatenate(descriptors, axis=-1)
            )
        outputs = features * attention
        if self.residual:
            outputs = features + outputs
        return (outputs, attention) if return_attention else outputs

    @staticmethod
    def _resized(descriptor: Tensor, features: Tensor) -> Tensor:
        """Resizes a descriptor to the height and width of the features."""
        if descriptor.shape[1:3] == features.shape[1:3]:
            return descriptor
        return ops.image.resize(
            descriptor,
            ops.shape(features)[1:3],
            antialias=True,
            data_format="channels_last",
        )

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "use_previous": self.use_previous,
            "use_max": self.use_max,
            "residual": self.residual,
            "spatial": self.spatial,
            "kernel_size": self.kernel_size,
        }
