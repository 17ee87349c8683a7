"""Annotated images on disk: whole or absent, and never in place of another file."""

from __future__ import annotations

import contextlib
import os
import pathlib
import secrets
from collections.abc import Iterator, Mapping

import numpy as np

_SOFTWARE = "keras-fer predict"


class OutputFolder:
    """Writes images into a folder.

    No file is ever replaced and no link followed: where a name is taken, a number is
    added to it. A file appears under its name when it is complete.

    Args:
        folder: Made if it does not exist.

    Raises:
        OSError: The folder cannot be made.
    """

    def __init__(self, folder: pathlib.Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        # Where to go on, so that many images of one name do not try all numbers.
        self._number: dict[str, int] = {}

    def write(self, stem: str, images: Mapping[str, np.ndarray]) -> None:
        """Writes images as `STEM_KIND.png`, all with the same number or none.

        Args:
            stem: Of the names.
            images: Kind to image, `(H, W, 3)` uint8 RGB.

        Raises:
            OSError: A file cannot be written; its name is in the message.
        """
        with contextlib.ExitStack() as stack:
            files = {
                kind: stack.enter_context(self._temporary(f"{stem}_{kind}.png", image))
                for kind, image in images.items()
            }
            number = self._number.get(stem, 1)
            while not self._publish(stem if number == 1 else f"{stem}_{number}", files):
                number += 1
            self._number[stem] = number + 1

    @contextlib.contextmanager
    def _temporary(self, name: str, image: np.ndarray) -> Iterator[pathlib.Path]:
        from PIL import Image, PngImagePlugin

        info = PngImagePlugin.PngInfo()
        info.add_text("Software", _SOFTWARE)
        path = self.folder / f".keras-fer-{secrets.token_hex(8)}.tmp"
        try:
            with open(path, "xb") as file:
                Image.fromarray(image).save(file, "PNG", pnginfo=info)
            yield path
        except OSError as error:
            # A full disk is reported without a name.
            name = error.filename or str(self.folder / name)
            raise OSError(error.errno, error.strerror or str(error), name) from error
        finally:
            path.unlink(missing_ok=True)

    def _publish(self, name: str, files: Mapping[str, pathlib.Path]) -> bool:
        """Gives files their names; false, and nothing done, if one is taken."""
        targets = {kind: self.folder / f"{name}_{kind}.png" for kind in files}
        if any(map(os.path.lexists, targets.values())):
            return False
        written = []
        try:
            for kind, file in files.items():
                try:
                    os.link(file, targets[kind])  # Fails if the name is taken.
                except FileExistsError:
                    raise
                except OSError:  # The file system has no hard links.
                    os.rename(file, targets[kind])
                written.append(targets[kind])
        except FileExistsError:  # Another process was faster.
            for path in written:
                path.unlink()
            return False
        return True


def is_output(path: str) -> bool:
    """Whether a file is an image that an `OutputFolder` wrote."""
    try:
        with open(path, "rb") as file:
            head = file.read(256)
    except OSError:
        return False
    return b"tEXtSoftware\0" + _SOFTWARE.encode() in head
