"""Where presets are kept: a JSON file each, which names its weights and its results.

Weights, ONNX files and results never change under their names, which end in a hash of
what they hold. A preset changes when its JSON file is replaced, and that is one step:
whoever is interrupted leaves the old preset or the new one.
"""

import dataclasses
import hashlib
import json
import os
import pathlib
import shutil
import tempfile

from keras_fer.zoo.presets import FOLDER
from zoo import results_schema

ROOT = pathlib.Path(__file__).parents[1]
CORRUPTIONS = ("masked", "occluded", "corrupted")
RUN = "run.json"


@dataclasses.dataclass(frozen=True)
class Shelf:
    """Three folders; the defaults are those of this repository.

    Attributes:
        presets: Of `NAME.json`.
        weights: Of `NAME-HASH.weights.h5` and `NAME-HASH.onnx`.
        results: Of folders `NAME-HASH`, with the run's `run.json` and an evaluation
            for the images as they are and for each corruption.
    """

    presets: pathlib.Path = FOLDER
    weights: pathlib.Path = FOLDER.with_name("weights")
    results: pathlib.Path = ROOT / "zoo" / "results"

    def read(self, name):
        """The facts of a preset.

        Raises:
            FileNotFoundError: If there is no such preset.
        """
        path = self._path(name)
        if not path.is_file():
            raise FileNotFoundError(
                f"There is no preset {name!r}: {path.name} is missing. Write it with "
                f"`python -m zoo.promote RUN {name}`."
            )
        return json.loads(path.read_text("utf-8"))

    def run(self, name):
        """What `zoo.train` wrote about the run behind a preset."""
        path = self.results / self.read(name)["results"]["folder"] / RUN
        return json.loads(path.read_text("utf-8"))

    def evaluations(self, name):
        """The results of a preset, checked.

        Args:
            name: Of the preset.

        Returns:
            A dictionary of four results of `zoo.evaluate`: `None` for the images as
            they are, and `"masked"`, `"occluded"` and `"corrupted"`.

        Raises:
            FileNotFoundError: If the preset or one of the results is missing.
            ValueError: If one is invalid, or belongs to other weights or labels.
        """
        facts = self.read(name)
        folder = self.results / facts["results"]["folder"]
        again = f"Run `python -m zoo.promote RUN {name}` again."
        results = {}
        for corruption in (None, *CORRUPTIONS):
            path = folder / result_name(facts["evaluation"]["split"], corruption)
            if not path.is_file():
                raise FileNotFoundError(
                    f"A result of {name} is missing: {path.name} in zoo/results/"
                    f"{folder.name}. {again}"
                )
            results[corruption] = json.loads(path.read_text("utf-8"))
        _check_results(facts, results, again)
        return results

    def install(self, facts, weights, onnx, results):
        """Makes a preset what it is from now on, in one step.

        Args:
            facts: Of the preset, but for `weights`, `onnx` and `results`, which are
                filled in.
            weights: Path of its weights file.
            onnx: Path of the same model as `keras_fer.export` wrote it.
            results: File name to a dictionary for JSON.

        Returns:
            The facts, complete.

        Raises:
            ValueError: If they are invalid or contradict each other. Nothing is
                written then.
        """
        name = facts["name"]
        stored = {}
        for part, path, suffix in (
            ("weights", weights, ".weights.h5"),
            ("onnx", onnx, ".onnx"),
        ):
            data = pathlib.Path(path).read_bytes()
            stored[part] = (
                _named(name, hashlib.sha256(data).hexdigest(), suffix),
                data,
            )
        texts = {file: _text(result).encode() for file, result in results.items()}
        together = _hash_together(texts)
        facts = {
            **facts,
            **{part: named for part, (named, _) in stored.items()},
            "results": {"folder": f"{name}-{together[:8]}", "sha256": together},
        }
        split = facts["evaluation"]["split"]
        check(facts)
        _check_results(
            facts,
            {each: results[result_name(split, each)] for each in (None, *CORRUPTIONS)},
            "Evaluate again.",
        )
        for named, data in stored.values():
            _write(self.weights / named["file"], name, data)
        _write_folder(self.results / facts["results"]["folder"], name, texts)
        self._replace(facts)
        self.sweep(name)
        return facts

    def pin(self, name, repo, revision):
        """Writes into a preset where its weights are on the Hugging Face Hub.

        Args:
            name: Of the preset.
            repo: `"user/repo"`.
            revision: The commit there, 40 hexadecimal digits.
        """
        self.update(name, {"repo": repo, "revision": revision})

    def update(self, name, facts, onnx=None):
        """Changes some facts of a preset, in one step.

        Args:
            name: Of the preset.
            facts: Those that change.
            onnx: Path of another ONNX file of the same weights, or `None`.

        Raises:
            ValueError: If the preset would be invalid. Nothing is written then.
        """
        facts = {**self.read(name), **facts}
        if onnx is not None:
            data = pathlib.Path(onnx).read_bytes()
            facts["onnx"] = _named(name, hashlib.sha256(data).hexdigest(), ".onnx")
        check(facts)
        if onnx is not None:
            _write(self.weights / facts["onnx"]["file"], name, data)
        self._replace(facts)
        self.sweep(name)

    def names(self):
        """Names of all presets, sorted."""
        return sorted(path.stem for path in self.presets.glob("*.json"))

    def verify(self, name):
        """Raises a `ValueError` unless a preset and its files are as they were written.

        Args:
            name: Of the preset.
        """
        facts = self.read(name)
        check(facts)
        self.evaluations(name)
        folder = self.results / facts["results"]["folder"]
        found = {
            **{
                part: hashlib.sha256(
                    (self.weights / facts[part]["file"]).read_bytes()
                ).hexdigest()
                for part in ("weights", "onnx")
            },
            "results": _hash_together(_contents(folder)),
        }
        for part, digest in found.items():
            if digest != facts[part]["sha256"]:
                raise ValueError(
                    f"The {part} of {name} changed: their sha256 is {digest}, but "
                    f"{facts[part]['sha256']} was promoted. Restore them, or promote "
                    "the run again."
                )

    def sweep(self, name):
        """Deletes what interrupted or earlier promotions of a preset left."""
        path = self._path(name)
        facts = self.read(name) if path.is_file() else None
        kept = set()
        if facts:
            kept = {
                facts["weights"]["file"],
                facts["onnx"]["file"],
                facts["results"]["folder"],
            }
        for folder in (self.weights, self.results, self.presets):
            for pattern in (f"{name}-*", f".{name}-*"):
                for found in folder.glob(pattern):
                    if found.name in kept:
                        continue
                    if found.is_dir():
                        shutil.rmtree(found)
                    else:
                        found.unlink()

    def _path(self, name):
        return self.presets / f"{name}.json"

    def _replace(self, facts):
        _write(self._path(facts["name"]), facts["name"], _text(facts).encode())


