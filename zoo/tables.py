"""README's tables, from the results: `python -m zoo.tables` rewrites them."""

import json
import pathlib
import re

from keras_fer.faces.align import MARGIN

ROOT = pathlib.Path(__file__).parents[1]
RESULTS = ROOT / "zoo" / "results"


def _markdown(header, rows):
    rule = ["---"] + ["---:"] * (len(header) - 1)
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, rule, *rows))


def scores():
    """Every preset's scores on the public test split."""
    rows = []
    for file in sorted(RESULTS.glob("*.public_test.json")):
        result = json.loads(file.read_text())
        everything, fresh = result["all"], result["without_duplicates"]
        cells = [
            f"{everything[metric]:.1f} ({fresh[metric]:.1f})"
            for metric in ("accuracy", "macro_f1", "uar")
        ]
        counts = f"{everything['n']:,} ({fresh['n']:,})"
        rows.append([f"`{result['model']}`", *cells, counts])
    return _markdown(
        ["model", "accuracy %", "macro-F1 %", "mean recall %", "faces"], rows
    )


def batch_mates():
    """The published attention beside ours."""
    result = json.loads((RESULTS / "batch_mates.json").read_text())
    orders = ("class-sorted", "shuffled", "one by one")
    rows = [
        [f"`{row['attention']}`", *(f"{row[order]:.1f}" for order in orders)]
        for row in result["rows"]
    ]
    return _markdown(["attention", *orders], rows)


def crop_margin():
    """Each detector's best margin, and how near the one in use comes to it."""
    result = json.loads((RESULTS / "crop_margin.json").read_text())
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
    for table in (scores, batch_mates, crop_margin):
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
