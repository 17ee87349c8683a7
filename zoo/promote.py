"""Makes a run of `zoo.train` a preset: `python -m zoo.promote RUN PRESET --data DIR`.

RUN is the folder that `zoo.train` wrote, PRESET a name such as patt_lite.ferplus that
`zoo/facts.toml` knows. In this order:

1. The weights are stored in the package, kernels in half precision, everything else as
   it is.
2. A temperature is fitted on the part that checkpoints were selected on, not on the
   split that is reported. One that `zoo.evaluate --store` put into the run stays if the
   fit agrees with it to 0.001. On the same part `tau` is chosen, the exponent of the
   logit adjustment of `balanced=True`.
3. The stored weights are evaluated on the reported split: the images as they are,
   masked, occluded and corrupted.
4. Weights, results and `keras_fer/zoo/presets/PRESET.json`, which names both, take the
   place of what there was, in one step.
5. README's tables and the golden outputs of the tests are written again.

Exit status: 0, 1 when something went wrong, 2 on wrong usage.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import tomllib

from zoo import data
from zoo.shelf import CORRUPTIONS, ROOT, RUN, Shelf, result_name, scores_of
from zoo.target import EvaluationTarget

FACTS = pathlib.Path(__file__).with_name("facts.toml")
TOLERANCE = 1e-3
DIGITS = 4


@dataclasses.dataclass(frozen=True)
class Candidate(EvaluationTarget):
    """What is about to become a preset; see `EvaluationTarget`.

    Attributes:
        architecture: Name of a function in `keras_fer.models`.
        arguments: What it is called with.
        labels: Names of the outputs.
        temperature: What the logits are divided by.
    """

    architecture: str = ""
    arguments: dict = dataclasses.field(default_factory=dict)
    labels: tuple = ()
    temperature: float = 1.0

    def load(self):
        """The model with the weights that will be stored."""
        from keras_fer.zoo.loading import build

        return build(
            self.architecture,
            self.arguments,
            self.labels,
            self.weights,
            self.temperature,
        )


def promote(run, name, source, shelf=None):
    """Makes a run of `zoo.train` a preset.

    Args:
        run: Its folder, with `run.json` and `model.keras`.
        name: Of the preset.
        source: Of the data; see `zoo.data.open_split`.
        shelf: A `zoo.shelf.Shelf`; `None` for that of this repository.

    Returns:
        The facts of the preset, as in `zoo/schemas/preset.json`.

    Raises:
        FileNotFoundError: If the run, its model or the data are not there.
        ValueError: If the run is not finished, `zoo/facts.toml` lacks something, or no
            temperature fits. The preset stays as it was.
    """
    shelf = shelf or Shelf()
    run = pathlib.Path(run)
    record = _read_run(run)
    recipe = record["recipe"]
    known = _known_facts(name, recipe)
    with tempfile.TemporaryDirectory() as folder:
        weights = pathlib.Path(folder) / "model.weights.h5"
        candidate = _store_weights(run, record, name, weights)
        candidate = _calibrated(candidate, source)
        onnx = weights.with_name("model.onnx")
        _export(candidate, known["license"]["name"], onnx)
        results = _evaluate(candidate, source)
        facts = _describe(candidate, record, known, results)
        facts |= _pin_of(shelf, name, candidate.sha256)
        files = {
            result_name(candidate.test, corruption): result
            for corruption, result in results.items()
        }
        return shelf.install(facts, weights, onnx, {RUN: record, **files})


def refresh(shelf=None):
    """Copies `zoo/facts.toml` into all presets and exports them to ONNX again.

    Nothing is evaluated.

    Args:
        shelf: A `zoo.shelf.Shelf`; `None` for that of this repository.

    Returns:
        Names of the presets.
    """
    shelf = shelf or Shelf()
    names = shelf.names()
    for name in names:
        facts = shelf.read(name)
        known = _known_facts(name, shelf.run(name)["recipe"])
        candidate = Candidate(
            name,
            facts["data"]["dataset"],
            weights=shelf.weights / facts["weights"]["file"],
            **{
                key: facts[key]
                for key in ("architecture", "arguments", "labels", "temperature")
            },
        )
        with tempfile.TemporaryDirectory() as folder:
            onnx = pathlib.Path(folder) / "model.onnx"
            _export(candidate, known["license"]["name"], onnx)
            shelf.update(name, _published(known), onnx)
    return names


def _export(candidate, license, path):
    """Writes the model as the ONNX file that comes with the package."""
    from keras_fer.runtime.export import Source, write_onnx

    source = Source(candidate.name, license, candidate.sha256)
    write_onnx(candidate.load(), path, "float16", source)


def _published(known):
    """What `zoo/facts.toml` says of the method and the license, as a preset has it."""
    return {
        "paper": {**known["paper"], "bibtex": bibtex(known["paper"])},
        "difference": {
            key: value.strip() for key, value in known["difference"].items()
        },
        "license": known["license"],
    }


def _read_run(run):
    path = run / RUN
    if not path.is_file():
        raise FileNotFoundError(
            f"{str(run)!r} holds no {RUN}. Pass a folder in which `python -m "
            "zoo.train` has ended, or go on with --resume."
        )
    record = json.loads(path.read_text("utf-8"))
    needed = {"recipe", "trained_on", "selected_on"}
    missing = needed - set(record)
    recipe = record.get("recipe", {})
    missing |= {f"recipe.{key}" for key in ("name", "dataset") if not recipe.get(key)}
    if missing:
        raise ValueError(
            f"{str(path)!r} lacks {', '.join(sorted(missing))}. Train again with this "
            "version, or fill in what is known of the run."
        )
    return record


def _known_facts(name, recipe):
    """What `zoo/facts.toml` says of a preset."""
    facts = tomllib.loads(FACTS.read_text("utf-8"))
    found = {"license": facts["license"]}
    for part, table, key in (
        ("preset", "presets", name),
        ("paper", "papers", recipe["architecture"]),
        ("difference", "differences", recipe["architecture"]),
        ("data", "datasets", recipe["dataset"]),
    ):
        if key not in facts[table]:
            raise ValueError(
                f"zoo/facts.toml has no [{table}.{key}]. Write what is known there, "
                "like its neighbors."
            )
        found[part] = facts[table][key]
    return found


def _store_weights(run, record, name, path):
    """Writes the weights as they will be stored; what is to be evaluated."""
    import numpy as np

    from keras_fer.hub import release

    recipe = record["recipe"]
    trained = EvaluationTarget(name, recipe["dataset"], file=run / "model.keras").load()
    arguments = {**recipe["arguments"], "input_size": trained.input_size}
    candidate = Candidate(
        name,
        recipe["dataset"],
        recipe["name"],
        weights=path,
        trained_on=recipe["dataset"],
        architecture=recipe["architecture"],
        arguments=arguments,
        labels=trained.labels,
        temperature=trained.get_layer("probabilities").temperature,
        duplicates=recipe.get("duplicates", "near"),
        validation=recipe.get("validation"),
        **{part: recipe[part] for part in ("train", "test") if recipe.get(part)},
    )
    from keras_fer.zoo.loading import build

    model = build(candidate.architecture, arguments, candidate.labels)
    try:
        model.set_weights(trained.get_weights())
    except ValueError as error:
        raise ValueError(
            f"{str(run / 'model.keras')!r} is not a {candidate.architecture} with the "
            f"arguments in {RUN}, {arguments}. Keras says: {str(error).splitlines()[0]}"
        ) from error
    for variable in model.weights:
        if len(variable.shape) > 1:
            variable.assign(np.asarray(variable).astype("float16"))
    # The very file that goes to the Hub: one hash for both.
    release.save_weights(model, path)
    return candidate


def _calibrated(candidate, source):
    """The same with what fits the part that selected the checkpoint.

    That is the temperature, and the `tau` of the balanced probabilities.
    """
    from zoo import evaluate
    from zoo.evaluation import balance

    bare = dataclasses.replace(candidate, temperature=1.0).load()
    part = candidate.train
    learned = data.open_split(candidate.dataset, source, part, bare.input_size)
    if candidate.validation:
        part = candidate.validation
        faces = data.open_split(candidate.dataset, source, part, bare.input_size)
    else:
        learned, faces = data.hold_out(learned, duplicates=candidate.duplicates)
    faces = faces[faces.scored]
    if not len(faces):
        raise ValueError(
            f"{part} of {candidate.dataset} in {str(source)!r} has no faces to fit a "
            "temperature on."
        )
    probabilities = bare.predict(faces.images[:], batch_size=256, verbose=0)
    fitted = evaluate.fit_temperature(faces.classes, probabilities)
    least, most = evaluate.TEMPERATURES
    if not least * 1.01 < fitted < most / 1.01:
        raise ValueError(
            f"No temperature fits {candidate.name}: the NLL is smallest at "
            f"{fitted:.4g}, an end of the range from {least} to {most}. Look at the "
            f"model and at {part} of {candidate.dataset}."
        )
    if abs(candidate.temperature - fitted) <= TOLERANCE:
        fitted = candidate.temperature
    fitted = round(fitted, DIGITS)
    prior = [round(each, 6) for each in balance.class_prior(learned.targets).tolist()]
    tau = balance.choose_tau(
        faces.classes, evaluate.soften(probabilities, fitted), prior
    )
    return dataclasses.replace(
        candidate, temperature=fitted, balance={"prior": prior, "tau": tau}
    )


def _evaluate(candidate, source):
    """The result on the reported split for the images as they are and as corrupted."""
    from zoo import evaluate

    results = {}
    for corruption in (None, *CORRUPTIONS):
        print(f"{candidate.name}: {corruption or candidate.test}", flush=True)
        results[corruption] = evaluate.evaluate(
            candidate,
            "default",
            source,
            corruption=corruption,
            with_temperature=corruption is None,
        )
    return results


def _describe(candidate, record, known, results):
    """The facts of the preset."""
    from zoo.cost import count_macs

    clean = results[None]
    model = candidate.load()
    about = known["data"]
    published = _published(known)
    return {
        "name": candidate.name,
        "default": known["preset"]["default"],
        "architecture": candidate.architecture,
        "arguments": candidate.arguments,
        "labels": list(candidate.labels),
        "paper": published["paper"],
        "difference": published["difference"],
        "data": {
            "dataset": candidate.dataset,
            "split": candidate.train,
            "n": record["trained_on"],
            **{key: about[key] for key in ("images", "targets", "license")},
            "about": about["about"].strip(),
            "citations": about["citations"],
            "start": record["recipe"].get("start")
            or record["recipe"].get("start_backbone"),
        },
        "selection": {
            "split": candidate.validation,
            "duplicates": candidate.duplicates,
            "n": record["selected_on"],
            "note": known["preset"]["selection_note"],
        },
        "evaluation": {
            "dataset": candidate.dataset,
            "split": candidate.test,
            "images": about["images"],
            "faces": about["faces"],
            "n": clean["all"]["n"],
            "protocol": clean["protocol"],
            "scores": scores_of(clean),
            "balanced": scores_of(clean["balanced"]),
            "corruptions": {each: scores_of(results[each]) for each in CORRUPTIONS},
        },
        "temperature": candidate.temperature,
        "balance": candidate.balance,
        "parameters": model.count_params(),
        "macs": count_macs(model),
        "recipe": candidate.recipe,
        "license": published["license"],
    }


def _pin_of(shelf, name, sha256):
    """Where the weights are on the Hub, if these are the ones that were pushed."""
    try:
        before = shelf.read(name)
    except FileNotFoundError:
        before = None
    if before and before["weights"]["sha256"] == sha256:
        return {key: before[key] for key in ("repo", "revision")}
    return {"repo": None, "revision": None}


def bibtex(paper):
    """A BibTeX entry.

    Args:
        paper: As in `zoo/facts.toml`.
    """
    if paper["venue"]:
        kind, venue = "inproceedings", {"booktitle": paper["venue"]}
    else:
        venue = {"journal": f"arXiv preprint arXiv:{paper['arxiv']}"}
        kind = "article"
    first = paper["authors"][0].split()[-1].lower()
    key = "".join(filter(str.isalnum, f"{first}{paper['year']}{paper['name']}".lower()))
    authors = (
        f"{last}, {first}" if first else last
        for first, _, last in (author.rpartition(" ") for author in paper["authors"])
    )
    fields = {
        "title": f"{{{paper['title']}}}",
        "author": " and ".join(authors),
        **venue,
        "year": str(paper["year"]),
        "doi": paper["doi"],
    }
    lines = [f"  {name} = {{{value}}}," for name, value in fields.items() if value]
    return "\n".join([f"@{kind}{{{key},", *lines, "}"]) + "\n"


def _render():
    """Writes README's tables and the golden outputs again."""
    # In processes of their own: this one read the presets as they were.
    for module in ("zoo.tables", "zoo.golden"):
        subprocess.run([sys.executable, "-m", module], cwd=ROOT, check=True)


