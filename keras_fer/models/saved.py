"""Reading models that `model.save` wrote."""

import os

import keras
import numpy as np

from keras_fer.console import one_line
from keras_fer.models.classifier import ExpressionClassifier


def load_saved(
    path: str | os.PathLike[str], compile: bool = False
) -> ExpressionClassifier:
    """Loads a `.keras` file that holds a model of this package.

    Python code in the file is refused, unless
    `keras.config.enable_unsafe_deserialization` was called.

    Args:
        path: A file that `model.save` wrote.
        compile: Whether to restore optimizer, loss and metrics, too.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is damaged, has code (as a `Lambda` layer does), holds
            another kind of model, or has weights with NaN or infinity.
    """
    path = os.fspath(path)
    if not os.path.isfile(path):
        raise FileNotFoundError(f"There is no file {path!r}.")
    try:
        model = keras.saving.load_model(path, compile=compile, safe_mode=True)
    except Exception as error:  # A damaged file can raise whatever its reader does.
        raise ValueError(
            f"No model can be read from {path!r}. Pass a file that `model.save` wrote. "
            f"Keras says: {one_line(error):.300}"
        ) from error
    if not isinstance(model, ExpressionClassifier):
        raise ValueError(
            f"{path!r} holds another kind of model, a {type(model).__name__}. Pass one "
            "of `keras_fer.models`; of a `PrivilegedAttribution`, save its `.model`."
        )
    for variable in model.weights:
        if not np.isfinite(np.asarray(variable, "float32")).all():
            raise ValueError(
                f"{path!r} has NaN or infinity in {variable.path}. Its training "
                "diverged, or the file is damaged: use another checkpoint."
            )
    return model
