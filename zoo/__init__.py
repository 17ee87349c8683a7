"""The workshop: how the published weights came to be.

What users call is `keras_fer.zoo`; this is what fills it.
"""
