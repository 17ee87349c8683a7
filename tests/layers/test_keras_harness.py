"""Every public layer passes the harness that Keras tests its own layers with."""

import keras
import pytest
from keras.src.testing import TestCase

from keras_fer import layers

FEATURES = (2, 6, 6, 8)
# Arguments, input shapes, output shape, and numbers of trainable and of other weights.
CASES = {
    "CBAM": ({"ratio": 4}, [FEATURES], FEATURES, 5, 0),
    "ClassProbabilities": ({"labels": ["a", "b", "c"]}, [(2, 3)], (2, 3), 0, 0),
    "ComplementaryContext": ({"num_classes": 3}, [FEATURES], (2, 4, 3), 5, 0),
    "EfficientChannelAttention": ({}, [FEATURES], FEATURES, 1, 0),
    "ImageNormalization": ({"size": 4}, [(2, 6, 6, 3)], (2, 4, 4, 3), 0, 0),
    "InformationReuseAttention": ({}, [FEATURES, FEATURES], FEATURES, 2, 0),
    "LocalGlobalAttention": ({"shared": True}, [FEATURES], (2, 16), 8, 4),
    "LosslessAttention": ({}, [FEATURES, FEATURES], FEATURES, 1, 0),
    "MeanVote": ({"labels": ["a", "b", "c"]}, [(2, 5, 3)], (2, 3), 0, 0),
    "PatchExtraction": ({"filters": 4}, [FEATURES], (2, 2, 2, 4), 8, 0),
    "PatchTokenAttention": ({}, [FEATURES], FEATURES, 1, 0),
    "SpatioChannelAttention": ({}, [FEATURES], FEATURES, 4, 2),
    "SqueezeExcitation": ({"ratio": 4}, [FEATURES], FEATURES, 4, 0),
}


def test_no_public_layer_is_left_out():
    assert sorted(CASES) == sorted(layers.__all__)


@pytest.mark.parametrize("name", CASES)
def test_layer(name):
    arguments, shapes, output, trainable, other = CASES[name]
    kind = getattr(layers, name)
    names = ("features_shape", "previous_shape")
    several = len(shapes) > 1
    shape = dict(zip(names, shapes, strict=True)) if several else shapes[0]
    TestCase().run_layer_test(
        kind,
        init_kwargs=arguments,
        input_shape=shape,
        expected_output_shape=output,
        expected_num_trainable_weights=trainable,
        expected_num_non_trainable_weights=other,
        expected_num_seed_generators=0,
        expected_num_losses=0,
        supports_masking=False,
        # The harness can train layers of one input only.
        run_training_check=trainable > 0 and not several,
    )


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_half_precision_specs_keep_their_type(policy):
    layer = layers.PatchTokenAttention(dtype=policy)
    tokens = keras.KerasTensor((2, 4, 8), layer.compute_dtype)
    layer.build(tokens.shape)
    assert layer.compute_output_spec(tokens).dtype == layer.compute_dtype
