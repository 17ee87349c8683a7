"""What `zoo.evaluate` measures: a preset, a saved model, or what `zoo.train` wrote."""

import dataclasses
import hashlib
import json
import os
import pathlib

from keras_fer import zoo
from keras_fer.console import one_line

RECIPES = pathlib.Path(__file__).with_name("recipes")


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
        train: Split that it was trained on.
        validation: Split that its epochs were chosen on; `None` for the part that
            `zoo.data.hold_out` takes from train.
        duplicates: See `zoo.data.hold_out`.
        test: Split that it is reported on.
    """

    name: str
    dataset: str
    recipe: str | None = None
    file: pathlib.Path | None = None
    model: str | None = None
    weights: str | os.PathLike | None = None
    trained_on: str | None = None
    train: str = "train"
    validation: str | None = None
    duplicates: str = "near"
    test: str = "public_test"

    def load(self):
        """The model.

        Raises:
            ValueError: If the file holds no model of this package.
        """
        if self.file is None:
            return zoo.load(self.model, self.weights)
        import keras

        from keras_fer.models.classifier import ExpressionClassifier

        try:
            model = keras.saving.load_model(self.file)
        except Exception as error:  # A damaged file can raise whatever its reader does.
            raise ValueError(
                f"No model can be read. Received: {str(self.file)!r}. Expected a file "
                f"that `model.save` wrote. Keras says: {one_line(error):.300}"
            ) from error
        if not isinstance(model, ExpressionClassifier):
            raise ValueError(
                f"The file holds another kind of model. Received: "
                f"{type(model).__name__} in {str(self.file)!r}. Expected one of "
                "`keras_fer.models`; of a `PrivilegedAttribution`, save its `.model`."
            )
        return model

    @property
    def sha256(self):
        """Hash of the file of the weights; `None` where it is not one local file."""
        if self.weights == "default":
            return zoo.info(self.model).sha256
        file = pathlib.Path(self.file or self.weights or "")
        return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else None


def find(model, weights="default", dataset=None):
    """Says what is to be measured. Nothing is loaded, so this takes no time.

    Args:
        model: A name of the zoo, a `.keras` file, or a folder of `zoo.train`, which
            holds a `model.keras`.
        weights: With a name of the zoo, as for `keras_fer.zoo.load`.
        dataset: See `zoo.data.open_split`; `None` for the one that the preset, or the
            `run.json` beside the file, names.

    Returns:
        A `EvaluationTarget`.

    Raises:
        ValueError: If there is no such model, or its dataset is not known.
        FileNotFoundError: If the file is not there.
    """
    path = pathlib.Path(model)
    if str(model).endswith(".weights.h5"):
        raise ValueError(
            f"Weights alone are no model. Received: {str(model)!r}. Pass the name of "
            "their model, and this file as --weights."
        )
    if model not in zoo.list() and (path.suffix == ".keras" or path.is_dir()):
        if weights != "default":
            raise ValueError(
                f"Received: --weights {str(weights)!r} with {str(model)!r}, which has "
                "weights of its own. Expected a name from `keras-fer list`."
            )
        file = path / "model.keras" if path.is_dir() else path
        if not file.is_file():
            raise FileNotFoundError(
                f"No model there. Received: {str(model)!r}. Expected {str(file)!r}; "
                "`python -m zoo.train` writes it when it is done."
            )
        run = _run(file)
        recipe, known = run.get("name"), run.get("dataset")
        splits = {
            part: run[part] for part in ("train", "validation", "test") if run.get(part)
        }
        called = path.resolve().name.removesuffix(".keras")
        subject = EvaluationTarget(recipe or called, known, recipe, file, **splits)
    else:
        try:
            name = zoo.info(model).name or model  # That of a repository may be None.
        except ValueError as error:
            raise ValueError(
                f"{error} Or pass a .keras file, or a folder of `zoo.train`."
            ) from None
        recipe = name.replace(".", "_")
        if weights != "default" or not (RECIPES / f"{recipe}.py").is_file():
            recipe = None
        dataset = dataset or name.partition(".")[2]
        subject = EvaluationTarget(name, dataset, recipe, model=model, weights=weights)
    if not (dataset or subject.dataset):
        raise ValueError(
            f"Which data {subject.name} was trained for is not known. Received: no "
            "run.json beside it. Pass --dataset, such as ferplus or fer2013."
        )
    return dataclasses.replace(
        subject,
        dataset=dataset or subject.dataset,
        trained_on=subject.dataset or dataset,
    )


def _run(file):
    """The recipe that `zoo.train` ran to write a model; empty where it did not."""
    path = file.with_name("run.json")
    if not path.is_file():
        return {}
    try:
        return dict(json.loads(path.read_text())["recipe"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"Not a run of `zoo.train`. Received: {str(path)!r}, {one_line(error)}. "
            "Expected JSON with a `recipe`. Move the file away, and pass --dataset."
        ) from error
