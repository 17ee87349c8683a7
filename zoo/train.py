"""Trains a recipe: `python -m zoo.train RECIPE --data DIR`.

Stage by stage, each from the best epoch of the one before. What is measured and kept is
the moving average of the weights, in a network of its own; the best epoch is the one
with the highest accuracy on the validation part. No test split is opened here.

Runs on TensorFlow and, with KERAS_BACKEND=jax, on JAX: augmentation is part of the
network. `--strategy mirrored` uses all devices of this machine (on JAX through
`keras.distribution.DataParallel`), `multiworker` those of all machines in TF_CONFIG;
start the same command on each, with one --out that all can read.

Every epoch ends with a checkpoint. Whenever a run stops, the same command with
--resume goes on after the last whole epoch and ends where it would have ended: the
weights, their average, the optimizer, the schedule, every random state and the order of
the images are as they were. In --out are then, besides logs, `model.keras` (the
result, with preprocessing and labels), `model.weights.h5` and `run.json`.
"""

import argparse
import contextlib
import csv
import dataclasses
import hashlib
import importlib
import importlib.util
import json
import math
import os
import pathlib
import pkgutil
import sys
import time

import keras
import numpy as np

from keras_fer import models, training, zoo
from keras_fer.models.backbones import freeze_batch_norm
from keras_fer.training.heatmaps import INNER_LANDMARKS
from zoo import checkpoint, data, recipes
from zoo.batches import Batches
from zoo.environment import environment

STRATEGIES = ("one", "mirrored", "multiworker")


class Devices:
    """Where a run computes: one device, or several that share each batch.

    Args:
        strategy: One of `STRATEGIES`.

    Raises:
        ValueError: Unknown, or not for this backend.
    """

    def __init__(self, strategy="one"):
        if strategy not in STRATEGIES:
            raise ValueError(
                f"Unknown strategy. Received: {strategy!r}. Expected one of "
                f"{', '.join(STRATEGIES)}."
            )
        self._strategy, self.number, self.chief = None, 1, True
        self._several_workers = strategy == "multiworker"
        if strategy == "one":
            return
        if keras.backend.backend() == "jax":
            if self._several_workers:
                raise ValueError(
                    "multiworker is TensorFlow's. Received: the jax backend. Use "
                    "mirrored, or KERAS_BACKEND=tensorflow."
                )
            self.number = len(keras.distribution.list_devices())
            keras.distribution.set_distribution(keras.distribution.DataParallel())
            return
        import tensorflow as tf

        if self._several_workers:
            self._strategy = tf.distribute.MultiWorkerMirroredStrategy()
            resolver = self._strategy.cluster_resolver
            self.chief = not resolver.cluster_spec() or (
                resolver.task_type == "chief"
                or (
                    resolver.task_id == 0
                    and "chief" not in resolver.cluster_spec().jobs
                )
            )
        else:
            kinds = (tf.config.list_logical_devices(kind) for kind in ("GPU", "CPU"))
            devices = [device.name for device in next(filter(None, kinds))]
            self._strategy = tf.distribute.MirroredStrategy(devices)
        self.number = self._strategy.num_replicas_in_sync

    def scope(self):
        """Networks are built in it."""
        return self._strategy.scope() if self._strategy else contextlib.nullcontext()

    def prepare(self, network):
        """Makes `fit` and `evaluate` of a network work on them."""
        return training.multi_worker(network) if self._several_workers else network


def build(recipe, labels, input_size, backbone_weights=None):
    """The recipe's network at a size, before anything is trained."""
    create = getattr(models, recipe.architecture)
    return create(
        labels=labels,
        input_size=input_size,
        backbone_weights=backbone_weights,
        **recipe.arguments,
    )


