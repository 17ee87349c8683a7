"""The model card of a preset: `python -m zoo.publish` puts it on the Hub as README.md.

The words are those of card.md. Every number comes from the preset and from
`zoo/results/`; what the models must not be used for, and how they differ from their
paper, is what the project's README says.
"""

import dataclasses
import json
import pathlib
import re
import string

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from keras_fer import zoo
from keras_fer.faces.align import MARGIN
from zoo import results_schema, tables
from zoo.evaluate import BINS, FAMILIES

TEMPLATE = pathlib.Path(__file__).with_name("card.md")

# Metric of an evaluation to its id on the Hub, its name and its arguments there.
METRICS = {
    "accuracy": ("accuracy", "accuracy %", None),
    "macro_f1": ("f1", "macro-F1 %", {"average": "macro"}),
    "uar": ("recall", "mean recall %", {"average": "macro"}),
}

# By the first part of a preset's name.
CITATIONS = {
    "patt_lite": """\
@article{ngwe2023pattlite,
  title   = {PAtt-Lite: Lightweight Patch and Attention MobileNet for Challenging
             Facial Expression Recognition},
  author  = {Ngwe, Jia Le and Lim, Kian Ming and Lee, Chin Poo and Ong, Thian Song and
             Alqahtani, Ali},
  journal = {arXiv preprint arXiv:2306.09626},
  year    = {2023}
}
""",
    "iram": """\
@inproceedings{wang2021iram,
  title     = {Information Reuse Attention in Convolutional Neural Networks for Facial
               Expression Recognition in the Wild},
  author    = {Wang and Hu},
  booktitle = {International Joint Conference on Neural Networks},
  year      = {2021},
  doi       = {10.1109/IJCNN52387.2021.9534217}
}
""",
    "llam": """\
@article{wang2020llam,
  title   = {Lossless Attention in Convolutional Networks for Facial Expression
             Recognition in the Wild},
  author  = {Wang and Hu and Hu and Liu and Ren and He and Jiang and Miao},
  journal = {arXiv preprint arXiv:2001.11869},
  year    = {2020}
}
""",
}


def read(preset, folder=tables.RESULTS):
    """A preset's evaluations on the public test split.

    Args:
        preset: A `keras_fer.zoo.ModelInfo`.
        folder: Where the results are.

    Returns:
        A dictionary of four results as in `zoo.results_schema`: `None` for the images
        as they are, and `"masked"`, `"occluded"` and `"corrupted"`.

    Raises:
        FileNotFoundError: If one is missing.
        ValueError: If one is not a result, or is one of other weights or labels.
    """
    results = {}
    for way in (None, *FAMILIES):
        options = f" --corruption {way}" if way else ""
        path = folder / f"{preset.name}.public_test{f'.{way}' if way else ''}.json"
        again = (
            f"Run `python -m zoo.evaluate {preset.name} --data DIR{options} "
            f"--out {path.name}` and put the file into zoo/results/."
        )
        if not path.is_file():
            raise FileNotFoundError(
                f"No result of {preset.name}. Expected {path.name} in zoo/results/. "
                f"{again}"
            )
        result = json.loads(path.read_text("utf-8"))
        results_schema.check(result)
        expected = {
            "model": preset.name,
            "sha256": preset.sha256,
            "labels": list(preset.labels),
            "corruption": way,
        }
        received = {key: result[key] for key in expected}
        if "temperature" in result:
            expected["temperature"] = preset.temperature
            received["temperature"] = result["temperature"]["stored"]
        if received != expected:
            raise ValueError(
                f"{path.name} is not a result of {preset.name} as it is now. Received: "
                f"{_differing(received, expected)}. Expected "
                f"{_differing(expected, received)}. {again}"
            )
        results[way] = result
    return results


def _differing(values, others):
    return ", ".join(f"{k}={v!r}" for k, v in values.items() if v != others[k])


def card(preset, results, repo_id):
    """The model card of a preset.

    Args:
        preset: A `keras_fer.zoo.ModelInfo` with trained weights.
        results: From `read`.
        repo_id: `"user/repo"`, where the card will stand.

    Returns:
        Markdown with a YAML block, the README.md of the repository.

    Raises:
        FileNotFoundError: If the record of the training is missing in `zoo/results/`.
        ValueError: If card.md or README.md lacks what is needed, or the metadata is
            not what the Hub's client can read back.
    """
    metadata = _metadata(preset, results, repo_id)
    values = _values(preset, results, repo_id)
    try:
        text = string.Template(TEMPLATE.read_text("utf-8")).substitute(values)
    except KeyError as error:
        raise ValueError(
            f"{TEMPLATE.name} has a place that nothing fills. Received: "
            f"${error.args[0]}. Expected one of {', '.join(sorted(values))}."
        ) from error
    text = f"---\n{metadata.to_yaml()}\n---\n\n{text}"
    if ModelCard(text).data.to_dict() != metadata.to_dict():
        raise ValueError(
            f"The card's metadata changes when it is read back. Received: {metadata}. "
            "Expected texts, numbers, lists and dictionaries; look at zoo/card.py."
        )
    return text


