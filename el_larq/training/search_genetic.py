r"""The search of the method `genetic`: a genetic algorithm over vectors of thresholds, evaluated on training batches.

An individual is a vector t of thresholds, one per filter of up to LAYERS layers, which each call selects at random. Its
fitness, which is minimized, is

    loss on the training batches + balance * mean over the filters of (mean of the filter's signs)^2

The initial population is the current thresholds, the balanced ones (each filter's median, clipped to the limit), and mutants of
the current ones. Each generation produces as many children as there are individuals. Each parent is the winner of a tournament
of two; each threshold of a child comes from either parent with equal probability; and each mutates with probability MUTATED by

    t_f += SPREAD * std(W_f) * N(0, 1),     |t_f| <= LIMIT * std(W_f)

The fitter half of parents and children survives. The fittest individual at the end becomes the new thresholds: it is never less
fit than the previous ones, because these are part of the population.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tf_keras as keras

from el_larq.keras_internals import leaf_layers
from el_larq.quantizers import GeneticSign, PerChannel
from el_larq.training.search_loss import generator, training_loss

# Few signs change at once, and a filter with normally distributed weights keeps at least about a sixth of them at either sign.
MUTATED, SPREAD, LIMIT = 0.25, 0.2, 1.0
LAYERS = 4
BATCHES = 1
_PURPOSE = 55


@dataclass(frozen=True)
class Gene:
    """One layer's part of an individual: its quantizer, and its latent weights of shape (weights per filter, filters)."""

    quantizer: GeneticSign
    weights: np.ndarray

    @property
    def deviation(self) -> np.ndarray:
        return self.weights.std(axis=0)

    @property
    def balanced(self) -> np.ndarray:
        return limit(np.median(self.weights, axis=0), self.deviation)

    def imbalance(self, thresholds: np.ndarray) -> np.ndarray:
        """Each filter's squared mean sign: 0 with equally many of both signs, 1 with one sign only."""
        return np.where(self.weights >= thresholds, 1.0, -1.0).mean(axis=0) ** 2


def search(model: keras.Model, batches: Iterable[Any], seed: int, epoch: int) -> None:
    """Find better thresholds for some kernels of a model.

    Changes the variables of its `GeneticSign` quantizers; the result is a function of all variables, batches, seed and epoch.
    Costs population * (generations + 1) forward passes.
    """
    genes = find_genes(model)
    if not genes:
        return
    random = generator(seed, epoch, _PURPOSE)
    chosen = [genes[i] for i in sorted(random.choice(len(genes), min(LAYERS, len(genes)), replace=False))]
    settings = chosen[0].quantizer
    bounds = np.cumsum([gene.weights.shape[1] for gene in chosen])[:-1]
    deviation = np.concatenate([gene.deviation for gene in chosen])
    in_use = np.concatenate([gene.quantizer.filter_threshold.numpy() for gene in chosen])
    best = in_use
    with training_loss(model, batches, BATCHES) as loss:

        def fitness(individual: np.ndarray) -> float:
            parts = np.split(individual, bounds)
            _assign(chosen, parts)
            imbalance = np.concatenate([gene.imbalance(part) for gene, part in zip(chosen, parts, strict=True)])
            value = loss() + settings.balance * float(imbalance.mean())
            return value if np.isfinite(value) else np.inf

        try:
            population = [in_use, np.concatenate([gene.balanced for gene in chosen])][: settings.population]
            population += [mutate(in_use, deviation, random) for _ in range(settings.population - len(population))]
            best = evolve(population, fitness, deviation, settings.generations, random)
        finally:
            _assign(chosen, np.split(best, bounds))


def evolve(
    population: list[np.ndarray], fitness: Any, deviation: np.ndarray, generations: int, random: np.random.Generator
) -> np.ndarray:
    """The fittest individual after the given number of generations; among equally fit ones, the oldest."""
    size = len(population)
    ranked = sorted(((fitness(individual), number) for number, individual in enumerate(population)), key=lambda entry: entry)
    everyone = list(population)
    for _ in range(generations):
        for _ in range(size):
            mother, father = (everyone[min(ranked[i] for i in random.integers(size, size=2))[1]] for _ in range(2))
            child = np.where(random.random(len(mother)) < 0.5, mother, father)
            everyone.append(mutate(child, deviation, random))
        born = range(len(everyone) - size, len(everyone))
        ranked = sorted([*ranked[:size], *((fitness(everyone[number]), number) for number in born)])[:size]
    return everyone[ranked[0][1]]


def mutate(individual: np.ndarray, deviation: np.ndarray, random: np.random.Generator) -> np.ndarray:
    hit = random.random(len(individual)) < MUTATED
    change = SPREAD * deviation * random.standard_normal(len(individual))
    return np.where(hit, limit(individual + change, deviation), individual).astype(np.float32)


def limit(thresholds: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    return np.clip(thresholds, -LIMIT * deviation, LIMIT * deviation).astype(np.float32)


def find_genes(model: keras.Model) -> list[Gene]:
    """Every trained kernel of a model that has one threshold per filter, in the order of the layers."""
    genes = []
    for layer in leaf_layers(model):
        if not layer.trainable:
            continue
        for name in ("kernel", "depthwise"):
            quantizer = getattr(layer, f"{name}_quantizer", None)
            if isinstance(quantizer, PerChannel):
                quantizer = quantizer.quantizer
            if isinstance(quantizer, GeneticSign):
                kernel = (layer.depthwise_kernel if name == "depthwise" else layer.kernel).numpy()
                filters = kernel.shape[2] if name == "depthwise" else kernel.shape[3]
                genes.append(Gene(quantizer, kernel.reshape(-1, filters)))
    return genes


def _assign(genes: list[Gene], parts: list[np.ndarray]) -> None:
    for gene, part in zip(genes, parts, strict=True):
        gene.quantizer.filter_threshold.assign(part)
