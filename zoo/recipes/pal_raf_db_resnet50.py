"""PAL on RAF-DB with ResNet-50, 7 classes, 224 px.

    python -m zoo.train pal_raf_db_resnet50 --data tfds --backbone-weights FILE

For FILE see `pal_affectnet_resnet50`. Not run by us, so there is no time and no score
to expect. Otherwise as `pal_raf_db_vgg16`.
"""

from zoo.recipe import Recipe, Stage
from zoo.recipes.pal_affectnet_vgg16 import together

RECIPE = Recipe(
    architecture="AttentionNetwork",
    arguments={"backbone": "resnet50", "dropout": 0.3},
    dataset="raf_db/original",
    stages=(Stage(40, 1e-4, input_size=224, augmentation=together),),
    test="test",
    batch=32,
    attribution={"channels": "half", "weight": 1.0},
)