def train(recipe, source, out, backbone_weights=None, resume=False, strategy="one"):
    """Runs a recipe from start to end.

    Args:
        recipe: A `Recipe`.
        source: Where the data are; see `zoo.data.open_split`.
        out: Folder for weights, logs and checkpoints.
        backbone_weights: `"imagenet"`, a file, or `None` for random ones; recipes that
            start from a preset need none.
        resume: Whether to go on from what `out` holds.
        strategy: One of `STRATEGIES`.

    Returns:
        Path of the final model.

    Raises:
        FileExistsError: `out` holds something, and `resume` is off.
        OSError: `out` cannot be written, or the disk is full.
        ValueError: The data do not suit the recipe, or `out` holds a run of another
            recipe or a damaged checkpoint.
        FloatingPointError: The loss is not finite.
        ConnectionError: Another worker has stopped.
    """
    out = _open_folder(out, resume)
    devices = Devices(strategy)
    started = time.time()
    faces, validation = _open_data(recipe, source)
    # Every worker has seen the folder empty: `Devices` waits for all of them.
    _check_recipe(out, recipe, devices)
    if min(recipe.batch, len(faces)) % devices.number:
        raise ValueError(
            f"A batch of {min(recipe.batch, len(faces))} cannot be shared by "
            f"{devices.number} devices alike. Choose a multiple with --batch."
        )
    if devices.chief:
        print(f"{len(faces)} images to train on, {len(validation)} to choose on")

    model, histories = None, []
    for index, stage in enumerate(recipe.stages):
        # Each stage has a seed of its own, so it does not matter what ran before it.
        seed = [recipe.seed, index]
        keras.utils.set_random_seed(
            int(np.random.SeedSequence(seed).generate_state(1)[0] >> 1)
        )
        before = model
        with devices.scope():
            first = backbone_weights if index == 0 and not recipe.start else None
            model = build(recipe, faces.labels, stage.input_size, first)
            if before is not None:
                model.set_weights(before.get_weights())
            elif recipe.start:
                started_from = zoo.load(recipe.start, labels=faces.labels)
                model.set_weights(started_from.get_weights())
        file = out / f"stage{index}.weights.h5"
        log = file.with_name(f"stage{index}.csv")
        if file.exists():
            _load(model, file)
            if devices.chief:  # A kill just after the stage's end may have left it.
                file.with_name(f"stage{index}.npz").unlink(missing_ok=True)
        else:
            if devices.chief:
                print(f"== stage {index}: {_in_words(stage)}", flush=True)
            train_stage(model, recipe, stage, seed, faces, validation, file, devices)
        if devices.chief:
            histories.append(list(csv.DictReader(log.open())))
    final = out / "model.keras"
    if devices.chief:
        _finish(model, recipe, histories, faces, validation, final, started)
    return final


def train_stage(model, recipe, stage, seed, faces, validation, file, devices):
    """Trains a stage; the model ends with the best epoch's averaged weights.

    Args:
        model: What to train.
        recipe: The `Recipe`.
        stage: The `Stage`.
        seed: List of integers.
        faces: `zoo.data.Faces` to train on.
        validation: `zoo.data.Faces` to choose on.
        file: Where the best weights go, once the stage is done.
        devices: The `Devices`.
    """
    with devices.scope():
        # A network of its own for the averages: validation never touches training.
        kept = build(recipe, faces.labels, stage.input_size)
        for each in (model, kept):
            backbone = each.get_layer("backbone")
            if stage.backbone != "learned":
                backbone.trainable = False
            elif stage.batch_norm == "frozen":
                freeze_batch_norm(backbone)
        network, take, mixing = _network(model, recipe, stage, faces)
        steps = Batches.per_epoch(len(faces), recipe.batch)
        rate = stage.schedule(stage.rate, steps * stage.epochs, stage.epochs)
        average = {"use_ema": True, "ema_momentum": recipe.ema} if recipe.ema else {}
        network.compile(
            recipe.optimizer(rate, **average),
            keras.losses.CategoricalCrossentropy(
                label_smoothing=recipe.label_smoothing,
                from_logits=recipe.teacher is not None,
            ),
            metrics=["accuracy"],
        )
        network.optimizer.build(network.trainable_variables)
    keeper = Keeper(model, kept, validation, stage, file, devices, len(faces))
    if keeper.resumes():
        checkpoint.restore(keeper.checkpoint, network)
    callbacks = [keeper]
    if devices.chief and _has_tensorboard():
        logs = file.with_name("tensorboard") / file.name.split(".")[0]
        callbacks.append(keras.callbacks.TensorBoard(logs, write_graph=False))
    done = len(keeper.history)
    if not keeper.ended():
        batches = Batches(
            take,
            faces.targets,
            recipe.batch,
            seed,
            steps * stage.epochs,
            first=steps * done,
            weights=_class_weights(faces.targets) if recipe.class_weights else None,
            shares=_shares(faces.targets) if recipe.balanced_sampling else None,
            mixing=mixing,
            workers=8 if isinstance(faces.images, data.LazyImages) else 1,
        )
        devices.prepare(network).fit(
            batches,
            steps_per_epoch=steps,
            epochs=stage.epochs,
            initial_epoch=done,
            shuffle=False,
            callbacks=callbacks,
            verbose=1 if devices.chief and sys.stdout.isatty() else 0,
        )
    model.set_weights(keeper.best_weights())
    if devices.chief:
        keeper.close()


