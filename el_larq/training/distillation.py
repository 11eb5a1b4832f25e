r"""Losses with a teacher: a network learns to be like another one.

With logits z of the network and z' of the teacher, p = softmax(z' / T) and q = softmax(z / T), the loss of a step is the sum of

    cross_entropy    weight * cross-entropy of softmax(z) with the labels
    logits           weight * T^2 * mean over images of sum_c p_c (log p_c - log q_c)
    distributional   weight * mean over images of -sum_c p_c log q_c, with T = 1
    attention        weight * mean over images and blocks of d(Q, Q')

Q is a block's attention map: the sum over channels of its squared output, at each position. With the norm "l2" (default), maps are
divided by their L2 norm over the positions, and d is the squared Euclidean distance, 0 to 2. With "max" they are divided by their
maximum, and d is the mean over positions of the squared difference, as in Larq Zoo. Height and width of a block's output must be
the same in both networks; the number of channels may differ.

Gradients: the teacher is a constant; d log q / dz = 1 - q as usual, so that the gradients of `logits` and `distributional`
with respect to z are T (q - p) and q - p per image. Maps are differentiated through their norm.

The teacher runs without training: its batch normalizations use their moving statistics.

References: Hinton, Vinyals, Dean: Distilling the Knowledge in a Neural Network, 2015 (logits); Liu et al.: ReActNet, ECCV 2020
(distributional); Zagoruyko, Komodakis: Paying More Attention to Attention, ICLR 2017, and Martinez et al.: Training Binary Neural
Networks with Real-to-Binary Convolutions, ICLR 2020 (attention).
"""

import re
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf
import tf_keras as keras

from el_larq.data.dataset import Dataset
from el_larq.errors import ElLarqError, UsageError
from el_larq.keras_internals import is_compiled, loss_function
from el_larq.loading.load import check_has_layers
from el_larq.training.learned_steps import StepsTrained
from el_larq.training.recipe import Recipe
from el_larq.training.teacher import Teacher, load_teacher
from el_larq.training.training_plan import TrainingPlan

_BLOCK = re.compile(r"((?:stage\d+_)?(?:block_?|layer)\d+|inception\d[a-z])_")
_EPSILON = 1e-12

Distance = Callable[[Any, Any, Sequence[Any]], Any]


class Distilled(StepsTrained):
    """A network whose training step adds to its compiled loss, times a weight, the distance from a teacher.

    It shares layers and weights with the network that it is made of; a file contains that network. In evaluations the loss is the
    compiled one alone.
    """

    _forward: Any
    _distance: Any
    _weight: float

    def follow(self, maps: Sequence[Any], weight: float, distance: Distance | None) -> None:
        """Set the outputs to compare, the weight of the compiled loss, and the distance of images, logits and these outputs."""
        observed = keras.Model(self.inputs, [self.outputs[0], *maps])

        def forward(images: Any) -> Any:
            outputs: Any = observed(images, training=True)
            return outputs if maps else [outputs]

        # In a function, since Keras would count attributes that are models as parts of this one.
        self._forward, self._distance, self._weight = forward, distance, weight

    def train_step(self, data: Any) -> Any:
        images, labels, weights = keras.utils.unpack_x_y_sample_weight(data)
        with tf.GradientTape() as tape:
            logits, *maps = self._forward(images)
            added = list(self.losses)
            if self._distance is not None:
                added.append(self._distance(images, logits, maps))
            terms = [_sum(added)] if added else []
            loss = loss_function(self)(labels, logits, self._weights(weights, logits), regularization_losses=terms)
        self.optimizer.minimize(loss, self.trainable_variables, tape=tape)
        return self.compute_metrics(images, labels, logits, weights)

    def _weights(self, weights: Any, logits: Any) -> Any:
        if self._weight == 1:
            return weights
        return self._weight * (tf.ones([tf.shape(logits)[0]]) if weights is None else tf.cast(weights, tf.float32))


def with_loss(model: keras.Model, plan: TrainingPlan, data: Dataset, trust: bool) -> keras.Model:
    """The model with the loss terms of its recipe. Raises UsageError if its own loss or the teacher does not allow them."""
    if plan.teacher is None and plan.recipe.cross_entropy == 1:
        return model
    if is_compiled(model):
        raise UsageError(
            f"{plan.network_name} is compiled with its own loss, so that of recipe {plan.recipe.name} does not apply; "
            "choose a recipe with cross-entropy alone, or do not compile the model"
        )
    return distilled(model, plan.recipe, None if plan.teacher is None else load_teacher(plan.teacher, data, trust))


