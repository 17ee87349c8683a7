"""Occlusions: a facial part, half of the face, a block, or a pattern turns black.

Every kind is a function of a uint8 image `(H, W, C)`, a `Face` and a
`numpy.random.Generator` that returns a new image of the same shape and type.
"""

import numpy as np

from tfds_builders.corruptions.registry import Registry

KINDS = Registry()


@KINDS.register
def eyes(image, face, rng):
    """A bar over both eyes."""
    return _black_out(image, *_around(face.eyes, face, image, (0.45, 0.28)))


@KINDS.register
def mouth(image, face, rng):
    """A bar over the mouth."""
    return _black_out(image, *_around(face.mouth, face, image, (0.20, 0.14)))


@KINDS.register
def half_left(image, face, rng):
    """The half of the face that is on the left in the image."""
    (left, top), (_, bottom) = face.box
    return _black_out(image, (left, top), (_middle(face), bottom))


@KINDS.register
def half_right(image, face, rng):
    """The half of the face that is on the right in the image."""
    (_, top), (right, bottom) = face.box
    return _black_out(image, (_middle(face), top), (right, bottom))


@KINDS.register
def random_block(image, face, rng):
    """A block of 0.3 to 0.5 of the box's sides, anywhere in the box."""
    side = rng.uniform(0.3, 0.5)
    size = face.box[1] - face.box[0]
    low = face.box[0] + rng.uniform(0, 1 - side, 2) * size
    return _black_out(image, low, low + side * size)


@KINDS.register
def grid(image, face, rng):
    """`GridMask` of keras-cv over the whole image."""
    import keras_cv

    seed = _keras_cv_seed(rng)
    layer = keras_cv.layers.GridMask(_constant(rng, 0.3, 0.6), 0.1, seed=seed)
    return _apply_keras_cv(layer, image)


@KINDS.register
def cutout(image, face, rng):
    """`RandomCutout` of keras-cv: a block anywhere in the image."""
    import keras_cv

    seed = _keras_cv_seed(rng)
    layer = keras_cv.layers.RandomCutout(
        _constant(rng, 0.3, 0.5), _constant(rng, 0.3, 0.5), seed=seed
    )
    return _apply_keras_cv(layer, image)


def _around(points, face, image, margin):
    """The box around points, with a margin in units of the distance of the eyes."""
    margin = np.ptp(face.eyes[:, 0]) * np.array(margin)
    margin[1] *= image.shape[1] / image.shape[0]
    return points.min(axis=0) - margin, points.max(axis=0) + margin


def _middle(face):
    """The x coordinate of the vertical line through nose and mouth."""
    return np.clip((face.bridge[0] + face.mouth[:, 0].mean()) / 2, 0, 1)


def _black_out(image, low, high):
    """A copy that is black between two corners, which are fractions of the image."""
    size = np.array(image.shape[1::-1])
    corners = np.clip(np.rint([low * size, high * size]), 0, size).astype(int)
    (left, top), (right, bottom) = corners
    image = image.copy()
    image[top:bottom, left:right] = 0
    return image


def _keras_cv_seed(rng):
    """A seed with which a new layer of keras-cv is deterministic.

    With a seed of 0, or with ranges as factors, its layers draw from TensorFlow's
    global generator; with any other seed and constant factors, from their own.
    """
    return int(rng.integers(1, 2**31))


def _constant(rng, low, high):
    import keras_cv

    return keras_cv.core.ConstantFactorSampler(float(rng.uniform(low, high)))


def _apply_keras_cv(layer, image):
    import tensorflow as tf

    result = layer(tf.convert_to_tensor(image, tf.float32), training=True)
    return np.asarray(result).astype(np.uint8)
