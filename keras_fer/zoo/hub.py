"""Models on the Hugging Face Hub: pushed, fetched and built; never run.

Whatever arrives is data: it is listed before it is downloaded, hashed before it is
opened, and its classes and arrays are checked before Keras reads them.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import os
import pathlib
import re
import tempfile
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from keras_fer.zoo.client import (
    LARGEST,
    bounded,
    check_id,
    explained,
    open_api,
    retry_after,
)
from keras_fer.zoo.release import (
    CONFIG,
    FILES,
    MANIFEST,
    NEEDED,
    WEIGHTS,
    contradiction,
    facts_of,
    read_manifest,
    short_card,
    write,
)
from keras_fer.zoo.safety import check_config, check_weights

if TYPE_CHECKING:
    from keras_fer.models import ExpressionClassifier

# What else may lie in a repository. It is not downloaded.
_HARMLESS = re.compile(
    r"\.gitattributes|LICEN[CS]E[\w.-]*|([\w-]+/)*[\w.-]+\.(md|png|jpe?g|gif|svg|webp)"
)
_SMALL_LARGEST = 2**24  # of the JSON files and the card


@dataclasses.dataclass(frozen=True)
class Release:
    """A repository at one commit, downloaded and verified.

    Attributes:
        repo_id: `"user/repo"`.
        commit: The commit's full name.
        folder: Where the files lie.
        manifest: What `keras_fer.json` says.
    """

    repo_id: str
    commit: str
    folder: pathlib.Path
    manifest: dict

    @property
    def weights(self) -> pathlib.Path:
        """The weights file."""
        return self.folder / WEIGHTS


def parse(address: str) -> tuple[str, str | None]:
    """Splits `"hf://user/repo@revision"` into repository and revision or `None`.

    Raises:
        ValueError: It is malformed.
    """
    from huggingface_hub.utils import HFValidationError, parse_hf_uri, validate_repo_id

    try:
        uri = parse_hf_uri(address)
        validate_repo_id(uri.id)
        if uri.type != "model" or uri.path_in_repo or "/" not in uri.id:
            raise ValueError("It does not name a model repository")
    except (HFValidationError, ValueError) as error:
        raise ValueError(
            f"Malformed address. Received: {address!r}. Expected "
            f'"hf://user/repo" or "hf://user/repo@revision". {error}'
        ) from error
    return uri.id, uri.revision


def push(
    model: ExpressionClassifier,
    repo_id: str,
    *,
    private: bool | None = None,
    results: dict | None = None,
    token: str | None = None,
    card: str | None = None,
    facts: dict | None = None,
    tag: str | None = None,
    commit_message: str | None = None,
) -> str:
    """Publishes a model on the Hugging Face Hub in one commit and reads it back.

    `zoo.load("hf://user/repo")` loads it, and so does, after `import keras_fer`,
    `keras.saving.load_model("hf://user/repo")`. Pushing the same again changes
    nothing; after an interruption, push again. Files that would have a repository
    refused go with the same commit.

    Args:
        model: A trained model of this package.
        repo_id: `"user/repo"`; made where it is not there.
        private: Whether a new repository is; `None` leaves it to the account.
        results: From `zoo.evaluate`, kept in `keras_fer.json`.
        token: With the right to write; `None` for the one of `hf auth login`.
        card: Text of `README.md`; `None` for a short one.
        facts: For `keras_fer.json`; see `write`.
        tag: Name of the version; `None` for `"v"` and the package's version.
        commit_message: First line of the commit.

    Returns:
        The address of the commit.

    Raises:
        ValueError: The id or model is malformed, the tag is on another content, or
            what came back is not what was sent.
        PermissionError: No token, or one that may not write there.
        OSError: The Hub cannot be reached or is out of order.
    """
    from huggingface_hub import constants, create_repo, get_token

    from keras_fer import __version__

    check_id(repo_id)
    if not (token or get_token()):
        raise PermissionError(
            f"No token. Received: token={token!r}, and none is stored. Make one with "
            f"the right to write at {constants.ENDPOINT}/settings/tokens, then run "
            "`hf auth login` or pass it as `token`."
        )
    tag = tag or f"v{__version__}"
    facts = {**facts_of(results), **(facts or {})}
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        written = write(
            model, folder / "release", facts, card or short_card(model, repo_id, facts)
        )
        with explained(repo_id, None, token, pushing=True), bounded():
            create_repo(repo_id, private=private, token=token, exist_ok=True)
            commit = _upload(
                folder / "release", repo_id, tag, commit_message or tag, token
            )
            url = f"{constants.ENDPOINT}/{repo_id}/commit/{commit}"
            release = fetch(repo_id, commit, token, files=FILES, cache=folder / "cache")
            if release.manifest != written:
                raise ValueError(
                    f"What came back is not what was pushed. Received: {url} with "
                    f"{release.manifest['files']}. Expected {written['files']}. "
                    "Push again."
                )
            open_api(token).create_tag(repo_id, tag=tag, revision=commit, exist_ok=True)
    return url


def _upload(folder, repo_id, tag, message, token):
    """Commits a folder where it differs from the repository; the commit's name."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    api = open_api(token)
    refs = api.list_repo_refs(repo_id)
    head = next(ref.target_commit for ref in refs.branches if ref.name == "main")
    tagged = next((ref.target_commit for ref in refs.tags if ref.name == tag), None)

    def differences(commit):
        """Operations that are left to do after a commit."""
        files = _list(api, repo_id, commit)
        changed = [
            name
            for name in FILES
            if name not in files or _damage(folder / name, files[name])
        ]
        stale = [path for path in files if path not in FILES and _objection(path)]
        return [
            *(CommitOperationAdd(name, folder / name) for name in changed),
            *(CommitOperationDelete(path) for path in stale),
        ]

    if tagged and differences(tagged):
        raise ValueError(
            f"The tag is taken. Received: tag={tag!r}, which {repo_id} has on another "
            f"content, commit {tagged}. Tags are not moved: pass another `tag`."
        )
    operations = differences(head)
    if not operations:
        return head
    return api.create_commit(
        repo_id, operations, commit_message=message, parent_commit=head
    ).oid


