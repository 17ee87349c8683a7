"""Private parts of TensorFlow Datasets, in one place; see the bounds in setup.py."""

import contextlib

from tensorflow_datasets.core import shuffle


@contextlib.contextmanager
def shuffle_buffer(size):
    """Bounds the examples that TFDS keeps in memory before it sorts them on disk.

    TFDS has no option for its 1,000 MiB.

    Args:
        size: Bytes; builds within the context use it.
    """
    previous = shuffle.MAX_MEM_BUFFER_SIZE
    shuffle.MAX_MEM_BUFFER_SIZE = size
    try:
        yield
    finally:
        shuffle.MAX_MEM_BUFFER_SIZE = previous
