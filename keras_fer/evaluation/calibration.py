"""Temperature scaling.

Guo et al., "On Calibration of Modern Neural Networks", 2017.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import optimize
from sklearn import metrics

from keras_fer.evaluation.metrics import check_predictions, reliability

TEMPERATURES = (0.05, 20.0)
"""The range in which a temperature is searched."""


def soften(probabilities: Any, temperature: float) -> np.ndarray:
    """Divides the logits behind probabilities by a temperature.

    The logarithm of a probability is its logit plus a constant per row, which softmax
    removes.

    Returns:
        float64 `(N, classes)`, probabilities.
    """
    smallest = np.finfo("float32").tiny
    logits = np.log(np.maximum(np.asarray(probabilities, "float64"), smallest))
    logits /= temperature
    powers: np.ndarray = np.exp(logits - logits.max(axis=1, keepdims=True))
    powers /= powers.sum(axis=1, keepdims=True)
    return powers


def fit_temperature(truth: Any, probabilities: np.ndarray) -> float:
    """The temperature that minimizes the NLL (Guo et al., 2017, section 4.2).

    Args:
        truth: int `(N,)`, classes of held-out faces.
        probabilities: `(N, classes)`.

    Returns:
        A float from 0.05 to 20. At an end of that range there is no minimum: the lower
        one if every prediction is right, the upper one if they carry no information.
    """
    classes = range(probabilities.shape[1])
    truth, probabilities = check_predictions(truth, probabilities, classes)

    def nll(log_temperature: float) -> float:
        softened = soften(probabilities, np.exp(log_temperature))
        return float(metrics.log_loss(truth, softened, labels=classes))

    # Convex in 1 / temperature, so there is one minimum in the logarithm, too.
    found = optimize.minimize_scalar(
        nll, bounds=np.log(TEMPERATURES), method="bounded", options={"xatol": 1e-6}
    )
    return float(np.exp(found.x))


def compare_temperatures(
    truth: np.ndarray, probabilities: np.ndarray, stored: float, fitted: float
) -> dict[str, Any]:
    """NLL and ECE without a temperature, with the stored and with the fitted one.

    Args:
        truth: int `(N,)`.
        probabilities: `(N, classes)`, from a model with the stored temperature.
        stored: That temperature.
        fitted: Another one.

    Returns:
        A dictionary: `n`, and for each of `uncalibrated`, `stored` and `fitted` its
        `nll` and `ece`.
    """
    classes = np.arange(probabilities.shape[1])
    result: dict[str, Any] = {"n": len(truth)}
    values = {"uncalibrated": 1.0, "stored": stored, "fitted": fitted}
    for which, value in values.items():
        softened = soften(probabilities, value / stored)
        result[which] = {
            "nll": metrics.log_loss(truth, softened, labels=classes),
            "ece": reliability(truth, softened)[0],
        }
    return result
