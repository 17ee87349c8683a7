"""IRAM: lossless attention over channels, then over places."""

import keras

from keras_fer.layers.lossless_attention import LosslessAttention


@keras.saving.register_keras_serializable(package="keras_fer")
class InformationReuseAttention(LosslessAttention):
    """Information reuse attention (Wang & Hu, "IRAM", IJCNN 2021).

    Stated in the abstract: attention maps, in the plural, that **reuse the previous
    layer's information** and do **not reduce dimensionality**, fused with the feature
    map. The paper's equations were not available; our interpretation is one family with
    LLAM: LLAM weighs channels, IRAM weighs channels and then places, each from `F` and
    `P`.

    Args:
        use_previous: See `LosslessAttention`.
        use_max: See `LosslessAttention`.
        residual: See `LosslessAttention`.
        spatial: Whether spatial attention follows.
        kernel_size: See `LosslessAttention`.

    Call arguments:
        features: `(B, H, W, C)`.
        previous: `(B, H', W', C)`.
        return_attention: Also return the attention map.

    Returns:
        A tensor of the features' shape, or that and the map `(B, H, W, C)` in (0, 1).

    Raises:
        ValueError: The previous map is missing, or has another number of channels.
    """

    def __init__(
        self,
        use_previous=True,
        use_max=True,
        residual=False,
        spatial=True,
        kernel_size=None,
        **kwargs,
    ):
        super().__init__(
            use_previous, use_max, residual, spatial, kernel_size, **kwargs
        )
