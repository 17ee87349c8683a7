"""Puts presets on the Hugging Face Hub: `python -m zoo.publish PRESET --repo-id ID`.

    python -m zoo.publish patt_lite.ferplus --repo-id USER/REPO --dry-run DIR
    python -m zoo.publish --all --repo-id USER/ --pin

The card is `zoo.card`'s, and the token is that of `hf auth login` or HF_TOKEN. All
presets are checked before the first is pushed: their results must be of these very
weights, and the Hub must take the card. A push is one commit, which is read back; the
same again is no new commit, so an interrupted run is simply repeated.

Exit status: 0, 1 when something went wrong, 2 on wrong usage.
"""

import argparse
import difflib
import hashlib
import json
import pathlib
import sys
import tempfile

import httpx2  # which huggingface_hub requires
from huggingface_hub import HfApi, ModelCard, constants, hf_hub_download
from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError
from huggingface_hub.utils import validate_repo_id
from huggingface_hub.utils.sha import git_hash

import keras_fer
from keras_fer.hub import release
from keras_fer.zoo.presets import PRESETS
from zoo import card
from zoo.shelf import Shelf

SHELF = Shelf()
FACTS = (
    "name",
    "input",
    "data",
    "selection",
    "split",
    "score",
    "paper",
    "license",
    "macs",
)
_LARGEST_TEXT = 2**20


def prepare(name, repo_id):
    """Everything that is published of a preset.

    Args:
        name: A name of the zoo with trained weights.
        repo_id: `"user/repo"`.

    Returns:
        A dictionary of what `release.write` and `keras_fer.zoo.push` take: `model`,
        `facts` and `card`.

    Raises:
        FileNotFoundError: If weights or results are missing.
        ValueError: If the results are of other weights, or the card is none.
    """
    preset = keras_fer.zoo.info(name)
    results = SHELF.evaluations(preset.name)
    facts = {key: getattr(preset, key) for key in FACTS}
    return {
        "model": keras_fer.zoo.load(preset.name),
        "facts": {**facts, "results": results[None]},
        "card": card.card(SHELF.read(preset.name), results, repo_id),
    }


def write(prepared, folder):
    """Writes what would be pushed, and checks that it holds the preset's weights.

    Args:
        prepared: From `prepare`.
        folder: Made where it is not there.

    Raises:
        ValueError: If the weights file is another than the preset's.
    """
    preset = keras_fer.zoo.info(prepared["facts"]["name"])
    sha256 = release.write(folder=folder, **prepared)["files"][release.WEIGHTS]
    if sha256 != preset.sha256:
        raise ValueError(
            f"The weights file to be published is not that of {preset.name}: its "
            f"sha256 is {sha256}, but the results are of {preset.sha256}. Promote the "
            "run again with `python -m zoo.promote`."
        )


def validate(prepared):
    """Asks the Hub whether it takes a model card.

    Args:
        prepared: From `prepare`.

    Raises:
        ValueError: If it does not.
        OSError: If it cannot be asked.
    """
    try:
        ModelCard(prepared["card"]).validate()
    except ValueError as error:
        raise ValueError(
            f"The Hub refuses the card of {prepared['facts']['name']}. It says: "
            f"{error} Change zoo/card.py or zoo/card.md."
        ) from error


def difference(folder, repo_id):
    """What a push of a folder would change on the Hub.

    Args:
        folder: From `release.write`.
        repo_id: `"user/repo"`.

    Returns:
        A text: a line for each file, and the unified diff of those that are text.
    """
    try:
        there = HfApi().model_info(repo_id, files_metadata=True)
    except RepositoryNotFoundError:
        return f"{repo_id}: nothing there yet, or nothing that this token may see"
    old = {file.rfilename: file for file in there.siblings}
    new = {name: (folder / name).read_bytes() for name in release.FILES}
    lines, diffs = [f"{repo_id} at {there.sha}"], []
    for name in sorted({*old, *new} - {".gitattributes"}):
        if name not in new:
            lines.append(f"  {name}: not ours; left alone")
            continue
        file, data = old.get(name), new[name]
        before, after = _hash(file), _own_hash(file, data)
        if before == after:
            lines.append(f"  {name}: the same")
            continue
        lines.append(f"  {name}: {before or 'not there'} -> {after}")
        if file and not file.lfs and file.size < _LARGEST_TEXT:
            with tempfile.TemporaryDirectory() as cache:
                path = hf_hub_download(
                    repo_id, name, revision=there.sha, cache_dir=cache
                )
                received = pathlib.Path(path).read_bytes()
            diffs += difflib.unified_diff(
                _lines(name, received),
                _lines(name, data),
                f"{repo_id}/{name}",
                f"{folder.name}/{name}",
                lineterm="",
            )
    return "\n".join([*lines, *diffs])