def main(arguments=None):
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        "python -m zoo.promote",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", nargs="?", help="folder that zoo.train wrote")
    parser.add_argument("preset", nargs="?", help="such as patt_lite.ferplus")
    parser.add_argument(
        "--refresh",
        action="store_true",
        help="copy zoo/facts.toml into all presets and export them to ONNX again; "
        "nothing is evaluated",
    )
    parser.add_argument(
        "--data",
        default="npz",
        help="a folder of arrays, npz:FOLDER, tfds or tfds:FOLDER; see zoo/data.py "
        "(default: the folder in KERAS_FER_DATA)",
    )
    options = parser.parse_args(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if options.refresh == bool(options.run and options.preset):
        parser.error("pass RUN and PRESET, or --refresh alone")
    if options.refresh:
        print("refreshed", *refresh())
        _render()
        return 0
    try:
        facts = promote(options.run, options.preset, options.data)
    except (ImportError, MemoryError, OSError, RuntimeError, ValueError) as error:
        print(f"zoo.promote: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    _render()
    accuracy = facts["evaluation"]["scores"]["accuracy"]["value"]
    print(
        f"{facts['name']}: accuracy {accuracy:.2f} %, temperature "
        f"{facts['temperature']:g}\n{facts['weights']['file']}: sha256 "
        f"{facts['weights']['sha256']}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
