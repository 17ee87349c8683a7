"""Importing this module registers the TFDS builders of the five papers' datasets."""

try:
    import tfds_builders.all  # noqa: F401
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"The datasets need the package {error.name!r}, which is not installed. Run "
        'pip install "keras-fer[datasets]".',
        name=error.name,
    ) from error