def distilled(model: keras.Model, recipe: Recipe, teacher: Teacher | None) -> keras.Model:
    """The model with the loss of a recipe: itself if that is the cross-entropy alone.

    Raises:
        UsageError: the attention maps of model and teacher do not fit.
    """
    if teacher is None and recipe.cross_entropy == 1:
        return model
    own: Any = Distilled(inputs=model.inputs, outputs=model.outputs, name=model.name)
    if teacher is None:
        own.follow([], recipe.cross_entropy, None)
        return own
    pairs = _pairs(model, teacher, recipe) if recipe.attention else []
    watched = keras.Model(teacher.model.inputs, [teacher.model.outputs[0], *(there for _, there in pairs)])

    def distance(images: Any, logits: Any, maps: Sequence[Any]) -> Any:
        outputs: Any = watched(teacher.inputs(images), training=False)
        known, *others = [tf.stop_gradient(output) for output in (outputs if pairs else [outputs])]
        known, logits = teacher.logits(known), tf.cast(logits, tf.float32)
        terms = []
        if recipe.logits:
            terms.append(recipe.logits * logits_loss(known, logits, recipe.temperature))
        if recipe.distributional:
            terms.append(recipe.distributional * distributional_loss(known, logits))
        if pairs:
            found = [attention_loss(a, b, recipe.attention_norm) for a, b in zip(maps, others, strict=True)]
            terms.append(recipe.attention / len(found) * _sum(found))
        return _sum(terms)

    own.follow([here for here, _ in pairs], recipe.cross_entropy, distance)
    return own


def logits_loss(teacher: Any, logits: Any, temperature: float) -> Any:
    """T^2 times the Kullback-Leibler divergence of both logits (N, C) at temperature T, mean over images."""
    log_p, log_q = (tf.nn.log_softmax(z / temperature) for z in (teacher, logits))
    return temperature**2 * tf.reduce_mean(tf.reduce_sum(tf.exp(log_p) * (log_p - log_q), axis=-1))


def distributional_loss(teacher: Any, logits: Any) -> Any:
    """Cross-entropy of the network's with the teacher's class probabilities, from logits (N, C); mean over images."""
    return -tf.reduce_mean(tf.reduce_sum(tf.nn.softmax(teacher) * tf.nn.log_softmax(logits), axis=-1))


def attention_loss(one: Any, other: Any, norm: str) -> Any:
    """The distance of two blocks' attention maps, from their outputs (N, H, W, any number of channels); mean over images."""
    a, b = (_attention(output, norm) for output in (one, other))
    squared = tf.square(a - b)
    return tf.reduce_mean(squared) if norm == "max" else tf.reduce_mean(tf.reduce_sum(squared, axis=-1))


def _attention(output: Any, norm: str) -> Any:
    energy = tf.reduce_sum(tf.square(tf.cast(output, tf.float32)), axis=-1)
    energy = tf.reshape(energy, [tf.shape(energy)[0], -1])
    if norm == "max":
        return energy / tf.maximum(tf.reduce_max(energy, axis=-1, keepdims=True), _EPSILON)
    return tf.math.l2_normalize(energy, axis=-1, epsilon=_EPSILON)


def _sum(terms: Sequence[Any]) -> Any:
    """One by one, since the order of an AddN of more than two depends on timing (`el_larq.training.determinism`)."""
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


def _pairs(model: keras.Model, teacher: Teacher, recipe: Recipe) -> list[tuple[Any, Any]]:
    """The outputs of the network and of the teacher whose maps are compared."""
    check_has_layers(teacher.model, str(teacher.name))
    here, there = blocks(model), blocks(teacher.model)
    names = recipe.attention_on or [name for name in here if name in there]
    if not names:
        raise UsageError(
            f"the network and {teacher.name} have no blocks of the same names, so attention has nothing to match; "
            "name layers in attention_on, or set attention to 0"
        )
    pairs = []
    for name in names:
        pair = _output(model, name, "the network"), _output(teacher.model, name, str(teacher.name))
        sizes = [tuple(output.shape[1:-1]) for output in pair]
        if sizes[0] != sizes[1] or len(sizes[0]) != 2:
            raise UsageError(
                f"attention on {name}: the network's map is {_by(sizes[0])}, that of {teacher.name} is {_by(sizes[1])}"
            )
        pairs.append(pair)
    return pairs


def _by(size: tuple[int, ...]) -> str:
    return "x".join(map(str, size)) or "no positions"


def blocks(model: keras.Model) -> list[str]:
    """The names of a network's blocks, in order: prefixes of the names of its layers, such as stage1_block1."""
    found = (_BLOCK.match(layer.name) for layer in model.layers)
    return list(dict.fromkeys(match.group(1) for match in found if match))


def _output(model: keras.Model, name: str, which: str) -> Any:
    """The output of a layer, or of the last layer whose name begins with a prefix."""
    layers = [layer for layer in model.layers if layer.name == name] or [
        layer for layer in model.layers if layer.name.startswith(f"{name}_")
    ]
    if not layers:
        raise UsageError(f"attention on {name}: {which} has no layer of that name, and none whose name begins with {name}_")
    output = layers[-1].output
    if isinstance(output, (list, tuple)):
        raise ElLarqError(f"attention on {name}: the layer {layers[-1].name} of {which} has several outputs")
    return output
