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
    )
}

# What an architecture's name alone stands for.
DEFAULTS = {"patt_lite": "patt_lite.ferplus"}
