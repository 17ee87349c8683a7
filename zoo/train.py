"""Trains a recipe: `python -m zoo.train RECIPE --data DIR --out DIR`.

First the head alone, on cached features of the frozen trunk; then the whole network,
stage by stage. What is kept of a stage is the moving average of the weights at the
epoch with the best accuracy on the validation part, which is carved from train; no
test split is opened here. Runs on TensorFlow and, with `KERAS_BACKEND=jax`, on JAX:
data are arrays in memory and augmentation is part of the network that is trained.

Every finished part leaves a file in `--out`, and an unfinished stage a backup after
every epoch: the same command with `--resume` goes on from there. The result is
`model.weights.h5`.
"""

import argparse
import csv
import dataclasses
import importlib
import json
import pathlib
import sys
import time

import keras

from keras_fer import models, zoo
from keras_fer.models.trunks import freeze_batch_norm
from zoo import data
from zoo.environment import environment


def build(recipe, labels, input_size, trunk_weights=None):
    """The recipe's network at a size, before anything is trained."""
    create = getattr(models, recipe.architecture)
    return create(
        labels=labels,
        input_size=input_size,
        trunk_weights=trunk_weights,
        **recipe.arguments,
    )


def optimizer(recipe, rate, **options):
    """AdamW as the recipe wants it."""
    return keras.optimizers.AdamW(
        rate, weight_decay=recipe.weight_decay, global_clipnorm=recipe.clip, **options
    )


def loss(recipe):
    """Cross-entropy against soft labels."""
    return keras.losses.CategoricalCrossentropy(label_smoothing=recipe.label_smoothing)


def train_head(model, recipe, train):
    """Stage 1: the head on features that the frozen trunk gives once."""
    features = model.get_layer("patches").input
    trunk = keras.Model(model.inputs, features)
    head = keras.Model(features, model.output)
    cached = trunk.predict(train.images, batch_size=256, verbose=0).astype("float16")
    head.compile(optimizer(recipe, recipe.head_rate), loss(recipe))
    head.fit(
        cached,
        train.targets,
        batch_size=recipe.batch,
        epochs=recipe.head_epochs,
        verbose=2,
    )


def train_stage(model, recipe, stage, train, validation, backup, log):
    """Stage 2: the whole network; ends with the best epoch's averaged weights."""
    if stage.batch_norm == "frozen":
        freeze_batch_norm(model.get_layer("trunk"))
    images = keras.Input(train.images.shape[1:])
    augmented = keras.Sequential(stage.augmentation(), name="augmentation")(images)
    # Of the same class, for the losses of models that vote.
    network = type(model)(images, model(augmented))
    steps = stage.epochs * -(-len(train) // recipe.batch)
    warmup = steps // 10
    rate = keras.optimizers.schedules.CosineDecay(
        stage.rate / 20,
        steps - warmup,
        alpha=0.01,
        warmup_target=stage.rate,
        warmup_steps=warmup,
    )
    network.compile(
        optimizer(recipe, rate, use_ema=True, ema_momentum=recipe.ema),
        loss(recipe),
        metrics=["accuracy"],
    )
    best = backup.with_suffix(".weights.h5")
    network.fit(
        train.images,
        train.targets,
        batch_size=recipe.batch,
        epochs=stage.epochs,
        validation_data=(validation.images, validation.targets),
        validation_batch_size=256,
        callbacks=[
            # Before the swap: a backup holds the raw weights and their average apart.
            keras.callbacks.BackupAndRestore(backup),
            keras.callbacks.SwapEMAWeights(swap_on_epoch=True),
            keras.callbacks.ModelCheckpoint(
                best,
                monitor="val_accuracy",
                mode="max",
                save_best_only=True,
                save_weights_only=True,
            ),
            keras.callbacks.CSVLogger(log, append=True),
        ],
        verbose=1 if sys.stdout.isatty() else 2,
    )
    network.load_weights(best)
    best.unlink()


def train(recipe, folder, out, trunk_weights=None, resume=False):
    """Runs a recipe from start to end.

    Args:
        recipe: A `Recipe`.
        folder: Data folder; see `zoo.data`.
        out: Folder for weights, logs and backups.
        trunk_weights: `"imagenet"`, or a file with them, for recipes that start there.
        resume: Whether to go on from what `out` holds.

    Returns:
        Path of the final weights.
    """
    out = pathlib.Path(out)
    if not resume and out.exists() and any(out.iterdir()):
        raise FileExistsError(
            f"{str(out)!r} is not empty. Pass --resume to go on from what it holds, or "
            "another --out."
        )
    out.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(recipe.seed)
    started = time.time()
    train, validation = data.carve(data.DATASETS[recipe.dataset](folder, "train"))
    validation = validation[validation.certain]
    print(f"{len(train)} pictures to train on, {len(validation)} to choose on")

    # A network of every part's own size; they all share one set of weights.
    sizes = [recipe.stages[0].input_size, *(s.input_size for s in recipe.stages)]
    parts = ["head", *(f"stage{index}" for index in range(len(recipe.stages)))]
    model = None
    for index, (part, size) in enumerate(zip(parts, sizes, strict=True)):
        before = model
        start = trunk_weights if before is None and not recipe.start else None
        model = build(recipe, train.labels, size, start)
        if before is not None:
            model.set_weights(before.get_weights())
        elif recipe.start:
            model.set_weights(zoo.load(recipe.start, labels=train.labels).get_weights())
        file = out / f"{part}.weights.h5"
        if file.exists():
            model.load_weights(file)
            continue
        print(f"== {part}", flush=True)
        if part == "head":
            train_head(model, recipe, train)
        else:
            stage = recipe.stages[index - 1]
            backup, log = out / f"backup_{part}", out / f"{part}.csv"
            train_stage(model, recipe, stage, train, validation, backup, log)
        model.save_weights(file)
        seconds = round(time.time() - started)
        print(f"{part} is done after {seconds} s in this process", flush=True)
    final = out / "model.weights.h5"
    model.save_weights(final)
    facts = {
        "recipe": dataclasses.asdict(recipe),
        "trained_on": len(train),
        "selected_on": len(validation),
        "history": {
            file.stem: list(csv.DictReader(file.open()))
            for file in sorted(out.glob("stage*.csv"))
        },
        "environment": environment(),
    }
    (out / "run.json").write_text(json.dumps(facts, indent=1, default=_name) + "\n")
    return final


def _name(function):
    return function.__name__


def main():
    """Command line."""
    parser = argparse.ArgumentParser(
        "python -m zoo.train",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("recipe", help="name of a file in zoo/recipes")
    parser.add_argument("--data", required=True, help="data folder; see zoo/data.py")
    parser.add_argument("--out", help="default: runs/RECIPE")
    parser.add_argument(
        "--trunk-weights", default="imagenet", help="a file, or imagenet"
    )
    parser.add_argument("--epochs", type=int, help="epochs of every stage, for a trial")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--resume", action="store_true")
    options = parser.parse_args()
    recipe = importlib.import_module(f"zoo.recipes.{options.recipe}").RECIPE
    if options.seed is not None:
        recipe = dataclasses.replace(recipe, seed=options.seed)
    if options.epochs is not None:
        stages = (
            dataclasses.replace(stage, epochs=options.epochs) for stage in recipe.stages
        )
        recipe = dataclasses.replace(recipe, stages=tuple(stages))
    out = options.out or f"runs/{options.recipe}"
    print(train(recipe, options.data, out, options.trunk_weights, options.resume))


if __name__ == "__main__":
    main()
