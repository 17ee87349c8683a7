"""A process that predicts with saved models on the backend that its KERAS_BACKEND says.

It reads one JSON list a line, [model, inputs, outputs], all of them paths, and answers
each with a line: "ok", or what went wrong.
"""

import json
import sys

import keras
import numpy as np

import keras_fer  # noqa: F401  (it knows our classes)

print(keras.backend.backend(), flush=True)
for line in sys.stdin:
    model, inputs, outputs = json.loads(line)
    try:
        arrays = np.load(inputs)
        arrays = [arrays[name] for name in arrays.files]
        loaded = keras.saving.load_model(model)
        predictions = loaded.predict(
            arrays if len(arrays) > 1 else arrays[0], batch_size=64, verbose=0
        )
        np.save(outputs, predictions)
        print("ok", flush=True)
    except Exception as error:
        print(f"{type(error).__name__}: {error}".replace("\n", " "), flush=True)
