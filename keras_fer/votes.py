"""FER+ votes: which expression, if any, the votes for a face choose.

Barsoum et al., "Training Deep Networks for Facial Expression Recognition with
Crowd-Sourced Label Distribution", 2016.
"""

import numpy as np

from keras_fer.labels import LABELS

VOTES = (*LABELS, "unknown", "NF")
"""The columns of fer2013new.csv, in order; "NF" is "not a face"."""

RULES = ("majority", "votes", "all")


def winners(votes: np.ndarray, rule: str) -> np.ndarray:
    """Applies a rule of FER+ to the votes for each face.

    Ties go to the earlier column: between expressions as `keras_fer.LABELS` orders
    them, and to an expression before "unknown" and "not a face".

    Args:
        votes: int `(N, 10)`, numbers of votes in the order of `VOTES`.
        rule: `"majority"`: single votes are dropped as noise, and one expression has
            over half of the remaining votes. `"votes"`: single votes are dropped, and
            the most frequent of the ten columns is an expression. `"all"`: at least
            one vote is for an expression, and the most frequent expression wins;
            single votes count.

    Returns:
        int64 `(N,)`: indices into `keras_fer.LABELS`, -1 where no expression is chosen.

    Raises:
        ValueError: `rule` is unknown, or `votes` has another shape.
    """
    if rule not in RULES:
        raise ValueError(f"rule must be one of {', '.join(RULES)}, got {rule!r}.")
    votes = np.asarray(votes)
    if votes.ndim != 2 or votes.shape[1] != len(VOTES):
        raise ValueError(
            f"votes must have the shape (N, {len(VOTES)}), got {votes.shape}."
        )
    if rule != "all":
        votes = without_single_votes(votes)
    expressions = votes[:, : len(LABELS)]
    best, most = expressions.argmax(axis=1), expressions.max(axis=1)
    if rule == "majority":
        chosen = most * 2 > votes.sum(axis=1)
    else:
        rivals = votes if rule == "votes" else expressions
        chosen = (most > 0) & (most == rivals.max(axis=1))
    return np.where(chosen, best, -1)


def winner(votes: np.ndarray, rule: str) -> int | None:
    """`winners` for one face: votes `(10,)`, and `None` in place of -1."""
    index = int(winners(np.asarray(votes)[None], rule)[0])
    return None if index < 0 else index


def soft_labels(votes: np.ndarray) -> np.ndarray:
    """The distribution of the votes over the expressions, single votes dropped.

    Args:
        votes: int `(N, 10)`; each row has at least two votes for one expression.

    Returns:
        float32 `(N, 8)`, rows summing to 1.
    """
    expressions = without_single_votes(votes)[:, : len(LABELS)]
    shares = expressions / expressions.sum(axis=1, keepdims=True)
    return np.asarray(shares, "float32")


def without_single_votes(votes: np.ndarray) -> np.ndarray:
    """The votes, with 0 in place of each 1."""
    return np.where(votes > 1, votes, 0)
