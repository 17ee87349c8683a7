"""Slow, plain re-computations, one number at a time, for one image."""

import numpy as np


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def convolve(x, kernel):
    """`(H, W, C)` with `(k, k, C, D)`, padded with zeros: `(H, W, D)`."""
    height, width, channels = x.shape
    side, _, _, filters = kernel.shape
    half = side // 2
    outputs = np.zeros((height, width, filters))
    for i in range(height):
        for j in range(width):
            for a in range(side):
                for b in range(side):
                    u, v = i + a - half, j + b - half
                    if 0 <= u < height and 0 <= v < width:
                        for c in range(channels):
                            outputs[i, j] += x[u, v, c] * kernel[a, b, c]
    return outputs


def convolve_channels(x, kernel):
    """`(C, D)` descriptors of each channel with `(k, D, 1)`: `(C,)`."""
    half = len(kernel) // 2
    outputs = np.zeros(len(x))
    for c in range(len(x)):
        for a in range(len(kernel)):
            if 0 <= c + a - half < len(x):
                outputs[c] += sum(x[c + a - half] * kernel[a, :, 0])
    return outputs


def channel_means(x):
    """`(H, W, C)` to `(C,)`."""
    return np.array(
        [np.mean([p[c] for row in x for p in row]) for c in range(x.shape[2])]
    )


def channel_maxima(x):
    """`(H, W, C)` to `(C,)`."""
    return np.array([max(p[c] for row in x for p in row) for c in range(x.shape[2])])


def spatial_means_and_maxima(x):
    """`(H, W, C)` to `(H, W, 2)`."""
    return np.array([[[np.mean(p), max(p)] for p in row] for row in x])


def scan_mask(x, kernel, slope, gamma, beta, mean, variance):
    """Mask of `SpatioChannelAttention`, in inference mode."""
    x = convolve(x, kernel)
    x = np.where(x > 0, x, x * slope.reshape(-1))
    return sigmoid((x - mean) / np.sqrt(variance + 1e-5) * gamma + beta)