class Keeper(keras.callbacks.Callback):
    """Measures every epoch, keeps the best and what a resumed run needs.

    Stops with an error where the loss is not finite, and after `patience` epochs
    without a better score. Scores are added to the epoch's logs, so put it before
    callbacks that log.

    Args:
        model: The model in training.
        kept: One like it, for averaged weights.
        validation: `zoo.data.Faces`.
        stage: The `Stage`.
        file: Where the best weights go in the end; the other files lie beside it.
        devices: The `Devices`.
        examples: Images of an epoch.
    """

    def __init__(self, model, kept, validation, stage, file, devices, examples):
        super().__init__()
        self._trained, self._kept = model, devices.prepare(kept)
        self._validation = (validation.images[:], validation.targets)
        self._stage, self._devices, self._examples = stage, devices, examples
        self._file = file
        self.checkpoint = file.with_name(file.name.replace(".weights.h5", ".npz"))
        self._best_file = file.with_name(f"best.{file.name}")
        self.history = []
        self._best = None
        self._pending = None

    def resumes(self):
        """Whether there is a checkpoint; then the history is taken from it.

        Raises:
            ValueError: It is damaged.
        """
        state = checkpoint.read_state(self.checkpoint)
        if state is None:
            return False
        self.history = state["history"]
        return True

    def ended(self):
        """Whether the stage is over: all epochs, or patience at its end."""
        scores = [row["val_accuracy"] for row in self.history]
        if len(scores) >= self._stage.epochs:
            return True
        patience = self._stage.patience
        if patience is None or not scores:
            return False
        return len(scores) - 1 - scores.index(max(scores)) >= patience

    def best_weights(self):
        """Weights of the best epoch."""
        if self._best is None:
            _load(self._kept, self._best_file)
            self._best = self._kept.get_weights()
        return self._best

    def close(self):
        """The stage is done: the best weights get their name."""
        os.replace(self._best_file, self._file)
        self.checkpoint.unlink()

    def on_train_begin(self, logs=None):
        """Starts the clock."""
        self._clock = time.time()

    def on_epoch_begin(self, epoch, logs=None):
        """No step has run yet."""
        self._pending = None

    def on_train_batch_end(self, batch, logs=None):
        """Looks at the loss of the step before, which has been computed by now."""
        self._check_loss()
        self._pending = (batch, logs["loss"])

    def _check_loss(self):
        if self._pending is None:
            return
        batch, loss = self._pending
        if not np.isfinite(float(loss)):
            epoch = len(self.history)
            kept = (
                f"The checkpoint of epoch {epoch} and the best weights so far are kept "
                f"in {str(self._file.parent)!r}"
                if self.history
                else "Nothing was kept yet"
            )
            raise FloatingPointError(
                f"The loss is {float(loss)} from step {batch + 1} of epoch "
                f"{epoch + 1} on. {kept}. Lower the rate, or look at the data."
            )

    def on_epoch_end(self, epoch, logs=None):
        """Measures, keeps and reports."""
        self._check_loss()
        self._average()
        images, targets = self._validation
        # Not `evaluate`, which fails where devices cannot share the first batch alike.
        predicted = self._kept.predict(images, batch_size=256, verbose=0)
        right = predicted.argmax(axis=1) == targets.argmax(axis=1)
        likely = np.log(np.clip(predicted, keras.config.epsilon(), 1.0))
        logs["val_accuracy"] = right.mean()
        logs["val_loss"] = -(targets * likely).sum(axis=1).mean()
        rate = float(np.asarray(self.model.optimizer.learning_rate))
        row = {name: float(np.asarray(value)) for name, value in logs.items()}
        # Whatever took time since the epoch before, so that they add up.
        now = time.time()
        seconds, self._clock = now - self._clock, now
        row = {"epoch": epoch, **row, "learning_rate": rate, "seconds": seconds}
        earlier = [past["val_accuracy"] for past in self.history]
        self.history.append(row)
        better = row["val_accuracy"] > max(earlier, default=-math.inf)
        if better:
            self._best = self._kept.get_weights()
        if self._devices.chief:
            if better:
                checkpoint.save_weights(self._best_file, self._kept)
            checkpoint.save(self.checkpoint, self.model, {"history": self.history})
            self._log()
            self._report(row, better)
        if self.ended():
            self.model.stop_training = True

    def _average(self):
        """The averages of what learns, and all else as it is."""
        self._kept.set_weights(self._trained.get_weights())
        if self.model.optimizer.use_ema:
            pairs = zip(self._trained.weights, self._kept.weights, strict=True)
            twins = {id(variable): twin for variable, twin in pairs}
            # As Keras does at the end of `fit`, but into the other network.
            self.model.optimizer.finalize_variable_values(
                [twins[id(each)] for each in self.model.trainable_variables]
            )
            if keras.backend.backend() == "jax":
                # Both hold the same buffers now, and `evaluate` gives its own away.
                for each in self._kept.weights:
                    each.assign(keras.ops.copy(each))

    def _log(self):
        path = self.checkpoint.with_suffix(".csv")
        with checkpoint.replacing(path) as temporary, temporary.open("w") as file:
            writer = csv.DictWriter(file, self.history[-1])
            writer.writeheader()
            writer.writerows(self.history)

    def _report(self, row, better):
        left = (self._stage.epochs - len(self.history)) * np.mean(
            [past["seconds"] for past in self.history]
        )
        scores = "  ".join(
            f"{name} {row[name]:.4f}" for name in row if "loss" in name or "acc" in name
        )
        print(
            f"epoch {len(self.history)}/{self._stage.epochs}  {scores}"
            f"{' (best)' if better else ''}  {self._examples / row['seconds']:.0f} "
            f"images/s  {left / 60:.0f} min left",
            flush=True,
        )


