"""Parameters and MACs of each paper's network: `python -m zoo.architectures`.

Builds every architecture for 7 classes with random weights and counts parameters and
multiply-accumulates at 224 pixels; writes `zoo/results/architectures.json`, from which
`zoo.tables` makes README's table.
"""

import dataclasses
import json
import math
import pathlib

import keras_fer
from zoo.cost import count_macs

RESULT = pathlib.Path(__file__).with_name("results") / "architectures.json"


@dataclasses.dataclass(frozen=True)
class Architecture:
    """A network of a paper.

    Attributes:
        paper: Short name.
        layers: Its layers, in `keras_fer.layers` or `keras_fer.training`.
        model: Name of a function in `keras_fer.models`.
        arguments: What to call it with.
        stated: What the paper or its authors' code says.
        interpretation: What is our interpretation.
    """

    paper: str
    layers: str
    model: str
    arguments: dict
    stated: str
    interpretation: str

    def measured(self):
        """The same with counts, as a dictionary for JSON."""
        model = getattr(keras_fer.models, self.model)(7, **self.arguments)
        trainable = sum(math.prod(weight.shape) for weight in model.trainable_weights)
        return {
            **dataclasses.asdict(self),
            "trainable": trainable,
            "weights": model.count_params(),
            "macs": count_macs(model),
        }


_SCAN = "`SpatioChannelAttention`, `LocalGlobalAttention`, `ComplementaryContext`"
_SCAN_STATED = "everything, from the authors' code"
_SCAN_INTERPRETATION = "crops of feature maps other than 28x28"
_POINTS = "the layer's form, the backbone, one layer at the end of every block"
_PREVIOUS = "previous layer's information, no bottleneck, fusion with the feature map"

ARCHITECTURES = (
    Architecture(
        "PAtt-Lite",
        "`PatchExtraction`, `PatchTokenAttention`",
        "PAttLite",
        {},
        "backbone and cut, patches, head, the count",
        "attention within a face (the published one runs across the batch)",
    ),
    Architecture("SCAN-CCI", _SCAN, "ScanCCI", {}, _SCAN_STATED, _SCAN_INTERPRETATION),
    Architecture(
        "SCAN-CCI, one mask for all crops",
        _SCAN,
        "ScanCCI",
        {"shared": True},
        "the authors' script for RAF-DB",
        _SCAN_INTERPRETATION,
    ),
    Architecture("LLAM", "`LosslessAttention`", "LLAM", {}, _PREVIOUS, _POINTS),
    Architecture("IRAM", "`InformationReuseAttention`", "IRAM", {}, _PREVIOUS, _POINTS),
    *(
        Architecture(
            "PAL",
            "`PrivilegedAttribution`",
            "AttentionNetwork",
            {"backbone": backbone},
            "backbone, loss, Grad·Input, channel strategies",
            "layer, width of the heatmap, head",
        )
        for backbone in ("vgg16", "resnet50")
    ),
    Architecture(
        "SCAN-CCI, light",
        _SCAN,
        "ScanCCI",
        {"backbone": "mobilenet_v1", "shared": True},
        "-",
        "the backbone that all share",
    ),
    *(
        Architecture(
            f"{paper}, light",
            f"`{layer}`",
            "AttentionNetwork",
            {"backbone": "mobilenet_v1", "attention": attention},
            "the layer" if attention in ("se", "eca", "cbam") else "-",
            "the same insertion points for all",
        )
        for paper, layer, attention in (
            ("SE", "SqueezeExcitation", "se"),
            ("ECA", "EfficientChannelAttention", "eca"),
            ("CBAM", "CBAM", "cbam"),
            ("LLAM", "LosslessAttention", "llam"),
            ("IRAM", "InformationReuseAttention", "iram"),
        )
    ),
    Architecture(
        "no attention, light",
        "-",
        "AttentionNetwork",
        {"backbone": "mobilenet_v1"},
        "-",
        "the same insertion points, empty",
    ),
)

if __name__ == "__main__":
    rows = [architecture.measured() for architecture in ARCHITECTURES]
    RESULT.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n")
    for row in rows:
        print("{paper}: {weights:,} weights, {macs:,} MACs".format(**row))
