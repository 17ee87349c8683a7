"""README's tables, from presets and results: `python -m zoo.tables` writes them again.

What stands between a pair of markers, such as `<!-- scores -->` and
`<!-- /scores -->`, is replaced; everything else is left as it is.
"""

import json
import pathlib
import re
import tomllib

from keras_fer.faces.align import MARGIN
from keras_fer.zoo import presets
from zoo.shelf import CORRUPTIONS, ROOT, Shelf

SHELF = Shelf()
RESULTS = SHELF.results
BENCHMARKS = ROOT / "benchmarks" / "results"
FACTS = pathlib.Path(__file__).with_name("facts.toml")
OUT_OF_SCOPE = pathlib.Path(__file__).with_name("out_of_scope.md")


def markdown(header, rows):
    """A Markdown table.

    Args:
        header: Texts.
        rows: Lists of as many texts.
    """
    # Numbers are aligned to the right.
    rule = [
        "---:" if all(cell[:1] in "+-0123456789" for cell in column) else "---"
        for column in zip(*rows, strict=True)
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, rule, *rows))


def scores():
    """Every preset's scores on the split that it is reported on."""
    rows = []
    for name in presets.read(SHELF.presets):
        result = SHELF.evaluations(name)[None]
        everything, fresh = result["all"], result["without_duplicates"]
        cells = [
            f"{everything[metric]:.1f} ({fresh[metric]:.1f})"
            for metric in ("accuracy", "macro_f1", "uar", "ece")
        ]
        counts = f"{everything['n']:,} ({fresh['n']:,})"
        balanced = result["balanced"]["all"]
        cells += [f"{balanced[metric]:.1f}" for metric in ("accuracy", "uar")]
        rows.append([f"`{name}`", *cells, counts])
    header = ["model", "accuracy %", "macro-F1 %", "mean recall %", "ECE %"]
    header += ["balanced accuracy %", "balanced mean recall %", "images"]
    return markdown(header, rows)


def robustness():
    """Accuracy of every preset on masked, occluded and corrupted images."""
    rows = []
    for name in presets.read(SHELF.presets):
        results = SHELF.evaluations(name)
        clean = results.pop(None)["all"]
        low, high = clean["intervals"]["accuracy"]
        cells = [f"{result['all']['accuracy']:.1f}" for result in results.values()]
        accuracy = f"{clean['accuracy']:.1f} ({low:.1f} to {high:.1f})"
        rows.append([f"`{name}`", accuracy, *cells])
    return markdown(["model", "as they are (95 %)", *CORRUPTIONS], rows)


def batch_dependence():
    """The published attention beside ours."""
    result = json.loads((RESULTS / "batch_dependence.json").read_text())
    orders = ("class-sorted", "shuffled", "one by one")
    rows = [
        [f"`{row['attention']}`", *(f"{row[order]:.1f}" for order in orders)]
        for row in result["rows"]
    ]
    return markdown(["attention", *orders], rows)


def architectures():
    """Every paper's network: parameters, MACs, and what is our interpretation."""
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
                row["interpretation"],
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
    return markdown(header, rows)


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
    return markdown(header, rows)


def crop_margin():
    """Each detector's best margin, and how near the one in use comes to it."""
    result = json.loads((BENCHMARKS / "crop_margin.json").read_text())
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
    return markdown(header, rows)


def inference(path=BENCHMARKS / "inference.json"):
    """Time, accuracy and size of every preset on every runtime, and of the peer.

    Args:
        path: The result of `benchmarks.inference`.
    """
    result = json.loads(pathlib.Path(path).read_text())
    batches = [str(batch) for batch in (1, 32) if batch in result["batches"]]
    rows = []
    for row in result["rows"]:
        if row["spinning"]:
            continue
        cells = []
        for batch in batches:
            time = row["ms"][batch]
            cells.append(
                f"{time['median']:.2f} ({time['min']:.2f} to {time['max']:.2f})"
            )
            ratio = row["ratio_to_peer"]
            cells.append(f"{ratio[batch]['median']:.2f}" if ratio else "-")
        cells.append(f"{row['share'][batches[-1]]['median']:.0%}")
        cells += [f"{value:.1f}" for value in row["accuracy"].values()]
        cells.append(f"{row['bytes'] / 1e6:.2f}")
        if result["rows"][0]["peak_mib"]:
            cells.append(f"{row['peak_mib']:.0f}")
        rows.append([f"`{row['model']}`", row["runtime"], row["precision"], *cells])
    header = ["model", "runtime", "precision"]
    for batch in batches:
        faces = "one face" if batch == "1" else f"{batch} faces"
        header += [f"{faces}, ms", "to peer"]
    header += ["share", "FER2013 %", "FER+ %", "MB"]
    if result["rows"][0]["peak_mib"]:
        header.append("peak MiB")
    return markdown(header, rows)


