"""Downloading an image, in bounded time and size."""

from __future__ import annotations

import ipaddress
import socket
import time
from typing import Any
from urllib.parse import urljoin, urlsplit

from keras_fer.faces.images import ImageError

LARGEST = 50_000_000
"""Bytes that are downloaded at most."""

SECONDS = 20.0
"""How long a download may take, redirects included."""

_REDIRECTS = 5


def is_url(text: object) -> bool:
    """Whether a path is an address of the web instead."""
    return isinstance(text, str) and text.lower().startswith(("http://", "https://"))


def download(url: str) -> bytes:
    """Downloads what a URL leads to.

    A redirect from a public address to a local one is not followed, so that whoever
    owns a public address cannot read from the caller's network.

    Args:
        url: `http://` or `https://`.

    Returns:
        The content.

    Raises:
        ImageError: It cannot be had, takes longer than `SECONDS`, or is larger than
            `LARGEST`.
    """
    import httpx2

    deadline = time.monotonic() + SECONDS
    try:
        with httpx2.Client(timeout=SECONDS / 2) as client:
            at = url
            for _ in range(_REDIRECTS + 1):
                with client.stream("GET", at) as response:
                    if not response.has_redirect_location:
                        response.raise_for_status()
                        return _read(url, response, deadline)
                    at = urljoin(at, response.headers["Location"])
                if not is_url(at) or (_is_local(at) and not _is_local(url)):
                    raise ImageError(
                        f"{url!r} redirects to {at!r}, which is not on the public web. "
                        "Pass that address itself if you trust it."
                    )
        raise ImageError(f"{url!r} redirects more than {_REDIRECTS} times.")
    except httpx2.HTTPStatusError as error:
        status = error.response.status_code
        raise ImageError(
            f"{url!r} cannot be downloaded: the server answers {status}. Check the "
            "address, or whether it needs a login."
        ) from error
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError) as error:
        if isinstance(error, ImageError):
            raise
        reason = str(error).split("\n")[0] or type(error).__name__
        raise ImageError(
            f"{url!r} cannot be downloaded: {reason:.200}. Check the address and the "
            "connection."
        ) from error


def _read(url: str, response: Any, deadline: float) -> bytes:
    content = bytearray()
    for part in response.iter_bytes():
        content += part
        if len(content) > LARGEST:
            raise ImageError(
                f"{url!r} has more than {LARGEST:,} bytes. Download it yourself."
            )
        if time.monotonic() > deadline:
            raise ImageError(
                f"{url!r} takes longer than {SECONDS:g} s. Download it yourself."
            )
    return bytes(content)


def _is_local(url: str) -> bool:
    """Whether a URL leads to an address that is not of the public internet."""
    host = urlsplit(url).hostname
    if not host:
        raise ValueError("it names no host")
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    addresses = (ipaddress.ip_address(str(each[4][0]).split("%")[0]) for each in found)
    return not all(address.is_global for address in addresses)
