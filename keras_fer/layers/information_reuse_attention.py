"""IRAM: lossless channel attention followed by spatial attention."""

from typing import Any

import keras

from keras_fer.layers.lossless_attention import LosslessAttention


@keras.saving.register_keras_serializable(package="keras_fer")
class InformationReuseAttention(LosslessAttention):
    """Information reuse attention (Wang & Hu, "IRAM", IJCNN 2021).

    Stated in the abstract: the attention maps **reuse the information of the previous
    layer**, do **not reduce dimensionality**, and are fused with the feature map. The
    paper's equations were not available; in our interpretation IRAM extends LLAM:
    LLAM is a channel attention, IRAM a channel attention followed by a spatial one,
    each computed from both the feature map and the previous one.

    Args:
        use_previous: See `LosslessAttention`.
        use_max: See `LosslessAttention`.
        residual: See `LosslessAttention`.
        spatial: Whether spatial attention follows.
        kernel_size: See `LosslessAttention`.

    Call arguments:
        features: `(B, H, W, C)`.
        previous: `(B, H', W', C)`; see `LosslessAttention`.
        return_attention: Whether to return the attention map as well.

    Returns:
        A tensor of the shape of `features`; with `return_attention`, also the attention
        map `(B, H, W, C)` in (0, 1).

    Raises:
        ValueError: The previous feature map is missing or has another number of
            channels, or `kernel_size` is neither `None` nor an odd positive integer.
    """

    def __init__(
        self,
        use_previous: bool = True,
        use_max: bool = True,
        residual: bool = False,
        spatial: bool = True,
        kernel_size: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            use_previous, use_max, residual, spatial, kernel_size, **kwargs
        )
