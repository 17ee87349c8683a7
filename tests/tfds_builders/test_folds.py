import numpy as np
import pytest

from tfds_builders.folds import subject_folds


def test_every_tenth_subject():
    folds = subject_folds([f"P{i:03d}" for i in range(80, 0, -1)])
    assert folds["fold_0"] == [f"P{i:03d}" for i in range(1, 81, 10)]
    assert folds["fold_9"] == [f"P{i:03d}" for i in range(10, 81, 10)]


@pytest.mark.parametrize("seed", range(20))
def test_no_subject_is_in_two_folds_and_none_is_lost(seed):
    rng = np.random.default_rng(seed)
    subjects = {f"S{i:03d}" for i in rng.choice(1000, rng.integers(10, 130), False)}
    folds = subject_folds(subjects)
    assert list(folds) == [f"fold_{i}" for i in range(10)]
    # As many as the subjects and all of them: so each is in one fold.
    assert sum(map(len, folds.values())) == len(subjects)
    assert set().union(*folds.values()) == subjects
    sizes = [len(fold) for fold in folds.values()]
    assert max(sizes) - min(sizes) <= 1
    shuffled = list(rng.permutation([*subjects, *subjects]))
    assert subject_folds(shuffled) == folds


def test_too_few_subjects():
    with pytest.raises(ValueError, match="at least 10 subjects, got 3 .S1, S2, S3"):
        subject_folds(["S1", "S2", "S3", "S3"])
