"""Files that are written whole or not at all, and folders of one process."""

from __future__ import annotations

import contextlib
import os
import pathlib
from collections.abc import Iterator


@contextlib.contextmanager
def replacing(
    path: str | os.PathLike[str], overwrite: bool = True
) -> Iterator[pathlib.Path]:
    """Gives a temporary path, which becomes `path` at the end of the `with` block.

    A full disk or a kill in between leaves an existing file as it was.

    Args:
        path: Of the file.
        overwrite: Whether it may exist, and is replaced then.

    Raises:
        FileExistsError: It exists, and `overwrite` is off.
        OSError: The file cannot be written.
    """
    path = pathlib.Path(path)
    if not overwrite:
        check_free(path)
    # The suffix stays: Keras and NumPy look at it.
    temporary = path.with_name(f"writing.{path.name}")
    try:
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        if overwrite:
            os.replace(temporary, path)
        else:
            link(temporary, path)
    except FileExistsError:
        check_free(path)
        raise
    except (OSError, RuntimeError) as error:  # h5py raises both.
        raise OSError(
            f"Cannot write {str(path)!r}: {error}. An older file of that name is "
            "untouched. Make room, or check the folder, then run the command again."
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def check_free(path: str | os.PathLike[str]) -> None:
    """Raises a `FileExistsError` if a file exists."""
    if os.path.lexists(path):
        raise FileExistsError(
            f"{os.fspath(path)!r} exists. Choose another name, or pass overwrite=True "
            "or --overwrite to replace it."
        )


def link(source: str | os.PathLike[str], target: str | os.PathLike[str]) -> None:
    """Gives a file a name that is not taken; its old name may stay.

    Raises:
        FileExistsError: The name is taken.
    """
    try:
        os.link(source, target)
    except FileExistsError:
        raise
    except OSError:  # The file system has no hard links.
        if os.path.lexists(target):
            raise
        os.rename(source, target)


@contextlib.contextmanager
def locked(folder: str | os.PathLike[str]) -> Iterator[None]:
    """Holds a folder for this process; the lock ends with it, however it ends.

    Raises:
        OSError: Another process holds it.
    """
    try:
        import fcntl
    except ImportError:  # Windows.
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OSError(
                f"Another process is training in {str(folder)!r}. Wait until it is "
                "done, or choose another output."
            ) from error
        yield
    finally:
        os.close(descriptor)
