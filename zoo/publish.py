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
import ast
import difflib
import hashlib
import json
import pathlib
import re
import sys
import tempfile

import httpx2  # which huggingface_hub requires
from huggingface_hub import HfApi, ModelCard, constants, hf_hub_download
from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError
from huggingface_hub.utils import validate_repo_id
from huggingface_hub.utils.sha import git_hash

from keras_fer import zoo
from keras_fer.zoo import presets, release
from zoo import card

PRESETS_FILE = pathlib.Path(presets.__file__)
FACTS = (
    "name",
    "architecture",
    "input",
    "data",
    "selection",
    "split",
    "score",
    "paper",
    "license",
    "macs",
)
_PIN = ("repo", "revision")
_LARGEST_TEXT = 2**20


def prepare(name, repo_id):
    """Everything that is published of a preset.

    Args:
        name: A name of the zoo with trained weights.
        repo_id: `"user/repo"`.

    Returns:
        A dictionary of what `release.write` and `zoo.push` take: `model`, `facts` and
        `card`.

    Raises:
        FileNotFoundError: If weights or results are missing.
        ValueError: If the results are of other weights, or the card is none.
    """
    preset = zoo.info(name)
    results = card.read(preset)
    facts = {key: getattr(preset, key) for key in FACTS}
    return {
        "model": zoo.load(preset.name),
        "facts": {**facts, "results": results[None]},
        "card": card.card(preset, results, repo_id),
    }


def write(prepared, folder):
    """Writes what would be pushed, and checks that it holds the preset's weights.

    Args:
        prepared: From `prepare`.
        folder: Made where it is not there.

    Raises:
        ValueError: If the weights file is another than the preset's.
    """
    preset = zoo.info(prepared["facts"]["name"])
    sha256 = release.write(folder=folder, **prepared)["files"][release.WEIGHTS]
    if sha256 != preset.sha256:
        raise ValueError(
            f"The weights file to be published is not that of {preset.name}. Received: "
            f"sha256 {sha256}. Expected {preset.sha256}, which the results are of. "
            "Bundle the weights again with `python -m zoo.bundle`, and evaluate."
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
            lines.append(f"  {name}: not ours; deleted unless text or an image")
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


def pin(preset, repo_id, revision, path):
    """Writes into presets.py where the weights of a preset are.

    Args:
        preset: A `keras_fer.zoo.ModelInfo`.
        repo_id: `"user/repo"`.
        revision: The commit there.
        path: The file.

    Raises:
        ValueError: If the preset does not stand there as expected. The file stays as
            it was.
    """
    lines = path.read_text("utf-8").splitlines()
    calls = [
        {keyword.arg: keyword.value for keyword in node.keywords}
        for node in ast.walk(ast.parse("\n".join(lines)))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "ModelInfo"
    ]
    calls = [call for call in calls if _is(call.get("name"), preset.name)]
    old = {key: call.get(key) for call in calls for key in ("sha256", *_PIN)}
    places = {key: value.lineno - 1 for key, value in old.items() if value}
    if (
        len(calls) != 1
        or not _is(old["sha256"], preset.sha256)
        or any(
            not re.fullmatch(rf' +{key}=(None|"[^"]*"),', lines[place])
            for key, place in places.items()
        )
    ):
        found = [lines[place].strip() for place in places.values()]
        raise ValueError(
            f"{preset.name} is published but not pinned. Received: {str(path)!r} with "
            f"{len(calls)} presets of that name, and {found}. Expected one ModelInfo "
            f"with sha256={preset.sha256!r}, each argument on a line of its own. Write "
            f"{pin_text(repo_id, revision)} there by hand."
        )
    sha256 = places.pop("sha256")
    indent = " " * (len(lines[sha256]) - len(lines[sha256].lstrip()))
    text = ""
    for place, line in enumerate(lines):
        if place not in places.values():
            text += f"{line}\n"
        if place == sha256:
            text += f'{indent}repo="{repo_id}",\n{indent}revision="{revision}",\n'
    path.write_text(text, "utf-8")


def _is(node, value):
    return isinstance(node, ast.Constant) and node.value == value


def pin_text(repo_id, revision):
    """What a person pastes into presets.py."""
    return f'repo="{repo_id}", revision="{revision}",'


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
        "--pin", action="store_true", help="write the commit into presets.py"
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
            f"The Hub does not answer as expected. Received: {error} from "
            f"{constants.ENDPOINT}. Check the connection, HF_ENDPOINT and the token, "
            "and try again."
        )
    except (ImportError, OSError, RuntimeError, ValueError) as error:
        return _fail(error)
    return 0


def _fail(error):
    print(f"zoo.publish: {' '.join(str(error).split())}", file=sys.stderr)
    return 1


def _push(prepared, repo_id, options):
    url = zoo.push(
        repo_id=repo_id,
        private=options.private or None,
        tag=options.tag,
        **prepared,
    )
    name, revision = prepared["facts"]["name"], url.rpartition("/")[2]
    print(f"{name}: {url}\n{pin_text(repo_id, revision)}", flush=True)
    if options.pin:
        pin(zoo.info(name), repo_id, revision, PRESETS_FILE)


def _repo_ids(options):
    """Preset to repository, from the command line."""
    if options.all == bool(options.preset) or "/" in (options.preset or ""):
        raise ValueError(
            f"Received: preset={options.preset!r} and --all={options.all}. Expected a "
            "preset, or --all."
        )
    if not options.all:
        names = {zoo.info(options.preset).name: options.repo_id}
    else:
        user, slash, rest = options.repo_id.partition("/")
        if not slash or rest:
            raise ValueError(
                f"Received: --repo-id {options.repo_id}. Expected USER/ with --all."
            )
        names = [name for name in presets.PRESETS if presets.PRESETS[name].sha256]
        names = {name: f"{user}/{name.replace('.', '-')}" for name in names}
    for repo_id in names.values():
        try:
            validate_repo_id(repo_id)
        except HFValidationError as error:
            raise ValueError(
                f"Received: --repo-id {options.repo_id}. {error}"
            ) from error
        if "/" not in repo_id:
            raise ValueError(
                f"Received: --repo-id {options.repo_id}. Expected USER/REPO."
            )
    return names


if __name__ == "__main__":
    sys.exit(main())
