"""AdaRound: each weight of a layer is rounded up or down, whichever keeps the layer's output, not whichever is nearer.

A layer y = f(W x + b) with an activation f gets, for an integer step s of the output channel,

    W~ = s clip(floor(W / s) + h(V), -127, 127)        h(V) = clip(sigmoid(V) (zeta - gamma) + gamma, 0, 1)

with zeta = 1.1, gamma = -0.1 (the rectified sigmoid: it reaches 0 and 1). V is found with Adam (Kingma and Ba, ICLR 2015) from

    loss = sum over channels of  mean (f(W~ x' + b) - f(W x + b))^2 / e  +  lambda / K  sum 1 - |2 h(V) - 1|^beta

where x' is the input in the int8 file, so that errors of earlier layers are made up for (asymmetric reconstruction), K is the
number of weights of a channel, and e is the channel's mean square error with nearest rounding: dividing by it treats layers and
channels of any scale alike. The paper has one lambda for the sums of a layer, and no e. beta falls from 20 to 2 by half a cosine,
after a fifth of the iterations with lambda = 0. V starts where h(V) is the fraction that floor cuts off.

In the end a weight is rounded up where h(V) > 1/2. A channel whose mean square error over all rows is not less than with nearest
rounding keeps nearest rounding.

Source: Nagel, Amjad, van Baalen, Louizos, Blankevoort: Up or Down? Adaptive Rounding for Post-Training Quantization, ICML 2020,
arXiv:2004.10568. What it does not state (lambda, the batch, the learning rate, the start) is this project's choice.
"""

from dataclasses import dataclass

import numpy as np

from el_larq.compression.symmetric import LARGEST

ZETA, GAMMA = 1.1, -0.1
BETAS = (20.0, 2.0)
WARM_UP = 0.2
"""The share of the iterations without the regularizer."""

LAMBDA = 10.0
"""With coarse and fine steps and 6 to 150 weights, the least errors were found from 10 to 300."""

ITERATIONS = 2000
BATCH = 256
"""Rows of an iteration."""

RATE = 1e-2
_MOMENTS = (0.9, 0.999)


@dataclass(frozen=True)
class LayerProducts:
    """A layer as G products of matrices: a dense layer is one, a depthwise layer has one for each channel.

    inputs: x', rows of inputs, (G, N, K). kernel: W, (G, K, O). steps: s, (G, 1, O). bias: b, (G, 1, O). targets: f(W x + b),
    (G, N, O). limits: between which the activation clips.
    """

    inputs: np.ndarray
    kernel: np.ndarray
    steps: np.ndarray
    bias: np.ndarray
    targets: np.ndarray
    limits: tuple[float, float] = (-np.inf, np.inf)

    @property
    def ratio(self) -> np.ndarray:
        """W / s in float32, as kernels are rounded."""
        return self.kernel / self.steps

    @property
    def nearest(self) -> np.ndarray:
        """Which weights nearest rounding rounds up, bool (G, K, O)."""
        return np.round(self.ratio) > np.floor(self.ratio)

    def weights(self, up: np.ndarray) -> np.ndarray:
        """W~ for h(V), or for what is rounded up, (G, K, O)."""
        return self.steps * np.clip(np.floor(self.ratio) + up, -LARGEST, LARGEST)

    def errors(self, up: np.ndarray) -> np.ndarray:
        """The mean square error of each channel over all rows, float64 (G, 1, O)."""
        made = np.clip(self.inputs @ self.weights(up) + self.bias, *self.limits)
        return np.mean(np.square(made - self.targets, dtype=np.float64), axis=1, keepdims=True)


def rectified(v: np.ndarray) -> np.ndarray:
    """h(V)."""
    return np.clip(_sigmoid(v) * (ZETA - GAMMA) + GAMMA, 0, 1)


def start(fraction: np.ndarray) -> np.ndarray:
    """V with h(V) = fraction, for fractions from 0 to 1."""
    sigmoid = (fraction - GAMMA) / (ZETA - GAMMA)
    return np.log(sigmoid / (1 - sigmoid))


def regularizer(v: np.ndarray, beta: float) -> float:
    """The sum of 1 - |2 h(V) - 1|^beta."""
    return float(np.sum(1 - np.abs(2 * rectified(v) - 1) ** beta))


def annealed(iteration: int, iterations: int) -> float:
    """beta in an iteration, counted from 0."""
    share = max(0.0, (iteration / iterations - WARM_UP) / (1 - WARM_UP))
    return BETAS[1] + (BETAS[0] - BETAS[1]) * 0.5 * (1 + np.cos(np.pi * share))


def loss_and_gradient(
    layer: LayerProducts, v: np.ndarray, rows: np.ndarray, scale: np.ndarray, weight: float, beta: float
) -> tuple[float, np.ndarray]:
    """The loss on some rows, and its gradient by V, in its shape.

    scale: 1 / e of each channel, (G, 1, O). weight: lambda / K.
    """
    h, x = rectified(v), layer.inputs[:, rows]
    sums = x @ layer.weights(h) + layer.bias
    low, high = layer.limits
    error = np.clip(sums, low, high) - layer.targets[:, rows]
    loss = float(np.sum(scale * np.mean(np.square(error), axis=1, keepdims=True))) + weight * regularizer(v, beta)
    by_sums = np.where((sums > low) & (sums < high), error, 0) * (2 / len(rows) * scale)
    floor = np.floor(layer.ratio)
    inside = (floor + h > -LARGEST) & (floor + h < LARGEST)
    by_h = np.where(inside, x.transpose(0, 2, 1) @ by_sums, 0) * layer.steps
    centred = 2 * h - 1
    by_h = by_h - weight * 2 * beta * np.sign(centred) * np.abs(centred) ** (beta - 1)
    sigmoid = _sigmoid(v)
    slope = np.where((h > 0) & (h < 1), (ZETA - GAMMA) * sigmoid * (1 - sigmoid), 0)
    return loss, by_h * slope


def choose(layer: LayerProducts, seed: int, iterations: int = ITERATIONS) -> np.ndarray:
    """Which weights are rounded up, bool (G, K, O)."""
    random = np.random.default_rng(seed)
    nearest = layer.nearest
    errors = layer.errors(nearest)
    scale = np.where(errors > 0, 1 / np.where(errors > 0, errors, 1), 0).astype(np.float32)
    count, weight = layer.inputs.shape[1], LAMBDA / layer.kernel.shape[1]
    v = start(layer.ratio - np.floor(layer.ratio)).astype(np.float32)
    first, second = np.zeros_like(v), np.zeros_like(v)
    for number in range(iterations):
        rows = random.choice(count, BATCH, replace=False) if count > BATCH else np.arange(count)
        active = weight if number >= WARM_UP * iterations else 0.0
        _, gradient = loss_and_gradient(layer, v, rows, scale, active, annealed(number, iterations))
        first = _MOMENTS[0] * first + (1 - _MOMENTS[0]) * gradient
        second = _MOMENTS[1] * second + (1 - _MOMENTS[1]) * gradient**2
        corrected = [m / (1 - decay ** (number + 1)) for m, decay in zip((first, second), _MOMENTS, strict=True)]
        v = v - RATE * corrected[0] / (np.sqrt(corrected[1]) + 1e-8)
    found = rectified(v) > 0.5
    return np.where(layer.errors(found) < errors, found, nearest)


def _sigmoid(v: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-v))
