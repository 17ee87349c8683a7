"""What is known of every model of the zoo, read from `presets/*.json`.

`python -m zoo.promote` writes those files, and nothing else does; what is here turns
them into the sentences that `keras_fer.zoo.info` shows.
"""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
from typing import Any

FOLDER = pathlib.Path(__file__).with_name("presets")


@dataclasses.dataclass(frozen=True)
class Balance:
    """Logit adjustment, which makes up for the classes' frequencies in training.

    Menon et al., "Long-tail Learning via Logit Adjustment", ICLR 2021.

    Attributes:
        prior: Frequency of each class in the training data; they sum to 1.
        tau: Exponent; 0 changes nothing. Chosen on what `ModelInfo.selection` names.
        score: As `ModelInfo.score`, with the adjusted probabilities.
    """

    prior: tuple[float, ...]
    tau: float
    score: dict[str, float]

    @property
    def factors(self) -> tuple[float, ...]:
        """What the probabilities are multiplied by, before they are normalized."""
        return tuple(share**-self.tau for share in self.prior)


@dataclasses.dataclass(frozen=True)
class ModelInfo:
    """What must travel with weights.

    Attributes:
        name: `"architecture.tag"`.
        architecture: Name of the function in `keras_fer.models`; `None` where a
            repository does not say.
        arguments: What it was called with, besides `labels` and `backbone_weights`.
        labels: Names of the outputs, in order.
        paper: The method's publication, and how this model differs from it.
        parameters: Number of weights.
        macs: Multiply-accumulate operations per image, or `None`.
        input: What the model takes.
        data: What the weights were trained on.
        selection: What the checkpoint was selected on.
        split: What `score` was measured on.
        score: Metric to value, in percent, one crop, no test-time augmentation.
        license: License of the weights, and what else binds them.
        temperature: What the logits are divided by, fitted on what `selection` names.
        balance: What `load(..., balanced=True)` does, a `Balance`, or `None`.
        weights: File name of the weights in the package; `None` for a repository.
        onnx: File name of the same model for ONNX Runtime; `None` for a repository.
        onnx_sha256: Its hash.
        sha256: Hash of the weights file, bundled or on the Hub; `None` where there are
            no weights.
        repo: Hugging Face Hub repository, or `None`.
        revision: Its pinned commit, or `None`.
    """

    name: str
    architecture: str | None
    arguments: dict[str, Any]
    labels: tuple[str, ...]
    paper: str
    parameters: int
    macs: int | None
    input: str
    data: str
    selection: str
    split: str
    score: dict[str, float]
    license: str
    temperature: float = 1.0
    balance: Balance | None = None
    weights: str | None = None
    onnx: str | None = None
    onnx_sha256: str | None = None
    sha256: str | None = None
    repo: str | None = None
    revision: str | None = None


def read(folder: str | os.PathLike[str] = FOLDER) -> dict[str, dict[str, Any]]:
    """Name of every preset to what its file says.

    Args:
        folder: Where the JSON files are.

    Returns:
        Dictionaries as in `zoo/schemas/preset.json` of the repository, by name.
    """
    files = sorted(pathlib.Path(folder).glob("*.json"))
    presets = [json.loads(file.read_text("utf-8")) for file in files]
    return {preset["name"]: preset for preset in presets}


def describe(preset: dict[str, Any]) -> ModelInfo:
    """What a preset's file says, in sentences.

    Args:
        preset: From `read`.

    Returns:
        A `ModelInfo`.
    """
    copied = ("name", "architecture", "arguments", "temperature", "parameters", "macs")
    evaluation = preset["evaluation"]
    return ModelInfo(
        **{field: preset[field] for field in copied},
        labels=tuple(preset["labels"]),
        paper=f"{cite(preset['paper'])} {preset['difference']['summary']}",
        input=describe_input(preset["arguments"]["input_size"]),
        data=_data(preset["data"]),
        selection=_selection(preset["selection"]),
        split=f"{split_title(evaluation)} (n = {evaluation['n']:,})",
        score=_rounded(evaluation["scores"]),
        balance=Balance(
            tuple(preset["balance"]["prior"]),
            preset["balance"]["tau"],
            _rounded(evaluation["balanced"]),
        ),
        license=f"{preset['license']['name']} for the weights; "
        f"{preset['data']['license']}",
        weights=preset["weights"]["file"],
        onnx=preset["onnx"]["file"],
        onnx_sha256=preset["onnx"]["sha256"],
        sha256=preset["weights"]["sha256"],
        repo=preset["repo"],
        revision=preset["revision"],
    )


def _rounded(scores: dict[str, Any]) -> dict[str, float]:
    names = {"accuracy": "accuracy", "macro_f1": "macro_f1", "uar": "mean_recall"}
    return {name: round(scores[metric]["value"], 1) for metric, name in names.items()}


def describe_input(size: int) -> str:
    """What a model takes that resizes its images to `size` pixels."""
    return (
        f"gray or RGB face crop, 0-255, any size; resized to {size}x{size} in the graph"
    )


def cite(paper: dict[str, Any]) -> str:
    """A publication in a sentence: name, authors, year and where it is found."""
    first, *others = (author.split()[-1] for author in paper["authors"])
    authors = f"{first} et al." if len(others) > 1 else " and ".join([first, *others])
    found = " ".join(
        filter(
            None,
            (
                paper["arxiv"] and f"arXiv {paper['arxiv']}",
                paper["doi"] and f"doi {paper['doi']}",
            ),
        )
    )
    return f"{paper['name']}, {authors}, {paper['year']}, {found}."


def split_title(evaluation: dict[str, Any]) -> str:
    """A split in words, such as `"FER2013 public test, FER+ majority"`."""
    title = f"{evaluation['images']} {evaluation['split'].replace('_', ' ')}"
    return f"{title}, {evaluation['faces']}" if evaluation["faces"] else title


def _data(data: dict[str, Any]) -> str:
    text = f"{data['images']} {data['split']} split, {data['targets']}"
    return f"{text}, from {data['start']}" if data["start"] else text


def _selection(selection: dict[str, Any]) -> str:
    if selection["split"]:
        text = f"the {selection['split']} split"
    else:
        text = "a twelfth of the train split, held out by the pixels' checksum"
    return f"{text}; {selection['note']}" if selection["note"] else text


PRESETS = {name: describe(preset) for name, preset in read().items()}

# An architecture's name alone means its default preset.
DEFAULTS = {
    name.partition(".")[0]: name for name, preset in read().items() if preset["default"]
}
