"""How fast and how accurate are the presets on every runtime, and the peer?

    python -m benchmarks.inference --data FER2013_DIR --peer HDF5 --peer-tflite TFLITE

HDF5 is the mini-Xception of `face_classification` and `fer`
(`fer2013_mini_XCEPTION.102-0.66.hdf5`), TFLITE its int8 file as `fer` 25.10.3 ships it
(`fer/data/emotion_model_quantized.tflite`).

Method: all variants (preset or peer, runtime, precision, session options) run in one
process, one after the other in every round and at every batch size; the first round is
not counted. A round's time of a variant is the mean of as many calls as make 32 faces
(one call for larger batches), after one call that is not timed. Threads are the same
for all. Keras is called by `predict_on_batch`, which is faster than `predict`.

- Presets get uint8 faces at their input size, as `keras_fer.analyze` makes them, and
  normalize them in the graph. The peer gets float32 faces, normalized beforehand, which
  is not timed: the footing is in its favor.
- `accuracy`, in percent, is that of the label, on the public test split: on FER2013's
  labels (3,589 images), and on FER+ majorities (3,199), whatever a model was trained
  for. The peer knows no `contempt`. Its faces are resized as `fer` resizes them.
- `ratio_to_peer` is the time divided by that of the peer in float32 on ONNX Runtime,
  and `share` the multiply-accumulates that `zoo.cost` counts, per second, divided by
  those of a float32 product of two matrices of 1024x1024 in NumPy; both within a round.
- `peak_mib` is the peak memory of a process of its own that loads the model and
  predicts 32 faces three times (VmHWM, Linux).
- `spinning`: whether ONNX Runtime's threads wait busily.
- `cold_start`: `keras-fer predict` on the sample portrait, in a new process each time.

int8 is calibrated with up to 500 images of the training split.
"""

import argparse
import concurrent.futures
import dataclasses
import functools
import multiprocessing
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

import numpy as np

import keras_fer
from benchmarks import exports, record
from keras_fer.cli.predict import sample_portrait
from keras_fer.labels import from_dataset
from keras_fer.zoo.presets import PRESETS
from zoo import data

PEER = "mini_xception"
PEER_SIDE = 64
PEER_LABELS = tuple(from_dataset("fer2013", code) for code in range(7))
BATCHES = (1, 8, 32, 256)
DATASETS = ("fer2013", "ferplus")
SIDE = 1024
COLD_STARTS = 5


@dataclasses.dataclass(frozen=True)
class Variant:
    """What is measured.

    Attributes:
        model: Name of a preset, or `PEER`.
        runtime: `"keras"`, `"onnx"` or `"litert"`.
        precision: `"float32"`, `"float16"` or `"int8"`.
        spinning: See the module; `None` for other runtimes than `"onnx"`.
        path: The file; `None` for a preset in Keras.
    """

    model: str
    runtime: str
    precision: str
    spinning: bool | None
    path: str | None

    def __str__(self):
        spinning = " spinning" if self.spinning else ""
        return f"{self.model} {self.runtime} {self.precision}{spinning}"

    @property
    def labels(self):
        """Names of the outputs."""
        return PEER_LABELS if self.model == PEER else PRESETS[self.model].labels

    def bytes(self):
        """Size of the file of the model, or of its weights."""
        if self.path is None:
            return keras_fer.zoo.loading.bundled(PRESETS[self.model]).stat().st_size
        return exports.size(self.path)


def start(variant, threads):
    """Loads a variant.

    Returns:
        A function from a batch, as `prepare` makes it, to probabilities.
    """
    if variant.runtime == "keras":
        _set_threads(threads)
        if variant.model == PEER:
            return peer_network(variant.path).predict_on_batch
        return keras_fer.zoo.load(variant.model).predict_on_batch
    if variant.model != PEER:
        return exports.load(variant.path, variant.runtime, threads, variant.spinning)
    if variant.runtime == "onnx":
        from keras_fer.runtime.onnx import start_session

        content = pathlib.Path(variant.path).read_bytes()
        session = start_session(content, threads, variant.spinning)
        name = session.get_inputs()[0].name
        return lambda batch: session.run(None, {name: batch})[0]
    return _litert(variant.path, threads)


def _litert(path, threads):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=path, num_threads=threads)
    entry = interpreter.get_input_details()[0]["index"]
    end = interpreter.get_output_details()[0]["index"]
    shape = None

    def predict(batch):
        nonlocal shape
        if batch.shape != shape:
            interpreter.resize_tensor_input(entry, batch.shape)
            interpreter.allocate_tensors()
            shape = batch.shape
        interpreter.set_tensor(entry, batch)
        interpreter.invoke()
        return interpreter.get_tensor(end)

    return predict


