"""PAL on AffectNet with ResNet-50, 7 classes, 224 px.

    python -m zoo.train pal_affectnet_resnet50 --data tfds --backbone-weights FILE

FILE holds the backbone's weights, as written by `save_weights` of
`keras_fer.models.backbones.resnet50(224)`; this package provides none. Not run by us,
so there is no time and no score to expect. Otherwise as `pal_affectnet_vgg16`.
"""

from zoo.recipe import Recipe, Stage
from zoo.recipes.pal_affectnet_vgg16 import together

RECIPE = Recipe(
    architecture="AttentionNetwork",
    arguments={"backbone": "resnet50", "dropout": 0.3},
    dataset="affectnet/full_7",
    stages=(Stage(12, 1e-4, input_size=224, augmentation=together),),
    test="validation",
    batch=32,
    balanced_sampling=True,
    attribution={"channels": "half", "weight": 1.0},
)
