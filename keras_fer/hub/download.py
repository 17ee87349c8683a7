"""Downloads: listed before they are fetched, hashed before they are opened."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import itertools
import os
import pathlib
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from keras_fer.hub.checks import shown
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

_SMALL_LARGEST = 2**20  # of the JSON files and the card
_MOST_LISTED = 10_000  # files at the top of a repository that are looked through


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
            'An address must be "hf://user/repo" or "hf://user/repo@revision", got '
            f"'{shown(address)}'. {shown(error)}"
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
            folder = _download(api, repo_id, commit, files, listed, cache)
    manifest = read_manifest(folder / MANIFEST, f"{repo_id} at {commit}")
    received = manifest["files"][WEIGHTS]
    if sha256 and received != sha256:
        raise ValueError(
            f"The weights of {repo_id} at {commit} are not the expected ones: their "
            f"sha256 is {received}, not {sha256}."
        )
    if found := contradiction(folder, manifest, files):
        raise ValueError(
            f"{repo_id} contradicts itself at {commit}. {found}. Ask its owner to push "
            "it again."
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
    """Files at the top of a repository: name to what the Hub says about it."""
    from huggingface_hub import RepoFile

    entries = api.list_repo_tree(repo_id, revision=commit)
    return {
        entry.path: entry
        for entry in itertools.islice(entries, _MOST_LISTED)
        if isinstance(entry, RepoFile)
    }


def _check_list(
    repo_id: str, commit: str, listed: dict[str, Any], files: Sequence[str]
) -> None:
    """Refuses a repository without the files that are needed, or with huge ones."""
    if missing := [name for name in files if name not in listed]:
        raise ValueError(
            f"{repo_id} is no model of this package: it has no {', '.join(missing)} at "
            f"{commit}. `keras_fer.zoo.push` writes {', '.join(FILES)}. For another "
            "Keras model use `keras.saving.load_model`, if you trust its owner."
        )
    for name in files:
        limit = LARGEST if name == WEIGHTS else _SMALL_LARGEST
        size = max(listed[name].size, listed[name].lfs.size if listed[name].lfs else 0)
        if size > limit:
            raise ValueError(
                f"{repo_id} is refused: {name} at {commit} is declared to have "
                f"{size:,} bytes, more than {limit:,}. Nothing was downloaded."
            )


def _download(
    api: HfApi,
    repo_id: str,
    commit: str,
    files: Sequence[str],
    listed: dict[str, Any],
    cache: str | pathlib.Path | None,
) -> pathlib.Path:
    """The snapshot's folder, with the files as the Hub lists them."""
    get = functools.partial(
        api.hf_hub_download, repo_id, revision=commit, cache_dir=cache
    )
    paths = {}
    for name in files:
        path = pathlib.Path(get(name))
        if damage(path, listed[name]):
            _unlink(path, cache)
            path = pathlib.Path(get(name, force_download=True))
        paths[name] = path
    # All at last: with wrong names from the Hub one may take another's place.
    for name, path in paths.items():
        found = damage(path, listed[name])
        if path.parent.name != commit:
            found = f"It is that of commit {shown(path.parent.name)}."
        if found:
            _unlink(path, cache)
            raise ValueError(
                f"{name} of {repo_id} at {commit} is damaged. {found} It was removed "
                "from the cache; load again."
            )
    return path.parent


def damage(path: pathlib.Path, entry: Any) -> str | None:
    """What differs between a file and what the Hub lists, or `None`."""
    try:
        size = path.stat().st_size
        if size != entry.size:
            return f"It has {size:,} bytes instead of {entry.size:,}."
        expected = entry.lfs.sha256 if entry.lfs else entry.blob_id
        found = _digest(path, expected)
    except FileNotFoundError:  # another process has removed it
        return "It is gone."
    if found != expected:
        return f"Its hash is {found} instead of {shown(expected)}."
    return None


def _digest(path: pathlib.Path, like: str) -> str:
    """A file's hash as the Hub names files: SHA-256, or git's own of small ones."""
    with open(path, "rb") as file:
        if len(like) == 64:
            return hashlib.file_digest(file, "sha256").hexdigest()
        data = file.read()
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def _unlink(path: pathlib.Path, cache: str | pathlib.Path | None) -> None:
    """Takes a file out of a snapshot, not what it links to.

    Raises:
        ValueError: The snapshot lies outside the cache: its folder is a link.
    """
    from huggingface_hub import constants

    inside = pathlib.Path(cache or constants.HF_HUB_CACHE).resolve()
    if not path.parent.resolve().is_relative_to(inside):
        raise ValueError(
            f"{path.name} is damaged, and {shown(path.parent)} links to a folder "
            "outside the cache, where nothing is removed. Remove that link."
        )
    path.unlink(missing_ok=True)


def _cached(
    repo_id: str,
    commit: str,
    files: Sequence[str],
    cache: str | pathlib.Path | None,
) -> pathlib.Path | None:
    """The snapshot's folder if the cache holds all files undamaged, else `None`.

    The client links a file in a snapshot to one that is named by the Hub's hash, which
    `keras_fer.json` is held to. Where there are no links nothing says what the Hub
    listed: it is asked again, and only offline the file is taken as it is.
    """
    from huggingface_hub import constants, try_to_load_from_cache
    from huggingface_hub.file_download import are_symlinks_supported

    paths = [try_to_load_from_cache(repo_id, name, cache, commit) for name in files]
    if not all(isinstance(path, str) for path in paths):
        return None
    if any(os.path.getsize(str(path)) > LARGEST for path in paths):
        return None
    folder = pathlib.Path(str(paths[0])).parent
    path = folder / MANIFEST
    if path.is_symlink():
        name = os.path.basename(os.readlink(path))
        if path.stat().st_size > _SMALL_LARGEST or _digest(path, name) != name:
            return None
    elif not constants.is_offline_mode() or are_symlinks_supported(cache):
        return None
    try:
        manifest = read_manifest(path, repo_id)
    except ValueError:
        return None
    return None if contradiction(folder, manifest, files) else folder
