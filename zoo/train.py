"""Trains a recipe.

    python -m zoo.train RECIPE --data DIR [--out OUT]

Stages run in order; each starts from the best epoch of the one before. After each epoch
the moving average of the weights is evaluated on the validation part, in a network of
its own; the epoch with the highest accuracy, or the lowest loss, is kept, as the recipe
says. No test split is opened.

Runs on TensorFlow and, with KERAS_BACKEND=jax, on JAX. `--strategy mirrored` uses all
devices of this machine (on JAX through `keras.distribution.DataParallel`),
`--strategy multiworker` those of all machines in TF_CONFIG: start the same command on
each, with one --out on a file system that all share.

Each epoch ends with a checkpoint. However a run stops, the same command with --resume
continues after the last complete epoch and ends with the same weights as a run without
a break. In OUT are, besides logs:

    model.keras         the result, with preprocessing and labels
    model.weights.h5    its weights alone
    run.json            the recipe, the history of every epoch, versions and hardware
"""

import argparse
import contextlib
import csv
import dataclasses
import hashlib
import json
import os
import pathlib
import sys
import time

import keras
import numpy as np

from keras_fer.files import locked, replacing
from keras_fer.training import checkpoint
from zoo import data, recipes
from zoo.devices import STRATEGIES, Devices
from zoo.environment import environment
from zoo.mixture import mix
from zoo.start import copy_backbone, start_from
from zoo.trainer import Run, build, train_stage


def train(recipe, source, out, backbone_weights=None, resume=False, strategy="one"):
    """Trains a recipe from start to end.

    Args:
        recipe: A `Recipe`.
        source: Source of the data; see `zoo.data.open_split`.
        out: Folder for weights, logs and checkpoints.
        backbone_weights: Weights that the backbone starts from: `"imagenet"`, a file,
            or `None` for random ones. Not used by recipes that have a `start`.
        resume: Whether to continue the run in `out`.
        strategy: One of `zoo.devices.STRATEGIES`.

    Returns:
        Path of the final model.

    Raises:
        FileExistsError: `out` is not empty, and `resume` is false.
        OSError: `out` cannot be written, another process is training in it, or the
            disk is full.
        ValueError: The data do not fit the recipe, or `out` holds a run of another
            recipe or a damaged checkpoint.
        FloatingPointError: The loss is not finite.
        ConnectionError: Another worker has stopped.
    """
    started = time.time()
    out = _open_folder(out, resume)
    devices = Devices(strategy)
    with locked(out) if devices.chief else contextlib.nullcontext():
        run = Run(recipe, *_open_data(recipe, source), out, devices)
        # All workers have seen the folder empty: `Devices` waits for all of them.
        _check_recipe(run)
        batch = min(recipe.batch, len(run.faces))
        if batch % devices.number:
            raise ValueError(
                f"A batch of {batch} cannot be divided equally among {devices.number} "
                "devices. Choose a multiple with --batch."
            )
        if devices.chief:
            print(
                f"{len(run.faces)} images for training, {len(run.validation)} for "
                "checkpoint selection"
            )
        model = _train_stages(run, backbone_weights)
        final = out / "model.keras"
        if devices.chief:
            _finish(run, model, final)
            print(f"done, {time.time() - started:.0f} s in this process")
        return final


def _train_stages(run, backbone_weights):
    """Trains the stages that are not done; returns the model of the last one."""
    recipe, chief, model = run.recipe, run.devices.chief, None
    for index, stage in enumerate(recipe.stages):
        seed = np.random.SeedSequence(run.seed_of(index)).generate_state(1)[0]
        keras.utils.set_random_seed(int(seed >> 1))
        before = model
        with run.devices.scope():
            first = backbone_weights if index == 0 and not recipe.start else None
            model = build(recipe, run.faces.labels, stage.input_size, first)
            if before is not None:
                model.set_weights(before.get_weights())
        file = run.weights_of(index)
        starts = recipe.start or recipe.start_backbone
        if before is None and starts and not file.exists():
            _start(run, model)
        if file.exists():
            checkpoint.load_weights(model, file)
            if chief:  # A kill just after the end of the stage may have left it.
                run.checkpoint_of(index).unlink(missing_ok=True)
            continue
        if chief:
            print(
                f"== stage {index}: {stage.epochs} epochs at {stage.input_size} px, "
                f"backbone {stage.backbone}, BatchNorm {stage.batch_norm}, rate "
                f"{stage.rate:g}",
                flush=True,
            )
        train_stage(run, index, model)
    return model


