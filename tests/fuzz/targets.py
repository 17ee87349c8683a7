"""What is fuzzed: readers of files from outside, and what each of them promises."""

import functools
import io
import json
import pathlib
import sys
import tempfile
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from hypothesis import strategies as st
from PIL import Image

from tests.fuzz import mutations
from tests.memory import peak

SECONDS = 2.0
MEMORY = 2**30
FINDINGS = pathlib.Path(__file__).with_name("findings")


class Target(NamedTuple):
    """A reader.

    Attributes:
        suffix: Of its files.
        cases: Makes a strategy of contents.
        read: Reads a path; raises an `AssertionError` if the result breaks a promise.
        errors: Returns the documented exceptions.
    """

    suffix: str
    cases: Callable
    read: Callable
    errors: Callable


# Images.


@functools.cache
def _images():
    """Small intact files of every format that is read, by format."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (4, 4, 3), "uint8")
    image = Image.fromarray(coarse).resize((48, 40))
    modes = {
        "PNG": ("RGB", "RGBA", "P", "I;16", "1", "LA"),
        "JPEG": ("RGB", "L", "CMYK"),
        "GIF": ("P",),
        "BMP": ("RGB", "P"),
        "TIFF": ("RGB", "L", "I;16"),
        "WEBP": ("RGB", "RGBA"),
        "PPM": ("RGB", "L"),
    }
    result = {}
    for format, each in modes.items():
        for mode in each:
            file = io.BytesIO()
            converted = image.convert("L") if mode == "I;16" else image
            options = {"progressive": True} if mode == "L" and format == "JPEG" else {}
            converted.convert(mode).save(file, format, **options)
            result.setdefault(format, []).append(file.getvalue())
    file = io.BytesIO()
    image.save(file, "GIF", save_all=True, append_images=[image.rotate(90)] * 3)
    result["GIF"].append(file.getvalue())
    return result


def _image_cases():
    images = _images()
    every = [content for each in images.values() for content in each]
    return st.one_of(
        st.sampled_from(every).flatmap(mutations.damaged),
        st.sampled_from(every).flatmap(lambda c: mutations.damaged(c, header=64)),
        st.sampled_from(images["PNG"]).flatmap(mutations.damaged_png),
        st.builds(
            mutations.huge_png,
            st.integers(1, 2**31 - 1),
            st.integers(1, 2**31 - 1),
        ),
    )


def _read_image(path):
    import warnings

    from keras_fer.faces.images import MAX_PIXELS, read_image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = read_image(path)
    assert image.dtype == np.uint8
    assert image.ndim == 3 and image.shape[2] == 3
    assert 0 < image.shape[0] * image.shape[1] <= MAX_PIXELS


def _image_errors():
    from keras_fer.faces import ImageError

    return (ImageError,)


# Weights.


@functools.cache
def _weights():
    import keras

    model = keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            keras.layers.Conv2D(3, 3),
            keras.layers.BatchNormalization(),
            keras.layers.Flatten(),
            keras.layers.Dense(4),
        ]
    )
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "model.weights.h5"
        model.save_weights(path)
        return path.read_bytes()


def _weights_cases():
    return st.one_of(
        mutations.damaged(_weights(), header=2048), mutations.damaged(_weights())
    )


def _read_weights(path):
    from keras_fer.hub.checks import check_weights

    check_weights(path)
    check_weights(path, {"layers/dense/vars/1": (4,)})


# Manifests.


@functools.cache
def _manifest():
    from keras_fer.hub.release import FILES, FORMAT

    return json.dumps(
        {
            "format": FORMAT,
            "name": "patt_lite",
            "architecture": "PAttLite",
            "arguments": {"input_size": 96, "grayscale": True},
            "parameters": 1100000,
            "labels": ["neutral", "happiness", "surprise"],
            "temperature": 1.25,
            "files": dict.fromkeys(FILES, "0" * 64),
            "score": {"accuracy": 67.5},
        }
    ).encode()


def _manifest_cases():
    return st.one_of(
        mutations.damaged_json(_manifest()), mutations.damaged(_manifest())
    )


def _read_manifest(path):
    from keras_fer.hub.release import read_manifest

    manifest = read_manifest(path, "user/repo")
    assert 2 <= len(set(manifest["labels"])) == len(manifest["labels"]) <= 1000
    assert all(label.isprintable() for label in manifest["labels"])
    assert 0.01 <= manifest["temperature"] <= 100


# Checkpoints.


@functools.cache
def _network():
    import keras

    model = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dropout(0.5), keras.layers.Dense(4)]
    )
    model.compile("adam", "mse")
    model.optimizer.build(model.trainable_variables)
    return model


def _variables():
    network = _network()
    return [*network.variables, *network.optimizer.variables]


@functools.cache
def _checkpoint():
    """A checkpoint, and the values in it."""
    from keras_fer.training import checkpoint

    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "checkpoint.npz"
        for index, variable in enumerate(_variables()):
            variable.assign(np.full(variable.shape, index + 1))
        checkpoint.save(path, _network(), {"epoch": 3})
        values = [np.array(variable) for variable in _variables()]
        return path.read_bytes(), values


def _checkpoint_cases():
    content, _ = _checkpoint()
    return st.one_of(mutations.damaged(content), mutations.damaged_npz(content))


def _read_checkpoint(path):
    from keras_fer.training import checkpoint

    _, expected = _checkpoint()
    for variable in _variables():
        variable.assign(np.zeros(variable.shape))
    checkpoint.restore(path, _network())
    # Accepted means undamaged: every value is the one that was saved.
    for variable, value in zip(_variables(), expected, strict=True):
        np.testing.assert_array_equal(np.array(variable), value)
    assert checkpoint.read_state(path) == {"epoch": 3}


TARGETS = {
    "images": Target(".png", _image_cases, _read_image, _image_errors),
    "weights": Target(
        ".weights.h5", _weights_cases, _read_weights, lambda: (ValueError,)
    ),
    "manifests": Target(
        ".json", _manifest_cases, _read_manifest, lambda: (ValueError,)
    ),
    "checkpoints": Target(
        ".npz", _checkpoint_cases, _read_checkpoint, lambda: (ValueError,)
    ),
}

# Names of other processes that were started, by an audit hook, which stays for good.
_started = []


@functools.cache
def _prepare(name):
    """Imports and builds what a target compares with; that starts processes."""
    TARGETS[name].cases()


@functools.cache
def _watch():
    events = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork")
    sys.addaudithook(
        lambda event, arguments: event in events and _started.append(event)
    )


def check(target, content, folder):
    """Reads a file and holds the reader to its promises.

    Args:
        target: One of `TARGETS`.
        content: Bytes of the file.
        folder: Where it is written.

    Raises:
        AssertionError: The reader returned something wrong, raised an undocumented
            error, took over two seconds of processor time or over 1 GiB of memory, or
            started another process.
    """
    _prepare(target)
    _watch()
    target = TARGETS[target]
    path = pathlib.Path(folder) / f"case{target.suffix}"
    path.write_bytes(content)
    _started.clear()
    before = peak(reset=True)
    # Of this process, so that other work on the machine does not count.
    start = time.process_time()
    try:
        target.read(path)
    except target.errors() as error:
        assert len(str(error)) < 2000, f"message of {len(str(error))} characters"
    except AssertionError:
        raise
    except Exception as error:
        raise AssertionError(
            f"undocumented {type(error).__name__}: {str(error)[:200]}"
        ) from error
    seconds = time.process_time() - start
    grown = peak() - before
    assert not _started, f"started another process: {_started}"
    assert grown < MEMORY, f"took {grown // 2**20} MiB"
    assert seconds < SECONDS, f"took {seconds:.1f} s"