def _set_threads(threads):
    """Sets TensorFlow's threads, if it has not started yet."""
    import tensorflow as tf

    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
    except RuntimeError:  # It has, and so they were set before.
        pass


def peer_network(path):
    """The peer in Keras."""
    import keras

    return keras.models.load_model(path, compile=False)


def peer_macs(path):
    """Multiply-accumulates of the peer per face."""
    import keras

    from zoo.cost import count_macs

    image = keras.Input((None, None, 3))
    resized = keras.layers.Resizing(PEER_SIDE, PEER_SIDE)(image[..., :1])
    return count_macs(keras.Model(image, peer_network(path)([resized])))


def export_peer(path, format, folder):
    """Exports the peer to ONNX or LiteRT in float32; returns the path."""
    import keras

    target = pathlib.Path(folder) / f"{PEER}-float32{exports.SUFFIXES[format]}"
    if not target.exists():
        signature = [
            keras.InputSpec("float32", (None, PEER_SIDE, PEER_SIDE, 1), name="face")
        ]
        network = peer_network(path)
        # Its input is a list of one; the export shall take one tensor.
        face = keras.Input((PEER_SIDE, PEER_SIDE, 1), name="face")
        network = keras.Model(face, network([face]))
        network.export(
            str(target), format=format, input_signature=signature, verbose=False
        )
    return target


def prepare(model, faces):
    """Faces as a model takes them.

    Args:
        model: Name of a preset, or `PEER`.
        faces: uint8 `(N, 48, 48, 1)`.

    Returns:
        uint8 `(N, S, S, 3)`; for the peer float32 `(N, 64, 64, 1)`.
    """
    if model == PEER:
        return _for_peer(faces)
    from PIL import Image

    size = (PRESETS[model].arguments["input_size"],) * 2
    resized = [
        np.asarray(Image.fromarray(face[..., 0]).resize(size, Image.BILINEAR))
        for face in faces
    ]
    return np.repeat(np.stack(resized)[..., None], 3, axis=-1)


def _for_peer(faces):
    import cv2

    side = (PEER_SIDE, PEER_SIDE)
    resized = np.stack([cv2.resize(face[..., 0], side) for face in faces])
    return ((resized.astype("float32") / 255 - 0.5) * 2)[..., None]


def accuracy(variant, predict, scored, faces):
    """Percent of right labels on each of `DATASETS`.

    Args:
        variant: A `Variant`.
        predict: From `start`.
        scored: Dataset to the rows of `faces` that count and the names of their
            classes.
        faces: uint8 `(N, 48, 48, 1)`.
    """
    if variant.model == PEER:
        inputs = _for_peer(faces)
    else:
        inputs = np.repeat(faces, 3, axis=-1)  # Resized in the graph.
    outputs = exports.in_batches(predict, inputs)
    labels = np.array(variant.labels)[outputs.argmax(axis=1)]
    return {
        dataset: round(100 * float((labels[rows] == truth).mean()), 2)
        for dataset, (rows, truth) in scored.items()
    }


def read(source, most):
    """The images of the public test split, and who is scored; see `accuracy`."""
    scored = {}
    for dataset in DATASETS:
        split = data.open_split(dataset, source, "public_test")
        split = split[split.scored & (split.rows < most)]
        names = np.array(split.labels)[split.classes]
        scored[dataset] = (split.rows, names)
    return data.open_split("fer2013", source, "public_test").images[:most], scored