def _start(run, model):
    """Starts from another model, and notes which."""
    with run.devices.scope():
        if run.recipe.start:
            start = start_from(run.recipe.start, model)
        else:
            start = copy_backbone(run.recipe.start_backbone, model)
    if run.devices.chief:
        with replacing(run.out / "start.json") as temporary:
            temporary.write_text(json.dumps(dataclasses.asdict(start), indent=1) + "\n")


def _open_folder(out, resume):
    out = pathlib.Path(out)
    if not resume and out.is_dir() and any(out.iterdir()):
        raise FileExistsError(
            f"{str(out)!r} is not empty. Pass --resume to continue the run in it, or "
            "choose another --out."
        )
    try:
        out.mkdir(parents=True, exist_ok=True)
        probe = out / f"writing.{os.getpid()}"
        probe.write_bytes(b"\0" * 4096)
        probe.unlink()
    except OSError as error:
        raise OSError(
            f"Cannot write to --out {str(out)!r}: {error}. Choose a folder with space "
            "that you may write to."
        ) from error
    return out


def _check_recipe(run):
    """Refuses to resume a run of another recipe."""
    file = run.out / "recipe.json"
    if not file.exists():
        if run.devices.chief:
            with replacing(file) as temporary:
                temporary.write_text(json.dumps(run.recipe.facts(), indent=1) + "\n")
        return
    different = run.recipe.differences(json.loads(file.read_text()))
    if different:
        raise ValueError(
            f"The run in {str(run.out)!r} is of another recipe, which differs in "
            f"{', '.join(different)}. Pass the options it was started with, or choose "
            "another --out."
        )


def _open_data(recipe, source):
    """The training and the validation part, checked."""
    size = max(stage.input_size for stage in recipe.stages)
    options = {"size": size, "landmarks": recipe.attribution is not None}
    names = recipe.mixture or (recipe.dataset,)
    parts = [data.open_split(name, source, recipe.train, **options) for name in names]
    if recipe.validation is None:
        # Of each alone: the checksum of the pixels decides, in every dataset alike.
        halves = [data.hold_out(part, duplicates=recipe.duplicates) for part in parts]
        faces, validation = (
            mix(half, names, recipe.dataset, size) for half in zip(*halves, strict=True)
        )
    else:
        faces = mix(parts, names, recipe.dataset, size)
        validation = data.open_split(recipe.dataset, source, recipe.validation, size)
    _check_subjects(recipe, faces, validation)
    validation = validation[validation.scored]
    if not len(validation):
        raise ValueError(
            f"The validation part of {recipe.dataset} "
            f"({recipe.validation or 'held out from train'}) has no images for "
            f"checkpoint selection; {len(faces)} are left for training. Name a split "
            "with images as the recipe's `validation`, or provide more data."
        )
    missing = [
        label
        for label, total in zip(faces.labels, faces.targets.sum(axis=0), strict=True)
        if not total
    ]
    if missing:
        raise ValueError(
            f"The {len(faces)} training images of {recipe.dataset} have none of "
            f"{', '.join(missing)}. Provide images of each class: "
            f"{', '.join(faces.labels)}."
        )
    return faces, validation


def _check_subjects(recipe, faces, validation):
    """Refuses splits that share people, of a dataset that names them."""
    if recipe.validation is None or faces.subjects is None:
        return
    shared = set(faces.subjects) & set(validation.subjects)
    if shared:
        raise ValueError(
            f"{recipe.train} and {recipe.validation} of {recipe.dataset} share the "
            f"subjects {data.names_of(shared)}. Prepare the dataset again: no one may "
            "be in two folds."
        )


