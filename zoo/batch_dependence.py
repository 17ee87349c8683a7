"""Shows why our attention differs from the published one, in one table.

    python -m zoo.batch_dependence --data DIR --backbone-weights FILE

PAtt-Lite's published attention runs across the batch. Three heads are trained in the
same way on the same cached features of a frozen ImageNet backbone. Each is evaluated on
the same test faces three times: sorted by class, as many test sets lie on disk;
shuffled; and one face at a time. A model whose predictions do not depend on the other
samples of the batch gives the same number three times.
"""

import argparse
import json
import pathlib
import warnings

import keras
import numpy as np

from keras_fer import models
from keras_fer.models.patt_lite import ATTENTIONS
from zoo import data
from zoo.environment import environment


def train_head(attention, features, faces, backbone_weights, epochs):
    """Trains a head on frozen features as in PAtt-Lite's stage 1, batch size 8."""
    keras.utils.set_random_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", UserWarning
        )  # That batch_legacy leaks is the point.
        model = models.PAttLite(
            labels=faces.labels,
            input_size=64,
            attention=attention,
            backbone_weights=backbone_weights,
        )
    head = keras.Model(model.get_layer("patches").input, model.output)
    head.compile(
        keras.optimizers.Adam(1e-3, global_clipnorm=3.0), "categorical_crossentropy"
    )
    head.fit(features, faces.targets, batch_size=8, epochs=epochs, verbose=2)
    return head


def main():
    """Runs the command line."""
    parser = argparse.ArgumentParser(
        "python -m zoo.batch_dependence",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--data", required=True, metavar="DIR", help="a folder of arrays"
    )
    parser.add_argument(
        "--backbone-weights",
        default="imagenet",
        metavar="WEIGHTS",
        help="a file, or imagenet (%(default)s)",
    )
    parser.add_argument("--epochs", type=int, default=3, metavar="N")
    parser.add_argument(
        "--out", type=pathlib.Path, metavar="FILE", help="write JSON there"
    )
    options = parser.parse_args()

    faces = data.fer2013(options.data, "train")
    test = data.fer2013(options.data, "public_test")
    model = models.PAttLite(7, input_size=64, backbone_weights=options.backbone_weights)
    backbone = keras.Model(model.inputs, model.get_layer("patches").input)
    features, test_features = (
        backbone.predict(part.images, batch_size=256, verbose=0).astype("float16")
        for part in (faces, test)
    )
    by_class = np.argsort(test.classes, kind="stable")
    shuffled = np.random.default_rng(0).permutation(len(test))
    rows = []
    for attention in reversed(ATTENTIONS):
        head = train_head(
            attention, features, faces, options.backbone_weights, options.epochs
        )
        row = {"attention": attention}
        for name, order, batch in (
            ("class-sorted", by_class, 8),
            ("shuffled", shuffled, 8),
            ("one by one", shuffled, 1),
        ):
            predicted = head.predict(test_features[order], batch_size=batch, verbose=0)
            hits = predicted.argmax(axis=1) == test.classes[order]
            row[name] = 100 * float(hits.mean())
        rows.append(row)
    print(
        f"\nFER2013 public test, n = {len(test):,}, accuracy in percent, batches of 8"
    )
    print("".join(f"{name:>14}" for name in rows[0]))
    for attention, *accuracies in (row.values() for row in rows):
        print(f"{attention:>14}" + "".join(f"{value:14.2f}" for value in accuracies))
    if options.out:
        result = {
            "n": len(test),
            "epochs": options.epochs,
            "rows": rows,
            "environment": environment(),
        }
        options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
