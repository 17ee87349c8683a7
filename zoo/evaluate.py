"""Measures a model: `python -m zoo.evaluate MODEL --data DIR`.

Accuracy, macro-F1, unweighted average recall and the confusion matrix, one crop for
each picture, on all of a split and on the part of it whose pixels do not occur in
train. Batch order and size are varied too: a prediction must not depend on either.
"""

import argparse
import json
import pathlib

import numpy as np
from sklearn import metrics

from keras_fer import zoo
from zoo import data
from zoo.environment import environment


def scores(truth, probabilities, labels):
    """The metrics of one set of predictions, in percent, and its confusion matrix."""
    predicted = probabilities.argmax(axis=1)
    classes = np.arange(len(labels))
    options = {"labels": classes, "average": "macro", "zero_division": 0}
    return {
        "n": len(truth),
        "accuracy": 100 * metrics.accuracy_score(truth, predicted),
        "macro_f1": 100 * metrics.f1_score(truth, predicted, **options),
        "uar": 100 * metrics.recall_score(truth, predicted, **options),
        "nll": metrics.log_loss(truth, probabilities, labels=classes),
        "confusion": metrics.confusion_matrix(
            truth, predicted, labels=classes
        ).tolist(),
    }


def batch_independence(model, images):
    """Largest change of a probability when batches change in size and order."""
    reference = model.predict(images, batch_size=len(images), verbose=0)
    order = np.random.default_rng(0).permutation(len(images))
    largest = 0.0
    for size in (1, 7, 32):
        shuffled = model.predict(images[order], batch_size=size, verbose=0)
        largest = max(largest, np.abs(shuffled - reference[order]).max())
    return float(largest)


def evaluate(name, weights, folder, split, dataset):
    """Evaluates a model of the zoo.

    Args:
        name: A name of the zoo.
        weights: As for `keras_fer.zoo.load`.
        folder: Data folder; see `zoo.data`.
        split: Such as `"public_test"`.
        dataset: Such as `"ferplus"`.

    Returns:
        A dictionary, ready for JSON.
    """
    model = zoo.load(name, weights)
    faces = data.DATASETS[dataset](folder, split)
    faces = faces[faces.certain]
    if tuple(model.labels) != tuple(faces.labels):
        raise ValueError(
            f"The labels differ. Received: {name} with {model.labels}, {dataset} with "
            f"{faces.labels}. Choose the dataset that the model was trained for."
        )
    probabilities = model.predict(faces.images, batch_size=256, verbose=0)
    fresh = ~data.occurs_in(faces.images, data.fer2013(folder, "train").images)
    return {
        "model": name,
        "sha256": zoo.info(name).sha256 if weights == "default" else None,
        "dataset": dataset,
        "split": split,
        "labels": list(model.labels),
        "all": scores(faces.classes, probabilities, model.labels),
        "without_duplicates": scores(
            faces.classes[fresh], probabilities[fresh], model.labels
        ),
        "batch_independence": batch_independence(model, faces.images[:200]),
        "environment": environment(),
    }


def table(result):
    """What a person reads."""
    lines = [f"{result['model']} on {result['dataset']} {result['split']}, one crop"]
    for part in ("all", "without_duplicates"):
        values = result[part]
        lines += [
            "",
            f"{part.replace('_', ' ')}, n = {values['n']:,}",
            "accuracy {accuracy:.2f} %  macro-F1 {macro_f1:.2f} %  UAR {uar:.2f} %  "
            "NLL {nll:.4f}".format(**values),
            "confusion (row: truth, column: prediction)",
            " " * 11 + "".join(f"{label[:9]:>10}" for label in result["labels"]),
        ]
        for label, row in zip(result["labels"], values["confusion"], strict=True):
            lines.append(f"{label:>10} " + "".join(f"{count:>10}" for count in row))
    change = result["batch_independence"]
    lines += ["", f"largest change of a probability with batch mates: {change:.1e}"]
    return "\n".join(lines)


def main():
    """Command line."""
    parser = argparse.ArgumentParser(
        "python -m zoo.evaluate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", help="a name from `keras-fer list`")
    parser.add_argument("--weights", default="default", help="a file, for a trial")
    parser.add_argument("--data", required=True, help="data folder; see zoo/data.py")
    parser.add_argument("--split", default="public_test")
    parser.add_argument("--dataset", choices=sorted(data.DATASETS))
    parser.add_argument("--out", type=pathlib.Path, help="write JSON there")
    options = parser.parse_args()
    dataset = options.dataset or zoo.info(options.model).name.split(".")[1]
    result = evaluate(
        options.model, options.weights, options.data, options.split, dataset
    )
    print(table(result))
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