def _hash(file):
    """The hash by which the Hub lists a file: sha256 outside git, else git's own."""
    if file is None:
        return None
    return file.lfs.sha256 if file.lfs else file.blob_id


def _own_hash(file, data):
    """The same of a file here."""
    if file and not file.lfs:
        return git_hash(data)
    return hashlib.sha256(data).hexdigest()


def _lines(name, data):
    text = data.decode("utf-8", "replace")
    if name.endswith(".json"):
        try:
            # Keras writes one long line, whose difference nobody can read.
            text = json.dumps(json.loads(text), indent=1, ensure_ascii=False)
        except ValueError:
            pass
    return text.splitlines()


def main(arguments=None):
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        "python -m zoo.publish",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("preset", nargs="?", help="such as patt_lite.ferplus")
    parser.add_argument("--all", action="store_true", help="all with trained weights")
    parser.add_argument(
        "--repo-id",
        required=True,
        metavar="ID",
        help="USER/REPO; with --all USER/, then repositories are named after presets",
    )
    parser.add_argument(
        "--private", action="store_true", help="make new repositories private"
    )
    parser.add_argument(
        "--tag", help="name of the version on the Hub (default: that of keras_fer)"
    )
    ways = parser.add_mutually_exclusive_group()
    ways.add_argument(
        "--dry-run",
        type=pathlib.Path,
        metavar="DIR",
        help="push nothing; write DIR/PRESET and show what would change on the Hub",
    )
    ways.add_argument(
        "--pin", action="store_true", help="write the commit into the preset's file"
    )
    options = parser.parse_args(arguments)
    try:
        repo_ids = _repo_ids(options)
    except ValueError as error:
        parser.error(str(error))
    try:
        with tempfile.TemporaryDirectory() as temporary:
            folder = options.dry_run or pathlib.Path(temporary)
            prepared = {name: prepare(name, each) for name, each in repo_ids.items()}
            for name in repo_ids:
                write(prepared[name], folder / name)
                if options.dry_run:
                    print(f"{name}: written to {folder / name}", flush=True)
            for name in repo_ids:
                validate(prepared[name])
            for name, repo_id in repo_ids.items():
                if options.dry_run:
                    print(difference(folder / name, repo_id))
                else:
                    _push(prepared[name], repo_id, options)
    except httpx2.HTTPError as error:
        return _fail(
            f"The Hub at {constants.ENDPOINT} does not answer as expected: {error}. "
            "Check the connection, HF_ENDPOINT and the token, and try again."
        )
    except (ImportError, OSError, RuntimeError, ValueError) as error:
        return _fail(error)
    return 0


def _fail(error):
    print(f"zoo.publish: {' '.join(str(error).split())}", file=sys.stderr)
    return 1


def _push(prepared, repo_id, options):
    url = keras_fer.zoo.push(
        repo_id=repo_id,
        private=options.private or None,
        tag=options.tag,
        **prepared,
    )
    name, revision = prepared["facts"]["name"], url.rpartition("/")[2]
    print(f"{name}: {url}", flush=True)
    if options.pin:
        SHELF.pin(name, repo_id, revision)


def _repo_ids(options):
    """Preset to repository, from the command line."""
    if options.all == bool(options.preset) or "/" in (options.preset or ""):
        raise ValueError("Pass either a preset, such as patt_lite.ferplus, or --all.")
    if not options.all:
        names = {keras_fer.zoo.info(options.preset).name: options.repo_id}
    else:
        user, slash, rest = options.repo_id.partition("/")
        if not slash or rest:
            raise ValueError(
                f"With --all, --repo-id must be USER/, got {options.repo_id!r}."
            )
        names = {name: f"{user}/{name.replace('.', '-')}" for name in PRESETS}
    for repo_id in names.values():
        try:
            validate_repo_id(repo_id)
        except HFValidationError as error:
            raise ValueError(
                f"--repo-id {options.repo_id} is malformed: {error}"
            ) from error
        if "/" not in repo_id:
            raise ValueError(f"--repo-id must be USER/REPO, got {options.repo_id!r}.")
    return names


if __name__ == "__main__":
    sys.exit(main())
