"""The datasets of the five papers: importing this registers their TFDS builders."""

try:
    import tfds_builders.all  # noqa: F401
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"The datasets need a package that is not installed. Received: {error}. Run "
        'pip install "keras-fer[datasets]".',
        name=error.name,
    ) from error
