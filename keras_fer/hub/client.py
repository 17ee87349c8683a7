"""The Hub's client, with bounded time and size, and errors that say what to do."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from keras_fer.hub.checks import shown
from keras_fer.hub.release import NEEDED

if TYPE_CHECKING:
    from huggingface_hub import HfApi

# No response may be larger.
LARGEST = 2 * 2**30

# A response slower than this on average, after `_patience` seconds, is given up.
_SLOWEST = 10_000


def check_id(repo_id: Any) -> None:
    """Raises a `ValueError` unless it is `"user/repo"`."""
    from huggingface_hub.utils import HFValidationError, validate_repo_id

    try:
        validate_repo_id(repo_id)
        if str(repo_id).count("/") != 1:
            raise HFValidationError("It needs an owner and a name.")
    except HFValidationError as error:
        raise ValueError(
            f"repo_id must be \"user/repo\", got '{shown(repo_id)}'. {shown(error)}"
        ) from error


def open_api(token: str | None) -> HfApi:
    """The client, which tells the Hub who asks."""
    from huggingface_hub import HfApi

    from keras_fer import __version__

    return HfApi(token=token, library_name="keras_fer", library_version=__version__)


def retry_after(response: Any) -> int:
    """Seconds that a response asks to wait, or 0."""
    from huggingface_hub.utils import parse_ratelimit_headers

    value = response.headers.get("Retry-After", "")
    limit = parse_ratelimit_headers(response.headers)
    return int(value) if value.isdigit() else limit.reset_in_seconds if limit else 0


@contextlib.contextmanager
def bounded() -> Iterator[None]:
    """Has every request end in a bounded time and size.

    The client waits for each piece of a response, not for the whole, and as long as a
    server tells it to. It lets its users add hooks to its session.
    """
    import httpx2
    from huggingface_hub.utils import get_session

    patience = float(os.environ.get("KERAS_FER_HUB_PATIENCE", 60))
    advice = f"Try again later, or set KERAS_FER_HUB_PATIENCE above {patience:g} s."
    thread = threading.get_ident()

    class Paced(httpx2.SyncByteStream):
        def __init__(self, stream: Any) -> None:
            self.stream = stream

        def close(self) -> None:
            self.stream.close()

        def __iter__(self) -> Iterator[bytes]:
            start, received = time.monotonic(), 0
            for piece in self.stream:
                received += len(piece)
                seconds = time.monotonic() - start
                if seconds > patience and received < seconds * _SLOWEST:
                    raise TimeoutError(
                        f"The Hub is too slow: {received:,} bytes came in "
                        f"{seconds:.0f} s, less than {_SLOWEST:,} a second. {advice}"
                    )
                if received > LARGEST:
                    raise ValueError(f"A response has more than {LARGEST:,} bytes.")
                yield piece

    def limit(request: Any) -> None:
        timeouts = request.extensions.setdefault("timeout", {})
        for kind in ("connect", "read", "write", "pool"):
            timeouts[kind] = timeouts.get(kind) or patience

    def check(response: Any) -> None:
        if threading.get_ident() != thread:
            return
        headers = response.headers
        if response.status_code == 429 and retry_after(response) > patience:
            raise OSError(
                f"The Hub is rate limited and asks to wait {retry_after(response)} s. "
                f"{advice}"
            )
        for name in ("ETag", "X-Linked-ETag"):  # the client's name for the file
            if re.search(r"[/\\]", headers.get(name, "").removeprefix("W/")):
                raise ValueError(
                    f"The Hub's header {name} is malformed: {shown(headers[name])}."
                )
        for name in ("Content-Length", "X-Linked-Size"):
            if int(headers.get(name, 0)) > LARGEST:
                raise ValueError(
                    f"The response from {shown(response.url)} is too large: it has "
                    f"{shown(headers[name])} bytes, and at most {LARGEST:,} are read."
                )
        response.stream = Paced(response.stream)

    hooks = get_session().event_hooks
    hooks["request"].append(limit)
    hooks["response"].append(check)
    try:
        yield
    finally:
        hooks["request"].remove(limit)
        hooks["response"].remove(check)


@contextlib.contextmanager
def explained(
    repo_id: str, revision: str | None, token: str | None, pushing: bool = False
) -> Iterator[None]:
    """Turns the client's errors into ones that say what to do."""
    import httpx2
    from huggingface_hub import constants, errors, get_token

    what = (
        f"'{shown(repo_id)}' at revision '{shown(revision or 'main')}' on "
        f"{constants.ENDPOINT}"
    )
    sent = "a token" if token or get_token() else "no token"
    page = f"{constants.ENDPOINT}/{repo_id}"
    again = "Try again later."
    if not pushing:
        again += " What was loaded before loads with HF_HUB_OFFLINE=1."
    try:
        yield
    except errors.GatedRepoError as error:
        raise PermissionError(
            f"The repository {what} is gated, and was asked for with {sent}. Ask for "
            f"access at {page}, then run `hf auth login` or pass `token`."
        ) from error
    except errors.RevisionNotFoundError as error:
        raise ValueError(
            f"There is no {what}. revision must be a branch, a tag or a full commit; "
            f"see {page}/commits/main."
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise FileNotFoundError(
            f"The repository {what} does not exist or is private; it was asked for "
            f"with {sent}. Check the spelling; for a private one run `hf auth login` "
            "or pass `token`."
        ) from error
    except errors.LocalTokenNotFoundError as error:
        raise PermissionError("No token. Run `hf auth login`, or pass one.") from error
    except (
        errors.LocalEntryNotFoundError,
        errors.RevisionResolutionError,
        errors.OfflineModeIsEnabled,
        errors.HfHubHTTPError,
        httpx2.HTTPError,
        RuntimeError,  # of an upload
    ) as error:
        cause: BaseException = error
        while cause.__cause__ is not None and not hasattr(cause, "response"):
            cause = cause.__cause__
        status = getattr(getattr(cause, "response", None), "status_code", None)
        reason = shown(cause) or type(cause).__name__
        if status == 401:
            raise PermissionError(
                f"Authentication failed (401) for {what}, with {sent}. Run `hf auth "
                "login` or pass a valid `token`."
            ) from error
        if status == 403:
            raise PermissionError(
                f"The Hub refuses access (403) to {what}, with {sent}: {reason} Make a "
                f"token with the right to write at {constants.ENDPOINT}"
                "/settings/tokens, and check that you may write there."
            ) from error
        if status == 412:
            raise OSError(
                f"Somebody else has pushed to {what} meanwhile. Push again."
            ) from error
        if status == 429:
            raise OSError(
                f"The Hub is rate limited (429) for {what}, with {sent}: {reason} "
                f"{again}"
            ) from error
        if status:
            raise OSError(
                f"Hub server error ({status}) for {what}: {reason} {again}"
            ) from error
        offline = isinstance(cause, errors.OfflineModeIsEnabled)
        why = "HF_HUB_OFFLINE is set" if offline else f"no connection ({reason})"
        if pushing:
            raise ConnectionError(
                f"The Hub cannot be reached for {what}: {why}. Push again with a "
                "connection; what is there is whole."
            ) from error
        command = f"hf download {shown(repo_id)}"
        if revision:
            command += f" --revision {shown(revision)}"
        raise FileNotFoundError(
            f"The Hub cannot be reached for {what}: {why}; and the cache in "
            f"{constants.HF_HUB_CACHE!r} has not all of {', '.join(NEEDED)} undamaged. "
            f"Run `{command}` with a connection."
        ) from error
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise OSError(
                errno.ENOSPC,
                f"The disk is full, and {what} does not fit. Make room in "
                f"{constants.HF_HUB_CACHE!r}, or set HF_HUB_CACHE to another folder",
            ) from error
        if str(error).startswith("Consistency check failed"):
            raise OSError(
                f"A file of {what} arrived with another size: {shown(error)} {again}"
            ) from error
        raise
