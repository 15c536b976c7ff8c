"""What decoders apply to raw outputs: pure functions of arrays."""

import math

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(−x)), any shape."""
    return np.asarray(1 / (1 + np.exp(-x)), np.float32)


def softmax(x: Array) -> Array:
    """exp(x) over its sum along the last axis."""
    weights = np.exp((x - x.max(axis=-1, keepdims=True)).astype(np.float64))
    return np.asarray(weights / weights.sum(axis=-1, keepdims=True), np.float32)


def probability(x: Array) -> Array:
    """Clips to [0, 1]: in INT8, an output that shares its scale with pixels is not a probability."""
    return np.clip(x, 0, 1)


def logit(chance: float) -> float:
    """The inverse of σ; −inf for 0."""
    return math.log(chance / (1 - chance)) if chance else -math.inf


def mean_bin(logits: Array) -> npt.NDArray[np.float64]:
    """Returns Σ k · softmax(logits)_k, shape (...), of logits (..., bins); one bin is the value itself.

    Li et al., Generalized Focal Loss, 2020, arXiv:2006.04388, equation 5.
    """
    bins = logits.shape[-1]
    if bins == 1:
        return logits[..., 0].astype(np.float64)
    weights = np.exp((logits - logits.max(axis=-1, keepdims=True)).astype(np.float64))
    return np.asarray(weights @ np.arange(bins) / weights.sum(axis=-1), np.float64)


def least_activated(score: float) -> float:
    """Returns a number that every activated value above `score`, 0 to 1, is not below."""
    return float(np.float32(score))


def least_logit(score: float) -> float:
    """The same of values before σ; the margin covers float32's rounding, much of it near 1."""
    return logit(min(score, 0.99)) - 1e-3


def least_below_largest(score: float) -> float:
    """The same of values before a softmax, less the largest of their row: no share is above exp of that."""
    return math.log(score) - 1e-3