def _metadata(preset, results, repo_id):
    evaluations = []
    for way, result in results.items():
        parts = {way: result["all"]}
        if way is None and result["without_duplicates"]:
            parts["without_duplicates"] = result["without_duplicates"]
        for config, values in parts.items():
            name = preset.split.split(" (")[0]
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
        license=preset.license.split()[0].lower(),
        datasets=[training["recipe"]["dataset"] for training in _trainings(preset)],
        metrics=[kind for kind, *_ in METRICS.values()],
        tags=["keras_fer", "facial-expression-recognition", "face"],
        model_name=preset.name,
        eval_results=evaluations,
    )


def _trainings(preset):
    """Records of the trainings behind a preset, the last one first."""
    name, found = preset.name, []
    while name:
        path = tables.RESULTS / f"{name}.training.json"
        if not path.is_file():
            raise FileNotFoundError(
                f"No record of the training of {name}. Expected {path.name} in "
                "zoo/results/. It is run.json in the folder that zoo.train wrote."
            )
        found.append(json.loads(path.read_text("utf-8")))
        name = found[-1]["recipe"]["start"]
    return found


def _values(preset, results, repo_id):
    """What stands in the places of card.md."""
    clean, training = results[None], _trainings(preset)[0]
    everything, start = clean["all"], training["recipe"]["start"]
    return {
        **dataclasses.asdict(preset),
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
        "temperature": f"{preset.temperature:g}",
        "calibration": _calibration(clean),
        "bins": BINS,
        "data_sha256": clean["data_sha256"],
        "selected_on": f"{training['selected_on']:,}",
        "trained_on": f"{training['trained_on']:,}",
        "duplicates": _duplicates(clean),
        "batch_independence": f"{clean['batch_independence']:.0e}",
        "origin": f"`{start}`, which was trained on {zoo.info(start).data}"
        if start
        else "ImageNet weights of MobileNetV1",
        "options": "" if start else " --backbone-weights imagenet",
        "recipe": preset.name.replace(".", "_"),
        "difference": _readme(
            f"Why our {preset.paper.split(',')[0]} differs from the paper"
        ),
        "misuse": _readme("What it must not be used for"),
        "citations": _citations(preset),
    }


def _interval(values, metric):
    low, high = values["intervals"][metric]
    return f"{values[metric]:.1f} ({low:.1f} to {high:.1f})"


def _scores(clean):
    parts = {f"all {clean['all']['n']:,} faces (95 %)": clean["all"]}
    fresh = clean["without_duplicates"]
    if fresh:
        parts[f"the {fresh['n']:,} that do not occur in train (95 %)"] = fresh
    rows = [
        [name, *(_interval(values, metric) for values in parts.values())]
        for metric, (_, name, _) in METRICS.items()
    ]
    return tables._markdown(["metric", *parts], rows)


def _per_class(clean):
    rows = [
        [
            f"`{label}`",
            *(f"{row[metric]:.1f}" for metric in ("precision", "recall", "f1")),
            f"{row['support']:,}",
        ]
        for label, row in clean["all"]["per_class"].items()
    ]
    return tables._markdown(
        ["expression", "precision %", "recall %", "F1 %", "faces"], rows
    )


def _confusion(clean):
    labels = clean["labels"]
    rows = [
        [f"`{label}` {place}", *(f"{count:,}" for count in row)]
        for place, (label, row) in enumerate(
            zip(labels, clean["all"]["confusion"], strict=True)
        )
    ]
    return tables._markdown(["", *map(str, range(len(labels)))], rows)


def _harder(results):
    rows = [
        [
            way or "as they are",
            *(_interval(result["all"], metric) for metric in ("accuracy", "macro_f1")),
            f"{result['all']['ece']:.1f}",
        ]
        for way, result in results.items()
    ]
    return tables._markdown(
        ["images", "accuracy % (95 %)", "macro-F1 % (95 %)", "calibration error %"],
        rows,
    )


def _hardest(results):
    sentences = []
    for way, result in results.items():
        kinds = result.get("by_kind", {})
        if len(kinds) > 1:
            kind, row = min(kinds.items(), key=lambda pair: pair[1]["accuracy"])
            sentences.append(
                f"The hardest of the {len(kinds)} kinds of {way} images is "
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


def _readme(title):
    """What the project's README says under a title, without its markers."""
    text = (tables.ROOT / "README.md").read_text("utf-8")
    found = re.search(rf"^#+ {re.escape(title)}\n+(.+?)(?=^#+ |\Z)", text, re.M | re.S)
    if found is None:
        raise ValueError(
            f"README.md has no section of that name. Expected {title!r}, which goes "
            "into every model card. Give the section its name back, or change "
            "zoo/card.py."
        )
    return re.sub(r"<!--.*?-->\n?", "", found[1]).strip()


def _citations(preset):
    builders = tables.ROOT / "tfds_builders"
    names = {"fer2013", *(each["recipe"]["dataset"] for each in _trainings(preset))}
    files = [builders / name / "CITATIONS.bib" for name in sorted(names)]
    papers = [file.read_text("utf-8") for file in files]
    return "\n".join([CITATIONS[preset.name.split(".")[0]], *papers])
