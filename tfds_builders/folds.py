"""Subject-independent folds."""

FOLDS = 10


def subject_folds(subjects):
    """Splits subjects into ten folds, independent of their order.

    Subjects are sorted, and every tenth goes into the same fold: the first, eleventh
    and twenty-first into `fold_0`. Works on CK+ and Oulu-CASIA commonly sample subjects
    like this, in ascending order with a step of ten (e.g. Liu et al., "Facial
    Expression Recognition via a Boosted Deep Belief Network", CVPR 2014).

    Args:
        subjects: Names of subjects, in any order; duplicates count once.

    Returns:
        `{"fold_0": [...], ..., "fold_9": [...]}`: sorted lists of subjects whose
        lengths differ by at most one.

    Raises:
        ValueError: There are fewer subjects than folds.
    """
    subjects = sorted(set(subjects))
    if len(subjects) < FOLDS:
        raise ValueError(
            f"{FOLDS} folds need at least {FOLDS} subjects, got {len(subjects)} "
            f"({', '.join(map(str, subjects)) or 'none'}). Check that the whole "
            "dataset is in its folder."
        )
    return {f"fold_{fold}": subjects[fold::FOLDS] for fold in range(FOLDS)}