def _finish(run, model, final):
    """Writes the result and how it came to be."""
    recipe, faces = run.recipe, run.faces
    # A model of its own, so that no optimizer is saved.
    result = build(recipe, faces.labels, model.input_size)
    result.set_weights(model.get_weights())
    with replacing(final) as temporary:
        result.save(temporary)
    checkpoint.save_weights(final.with_name("model.weights.h5"), result)
    digest = hashlib.sha256(faces.targets.tobytes())
    if isinstance(faces.images, np.ndarray):
        digest.update(faces.images.tobytes())
    history = {}
    for index in range(len(recipe.stages)):
        with run.log_of(index).open() as file:
            history[f"stage{index}"] = list(csv.DictReader(file))
    facts = {
        "recipe": recipe.facts(),
        "trained_on": len(faces),
        "selected_on": len(run.validation),
        "data_sha256": digest.hexdigest(),
        "history": history,
        "seconds": round(
            sum(float(row["seconds"]) for rows in history.values() for row in rows)
        ),
        "environment": environment(),
    }
    start = final.with_name("start.json")
    if start.exists():
        facts["start"] = json.loads(start.read_text())
    with replacing(final.with_name("run.json")) as temporary:
        temporary.write_text(json.dumps(facts, indent=1) + "\n")


def add_options(parser):
    """Adds what every command that trains a recipe takes.

    Args:
        parser: An `argparse.ArgumentParser`.
    """
    parser.add_argument(
        "recipe", metavar="RECIPE", help="name of a file in zoo/recipes"
    )
    parser.add_argument(
        "--data",
        required=True,
        metavar="DIR",
        help="a folder of arrays (see zoo/data.py), npz for the one in KERAS_FER_DATA, "
        "tfds or tfds:FOLDER",
    )
    parser.add_argument(
        "--strategy",
        default="one",
        help=f"devices: {', '.join(STRATEGIES)} (%(default)s)",
    )
    parser.add_argument(
        "--backbone-weights",
        default="imagenet",
        metavar="WEIGHTS",
        help="what the backbone starts from: a file, imagenet or none (%(default)s)",
    )
    parser.add_argument(
        "--epochs", type=int, metavar="N", help="epochs of every stage, for a trial"
    )
    parser.add_argument(
        "--batch", type=int, metavar="N", help="images per step, over all devices"
    )
    parser.add_argument("--seed", type=int, metavar="N", help="seed of the run")
    parser.add_argument(
        "--start",
        metavar="MODEL",
        help="a preset, a folder of zoo.train or a .keras file to start from (that of "
        "the recipe)",
    )


def with_options(options):
    """The recipe that the options of `add_options` name, with their changes.

    Raises:
        ValueError: An option makes no sense.
    """
    recipe = recipes.load(options.recipe)
    numbers = {"seed": options.seed, "batch": options.batch}
    for name, value in {**numbers, "epochs": options.epochs}.items():
        least = 0 if name == "seed" else 1
        if value is not None and value < least:
            raise ValueError(f"--{name} must be {least} or more, got {value}.")
    changes = {**numbers, "start": options.start}
    recipe = dataclasses.replace(
        recipe, **{name: value for name, value in changes.items() if value is not None}
    )
    if options.epochs is not None:
        stages = (
            dataclasses.replace(stage, epochs=options.epochs) for stage in recipe.stages
        )
        recipe = dataclasses.replace(recipe, stages=tuple(stages))
    return recipe


def weights_of(options):
    """The backbone's weights that `--backbone-weights` names."""
    weights = options.backbone_weights
    return None if weights == "none" else weights


def _parser():
    parser = argparse.ArgumentParser(
        "python -m zoo.train",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_options(parser)
    parser.add_argument("--out", help="folder of the run (runs/RECIPE)")
    parser.add_argument(
        "--fold",
        type=int,
        default=0,
        metavar="N",
        help="the fold to test on, for recipes with folds (%(default)s); "
        "zoo.crossvalidate runs all of them",
    )
    parser.add_argument(
        "--resume", action="store_true", help="continue the run in --out"
    )
    return parser


def main():
    """Runs the command line; returns the exit status."""
    options = _parser().parse_args()
    try:
        recipe = with_options(options)
        if recipe.train == "folds":
            recipe = recipe.fold(options.fold)
        print(
            train(
                recipe,
                options.data,
                options.out or f"runs/{options.recipe}",
                weights_of(options),
                options.resume,
                options.strategy,
            )
        )
    except (ConnectionError, FloatingPointError, OSError, ValueError) as error:
        # On one line, even what h5py and TensorFlow say on several.
        print(f"{type(error).__name__}:", *str(error).split(), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
