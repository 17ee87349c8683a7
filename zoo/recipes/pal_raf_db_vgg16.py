"""PAL on RAF-DB with VGG16, 7 classes, 224 px.

    python -m zoo.train pal_raf_db_vgg16 --data tfds --backbone-weights imagenet

Not run here: no time and no score to expect.

The rest as in `pal_affectnet_vgg16`, but RAF-DB has five landmarks (eyes, nose, corners
of the mouth), without brows, and only for the images as found. Our choice is to take
these, cut to the boxes of the faces. Epochs are chosen on a part held out from train;
the test split is opened once, to report.
"""

from zoo.recipe import Recipe, Stage
from zoo.recipes.pal_affectnet_vgg16 import together

RECIPE = Recipe(
    architecture="AttentionNetwork",
    arguments={"backbone": "vgg16", "dropout": 0.3},
    dataset="raf_db/original",
    stages=(Stage(40, 1e-4, input_size=224, augmentation=together),),
    test="test",
    batch=32,
    attribution={"channels": "half", "weight": 1.0},
)
