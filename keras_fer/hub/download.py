"""Downloads: listed before they are fetched, hashed before they are opened."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import pathlib
import re
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from keras_fer.hub.client import (
    LARGEST,
    bounded,
    check_id,
    explained,
    open_api,
    retry_after,
)
from keras_fer.hub.release import (
    FILES,
    MANIFEST,
    NEEDED,
    WEIGHTS,
    contradiction,
    read_manifest,
)

if TYPE_CHECKING:
    from huggingface_hub import HfApi

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
    manifest: dict[str, Any]

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


def fetch(
    repo_id: str,
    revision: str | None = None,
    token: str | None = None,
    sha256: str | None = None,
    *,
    files: Sequence[str] = NEEDED,
    cache: str | pathlib.Path | None = None,
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
        OSError: The Hub cannot be reached, is too slow or fails.
    """
    check_id(repo_id)
    api = open_api(token)
    with explained(repo_id, revision, token), bounded():
        commit = _resolve(api, repo_id, revision, cache)
        folder = _cached(repo_id, commit, files, cache)
        if folder is None:
            listed = list_files(api, repo_id, commit)
            _check_list(repo_id, commit, listed, files)
            paths = {
                name: _download(api, repo_id, commit, name, listed[name], cache)
                for name in files
            }
            # All at last: with wrong names from the Hub one may take another's place.
            for name, path in paths.items():
                found = damage(path, listed[name])
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


def _resolve(
    api: HfApi,
    repo_id: str,
    revision: str | None,
    cache: str | pathlib.Path | None,
) -> str:
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


def list_files(api: HfApi, repo_id: str, commit: str) -> dict[str, Any]:
    """Files of a commit: path to what the Hub says about it."""
    from huggingface_hub import RepoFile

    entries = api.list_repo_tree(repo_id, recursive=True, revision=commit)
    return {entry.path: entry for entry in entries if isinstance(entry, RepoFile)}


def _check_list(
    repo_id: str, commit: str, listed: dict[str, Any], files: Iterable[str]
) -> None:
    """Refuses what should not be downloaded."""
    for path, entry in listed.items():
        problem = None if path in FILES else objection(path)
        limit = LARGEST if path == WEIGHTS or path not in FILES else _SMALL_LARGEST
        size = max(entry.size, entry.lfs.size if entry.lfs else 0)
        if size > limit:
            problem = f"it is declared to have {size:,} bytes, more than {limit:,}"
        if problem:
            raise ValueError(
                f"{repo_id} is refused. Received: file {path!r} at {commit}: "
                f"{problem}. Nothing was downloaded. Expected {', '.join(FILES)}, "
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


def objection(path: str) -> str | None:
    """Why a file may not be in a repository, or `None`."""
    parts = re.split(r"[/\\]", path)
    if ".." in parts or not parts[0] or "\\" in path or ":" in parts[0]:
        return "its path leaves the folder"
    if not _HARMLESS.fullmatch(path):
        return "pickles, code and unknown files have no place beside a model"
    return None


def _download(
    api: HfApi,
    repo_id: str,
    commit: str,
    name: str,
    entry: Any,
    cache: str | pathlib.Path | None,
) -> pathlib.Path:
    """Path of a file in the cache, downloaded again where that was damaged."""
    for attempt in (1, 2):
        path = pathlib.Path(
            api.hf_hub_download(repo_id, name, revision=commit, cache_dir=cache)
        )
        if attempt == 1 and damage(path, entry):
            _remove(path)
    return path


def damage(path: pathlib.Path, entry: Any) -> str | None:
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


def _remove(path: pathlib.Path) -> None:
    """Takes a file out of the cache: the link in the snapshot and what it points to."""
    path.resolve().unlink(missing_ok=True)
    path.unlink(missing_ok=True)


def _cached(
    repo_id: str,
    commit: str,
    files: Sequence[str],
    cache: str | pathlib.Path | None,
) -> pathlib.Path | None:
    """The snapshot's folder if the cache holds all files undamaged, else `None`."""
    from huggingface_hub import try_to_load_from_cache

    paths = [try_to_load_from_cache(repo_id, name, cache, commit) for name in files]
    if not all(isinstance(path, str) for path in paths):
        return None
    folder = pathlib.Path(str(paths[0])).parent
    try:
        manifest = read_manifest(folder / MANIFEST, repo_id)
    except ValueError:
        return None
    return None if contradiction(folder, manifest, files) else folder
