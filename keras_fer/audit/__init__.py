"""The audit of a dataset: duplicates, conflicting labels and leaks between splits."""

from keras_fer.audit.hashing import duplicate_groups
from keras_fer.audit.report import LISTED, audit, table

__all__ = ["LISTED", "audit", "duplicate_groups", "table"]
