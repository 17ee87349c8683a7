"""The model card of a preset: `python -m zoo.publish` puts it on the Hub as README.md.

The words are those of card.md and out_of_scope.md. Every number comes from the preset's
file and from `zoo/results/`.
"""

import string

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from keras_fer.faces.align import MARGIN
from keras_fer.zoo.presets import describe, read, split_title
from zoo import tables
from zoo.evaluate import BINS
from zoo.shelf import ROOT

TEMPLATE = ROOT / "zoo" / "card.md"

# Metric of an evaluation to its id on the Hub, its name and its arguments there.
METRICS = {
    "accuracy": ("accuracy", "accuracy %", None),
    "macro_f1": ("f1", "macro-F1 %", {"average": "macro"}),
    "uar": ("recall", "mean recall %", {"average": "macro"}),
}


def card(facts, results, repo_id):
    """The model card of a preset.

    Args:
        facts: Of the preset, from `Shelf.read`.
        results: From `Shelf.evaluations`.
        repo_id: `"user/repo"`, where the card will stand.

    Returns:
        Markdown with a YAML block, the README.md of the repository.

    Raises:
        ValueError: If card.md has a placeholder that nothing fills, or the metadata is
            not what the Hub's client can read back.
    """
    metadata = _metadata(facts, results, repo_id)
    values = _values(facts, results, repo_id)
    try:
        text = string.Template(TEMPLATE.read_text("utf-8")).substitute(values)
    except KeyError as error:
        raise ValueError(
            f"{TEMPLATE.name} has a placeholder that nothing fills: ${error.args[0]}. "
            f"Use one of {', '.join(sorted(values))}."
        ) from error
    text = f"---\n{metadata.to_yaml()}\n---\n\n{text}"
    if ModelCard(text).data.to_dict() != metadata.to_dict():
        raise ValueError(
            f"The card's metadata changes when it is read back: {metadata}. Keep to "
            "texts, numbers, lists and dictionaries in zoo/card.py."
        )
    return text


def _metadata(facts, results, repo_id):
    evaluations = []
    name = split_title(facts["evaluation"])
    for corruption, result in results.items():
        parts = {corruption: result["all"]}
        if corruption is None and result["without_duplicates"]:
            parts["without_duplicates"] = result["without_duplicates"]
        for config, values in parts.items():
            evaluations += [
                EvalResult(
                    task_type="image-classification",
                    task_name="facial expression recognition",
                    dataset_type=result["dataset"],
                    dataset_name=f"{name}, {config.replace('_', ' ')}"
                    if config
                    else name,
                    dataset_config=config,
                    dataset_split=result["split"],
                    dataset_revision=result["data_sha256"],
                    metric_type=kind,
                    metric_value=round(values[metric], 2),
                    metric_name=metric_name,
                    metric_args=arguments,
                    source_name="python -m zoo.evaluate",
                    source_url=f"https://huggingface.co/{repo_id}/blob/main/keras_fer.json",
                )
                for metric, (kind, metric_name, arguments) in METRICS.items()
            ]
    return ModelCardData(
        library_name="keras",
        pipeline_tag="image-classification",
        license=facts["license"]["id"],
        datasets=[each["data"]["dataset"] for each in _lineage(facts)],
        metrics=[kind for kind, *_ in METRICS.values()],
        tags=["keras_fer", "facial-expression-recognition", "face"],
        model_name=facts["name"],
        eval_results=evaluations,
    )


def _lineage(facts):
    """The facts of a preset, and of those that it was started from."""
    presets = read()
    found = [facts]
    while start := found[-1]["data"]["start"]:
        found.append(presets[start])
    return found


def _values(facts, results, repo_id):
    """What fills the placeholders of card.md."""
    preset = describe(facts)
    clean, everything = results[None], results[None]["all"]
    start = facts["data"]["start"]
    return {
        **{field: getattr(preset, field) for field in _COPIED},
        "repo_id": repo_id,
        "classes": len(preset.labels),
        "accuracy": f"{everything['accuracy']:.1f}",
        "interval": "{:.1f} to {:.1f}".format(*everything["intervals"]["accuracy"]),
        "parameters": f"{preset.parameters:,}",
        "macs": f"{preset.macs:,}",
        "labels": "\n".join(f"{i}. `{name}`" for i, name in enumerate(preset.labels)),
        "margin": f"{MARGIN:g}",
        "split_id": clean["split"],
        "dataset": clean["dataset"],
        "protocol": clean["protocol"],
        "resamples": f"{everything['intervals']['resamples']:,}",
        "scores": _scores(clean),
        "per_class": _per_class(clean),
        "confusion": _confusion(clean),
        "harder": _harder(results),
        "hardest": _hardest(results),
        "tau": f"{facts['balance']['tau']:g}",
        "temperature": f"{preset.temperature:g}",
        "calibration": _calibration(clean),
        "bins": BINS,
        "data_sha256": clean["data_sha256"],
        "selected_on": f"{facts['selection']['n']:,}",
        "trained_on": f"{facts['data']['n']:,}",
        "duplicates": _duplicates(clean),
        "batch_independence": f"{clean['batch_independence']:.0e}",
        "origin": f"`{start}`, which was trained on {describe(read()[start]).data}"
        if start
        else "ImageNet weights of its backbone",
        "options": "" if start else " --backbone-weights imagenet",
        "recipe": facts["recipe"],
        "about": facts["data"]["about"],
        "difference": tables.render_difference(facts["difference"]),
        "out_of_scope": tables.out_of_scope(),
        "citations": _citations(facts),
    }