def result_name(split, corruption=None):
    """File name of an evaluation."""
    return ".".join(filter(None, (split, corruption, "json")))


def check(facts):
    """Raises a `ValueError` unless the facts of a preset are valid and agree.

    Args:
        facts: As from `Shelf.read`.
    """
    results_schema.validate(facts, "preset")
    name = facts["name"]
    expected = {
        "weights.file": f"{name}-{facts['weights']['sha256'][:8]}.weights.h5",
        "onnx.file": f"{name}-{facts['onnx']['sha256'][:8]}.onnx",
        "results.folder": f"{name}-{facts['results']['sha256'][:8]}",
    }
    for place, value in expected.items():
        part, key = place.split(".")
        if facts[part][key] != value:
            raise ValueError(
                f"The preset {name} contradicts itself: {place} is "
                f"{facts[part][key]!r}, but its sha256 says {value!r}."
            )
    if (facts["repo"] is None) != (facts["revision"] is None):
        raise ValueError(
            f"The preset {name} contradicts itself: repo is {facts['repo']!r} and "
            f"revision {facts['revision']!r}; either both are known or none."
        )


def scores_of(result):
    """The scores of a preset from one of its evaluations, or a part of one."""
    values = result["all"]
    return {
        metric: {"value": values[metric], "interval": values["intervals"][metric]}
        for metric in ("accuracy", "macro_f1", "uar")
    }


def _check_results(facts, results, advice):
    evaluation = facts["evaluation"]
    for corruption, result in results.items():
        results_schema.check(result)
        scores = (
            evaluation["corruptions"][corruption]
            if corruption
            else evaluation["scores"]
        )
        pairs = {
            "model": (result["model"], facts["name"]),
            "sha256": (result["sha256"], facts["weights"]["sha256"]),
            "labels": (result["labels"], list(facts["labels"])),
            "corruption": (result["corruption"], corruption),
            "dataset": (result["dataset"], evaluation["dataset"]),
            "split": (result["split"], evaluation["split"]),
            "scores": (scores_of(result), scores),
        }
        if corruption is None:
            pairs["n"] = (result["all"]["n"], evaluation["n"])
            balanced = result["balanced"]
            found = {key: balanced[key] for key in facts["balance"]}
            pairs["balance"] = (found, facts["balance"])
            pairs["balanced scores"] = (scores_of(balanced), evaluation["balanced"])
        if "temperature" in result:
            stored = result["temperature"]["stored"]
            pairs["temperature"] = (stored, facts["temperature"])
        for key, (found, expected) in pairs.items():
            if found != expected:
                raise ValueError(
                    f"The result {result_name(evaluation['split'], corruption)} is not "
                    f"of {facts['name']} as it is now: its {key} is {found!r}, but "
                    f"that of the preset is {expected!r}. {advice}"
                )


def _named(name, digest, suffix):
    return {"file": f"{name}-{digest[:8]}{suffix}", "sha256": digest}


def _text(value):
    return json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _hash_together(files):
    """One hash of named contents, whatever their order."""
    hashes = {
        name: hashlib.sha256(data).hexdigest() for name, data in sorted(files.items())
    }
    return hashlib.sha256(json.dumps(hashes).encode()).hexdigest()


def _write(path, name, data):
    """Writes a file that is whole whenever it is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, staged = tempfile.mkstemp(prefix=f".{name}-", dir=path.parent)
    with open(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.chmod(staged, 0o644)
    os.replace(staged, path)
    _sync(path.parent)


def _write_folder(path, name, files):
    """Writes a folder of files that is whole whenever it is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        if _contents(path) == files:
            return
        shutil.rmtree(path)
    staged = pathlib.Path(tempfile.mkdtemp(prefix=f".{name}-", dir=path.parent))
    staged.chmod(0o755)
    for file, data in files.items():
        _write(staged / file, name, data)
    os.replace(staged, path)
    _sync(path.parent)


def _contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def _sync(folder):
    """Puts a folder's names onto the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