def _open_folder(out, resume):
    out = pathlib.Path(out)
    if not resume and out.is_dir() and any(out.iterdir()):
        raise FileExistsError(
            f"{str(out)!r} is not empty. Pass --resume to go on from what it holds, or "
            "another --out."
        )
    try:
        out.mkdir(parents=True, exist_ok=True)
        probe = out / f"writing.{os.getpid()}"
        probe.write_bytes(b"\0" * 4096)
        probe.unlink()
    except OSError as error:
        raise OSError(
            f"Cannot write to --out. Received: {str(out)!r}: {error}. Choose a folder "
            "with room that you may write to."
        ) from error
    return out


def _check_recipe(out, recipe, devices):
    """Refuses to go on with another recipe than the run was started with."""
    file, facts = out / "recipe.json", recipe.facts()
    if not file.exists():
        if devices.chief:
            with checkpoint.replacing(file) as temporary:
                temporary.write_text(json.dumps(facts, indent=1) + "\n")
        return
    started = json.loads(file.read_text())
    different = [key for key in facts if started.get(key) != facts[key]]
    if different:
        raise ValueError(
            f"The run is of another recipe. Received: {str(out)!r}, which was started "
            f"with one that differs in {', '.join(different)}. Give the options it was "
            "started with, or choose another --out."
        )


