"""What `zoo.evaluate` measures: a preset, a saved model, or what `zoo.train` wrote."""

import dataclasses
import hashlib
import json
import os
import pathlib

import keras_fer
from keras_fer.console import one_line
from keras_fer.zoo import presets


@dataclasses.dataclass(frozen=True)
class EvaluationTarget:
    """What is measured; from `find`.

    Attributes:
        name: Of the preset, of the recipe that was run, or else of file or folder.
        dataset: What it is measured on; see `zoo.data.open_split`.
        recipe: Name of a file in `zoo/recipes`, or `None` where it is not known.
        file: A `.keras` file, or `None`: then `keras_fer.zoo.load` takes `model` and
            `weights`.
        model: A name of the zoo, or `None`.
        weights: Its weights.
        trained_on: Dataset that it was trained for; `None` where it is not known.
        mixture: All datasets that it was trained on, if there were several.
        train: Split that it was trained on.
        validation: Split that its checkpoint was selected on; `None` for the part that
            `zoo.data.hold_out` takes from train.
        duplicates: See `zoo.data.hold_out`.
        test: Split that it is reported on.
        balance: `prior` and `tau` of `zoo.evaluation.balance.rebalance`, with which
            it is reported as well, or `None`.
    """

    name: str
    dataset: str | None
    recipe: str | None = None
    file: pathlib.Path | None = None
    model: str | None = None
    weights: str | os.PathLike | None = None
    trained_on: str | None = None
    mixture: tuple = ()
    train: str = "train"
    validation: str | None = None
    duplicates: str = "near"
    test: str = "public_test"
    balance: dict | None = None

    def load(self):
        """The model.

        Raises:
            ValueError: If the file holds no model of this package.
        """
        if self.file is None:
            return keras_fer.zoo.load(self.model, self.weights)
        from keras_fer.models.saved import load_saved

        return load_saved(self.file, compile=True)

    @property
    def sha256(self):
        """Hash of the file of the weights; `None` where it is not one local file."""
        if self.weights == "default":
            return keras_fer.zoo.info(self.model).sha256
        file = pathlib.Path(self.file or self.weights or "")
        return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else None


def find(model, weights="default", dataset=None):
    """Says what is to be measured. Nothing is loaded, so this takes no time.

    Args:
        model: A name of the zoo, a `.keras` file, a folder of `zoo.train`, which
            holds a `model.keras`; or an `EvaluationTarget`, which is returned.
        weights: With a name of the zoo, as for `keras_fer.zoo.load`.
        dataset: See `zoo.data.open_split`; `None` for the one that the preset, or the
            `run.json` beside the file, names.

    Returns:
        An `EvaluationTarget`.

    Raises:
        ValueError: If there is no such model, or its dataset is not known.
        FileNotFoundError: If the file is not there.
    """
    if isinstance(model, EvaluationTarget):
        return model
    path = pathlib.Path(model)
    if str(model).endswith(".weights.h5"):
        raise ValueError(
            f"Weights alone are no model: {str(model)!r}. Pass the name of their "
            "model, and this file as --weights."
        )
    if model not in keras_fer.zoo.list() and (path.suffix == ".keras" or path.is_dir()):
        if weights != "default":
            raise ValueError(
                f"--weights {str(weights)!r} cannot be combined with {str(model)!r}, "
                "which has weights of its own. Pass a name from `keras-fer list`."
            )
        target = _saved(path)
    else:
        target = _named(model, weights)
    if not (dataset or target.dataset):
        raise ValueError(
            f"The dataset of {target.name} is not known: it is no preset, and there is "
            "no run.json beside it. Pass --dataset, such as ferplus or fer2013."
        )
    return dataclasses.replace(
        target,
        dataset=dataset or target.dataset,
        trained_on=target.dataset,
    )


def _saved(path):
    """A `.keras` file or a run."""
    file = path / "model.keras" if path.is_dir() else path
    if not file.is_file():
        raise FileNotFoundError(
            f"No model there: {str(file)!r} is missing. `python -m zoo.train` writes "
            "it when it is done."
        )
    run = _recipe(file)
    parts = ("train", "validation", "duplicates", "test")
    mixture = tuple(run.get("mixture") or ())
    return EvaluationTarget(
        run.get("name") or path.resolve().name.removesuffix(".keras"),
        run.get("dataset"),
        run.get("name"),
        file,
        mixture=mixture,
        **{part: run[part] for part in parts if run.get(part)},
    )


def _named(model, weights):
    """A model of the zoo or of the Hub."""
    try:
        name = keras_fer.zoo.info(model).name or model  # A repository may not say it.
    except ValueError as error:
        raise ValueError(
            f"{error} Or pass a .keras file, or a folder of `zoo.train`."
        ) from None
    preset = presets.read().get(name)
    if preset is None:
        return EvaluationTarget(name, None, model=model, weights=weights)
    return EvaluationTarget(
        name,
        preset["data"]["dataset"],
        # Other weights of that name may come from anywhere.
        preset["recipe"] if weights == "default" else None,
        model=model,
        weights=weights,
        train=preset["data"]["split"],
        validation=preset["selection"]["split"],
        duplicates=preset["selection"]["duplicates"],
        test=preset["evaluation"]["split"],
        balance=preset["balance"] if weights == "default" else None,
    )


def _recipe(file):
    """The recipe that `zoo.train` ran to write a model; empty where it did not."""
    path = file.with_name("run.json")
    if not path.is_file():
        return {}
    try:
        return dict(json.loads(path.read_text())["recipe"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"Not a run of `zoo.train`: {str(path)!r} is no JSON with a `recipe` "
            f"({type(error).__name__}: {one_line(error)}). Move the file away, and "
            "pass --dataset."
        ) from error