def fetch(
    repo_id: str,
    revision: str | None = None,
    token: str | None = None,
    sha256: str | None = None,
    *,
    files: Sequence[str] = NEEDED,
    cache: str | os.PathLike | None = None,
) -> Release:
    """Downloads a repository into the client's cache, or finds it there, and checks it.

    Args:
        repo_id: `"user/repo"`.
        revision: Branch, tag or commit; `None` for `main`.
        token: For private and gated ones; `None` for the one of `hf auth login`.
        sha256: What the weights must have; `None` for any.
        files: Which of `FILES`.
        cache: Folder; `None` for the client's.

    Returns:
        A `Release`.

    Raises:
        ValueError: The id is malformed, the revision unknown, or the content refused.
        FileNotFoundError: There is no such repository, or, without a connection, not
            all of it is in the cache.
        PermissionError: A token is needed, or another one.
        OSError: The Hub cannot be reached, is too slow or out of order.
    """
    check_id(repo_id)
    api = open_api(token)
    with explained(repo_id, revision, token), bounded():
        commit = _resolve(api, repo_id, revision, cache)
        folder = _cached(repo_id, commit, files, cache)
        if folder is None:
            listed = _list(api, repo_id, commit)
            _check_list(repo_id, commit, listed, files)
            paths = {
                name: _download(api, repo_id, commit, name, listed[name], cache)
                for name in files
            }
            # All at last: with wrong names from the Hub one may take another's place.
            for name, path in paths.items():
                found = _damage(path, listed[name])
                if path.parent.name != commit:
                    found = f"Received: it as of commit {path.parent.name}."
                if found:
                    _remove(path)
                    raise ValueError(
                        f"{name} of {repo_id} at {commit} is damaged. {found} It was "
                        "removed from the cache; load again."
                    )
            folder = path.parent
    manifest = read_manifest(folder / MANIFEST, f"{repo_id} at {commit}")
    received = manifest["files"][WEIGHTS]
    if sha256 and received != sha256:
        raise ValueError(
            f"The weights of {repo_id} at {commit} are not the expected ones. "
            f"Received: sha256 {received}. Expected {sha256}."
        )
    if found := contradiction(folder, manifest, files):
        raise ValueError(
            f"{repo_id} contradicts itself at {commit}. {found}, as its "
            f"{MANIFEST} says. Ask its owner to push it again."
        )
    return Release(repo_id, commit, folder, manifest)


def _resolve(api, repo_id, revision, cache):
    """The commit of a revision; where the Hub does not answer, the last one known."""
    import httpx2
    from huggingface_hub.errors import RevisionResolutionError

    ask = functools.partial(
        api.resolve_revision, repo_id, revision=revision, cache_dir=cache
    )
    for wait in (1, 2, None):  # the client asks only once
        try:
            return ask().resolved
        except (OSError, RevisionResolutionError) as error:
            failure = error
        cause = getattr(failure, "__cause__", None)
        response = getattr(failure, "response", getattr(cause, "response", None))
        status = 0 if response is None else response.status_code
        if 400 <= status < 500 and status != 429:
            raise failure
        dropped = isinstance(cause, (httpx2.RemoteProtocolError, httpx2.ReadError))
        if wait is None or not (status or dropped):
            break
        time.sleep(retry_after(response) or wait if status else wait)
    try:
        return ask(local_files_only=True).resolved
    except RevisionResolutionError:
        raise failure from failure.__cause__


