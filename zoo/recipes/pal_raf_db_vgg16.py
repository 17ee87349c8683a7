"""PAL on RAF-DB with VGG16, 7 classes, 224 px.

    python -m zoo.train pal_raf_db_vgg16 --data tfds --backbone-weights imagenet

Not run by us, so there is no time and no score to expect.

As `pal_affectnet_vgg16`, except for the landmarks: RAF-DB has five (eyes, nose, corners
of the mouth; no eyebrows), and only for the original images. Our choice is to train on
these, cropped to the face boxes. Checkpoint selection uses a part held out from train;
the test split is only reported on.
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