_COPIED = (
    "name",
    "architecture",
    "paper",
    "input",
    "data",
    "selection",
    "split",
    "license",
    "sha256",
)


def _interval(values, metric):
    low, high = values["intervals"][metric]
    return f"{values[metric]:.1f} ({low:.1f} to {high:.1f})"


def _scores(clean):
    parts = {f"all {clean['all']['n']:,} images (95 %)": clean["all"]}
    fresh = clean["without_duplicates"]
    if fresh:
        parts[f"the {fresh['n']:,} that do not occur in train (95 %)"] = fresh
    parts[f"all {clean['all']['n']:,}, balanced (95 %)"] = clean["balanced"]["all"]
    rows = [
        [name, *(_interval(values, metric) for values in parts.values())]
        for metric, (_, name, _) in METRICS.items()
    ]
    return tables.markdown(["metric", *parts], rows)


def _per_class(clean):
    rows = [
        [
            f"`{label}`",
            *(f"{row[metric]:.1f}" for metric in ("precision", "recall", "f1")),
            f"{row['support']:,}",
        ]
        for label, row in clean["all"]["per_class"].items()
    ]
    return tables.markdown(
        ["expression", "precision %", "recall %", "F1 %", "faces"], rows
    )


def _confusion(clean):
    labels = clean["labels"]
    rows = [
        [f"`{label}` {index}", *(f"{count:,}" for count in row)]
        for index, (label, row) in enumerate(
            zip(labels, clean["all"]["confusion"], strict=True)
        )
    ]
    return tables.markdown(["", *map(str, range(len(labels)))], rows)


def _harder(results):
    rows = [
        [
            corruption or "as they are",
            *(_interval(result["all"], metric) for metric in ("accuracy", "macro_f1")),
            f"{result['all']['ece']:.1f}",
        ]
        for corruption, result in results.items()
    ]
    return tables.markdown(
        ["images", "accuracy % (95 %)", "macro-F1 % (95 %)", "calibration error %"],
        rows,
    )


def _hardest(results):
    sentences = []
    for corruption, result in results.items():
        kinds = result.get("by_kind", {})
        if len(kinds) > 1:
            kind, row = min(kinds.items(), key=lambda pair: pair[1]["accuracy"])
            sentences.append(
                f"The hardest of the {len(kinds)} kinds of {corruption} images is "
                f"`{kind}`: {row['accuracy']:.1f} % of {row['n']:,} faces."
            )
    return "\n".join(sentences)


def _calibration(clean):
    """The measures, and beside them what they were without the temperature."""
    values = clean["all"]
    before = clean.get("temperature", {}).get("all", {}).get("uncalibrated", {})
    texts = {
        "ece": ("expected calibration error", "{:.1f} %"),
        "nll": ("negative log-likelihood", "{:.3f}"),
        "brier": ("Brier score, summed over the classes", "{:.3f}"),
    }
    lines = []
    for metric, (name, text) in texts.items():
        line = f"- {name}: {text.format(values[metric])}"
        if metric in before:
            line += f" (without the temperature: {text.format(before[metric])})"
        lines.append(line)
    return "\n".join(lines)


def _duplicates(clean):
    everything, fresh = clean["all"], clean["without_duplicates"]
    if not fresh:
        return "every test image also occurs, pixel for pixel, in train."
    count = everything["n"] - fresh["n"]
    return (
        f"{count:,} of the {everything['n']:,} test images also occur, pixel for "
        "pixel, in train. The scores without them stand beside those of all."
    )


def _citations(facts):
    builders = ROOT / "tfds_builders"
    names = {name for each in _lineage(facts) for name in each["data"]["citations"]}
    files = [builders / name / "CITATIONS.bib" for name in sorted(names)]
    papers = [file.read_text("utf-8") for file in files]
    return "\n".join([facts["paper"]["bibtex"], *papers])