def parity():
    """Every format and precision beside Keras, the worst of all presets."""
    models = json.loads((BENCHMARKS / "parity.json").read_text())["models"].values()
    rows = []
    for same in zip(*(model["rows"] for model in models), strict=True):
        changes = [
            row["accuracy"] - model["accuracy"]
            for row, model in zip(same, models, strict=True)
        ]
        rows.append(
            [
                same[0]["format"],
                same[0]["precision"],
                f"{max(max(row['difference'].values()) for row in same):.0e}",
                f"{min(row['agreement'] for row in same):.1f}",
                f"{min(changes):+.1f} to {max(changes):+.1f}",
                f"{min(row['bytes'] for row in same) / 1e6:.1f} to "
                f"{max(row['bytes'] for row in same) / 1e6:.1f}",
            ]
        )
    header = ["format", "precision", "largest difference", "same label %"]
    return markdown([*header, "accuracy, points", "MB"], rows)


def saliency():
    """Insertion, deletion and their difference of every method on every preset."""
    result = json.loads((BENCHMARKS / "saliency.json").read_text())
    methods = {}
    for name, rows in result["models"].items():
        for row in rows:
            share = f", {row['explained']:.0%} of faces" * (row["explained"] < 1)
            methods.setdefault(row["method"], {})[name] = (
                f"{row['insertion']:.2f} - {row['deletion']:.2f} = "
                f"{row['difference']:.2f} ± {row['half_interval']:.2f}{share}"
            )
    rows = [
        [f"`{method}`", *(cells.get(name, "-") for name in result["models"])]
        for method, cells in methods.items()
    ]
    return markdown(["method", *(f"`{name}`" for name in result["models"])], rows)


def out_of_scope():
    """Out-of-scope use of the models."""
    return OUT_OF_SCOPE.read_text("utf-8").strip()


def difference(architecture):
    """How ours differs from a paper, with the table that shows it."""
    facts = tomllib.loads(FACTS.read_text("utf-8"))["differences"][architecture]
    return render_difference(facts)


def render_difference(facts):
    """How ours differs from a paper.

    Args:
        facts: `text`, and `table`, the name of one of `TABLES` or empty.
    """
    text = facts["text"].strip()
    return f"{text}\n\n{TABLES[facts['table']]()}" if facts["table"] else text


TABLES = {
    table.__name__: table
    for table in (
        scores,
        robustness,
        architectures,
        privileged,
        batch_dependence,
        crop_margin,
        inference,
        parity,
        saliency,
        out_of_scope,
    )
}


def fill(text):
    """A text with tables and common passages between their markers.

    Args:
        text: Markdown with markers such as `<!-- scores -->` and `<!-- /scores -->`,
            by the names in `TABLES`, or `<!-- difference IRAM -->` by architecture.

    Raises:
        ValueError: If a marker has an unknown name.
    """

    def render(match):
        name, _, argument = match["name"].partition(" ")
        if name == "difference":
            found = difference(argument)
        elif name in TABLES and not argument:
            found = TABLES[name]()
        else:
            raise ValueError(
                f"README.md has a marker that nothing fills: {match['name']!r}. Use "
                f"one of {', '.join(TABLES)}, or `difference ARCHITECTURE`."
            )
        return f"{match['start']}\n{found}\n{match['end']}"

    marked = r"(?P<start><!-- (?P<name>[\w ]+) -->)\n.*?(?P<end><!-- /(?P=name) -->)"
    return re.sub(marked, render, text, flags=re.DOTALL)


def main():
    """Writes README.md again."""
    readme = ROOT / "README.md"
    readme.write_text(fill(readme.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    main()