def measure(predictors, inputs, batches, rounds, threads, macs):
    """Times of all variants, interleaved.

    Args:
        predictors: Variant to a function from `start`.
        inputs: Model to as many prepared faces as the largest batch.
        batches: Batch sizes.
        rounds: That are counted.
        threads: Of NumPy's matrix product.
        macs: Model to multiply-accumulates per face.

    Returns:
        Two dictionaries of lists by round: `(variant, batch)` to milliseconds, and to
        the share of the matrix product's rate; and a list of that rate, in GFLOP/s.
    """
    import threadpoolctl

    matrix = np.random.default_rng(0).random((SIDE, SIDE), np.float32)
    times = {(v, batch): [] for v in predictors for batch in batches}
    shares = {key: [] for key in times}
    rates = []
    for number in range(rounds + 1):
        with threadpoolctl.threadpool_limits(threads):
            rate = SIDE**3 / _seconds(lambda: matrix @ matrix, calls=5)
        rates.append(2 * rate / 1e9)
        for batch in batches:
            for variant, predict in predictors.items():
                faces = inputs[variant.model][:batch]
                calls = max(1, 32 // batch)
                seconds = _seconds(functools.partial(predict, faces), calls)
                times[variant, batch].append(seconds * 1000)
                share = macs[variant.model] * batch / seconds / rate
                shares[variant, batch].append(share)
        print(f"round {number} of {rounds}", flush=True)
    drop = {key: values[1:] for key, values in times.items()}
    return drop, {key: values[1:] for key, values in shares.items()}, rates[1:]


def _seconds(call, calls):
    """Mean time of calls, after one that is not timed."""
    call()
    begin = time.perf_counter()
    for _ in range(calls):
        call()
    return (time.perf_counter() - begin) / calls


def peak_memory(variant, threads, faces):
    """Peak memory in MiB of this process, once it has predicted three times."""
    predict = start(variant, threads)
    for _ in range(3):
        predict(faces)
    status = pathlib.Path("/proc/self/status").read_text()
    return round(int(re.search(r"VmHWM:\s*(\d+)", status)[1]) / 1024, 1)


def peak_memories(variants, inputs, threads):
    """Variant to peak memory, each in a process of its own."""
    found = {}
    for variant in variants:
        with concurrent.futures.ProcessPoolExecutor(
            1, mp_context=multiprocessing.get_context("spawn")
        ) as process:
            faces = inputs[variant.model][:32]
            found[variant] = process.submit(
                peak_memory, variant, threads, faces
            ).result()
    return found


def cold_starts(rounds):
    """Seconds and peak MiB of `keras-fer predict` in new processes, by round."""
    code = (
        "import re, sys; from keras_fer.cli import main\n"
        "main(['predict', sys.argv[1]])\n"
        "peak = re.search(r'VmHWM:\\s*(\\d+)', open('/proc/self/status').read())[1]\n"
        "print(int(peak) / 1024)"
    )
    seconds, peaks = [], []
    for _ in range(rounds + 1):
        begin = time.perf_counter()
        output = subprocess.run(
            [sys.executable, "-c", code, sample_portrait()],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        seconds.append(time.perf_counter() - begin)
        peaks.append(float(output.splitlines()[-1]))
    return seconds[1:], peaks[1:]


def variants_of(models, runtimes, folder, source, peer=None, peer_tflite=None):
    """All variants, the reference first; exports what is missing in `folder`."""
    found = []
    if peer:
        for runtime in runtimes:
            path = peer
            if runtime != "keras":
                path = export_peer(peer, runtime, folder)
            for spinning in (False, True) if runtime == "onnx" else (None,):
                found.append(Variant(PEER, runtime, "float32", spinning, str(path)))
    if peer_tflite and "litert" in runtimes:
        found.append(Variant(PEER, "litert", "int8", None, str(peer_tflite)))
    faces = exports.calibration(source)
    for model in models:
        for runtime in runtimes:
            if runtime == "keras":
                found.append(Variant(model, runtime, "float32", None, None))
                continue
            for precision in exports.FORMATS[runtime]:
                path = exports.write(model, runtime, precision, folder, faces)
                spinnings = (False, True) if runtime == "onnx" else (None,)
                found += [
                    Variant(model, runtime, precision, spinning, str(path))
                    for spinning in spinnings
                ]
    # The reference comes first.
    return sorted(found, key=lambda v: (v.model, v.runtime) != (PEER, "onnx"))


def rows_of(variants, times, shares, batches, accuracies, peaks):
    """Rows of the result."""
    first = variants[0]
    has_peer = (first.model, first.runtime) == (PEER, "onnx")
    rows = []
    for variant in variants:
        row = dataclasses.asdict(variant)
        del row["path"]
        row |= {
            "bytes": variant.bytes(),
            "peak_mib": peaks.get(variant),
            "accuracy": accuracies[variant],
            "ms": {},
            "ratio_to_peer": {} if has_peer else None,
            "share": {},
        }
        for batch in batches:
            values = times[variant, batch]
            row["ms"][str(batch)] = record.spread(values, 3)
            row["share"][str(batch)] = record.spread(shares[variant, batch], 4)
            if has_peer:
                ratios = np.divide(values, times[first, batch]).tolist()
                row["ratio_to_peer"][str(batch)] = record.spread(ratios, 3)
        rows.append(row)
        print(
            f"{variant!s:<44}",
            *(f"{row['ms'][str(batch)]['median']:8.2f}" for batch in batches),
            "ms",
            *(f"{value:6.2f} %" for value in row["accuracy"].values()),
        )
    return rows


def plot(result, path):
    """Draws accuracy against time.

    Args:
        result: As in `results/inference.json`.
        path: A PNG file.
    """
    from matplotlib.figure import Figure

    markers = {"onnx": "o", "litert": "s", "keras": "^"}
    fills = {"float32": "full", "float16": "left", "int8": "none"}
    rows = [row for row in result["rows"] if not row["spinning"]]
    models = list(dict.fromkeys(row["model"] for row in rows))
    batches = [str(batch) for batch in (1, 32) if batch in result["batches"]]
    figure = Figure(figsize=(11, 4.5 * len(batches)), layout="constrained")
    grid = figure.subplots(len(batches), len(DATASETS), squeeze=False)
    for line, batch in zip(grid, batches, strict=True):
        for axes, dataset in zip(line, DATASETS, strict=True):
            for row in rows:
                axes.plot(
                    row["ms"][batch]["median"],
                    row["accuracy"][dataset],
                    markers[row["runtime"]],
                    fillstyle=fills[row["precision"]],
                    color=f"C{models.index(row['model'])}",
                    label=f"{row['model']} {row['runtime']} {row['precision']}",
                )
            faces = "one face" if batch == "1" else f"{batch} faces"
            title = {"fer2013": "FER2013 labels", "ferplus": "FER+ majority"}
            axes.set(
                xscale="log",
                xlabel=f"{faces}, ms",
                ylabel="accuracy, %",
                title=f"public test, {title[dataset]}",
            )
            axes.xaxis.set_major_formatter("{x:g}")
            axes.xaxis.set_minor_formatter("{x:g}")
            axes.tick_params(axis="x", which="minor", labelsize=7)
            axes.grid(alpha=0.3)
    handles, names = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=4, fontsize=7)
    figure.savefig(path, dpi=110)


def main(arguments=None):
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, help="folder of FER2013")
    parser.add_argument("--models", nargs="+", default=[*PRESETS], help="presets")
    parser.add_argument(
        "--runtimes",
        nargs="+",
        choices=("onnx", "litert", "keras"),
        default=("onnx", "litert", "keras"),
    )
    parser.add_argument("--peer", help="mini-Xception's .hdf5 file")
    parser.add_argument("--peer-tflite", help="its int8 .tflite file")
    parser.add_argument("--batches", nargs="+", type=int, default=BATCHES)
    parser.add_argument("--rounds", type=int, default=20, help="at least 3")
    parser.add_argument(
        "--threads", type=int, default=os.cpu_count(), help="(default: one per core)"
    )
    parser.add_argument("--n", type=int, default=10**6, help="images for the accuracy")
    parser.add_argument(
        "--cold-starts", type=int, default=COLD_STARTS, help="at least 3; 0 for none"
    )
    parser.add_argument(
        "--no-memory", action="store_true", help="do not measure peak memory"
    )
    parser.add_argument("--exports", help="folder that keeps the exported files")
    parser.add_argument("--plot", type=pathlib.Path, help="draw a PNG file")
    parser.add_argument("--out", type=pathlib.Path, help="write JSON there")
    options = parser.parse_args(arguments)
    if options.rounds < 3:
        parser.error("--rounds must be at least 3")
    for file in filter(None, (options.peer, options.peer_tflite)):
        if not pathlib.Path(file).is_file():
            parser.error(f"there is no file {file!r}")

    _set_threads(options.threads)
    cold = cold_starts(options.cold_starts) if options.cold_starts else None
    faces, scored = read(options.data, options.n)
    with tempfile.TemporaryDirectory() as folder:
        variants = variants_of(
            options.models,
            options.runtimes,
            options.exports or folder,
            options.data,
            options.peer,
            options.peer_tflite,
        )
        models = list(dict.fromkeys(variant.model for variant in variants))
        macs = {name: PRESETS[name].macs for name in models if name != PEER}
        if PEER in models:
            macs[PEER] = peer_macs(options.peer) if options.peer else 0
        inputs = {
            name: prepare(name, np.resize(faces, (max(options.batches), 48, 48, 1)))
            for name in models
        }
        peaks = {}
        if not options.no_memory:
            peaks = peak_memories(variants, inputs, options.threads)
        predictors = {variant: start(variant, options.threads) for variant in variants}
        accuracies = {
            variant: accuracy(variant, predict, scored, faces)
            for variant, predict in predictors.items()
        }
        times, shares, rates = measure(
            predictors, inputs, options.batches, options.rounds, options.threads, macs
        )
        rows = rows_of(variants, times, shares, options.batches, accuracies, peaks)
    result = {
        "threads": options.threads,
        "rounds": options.rounds,
        "batches": list(options.batches),
        "n": {dataset: len(rows) for dataset, (rows, _) in scored.items()},
        "matrix_product_gflops": record.spread(rates, 1),
        "macs": macs,
        "rows": rows,
        "cold_start": cold
        and {
            "seconds": record.spread(cold[0], 2),
            "peak_mib": record.spread(cold[1], 1),
        },
    }
    if options.plot:
        plot(result, options.plot)
    if options.out:
        record.write(options.out, "inference", result)


if __name__ == "__main__":
    main()
