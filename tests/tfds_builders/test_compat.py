import pytest
from tensorflow_datasets.core import shuffle

from tfds_builders._compat import shuffle_buffer


def spilled(folder, megabytes):
    """Whether TFDS writes examples of this size to disk while they are collected."""
    folder.mkdir()
    shuffler = shuffle.Shuffler(folder, "salt")
    for key in range(megabytes):
        shuffler.add(key, bytes(2**20))
    return any(folder.iterdir())


def test_examples_beyond_the_bound_go_to_disk(tmp_path):
    with shuffle_buffer(4 * 2**20):
        assert not spilled(tmp_path / "small", 4)
        assert spilled(tmp_path / "large", 5)
    assert not spilled(tmp_path / "afterwards", 5)


def test_the_bound_is_lifted_after_an_error(tmp_path):
    with pytest.raises(KeyError), shuffle_buffer(2**20):
        raise KeyError
    assert not spilled(tmp_path / "afterwards", 2)
