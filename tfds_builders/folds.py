"""Folds that no person is in twice."""

FOLDS = 10


def subject_folds(subjects):
    """Ten folds of whole subjects, the same whatever the order they come in.

    Subjects are sorted, and every tenth goes into one fold: the first, eleventh and
    twenty-first into `fold_0`. Works on CK+ and Oulu-CASIA commonly sample subjects
    in this way, in ascending order with a step of ten (such as Liu et al., "Facial
    Expression Recognition via a Boosted Deep Belief Network", CVPR 2014).

    Args:
        subjects: Names of subjects, in any order; each counts once.

    Returns:
        `{"fold_0": [...], ..., "fold_9": [...]}`, sorted lists of subjects, in size
        at most one apart.

    Raises:
        ValueError: There are fewer subjects than folds.
    """
    subjects = sorted(set(subjects))
    if len(subjects) < FOLDS:
        raise ValueError(
            f"Too few subjects for {FOLDS} folds. Received: {len(subjects)} "
            f"({', '.join(map(str, subjects))}). Expected at least {FOLDS}. Check that "
            "the whole dataset is in its folder."
        )
    return {f"fold_{fold}": subjects[fold::FOLDS] for fold in range(FOLDS)}