def _open_data(recipe, source):
    """The part to train on and the part to choose on, checked."""
    size = max(stage.input_size for stage in recipe.stages)
    options = {"size": size, "landmarks": recipe.attribution is not None}
    faces = data.open_split(recipe.dataset, source, recipe.train, **options)
    if recipe.validation is None:
        faces, validation = data.hold_out(faces, duplicates=recipe.duplicates)
    else:
        validation = data.open_split(recipe.dataset, source, recipe.validation, size)
    validation = validation[validation.scored]
    if not len(validation):
        raise ValueError(
            f"Nothing to choose epochs on. Received: {len(faces)} images of "
            f"{recipe.dataset} to train on, none in the validation part "
            f"({recipe.validation or 'held out from train'}). Name a split with images "
            "as the recipe's `validation`, or give more data."
        )
    missing = [
        label
        for label, total in zip(faces.labels, faces.targets.sum(axis=0), strict=True)
        if not total
    ]
    if missing:
        raise ValueError(
            f"Classes without images. Received: none of {', '.join(missing)} among "
            f"{len(faces)} of {recipe.dataset}. Expected some of each of "
            f"{', '.join(faces.labels)}."
        )
    return faces, validation


def _network(model, recipe, stage, faces):
    """What is fitted, how it takes its inputs, and what mixes its batches."""
    mixing = stage.mixing()
    if stage.backbone == "cached":
        features = _backbone_outputs(model)
        values = keras.Model(model.inputs, features).predict(
            faces.images[:], batch_size=256, verbose=0
        )
        values = [value.astype("float16") for value in keras.tree.flatten(values)]
        single = len(features) == 1
        network = type(model)(features[0] if single else features, model.output)

        def take(rows):
            parts = tuple(value[rows] for value in values)
            return parts[0] if single else parts

        return network, take, []
    if recipe.attribution is not None:
        augmentation = stage.augmentation()
        network = training.PrivilegedAttribution(
            model, augmentation=augmentation or None, **recipe.attribution
        )
        return network, lambda rows: _with_heatmaps(faces, rows), mixing

    def take(rows):
        return faces.images[rows]

    augmentation = stage.augmentation()
    if recipe.teacher:
        network = keras.distillation.Distiller(
            teacher=_logits(zoo.load(recipe.teacher, labels=model.labels)),
            student=_logits(model),
            distillation_losses=keras.distillation.LogitsDistillation(
                temperature=recipe.temperature
            ),
        )
        return network, take, [*augmentation, *mixing]
    if not augmentation:
        return model, take, mixing
    images = keras.Input(faces.images.shape[1:])
    augmented = keras.Sequential(augmentation, name="augmentation")(images)
    # Of the same class, for the losses of models that vote.
    return type(model)(images, model(augmented)), take, mixing


def _backbone_outputs(model):
    """What the backbone hands on to the rest of a model."""
    backbone = model.get_layer("backbone")
    tensors = {
        id(tensor): tensor
        for layer in model.layers
        for tensor in keras.tree.flatten(layer.input)
        if tensor._keras_history.operation is backbone
    }
    return list(tensors.values())


def _logits(model):
    return keras.Model(model.inputs, model.get_layer("logits").output)


def _with_heatmaps(faces, rows):
    images, landmarks = faces.images[rows], faces.landmarks[rows]
    if landmarks.shape[1] == 68:
        landmarks = landmarks[:, INNER_LANDMARKS]
    heatmap = training.landmark_heatmap(landmarks, images.shape[1:3])
    return {"image": images, "heatmap": np.asarray(heatmap)}


def _class_weights(targets):
    """A weight for each image that makes all classes weigh the same, mean 1."""
    return targets @ (targets.sum() / len(targets[0]) / targets.sum(axis=0))


def _shares(targets):
    """A probability for each image that makes all classes equally likely."""
    shares = targets.astype("float64") @ (1 / targets.sum(axis=0))
    return shares / shares.sum()


def _load(model, file):
    try:
        model.load_weights(file)
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(
            f"Weights of another model, or damaged ones. Received: {str(file)!r}: "
            f"{str(error).splitlines()[0]}. Delete it to train this stage again, or "
            "choose another --out."
        ) from error


