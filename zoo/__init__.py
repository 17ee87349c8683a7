"""How the published weights are trained, evaluated and published.

Users call `keras_fer.zoo`, which loads them; this package is not part of the
distribution.
"""
