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
        arguments: What it was called with, besides `labels` and `backbone_weights`.
        labels: Names of the outputs, in order.
        paper: The method's publication, and how this differs from it.
        parameters: Number of weights.
        macs: Multiply-accumulate operations for one image, or `None`.
        input: What goes in.
        data: What the weights were trained on.
        selection: What the weights were chosen on.
        split: What `score` was measured on.
        score: Metric to value, in percent, one crop, no test-time augmentation.
        license: License of the weights, and what else binds them.
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
    license: str
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
    "input": "gray or RGB face crop, 0-255, any size; resized to 96x96 in the graph",
    "selection": (
        "a twelfth of the train split, held out by the pixels' checksum; the public "
        "test split was looked at between stages"
    ),
    "license": (
        "Apache-2.0 for the weights; the training images have no explicit license"
    ),
}

_LIGHT = {
    "labels": LABELS[:7],
    "input": "gray or RGB face crop, 0-255, any size; resized to 64x64 in the graph",
    "data": "FER2013 train split, FER2013 labels",
    "selection": "a twelfth of the train split, held out by the pixels' checksum",
    "split": "FER2013 public test (n = 3,589)",
    "license": _PATT_LITE["license"],
}
_LIGHT_ARGUMENTS = {
    "input_size": 64,
    "grayscale": True,
    "backbone": "mobilenet_v1",
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
            sha256="32e1b4e37e491872e26d0724ab7391cfb2d023081c6d281fdf451f036b612a7c",
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
            sha256="bd8eaf60b63e3b7891b29ebbece452f1f3ddc5d41d76d6e1722cf0c34c247133",
            **_PATT_LITE,
        ),
        ModelInfo(
            name="iram.fer2013",
            architecture="IRAM",
            arguments=_LIGHT_ARGUMENTS,
            paper=(
                "IRAM, Wang and Hu, IJCNN 2021, doi 10.1109/IJCNN52387.2021.9534217. "
                "Our interpretation of its abstract, on a light backbone."
            ),
            parameters=1_632_943,
            macs=40_138_304,
            score={"accuracy": 65.8, "macro_f1": 61.4},
            temperature=0.9112,
            sha256="55d627195cd42ef8ee57a9ed1389b4cbd2e5335ccfc231ea0203c6e4f0b1da8b",
            **_LIGHT,
        ),
        ModelInfo(
            name="llam.fer2013",
            architecture="LLAM",
            arguments=_LIGHT_ARGUMENTS,
            paper=(
                "LLAM, Wang et al., arXiv 2001.11869. Our interpretation of its "
                "abstract, on a light backbone."
            ),
            parameters=1_631_571,
            macs=40_059_904,
            score={"accuracy": 65.6, "macro_f1": 61.8},
            temperature=0.9069,
            sha256="d27ab24a2f81c563b3c2f93ddec8d0dc9459272dd719f721412c157df13d51ce",
            **_LIGHT,
        ),
    )
}

# What an architecture's name alone stands for.
DEFAULTS = {
    "iram": "iram.fer2013",
    "llam": "llam.fer2013",
    "patt_lite": "patt_lite.ferplus",
}
