"""Whether probabilities mean what they say.

Source: Guo et al. (2017), On Calibration of Modern Neural Networks,
https://arxiv.org/abs/1706.04599
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

N_BINS = 15
TEMPERATURES = 0.05, 20.0


class Reliability(NamedTuple):
    """Predictions grouped by the probability of the predicted class.

    confidence, accuracy (ndarray): Means per bin that has predictions, shape (n,).
    size (ndarray): Predictions per such bin, shape (n,).
    """

    confidence: np.ndarray
    accuracy: np.ndarray
    size: np.ndarray  # a tuple has a method of the name `count`

    @property
    def error(self) -> float:
        """RETURNS (float): Expected calibration error, from 0 to 1."""
        gaps = np.abs(self.confidence - self.accuracy)
        return float((gaps * self.size).sum() / max(1, self.size.sum()))


def reliability(
    logits: np.ndarray, targets: np.ndarray, *, temperature: float = 1.0
) -> Reliability:
    """Group predictions by their probability, in bins of equal width.

    logits (ndarray): Shape (n, n_classes).
    targets (ndarray): Class indices, shape (n,).
    temperature (float): What logits are divided by.
    """
    scaled = torch.from_numpy(np.asarray(logits, np.float32)) / temperature
    best = scaled.softmax(1).max(1)
    confidence = best.values.double().numpy()
    right = best.indices.numpy() == targets
    bins = np.minimum((confidence * N_BINS).astype(np.int64), N_BINS - 1)
    count = np.bincount(bins, minlength=N_BINS)
    used = count > 0
    return Reliability(
        np.bincount(bins, confidence, N_BINS)[used] / count[used],
        np.bincount(bins, right, N_BINS)[used] / count[used],
        count[used],
    )


def fit_temperature(logits: np.ndarray, targets: np.ndarray) -> float:
    """Find the temperature under which held-out data is most probable.

    logits (ndarray): Shape (n, n_classes), of data that the model was not trained on.
    targets (ndarray): Class indices, shape (n,).
    RETURNS (float): Above 1 where the model is too sure of itself.
    """
    x = torch.from_numpy(np.asarray(logits, np.float32))
    y = torch.from_numpy(np.asarray(targets, np.int64))
    log_temperature = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.LBFGS([log_temperature], max_iter=50, line_search_fn="strong_wolfe")

    def temperature() -> torch.Tensor:
        # Where all is right the best temperature is 0, and logits would run over.
        return log_temperature.exp().clamp(*TEMPERATURES)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(x / temperature(), y)
        loss.backward()
        return loss

    optimizer.step(closure)
    return float(temperature().item())


def best_threshold(probs: np.ndarray, targets: np.ndarray) -> float | None:
    """Find the threshold with the best F1 of one label.

    probs, targets (ndarray): Probability and truth (bool) per doc, shape (n,).
    RETURNS (Optional[float]): Midway between two docs' probabilities; of equally good ones the
        nearest to 0.5. None if the label is true of none.
    """
    if not targets.any():
        return None
    order = np.argsort(-probs)
    p, right = probs[order].astype(np.float64), np.cumsum(targets[order])
    f1 = 2 * right / (np.arange(1, len(p) + 1) + targets.sum())
    cuts = (p + np.append(p[1:], 0.0)) / 2
    f1[np.append(p[1:] == p[:-1], False)] = -1  # no threshold divides equal probabilities
    best = np.flatnonzero(f1 >= f1.max() - 1e-12)
    return float(min(cuts[best], key=lambda cut: abs(cut - 0.5)))