def _finish(model, recipe, histories, faces, validation, final, started):
    """Writes the result and how it came to be."""
    # A model of its own, so that no optimizer comes along.
    result = build(recipe, faces.labels, model.input_size)
    result.set_weights(model.get_weights())
    with checkpoint.replacing(final) as temporary:
        result.save(temporary)
    checkpoint.save_weights(final.with_name("model.weights.h5"), result)
    digest = hashlib.sha256(faces.targets.tobytes())
    if isinstance(faces.images, np.ndarray):
        digest.update(faces.images.tobytes())
    facts = {
        "recipe": recipe.facts(),
        "trained_on": len(faces),
        "selected_on": len(validation),
        "data_sha256": digest.hexdigest(),
        "history": {
            f"stage{index}": history for index, history in enumerate(histories)
        },
        "seconds": round(
            sum(float(row["seconds"]) for rows in histories for row in rows)
        ),
        "environment": environment(),
    }
    with checkpoint.replacing(final.with_name("run.json")) as temporary:
        temporary.write_text(json.dumps(facts, indent=1) + "\n")
    print(f"done, {time.time() - started:.0f} s in this process")


def _in_words(stage):
    return (
        f"{stage.epochs} epochs at {stage.input_size} px, backbone {stage.backbone}, "
        f"BatchNorm {stage.batch_norm}, rate {stage.rate:g}"
    )


def _has_tensorboard():
    return all(map(importlib.util.find_spec, ("tensorboard", "tensorflow")))


def find(name):
    """The recipe of that name.

    Raises:
        ValueError: There is none.
    """
    known = sorted(module.name for module in pkgutil.iter_modules(recipes.__path__))
    if name not in known:
        raise ValueError(
            f"Unknown recipe. Received: {name!r}. Expected one of {', '.join(known)}."
        )
    recipe = importlib.import_module(f"zoo.recipes.{name}").RECIPE
    return dataclasses.replace(recipe, name=name)


def main():
    """Command line."""
    parser = argparse.ArgumentParser(
        "python -m zoo.train",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("recipe", help="name of a file in zoo/recipes")
    parser.add_argument(
        "--data",
        required=True,
        help="a folder of arrays (see zoo/data.py), npz (that of KERAS_FER_DATA), tfds "
        "or tfds:FOLDER",
    )
    parser.add_argument("--out", help="default: runs/RECIPE")
    parser.add_argument(
        "--strategy", default="one", help=f"{', '.join(STRATEGIES)} (%(default)s)"
    )
    parser.add_argument(
        "--backbone-weights", default="imagenet", help="a file, imagenet, or none"
    )
    parser.add_argument("--epochs", type=int, help="epochs of every stage, for a trial")
    parser.add_argument("--batch", type=int, help="images a step, over all devices")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--fold", type=int, default=0, help="for recipes with folds")
    parser.add_argument("--resume", action="store_true")
    options = parser.parse_args()
    try:
        recipe = _with_options(find(options.recipe), options)
        out = options.out or f"runs/{options.recipe}"
        print(
            train(
                recipe,
                options.data,
                out,
                None
                if options.backbone_weights == "none"
                else options.backbone_weights,
                options.resume,
                options.strategy,
            )
        )
    except (ConnectionError, FloatingPointError, OSError, ValueError) as error:
        # On one line, also what h5py and TensorFlow say on several.
        print(f"{type(error).__name__}:", *str(error).split(), file=sys.stderr)
        return 1
    return 0


def _with_options(recipe, options):
    changes = {"seed": options.seed, "batch": options.batch}
    for name, value in {**changes, "epochs": options.epochs}.items():
        if value is not None and value < (0 if name == "seed" else 1):
            raise ValueError(f"Received: --{name} {value}. Expected a larger one.")
    recipe = dataclasses.replace(
        recipe, **{name: value for name, value in changes.items() if value is not None}
    )
    if options.epochs is not None:
        stages = (
            dataclasses.replace(stage, epochs=options.epochs) for stage in recipe.stages
        )
        recipe = dataclasses.replace(recipe, stages=tuple(stages))
    if recipe.train == "folds":
        recipe = recipe.fold(options.fold)
    return recipe


if __name__ == "__main__":
    sys.exit(main())