def _list(api, repo_id, commit):
    """Files of a commit: path to what the Hub says about it."""
    from huggingface_hub import RepoFile

    entries = api.list_repo_tree(repo_id, recursive=True, revision=commit)
    return {entry.path: entry for entry in entries if isinstance(entry, RepoFile)}


def _check_list(repo_id, commit, listed, files):
    """Refuses what should not be downloaded."""
    for path, entry in listed.items():
        objection = None if path in FILES else _objection(path)
        limit = LARGEST if path == WEIGHTS or path not in FILES else _SMALL_LARGEST
        size = max(entry.size, entry.lfs.size if entry.lfs else 0)
        if size > limit:
            objection = f"it is declared to have {size:,} bytes, more than {limit:,}"
        if objection:
            raise ValueError(
                f"{repo_id} is refused. Received: file {path!r} at {commit}: "
                f"{objection}. Nothing was downloaded. Expected {', '.join(FILES)}, "
                "as `keras_fer.zoo.push` writes."
            )
    missing = [name for name in files if name not in listed]
    if missing:
        raise ValueError(
            f"{repo_id} is no model of this package. Received: no "
            f"{', '.join(missing)} at {commit}. Expected {', '.join(FILES)}, as "
            "`keras_fer.zoo.push` writes. For another Keras model use "
            "`keras.saving.load_model`, if you trust its owner."
        )


def _objection(path):
    """Why a file may not be in a repository, or `None`."""
    parts = re.split(r"[/\\]", path)
    if ".." in parts or not parts[0] or "\\" in path or ":" in parts[0]:
        return "its path leaves the folder"
    if not _HARMLESS.fullmatch(path):
        return "pickles, code and unknown files have no place beside a model"
    return None


def _download(api, repo_id, commit, name, entry, cache):
    """Path of a file in the cache, downloaded again where that was damaged."""
    for attempt in (1, 2):
        path = pathlib.Path(
            api.hf_hub_download(repo_id, name, revision=commit, cache_dir=cache)
        )
        if attempt == 1 and _damage(path, entry):
            _remove(path)
    return path


def _damage(path, entry):
    """What differs between a file and what the Hub lists, or `None`."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:  # another process has removed it
        return "It is gone."
    if entry.lfs:
        expected, found = entry.lfs.sha256, hashlib.sha256(data).hexdigest()
    else:  # git's name of small files
        expected = entry.blob_id
        found = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
    if (len(data), found) != (entry.size, expected):
        return (
            f"Received: {len(data):,} bytes with hash {found}. Expected "
            f"{entry.size:,} with {expected}."
        )
    return None


def _remove(path):
    """Takes a file out of the cache: the link in the snapshot and what it points to."""
    path.resolve().unlink(missing_ok=True)
    path.unlink(missing_ok=True)


def _cached(repo_id, commit, files, cache):
    """The snapshot's folder if the cache holds all files undamaged, else `None`."""
    from huggingface_hub import try_to_load_from_cache

    paths = [try_to_load_from_cache(repo_id, name, cache, commit) for name in files]
    if not all(isinstance(path, str) for path in paths):
        return None
    folder = pathlib.Path(paths[0]).parent
    try:
        manifest = read_manifest(folder / MANIFEST, repo_id)
    except ValueError:
        return None
    return None if contradiction(folder, manifest, files) else folder


def build(release: Release) -> ExpressionClassifier:
    """The model of a release, not compiled.

    Raises:
        ValueError: Its files name classes or hold arrays that are not allowed, or do
            not fit each other.
    """
    import keras

    from keras_fer.models import ExpressionClassifier

    where = f"{release.repo_id} at {release.commit}"
    try:
        config = json.loads((release.folder / CONFIG).read_bytes())
        check_config(config)
        check_weights(release.weights)
        model = keras.saving.deserialize_keras_object(config, safe_mode=True)
        if not isinstance(model, ExpressionClassifier):
            raise ValueError(f"a {type(model).__name__}")
        model.load_weights(release.weights)
        found = model.labels, model.get_layer("probabilities").temperature
    except Exception as error:  # Keras raises whatever a malformed file leads it to
        raise ValueError(
            f"The files of {where} make no model. Received: "
            f"{str(error).splitlines()[0] if str(error) else type(error).__name__} "
            "Expected an `ExpressionClassifier` as `keras_fer.zoo.push` writes it."
        ) from error
    said = tuple(release.manifest["labels"]), release.manifest["temperature"]
    if found != said:
        raise ValueError(
            f"{where} contradicts itself. Received: labels and temperature {found} in "
            f"{CONFIG}. Expected {said}, as its {MANIFEST} says."
        )
    return model
