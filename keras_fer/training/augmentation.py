"""Augmentation of images together with their heatmaps."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_fer")
class JointAugmentation(keras.layers.Layer):
    """Applies the same geometric transformations to images and their heatmaps.

    The heatmap becomes one more channel of the image for `layers`. These must be
    geometric (Keras' `RandomFlip`, `RandomCrop`, `RandomTranslation`,
    `RandomRotation`, `RandomZoom`, `CenterCrop`); layers that change brightness or
    colors belong in `image_layers`.

    Args:
        layers: Keras preprocessing layers for images and heatmaps, applied in order.
        image_layers: Further layers, applied afterwards to the images alone.

    Call arguments:
        inputs: A dictionary with `"image"` `(B, H, W, C)`, 0–255, and `"heatmap"`
            `(B, H, W)`, in [0, 1]. Other entries pass unchanged.
        training: Random layers of Keras do nothing outside training.

    Returns:
        A dictionary with the same entries; `"image"` and `"heatmap"` are transformed
        and of the layer's compute dtype.

    Raises:
        ValueError: The heatmaps and images differ in size.
    """

    def __init__(
        self,
        layers: Iterable[keras.layers.Layer],
        image_layers: Iterable[keras.layers.Layer] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.layers = list(layers)
        self.image_layers = list(image_layers)

    def call(self, inputs: dict[str, Any], training: bool = False) -> dict[str, Any]:
        image, heatmap = inputs["image"], inputs["heatmap"]
        if tuple(heatmap.shape[1:]) != tuple(image.shape[1:3]):
            raise ValueError(
                "heatmap must have the height and width of the image, got heatmap "
                f"{tuple(heatmap.shape)} and image {tuple(image.shape)}. Draw it with "
                "landmark_heatmap at the size of the image."
            )
        image = ops.cast(image, self.compute_dtype)
        # Layers that clip or fill expect the range of images, 0–255.
        heatmap = ops.cast(heatmap, self.compute_dtype)[..., None] * 255.0
        both = ops.concatenate([image, heatmap], axis=-1)
        for layer in self.layers:
            both = layer(both, training=training)
        image = both[..., :-1]
        for layer in self.image_layers:
            image = layer(image, training=training)
        return {
            **inputs,
            "image": image,
            "heatmap": ops.clip(both[..., -1] / 255.0, 0.0, 1.0),
        }

    def get_config(self) -> dict[str, Any]:
        groups = {"layers": self.layers, "image_layers": self.image_layers}
        return {
            **super().get_config(),
            **{
                name: [keras.saving.serialize_keras_object(layer) for layer in group]
                for name, group in groups.items()
            },
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> JointAugmentation:
        groups = {
            name: [keras.saving.deserialize_keras_object(each) for each in config[name]]
            for name in ("layers", "image_layers")
        }
        return cls(**{**config, **groups})
