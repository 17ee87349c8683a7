"""TFDS builders of facial expression datasets; `import keras_fer.datasets` registers.

This file imports nothing, so that `tfds_builders.corruptions` needs no TensorFlow.
"""
