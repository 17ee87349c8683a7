"""To the Hugging Face Hub: one commit, tagged, and read back."""

from __future__ import annotations

import pathlib
import tempfile
from typing import TYPE_CHECKING, Any

from keras_fer.hub.client import bounded, check_id, explained, open_api
from keras_fer.hub.download import damage, fetch, list_files
from keras_fer.hub.release import FILES, facts_of, short_card, write

if TYPE_CHECKING:
    from keras_fer.models import ExpressionClassifier


def push(
    model: ExpressionClassifier,
    repo_id: str,
    *,
    private: bool | None = None,
    results: dict[str, Any] | None = None,
    token: str | None = None,
    card: str | None = None,
    facts: dict[str, Any] | None = None,
    tag: str | None = None,
    commit_message: str | None = None,
) -> str:
    """Publishes a model on the Hugging Face Hub in one commit and reads it back.

    `zoo.load("hf://user/repo")` loads it, and so does, after `import keras_fer`,
    `keras.saving.load_model("hf://user/repo")`. Pushing the same again changes
    nothing; after an interruption, push again. Other files of the repository stay.

    Args:
        model: A trained model that a function of `keras_fer.models` built.
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
        ValueError: The id is malformed, the model is not what a function of
            `keras_fer.models` builds, a fact is refused (see `write`), the tag is on
            another content, or what came back is not what was sent.
        PermissionError: No token, or one that may not write there.
        OSError: The Hub cannot be reached or fails.
    """
    from huggingface_hub import constants, create_repo, get_token

    from keras_fer import __version__

    check_id(repo_id)
    if not (token or get_token()):
        raise PermissionError(
            f"There is no token: token is {token!r}, and none is stored. Make one with "
            f"the right to write at {constants.ENDPOINT}/settings/tokens, then run "
            "`hf auth login` or pass it as `token`."
        )
    tag = tag or f"v{__version__}"
    facts = {**facts_of(results), **(facts or {})}
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
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
                    f"What came back from {url} is not what was pushed: it has "
                    f"{release.manifest['files']} instead of {written['files']}. Push "
                    "again."
                )
            open_api(token).create_tag(repo_id, tag=tag, revision=commit, exist_ok=True)
    return url


def _upload(
    folder: pathlib.Path, repo_id: str, tag: str, message: str, token: str | None
) -> str:
    """Commits a folder where it differs from the repository; the commit's name."""
    from huggingface_hub import CommitOperationAdd

    api = open_api(token)
    refs = api.list_repo_refs(repo_id)
    head = next(ref.target_commit for ref in refs.branches if ref.name == "main")
    tagged = next((ref.target_commit for ref in refs.tags if ref.name == tag), None)

    def differences(commit: str) -> list[Any]:
        """Operations that are left to do after a commit."""
        files = list_files(api, repo_id, commit)
        return [
            CommitOperationAdd(name, folder / name)
            for name in FILES
            if name not in files or damage(folder / name, files[name])
        ]

    if tagged and differences(tagged):
        raise ValueError(
            f"The tag {tag!r} is taken: {repo_id} has it on other content, commit "
            f"{tagged}. Tags are not moved: pass another `tag`."
        )
    operations = differences(head)
    if not operations:
        return head
    return api.create_commit(
        repo_id, operations, commit_message=message, parent_commit=head
    ).oid
