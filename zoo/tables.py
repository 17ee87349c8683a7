"""README's tables, from the results: `python -m zoo.tables` rewrites them."""

import json
import pathlib
import re

from keras_fer.faces.align import MARGIN

ROOT = pathlib.Path(__file__).parents[1]
RESULTS = ROOT / "zoo" / "results"


def _markdown(header, rows):
    # Numbers stand to the right.
    rule = [
        "---:" if all(cell[:1] in "+-0123456789" for cell in column) else "---"
        for column in zip(*rows, strict=True)
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, rule, *rows))


def scores():
    """Every preset's scores on the public test split."""
    rows = []
    for file in sorted(RESULTS.glob("*.public_test.json")):
        result = json.loads(file.read_text())
        everything, fresh = result["all"], result["without_duplicates"]
        cells = [
            f"{everything[metric]:.1f} ({fresh[metric]:.1f})"
            for metric in ("accuracy", "macro_f1", "uar", "ece")
        ]
        counts = f"{everything['n']:,} ({fresh['n']:,})"
        rows.append([f"`{result['model']}`", *cells, counts])
    header = ["model", "accuracy %", "macro-F1 %", "mean recall %", "ECE %", "faces"]
    return _markdown(header, rows)


def robustness():
    """Accuracy of every preset on images that were made harder."""
    ways = ("masked", "occluded", "corrupted")
    rows = []
    for file in sorted(RESULTS.glob("*.public_test.json")):
        clean = json.loads(file.read_text())
        low, high = clean["all"]["intervals"]["accuracy"]
        harder = [
            json.loads(file.with_suffix(f".{way}.json").read_text()) for way in ways
        ]
        cells = [f"{result['all']['accuracy']:.1f}" for result in harder]
        accuracy = f"{clean['all']['accuracy']:.1f} ({low:.1f} to {high:.1f})"
        rows.append([f"`{clean['model']}`", accuracy, *cells])
    return _markdown(["model", "as they are (95 %)", *ways], rows)


def batch_dependence():
    """The published attention beside ours."""
    result = json.loads((RESULTS / "batch_dependence.json").read_text())
    orders = ("class-sorted", "shuffled", "one by one")
    rows = [
        [f"`{row['attention']}`", *(f"{row[order]:.1f}" for order in orders)]
        for row in result["rows"]
    ]
    return _markdown(["attention", *orders], rows)


def architectures():
    """Every paper's network: what it weighs and costs, and whose idea it is."""
    rows = []
    for row in json.loads((RESULTS / "architectures.json").read_text()):
        arguments = ", ".join(f"{k}={v!r}" for k, v in row["arguments"].items())
        rows.append(
            [
                row["paper"],
                row["layers"],
                f"`{row['model']}({arguments})`",
                f"{row['trainable'] / 1e6:.2f} M",
                f"{row['macs'] / 1e6:,.0f} M",
                row["stated"],
                row["reading"],
            ]
        )
    header = [
        "paper",
        "layers",
        "model",
        "parameters",
        "MACs",
        "stated",
        "our interpretation",
    ]
    return _markdown(header, rows)


def privileged():
    """PAL beside cross-entropy."""
    result = json.loads((RESULTS / "privileged.json").read_text())
    rows = [
        [
            row["loss"],
            f"{row['inside']:.1f}",
            f"{row['area']:.1f}",
            f"{row['accuracy']:.1f}",
            f"{row['macro_f1']:.1f}",
        ]
        for row in result["rows"]
    ]
    header = ["loss", "inside %", "area %", "accuracy %", "macro-F1 %"]
    return _markdown(header, rows)


def crop_margin():
    """Each detector's best margin, and how near the one in use comes to it."""
    path = ROOT / "benchmarks" / "results" / "crop_margin.json"
    result = json.loads(path.read_text())
    rows = []
    for best in result["best"]:
        (used,) = (
            row
            for row in result["measured"]
            if row["detector"] == best["detector"] and row["margin"] == MARGIN
        )
        rows.append(
            [
                best["detector"],
                f"{best['found']:.1%}",
                f"{best['margin']:+.2f}",
                f"{best['agreement']:.1%}",
                f"{used['agreement']:.1%}",
            ]
        )
    header = ["detector", "faces found", "best margin", "same label", "same label at 0"]
    return _markdown(header, rows)


def fill(text):
    """A text with the tables between their markers."""
    for table in (
        scores,
        robustness,
        architectures,
        privileged,
        batch_dependence,
        crop_margin,
    ):
        name = table.__name__
        text = re.sub(
            f"(?<=<!-- {name} -->\n).*?(?=<!-- /{name} -->)",
            lambda _, table=table: f"{table()}\n",
            text,
            flags=re.DOTALL,
        )
    return text


if __name__ == "__main__":
    readme = ROOT / "README.md"
    readme.write_text(fill(readme.read_text()))
