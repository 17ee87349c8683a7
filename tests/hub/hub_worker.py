"""A process that talks to the Hub its environment names; that is read at import.

It reads one JSON list a line, [what to do, arguments], and answers each with a line of
JSON: its result, or its error, and the seconds it took.
"""

import functools
import hashlib
import json
import os
import pathlib
import shutil
import sys
import time

from tests.memory import peak


def predict(model, images):
    import numpy as np

    return model.predict(np.load(images), verbose=0).tolist()


def load(images, *names, **options):
    from keras_fer import zoo

    model = zoo.load(*names, **options)
    return {"labels": model.labels, "predictions": predict(model, images)}


def load_with_keras(images, address):
    import keras

    import keras_fer  # noqa: F401  (it knows our classes)

    return {"predictions": predict(keras.saving.load_model(address), images)}


def load_unbundled(images, repo_id, commit):
    """Loads a preset as if its weights were not part of the package."""
    import dataclasses

    from keras_fer.zoo import loading, presets

    preset = presets.PRESETS["patt_lite.ferplus"]
    known, bundled = presets.PRESETS, loading.bundled
    moved = dataclasses.replace(preset, repo=repo_id, revision=commit)
    loading.PRESETS = known | {preset.name: moved}
    loading.bundled = lambda preset: pathlib.Path("nowhere")
    try:
        return load(images, preset.name)
    finally:
        loading.PRESETS, loading.bundled = known, bundled


def info(address, **options):
    import dataclasses

    from keras_fer import zoo

    return dataclasses.asdict(zoo.info(address, **options))


def fetch(*arguments, **options):
    from keras_fer import hub

    release = hub.fetch(*arguments, **options)
    digest = hashlib.sha256(release.weights.read_bytes()).hexdigest()
    return {"commit": release.commit, "sha256": digest, "folder": str(release.folder)}


@functools.cache
def trained(images, steps):
    """A small model, the same for the same number of training steps."""
    import keras
    import numpy as np

    from keras_fer import models

    keras.utils.set_random_seed(0)
    batch = np.load(images)
    model = models.PAttLite(
        labels=["a", "b", "c"], input_size=48, grayscale=True, backbone_weights=None
    )
    if steps:
        model.compile("adam", "sparse_categorical_crossentropy")
        classes = np.arange(len(batch)) % 3
        model.fit(batch, classes, batch_size=len(batch), epochs=steps, verbose=0)
    return model


def push(images, repo_id, *, steps=0, bias=0.0, **options):
    from keras_fer import zoo

    model = trained(images, steps)
    model.get_layer("logits").bias.assign([bias, 0.0, 0.0])
    url = zoo.push(model, repo_id, **options)
    return {"url": url, "predictions": predict(model, images)}


def forget():
    """Deletes the cache."""
    shutil.rmtree(pathlib.Path(os.environ["HF_HOME"]) / "hub", ignore_errors=True)


def trust():
    """Lets Keras run code that a file names."""
    import keras

    keras.config.enable_unsafe_deserialization()


def modules():
    return sorted(sys.modules)


if __name__ == "__main__":
    out, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        what, arguments, options = json.loads(line)
        start, processor, before = time.monotonic(), time.process_time(), peak(True)
        try:
            answer = {"result": globals()[what](*arguments, **options)}
        except Exception as error:
            kinds = [kind.__name__ for kind in type(error).__mro__]
            answer = {"error": str(error), "kinds": kinds}
        answer["seconds"] = time.monotonic() - start
        answer["processor"] = time.process_time() - processor
        answer["megabytes"] = (peak() - before) / 2**20
        print(json.dumps(answer), file=out, flush=True)
