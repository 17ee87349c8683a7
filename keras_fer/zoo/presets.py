"""The presets: data only. `zoo/results/` in the repository holds their full results."""

import dataclasses

from keras_fer.labels import LABELS


@dataclasses.dataclass(frozen=True)
class ModelInfo:
    """What must travel with weights.

    Attributes:
        name: `"architecture.tag"`.
        architecture: Name of the function in `keras_fer.models`; `None` where a
            repository does not say.
        arguments: What it was called with, besides `labels` and `trunk_weights`.
        labels: Names of the outputs, in order.
        paper: The method's publication, and how this differs from it.
        parameters: Number of weights.
        macs: Multiply-accumulate operations for one picture, or `None`.
        input: What goes in.
        data: What the weights were trained on.
        selection: What the weights were chosen on.
        split: What `score` was measured on.
        score: Metric to value, in percent, one crop, no test-time augmentation.
        licence: Licence of the weights, and what else binds them.
        temperature: What the logits are divided by, fitted on what `selection` names
            (`python -m zoo.evaluate NAME --temperature`).
        sha256: Hash of the weights file, bundled or on the Hub; `None` where there are
            no weights.
        repo: Hugging Face Hub repository, or `None`.
        revision: Its pinned commit, or `None`.
    """

    name: str
    architecture: str | None
    arguments: dict
    labels: tuple
    paper: str
    parameters: int
    macs: int | None
    input: str
    data: str
    selection: str
    split: str
    score: dict
    licence: str
    temperature: float = 1.0
    sha256: str | None = None
    repo: str | None = None
    revision: str | None = None


_PATT_LITE = {
    "architecture": "PAttLite",
    "arguments": {"input_size": 96, "grayscale": True},
    "paper": (
        "PAtt-Lite, Ngwe et al., arXiv 2306.09626. Ours attends over the patches of "
        "one face; the published code attends across the batch."
    ),
    "input": "grey or RGB face crop, 0-255, any size; resized to 96x96 in the graph",
    "selection": (
        "a twelfth of the train split, carved by the pixels' checksum; the public test "
        "split was looked at between stages"
    ),
    "licence": (
        "Apache-2.0 for the weights; the training pictures have no explicit licence"
    ),
}

_LIGHT = {
    "architecture": "AttentionNetwork",
    "labels": LABELS[:7],
    "input": "grey or RGB face crop, 0-255, any size; resized to 64x64 in the graph",
    "data": "FER2013 train split, FER2013 labels",
    "selection": "a twelfth of the train split, carved by the pixels' checksum",
    "split": "FER2013 public test (n = 3,589)",
    "licence": _PATT_LITE["licence"],
}
_LIGHT_ARGUMENTS = {
    "input_size": 64,
    "grayscale": True,
    "trunk": "mobilenet_v1",
    "dropout": 0.3,
}

PRESETS = {
    preset.name: preset
    for preset in (
        ModelInfo(
            name="patt_lite.ferplus",
            labels=LABELS,
            parameters=1_102_697,
            macs=63_141_120,
            data="FER2013 train split with FER+ votes as soft labels",
            split="FER2013 public test, FER+ majority (n = 3,199)",
            score={"accuracy": 87.2, "macro_f1": 72.6},
            temperature=0.7268,
            sha256="2177c680f831d38a27196ee2db73650a68bc3308e4a34ab13df183869a435497",
            **_PATT_LITE,
        ),
        ModelInfo(
            name="patt_lite.fer2013",
            labels=LABELS[:7],
            parameters=1_102_664,
            macs=63_141_088,
            data="FER2013 train split, FER2013 labels, from patt_lite.ferplus",
            split="FER2013 public test (n = 3,589)",
            score={"accuracy": 67.3, "macro_f1": 63.6},
            temperature=0.9390,
            sha256="c301e39bf64361265c435e3477d5f82273702faa8ac1af88df2dcce13b1db370",
            **_PATT_LITE,
        ),
        ModelInfo(
            name="iram_light.fer2013",
            arguments={**_LIGHT_ARGUMENTS, "attention": "iram"},
            paper=(
                "IRAM, Wang and Hu, IJCNN 2021, doi 10.1109/IJCNN52387.2021.9534217. "
                "Our reading of its abstract, on a light trunk."
            ),
            parameters=1_632_943,
            macs=40_138_304,
            score={"accuracy": 65.8, "macro_f1": 61.4},
            temperature=0.9112,
            sha256="306d0de30c878ababe8ac5c7b0cebf1c6e5b30ca4a08603d4b0bca9174be635d",
            **_LIGHT,
        ),
        ModelInfo(
            name="llam_light.fer2013",
            arguments={**_LIGHT_ARGUMENTS, "attention": "llam"},
            paper=(
                "LLAM, Wang et al., arXiv 2001.11869. Our reading of its abstract, on "
                "a light trunk."
            ),
            parameters=1_631_571,
            macs=40_059_904,
            score={"accuracy": 65.6, "macro_f1": 61.8},
            temperature=0.9069,
            sha256="5f75e5e4b441c18d2bf0b77cf687004a22520a092495ea21a2bf8ad8ca5d619e",
            **_LIGHT,
        ),
    )
}

# What an architecture's name alone stands for.
DEFAULTS = {
    "iram_light": "iram_light.fer2013",
    "llam_light": "llam_light.fer2013",
    "patt_lite": "patt_lite.ferplus",
}
