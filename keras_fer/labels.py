"""The canonical label order and the label codes of every dataset.

Every model of `keras_fer` names its classes in the order of `LABELS`; seven-class
models use the first seven. Datasets number the same expressions in ten different ways,
so codes are never copied from one dataset to another: they are mapped by **name**.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any

LABELS = (
    "neutral",
    "happiness",
    "surprise",
    "sadness",
    "anger",
    "disgust",
    "fear",
    "contempt",
)

# Other spellings that datasets, papers and folders use for the same expression.
_SYNONYMS = {
    "neutrality": "neutral",
    "normal": "neutral",
    "happy": "happiness",
    "joy": "happiness",
    "surprised": "surprise",
    "sad": "sadness",
    "angry": "anger",
    "disgusted": "disgust",
    "afraid": "fear",
    "fearful": "fear",
    "scared": "fear",
}

# Dataset to label code to expression, or None where the code means that there is no
# usable expression. A code is what the files of the dataset contain: a number, the name
# of a folder, or a part of a file name.
DATASET_CODES: dict[str, dict[Any, str | None]] = {
    # fer2013.csv, column "emotion".
    "fer2013": dict(
        enumerate(
            ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")
        )
    ),
    # fer2013new.csv, position of the vote column.
    "ferplus": {**dict(enumerate(LABELS)), 8: None, 9: None},
    # list_patition_label.txt.
    "raf_db": dict(
        enumerate(
            ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral"),
            start=1,
        )
    ),
    # 8 none, 9 uncertain, 10 no face.
    "affectnet": {
        0: "neutral",
        1: "happiness",
        2: "sadness",
        3: "surprise",
        4: "fear",
        5: "disgust",
        6: "anger",
        7: "contempt",
        8: None,
        9: None,
        10: None,
    },
    # Emotion/*/*_emotion.txt; 0 is the first, neutral frame of every sequence.
    "ck_plus": dict(
        enumerate(
            (
                "neutral",
                "anger",
                "contempt",
                "disgust",
                "fear",
                "happiness",
                "sadness",
                "surprise",
            )
        )
    ),
    # The seven-class annotation of 2020; later years add 7, "other". -1 is invalid.
    "aff_wild2": {
        -1: None,
        0: "neutral",
        1: "anger",
        2: "disgust",
        3: "fear",
        4: "happiness",
        5: "sadness",
        6: "surprise",
        7: None,
    },
    # Folder names.
    "sfew": {
        "Angry": "anger",
        "Disgust": "disgust",
        "Fear": "fear",
        "Happy": "happiness",
        "Neutral": "neutral",
        "Sad": "sadness",
        "Surprise": "surprise",
    },
    # Folder names; the dataset has no neutral class.
    "oulu_casia": {
        "Anger": "anger",
        "Disgust": "disgust",
        "Fear": "fear",
        "Happiness": "happiness",
        "Sadness": "sadness",
        "Surprise": "surprise",
    },
    # Two letters of the file name, as in KA.AN1.39.tiff.
    "jaffe": {
        "NE": "neutral",
        "HA": "happiness",
        "SU": "surprise",
        "SA": "sadness",
        "AN": "anger",
        "DI": "disgust",
        "FE": "fear",
    },
    # By name, since copies of this dataset number the classes differently.
    "fed_ro": {name: name for name in LABELS[:7]},
}


def canonical_name(name: str) -> str:
    """Returns the canonical spelling of an expression's name.

    Args:
        name: A name in upper or lower case, such as `"Angry"` or `"happiness"`.

    Returns:
        One of `LABELS`.

    Raises:
        ValueError: The name is not a known expression.
    """
    key = name.strip().lower() if isinstance(name, str) else name
    key = _SYNONYMS.get(key, key)
    if key not in LABELS:
        raise ValueError(
            f"name must be one of {', '.join(LABELS)}, or a common spelling of one "
            f"such as 'angry', got {name!r}."
        )
    return key


def label_index(name: str) -> int:
    """Returns the index of an expression in `LABELS`.

    Args:
        name: A name as `canonical_name` takes it.

    Raises:
        ValueError: The name is not a known expression.
    """
    return LABELS.index(canonical_name(name))


def from_dataset(dataset: str, code: int | str) -> str | None:
    """Returns the canonical name of the expression behind a dataset's label code.

    Args:
        dataset: A key of `DATASET_CODES`, such as `"raf_db"`.
        code: The code as in the files of the dataset.

    Returns:
        One of `LABELS`, or `None` where the code means that there is no usable
        expression (unknown, not a face, invalid).

    Raises:
        ValueError: The dataset is unknown or has no such code.
    """
    if dataset not in DATASET_CODES:
        raise ValueError(
            f"dataset must be one of {', '.join(sorted(DATASET_CODES))}, got "
            f"{dataset!r}."
        )
    codes = DATASET_CODES[dataset]
    if code not in codes:
        raise ValueError(
            f"code must be one of those of {dataset}, "
            f"{', '.join(repr(known) for known in codes)}, got {code!r}."
        )
    return codes[code]


def check_factors(factors: Iterable[float], labels: Sequence[str]) -> list[float]:
    """What the probability of each class is to be multiplied by.

    Args:
        factors: Positive and finite, one per label.
        labels: Names of the classes.

    Raises:
        ValueError: The factors are others.
    """
    try:
        values = [float(factor) for factor in factors]
    except (TypeError, ValueError, OverflowError):
        values = []
    if len(values) != len(labels) or not all(0 < x < math.inf for x in values):
        raise ValueError(
            f"factors must be {len(labels)} positive, finite numbers, one for each of "
            f"{', '.join(labels)}, got {factors!r}."
        )
    return values
