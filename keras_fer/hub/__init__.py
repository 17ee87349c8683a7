"""Models on the Hugging Face Hub: push and fetch, and the checks of what arrives."""

from keras_fer.hub.download import Release, fetch, parse
from keras_fer.hub.upload import push

__all__ = ["Release", "fetch", "parse", "push"]
