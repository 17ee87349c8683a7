"""Augmentation of images that carry something with them."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_fer")
class JointAugmentation(keras.layers.Layer):
    """Moves images and their heatmaps alike: flips, crops, shifts, turns.

    The heatmap becomes one more channel of the image, so whatever a layer does to
    places, it does to both. So use layers that only move (Keras' `RandomFlip`,
    `RandomCrop`, `RandomTranslation`, `RandomRotation`, `RandomZoom`, `CenterCrop`);
    those that change brightness or colors are for the image alone.

    Args:
        layers: Keras preprocessing layers for both, applied in order.
        image_layers: More of them, for the image alone, afterwards.

    Call arguments:
        inputs: A dictionary with `"image"` `(B, H, W, C)`, 0–255, and `"heatmap"`
            `(B, H, W)`, in [0, 1]. Other entries pass unchanged.
        training: As for any Keras layer: random layers do nothing outside training.

    Returns:
        A dictionary with the same entries, `"image"` and `"heatmap"` float and moved.

    Raises:
        ValueError: The heatmap is not as large as the image.
    """

    def __init__(self, layers, image_layers=(), **kwargs):
        super().__init__(**kwargs)
        self.layers = list(layers)
        self.image_layers = list(image_layers)

    def call(self, inputs, training=False):
        """Moves a batch."""
        image, heatmap = inputs["image"], inputs["heatmap"]
        if tuple(heatmap.shape[1:]) != tuple(image.shape[1:3]):
            raise ValueError(
                "Expected a heatmap as large as its image, (batch, height, width). "
                f"Received: heatmap {tuple(heatmap.shape)} and image "
                f"{tuple(image.shape)}. Draw it with landmark_heatmap at that size."
            )
        image = ops.cast(image, self.compute_dtype)
        # Layers that clip or fill expect the range of images.
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

    def get_config(self):
        """Constructor arguments."""
        groups = {"layers": self.layers, "image_layers": self.image_layers}
        return {
            **super().get_config(),
            **{
                name: [keras.saving.serialize_keras_object(layer) for layer in group]
                for name, group in groups.items()
            },
        }

    @classmethod
    def from_config(cls, config):
        """Rebuilds the layers too."""
        groups = {
            name: [keras.saving.deserialize_keras_object(each) for each in config[name]]
            for name in ("layers", "image_layers")
        }
        return cls(**{**config, **groups})
