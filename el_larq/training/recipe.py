"""What a recipe is: how a network is trained, in one stage or in several, as data. Does not import TensorFlow.

`el_larq.training.recipes` has those that come with el-larq, `el_larq.training.recipe_file` reads and writes YAML files.
"""

from dataclasses import MISSING, dataclass, fields, replace
from typing import Any

from el_larq.errors import UsageError, unknown_name
from el_larq.methods.method import BINARIZED, INSTEAD_OF_SIGN
from el_larq.training.stage_list import check_stages, shared_epochs

OPTIMIZERS = ("adam", "adamw", "sgd", "bop")
KEPT = ("last", "best")
CLASS_WEIGHTS = ("none", "balanced")
BATCH_NORM = ("train", "frozen")
MAX_OPERATIONS = 14
"""Of RandAugment, per image: it has as many different ones."""
FLOAT32, FLOAT16 = "float32", "mixed_float16"
PRECISIONS = (FLOAT32, "mixed_bfloat16", FLOAT16)
QAT_BITS = (8, 6, 4)
PRUNE = ("none", "magnitude", "layer-magnitude", "2:4", "channels", "keep")
_FIXED_SPARSITY = ("none", "2:4", "keep")
"""Those whose sparsity is not chosen."""
QAT_RANGES = ("auto", "learned", "averaged")
SCHEDULES = ("cosine", "linear", "step", "constant")
ATTENTION_NORMS = ("l2", "max")

DISTILLING = ("logits", "distributional", "attention")
"""The loss terms that need a teacher."""


@dataclass(frozen=True)
class Recipe:
    """How a network is trained: an optimizer and a learning rate that warms up linearly and then follows a schedule.

    A recipe with ``stages`` trains one stage after the other, each a recipe of its own. Its own fields then only sum up: the epochs
    of all stages, the highest learning rate, the last stage's batch size.

    Arguments:
        learning_rate: the peak, reached after ``warmup`` (a fraction of all steps, 0 to 1).
        weight_decay: decoupled, applied per step and scaled by the learning rate; on real-valued kernels only. Of a binary
            kernel only the signs count, and gamma and batch normalization are scales: decay would change what they mean.
        label_smoothing: the fraction of each label's weight that is distributed evenly over all classes, 0 to 1.
        optimizer: "adamw"; "adam", which has no weight decay; "sgd", with Nesterov momentum; or "bop": Larq's Bop for binary
            kernels and Adam for everything else (`el_larq.training.bop`).
        momentum: of "sgd", 0 to below 1.
        schedule: after the warm-up, "cosine" and "linear" fall to zero, "step" multiplies the rate by ``drop`` at each of the
            fractions ``drop_at`` of all steps, and "constant" keeps it.
        clip_norm: gradients whose global L2 norm is larger are scaled down to it; None for no clipping.
        bop_threshold, bop_gamma: of "bop": the size of the averaged gradient at which a weight flips, and the average's rate.
        keep: which epoch's model is saved and tested: the "last", or the "best" in validation (the first of equals).
        patience: the training ends after this many epochs without a better validation accuracy (detectors: mAP@0.5); 0 for never.
            The schedule is still that of all ``epochs``.
        average: decay of a moving average of the weights (`el_larq.training.average`), with which the model is validated, saved
            and tested; 0 to below 1, 0 for none.
        random_augment: number of random operations per training image (`el_larq.data.random_augment`), 0 for none.
        random_magnitude: of these operations, 0 to 1.
        mixup, cutmix: alpha of the Beta distribution with which pairs of training images are mixed
            (`el_larq.training.mixing`), 0 for none. With both, each batch is mixed by one of them.
        class_weights: "balanced" weights each image's loss inversely to its class's number of training images; or "none". It
            applies to the cross-entropy with the labels only.
        precision: "float32"; or "mixed_bfloat16" or "mixed_float16", in which the training computes with 16 bits, with weights in
            float32 (`el_larq.training.half_precision`). The saved and tested model is one in float32.
        qat_bits: 8 for a training that simulates int8 (`el_larq.training.int8_aware`), 6 or 4 for fewer bits, which networks
            without binary layers can have and no file computes, 0 for none. The saved model is in float32.
        qat_ranges: of qat_bits: "learned" trains the steps (`el_larq.training.learned_steps`), "averaged" averages minima and
            maxima; "auto" is averaged for networks with binary layers, and learned for others.
        prune: which weights become 0 (`el_larq.training.pruning`): "magnitude" (the smallest of all), "layer-magnitude" (of each
            layer), "2:4" (two of each four inputs), "channels" (whole channels of each layer), "keep" (those that are 0 at the
            start), or "none".
        sparsity: the share of weights that are 0 in the end, of the kernels that are pruned; above 0 and below 1.
        prune_from, prune_to: fractions of all steps between which the sparsity rises, 0 to 1.
        freeze: layers that keep their weights: "none", "backbone" or patterns of names (`el_larq.training.frozen_layers`).
        backbone_rate: factor of the learning rate for all layers but the head, above 0 to 1.
        batch_norm: "train", or "frozen": the backbone's batch normalizations keep weights and statistics, and use the latter.
        binarize: which quantizers of the method are used: "nothing" (neither), "activations" or "both". The others are left out,
            with the same weights in the same order, see `el_larq.methods.method.Method.binarizing`.
        instead_of_sign: what the inputs of convolutions go through where "nothing" is binarized: "identity" or "tanh".
        cross_entropy: weight of the cross-entropy with the labels. This and the next weights are at least 0, and one is above.
        logits: weight of the divergence of the teacher's class probabilities from the network's, both at ``temperature``, which is
            positive, times the squared temperature.
        distributional: weight of the cross-entropy with the teacher's class probabilities (ReActNet's distributional loss).
        attention: weight of the distance between attention maps of network and teacher (`el_larq.training.distillation`).
        attention_on: layers, or prefixes of layers' names, whose outputs the maps are of; () for the blocks that both have.
        attention_norm: "l2" divides a map by its L2 norm, "max" by its maximum.
        method: in a recipe, the method of runs that are given none; in a stage, the method of this stage in place of the run's.
        network: in a stage only, its network in place of the run's, for a teacher.
        start: an earlier stage or a model whose weights the training starts from. All of them must fit.
        teacher: an earlier stage, a model or run folder, or a network's name, which is then trained as an earlier stage.
    """

    name: str
    summary: str
    epochs: int
    batch_size: int
    learning_rate: float
    warmup: float = 0.05
    weight_decay: float = 1e-4
    label_smoothing: float = 0.1
    optimizer: str = "adamw"
    momentum: float = 0.9
    schedule: str = "cosine"
    drop_at: tuple[float, ...] = (0.5, 0.75)
    drop: float = 0.1
    clip_norm: float | None = None
    bop_threshold: float = 1e-8
    bop_gamma: float = 1e-4
    keep: str = "last"
    patience: int = 0
    average: float = 0.0
    random_augment: int = 0
    random_magnitude: float = 0.3
    mixup: float = 0.0
    cutmix: float = 0.0
    class_weights: str = "none"
    precision: str = FLOAT32
    qat_bits: int = 0
    qat_ranges: str = "auto"
    prune: str = "none"
    sparsity: float = 0.0
    prune_from: float = 0.0
    prune_to: float = 0.5
    freeze: str = "none"
    backbone_rate: float = 1.0
    batch_norm: str = "train"
    binarize: str = "both"
    instead_of_sign: str = "identity"
    cross_entropy: float = 1.0
    logits: float = 0.0
    temperature: float = 1.0
    distributional: float = 0.0
    attention: float = 0.0
    attention_on: tuple[str, ...] = ()
    attention_norm: str = "l2"
    method: str | None = None
    network: str | None = None
    start: str | None = None
    teacher: str | None = None
    stages: tuple["Recipe", ...] = ()

    def __post_init__(self) -> None:
        for name in ("drop_at", "attention_on"):
            object.__setattr__(self, name, tuple(getattr(self, name)))  # JSON has lists
        stages: Any = self.stages
        object.__setattr__(self, "stages", tuple(Recipe(**s) if isinstance(s, dict) else s for s in stages))

    @classmethod
    def of_stages(cls, name: str, summary: str, stages: tuple["Recipe", ...], method: str | None = None) -> "Recipe":
        """The recipe of several stages."""
        return cls(
            name,
            summary,
            sum(stage.epochs for stage in stages),
            stages[-1].batch_size,
            max(stage.learning_rate for stage in stages),
            method=method,
            stages=stages,
        )

    @property
    def prunes(self) -> bool:
        """Whether this training, or this stage, sets weights to 0 that were not."""
        return self.prune not in ("none", "keep")

    def with_stages(self, stages: tuple["Recipe", ...]) -> "Recipe":
        """The same recipe with other stages."""
        return Recipe.of_stages(self.name, self.summary, stages, self.method)

    def with_changes(self, **changes: Any) -> "Recipe":
        """This recipe with the given fields replaced; None keeps a field. Raises UsageError for values out of range.

        Of a recipe with stages, ``epochs`` are all together and are shared out in proportion, each stage getting at least one,
        ``learning_rate`` is the highest one and the others stay in proportion, ``qat_bits`` and ``qat_ranges`` are of the last
        stage, ``prune`` and ``sparsity`` of those that prune, and other fields change in all stages.
        """
        changes = {name: value for name, value in changes.items() if value is not None}
        if self.stages:
            return self._with_changed_stages(**changes)
        recipe = replace(self, **changes)
        if recipe.epochs < 1:
            raise UsageError(f"epochs must be at least 1; got {recipe.epochs}")
        if recipe.batch_size < 1:
            raise UsageError(f"batch size must be at least 1; got {recipe.batch_size}")
        if not 0 < recipe.learning_rate < float("inf"):
            raise UsageError(f"learning rate must be positive; got {recipe.learning_rate:g}")
        for field in ("warmup", "label_smoothing"):
            if not 0 <= getattr(recipe, field) <= 1:
                raise UsageError(f"{field.replace('_', ' ')} must be between 0 and 1; got {getattr(recipe, field):g}")
        if not 0 <= recipe.weight_decay < float("inf"):
            raise UsageError(f"weight decay must not be negative; got {recipe.weight_decay:g}")
        recipe._check_optimizer()
        recipe._check_loss()
        if recipe.keep not in KEPT:
            raise unknown_name("keep", str(recipe.keep), KEPT)
        if not 0 <= recipe.average < 1:
            raise UsageError(f"average must be a decay from 0 to below 1; got {recipe.average:g}")
        if recipe.patience < 0:
            raise UsageError(f"patience must be a number of epochs, 0 for no early stopping; got {recipe.patience}")
        recipe._check_batches_and_layers()
        recipe._check_int8()
        recipe._check_prune()
        return recipe

    def _with_changed_stages(self, epochs: int | None = None, learning_rate: float | None = None, **changes: Any) -> "Recipe":
        stages = self.stages
        of_last = {name: changes.pop(name) for name in ("qat_bits", "qat_ranges") if name in changes}
        stages = (*stages[:-1], replace(stages[-1], **of_last))
        of_pruning = {name: changes.pop(name) for name in ("prune", "sparsity") if name in changes}
        if of_pruning and not any(stage.prunes for stage in stages):
            raise UsageError(f"no stage of {self.name} prunes, so prune and sparsity do not apply; choose prune-quantize")
        if of_pruning.get("prune") in ("none", "keep"):
            raise UsageError(f"stages of {self.name} prune; choose another way, such as magnitude, or another recipe")
        if of_pruning.get("prune") in _FIXED_SPARSITY:
            of_pruning = {"sparsity": 0.0} | of_pruning
        stages = tuple(replace(stage, **of_pruning) if stage.prunes else stage for stage in stages)
        if epochs is not None:
            shares = shared_epochs(epochs, [stage.epochs for stage in stages], self.name)
            stages = tuple(replace(stage, epochs=share) for stage, share in zip(stages, shares, strict=True))
        if learning_rate is not None:
            rates = [learning_rate * (stage.learning_rate / self.learning_rate) for stage in stages]
            stages = tuple(replace(stage, learning_rate=rate) for stage, rate in zip(stages, rates, strict=True))
        checked = []
        for stage in stages:
            try:
                checked.append(stage.with_changes(**changes))
            except UsageError as error:
                raise UsageError(f"stage {stage.name}: {error}") from None
        check_stages(checked)
        return self.with_stages(tuple(checked))

    def _check_loss(self) -> None:
        for field, known in (
            ("binarize", BINARIZED),
            ("instead_of_sign", INSTEAD_OF_SIGN),
            ("attention_norm", ATTENTION_NORMS),
        ):
            if getattr(self, field) not in known:
                raise unknown_name(field, str(getattr(self, field)), known)
        weights = {field: getattr(self, field) for field in ("cross_entropy", *DISTILLING)}
        for field, weight in weights.items():
            if not 0 <= weight < float("inf"):
                raise UsageError(f"the loss weight {field} must not be negative; got {weight:g}")
        if not any(weights.values()):
            raise UsageError(f"one of the loss weights must be above 0: {', '.join(weights)}")
        if not 0 < self.temperature < float("inf"):
            raise UsageError(f"temperature must be positive; got {self.temperature:g}")
        terms = [field for field in DISTILLING if weights[field]]
        if terms and self.teacher is None:
            raise UsageError(f"the loss term {terms[0]} needs a teacher")
        if self.teacher is not None and not terms:
            raise UsageError(f"the teacher {self.teacher} is not used; set the weight of {', '.join(DISTILLING)}, or omit it")

    def _check_batches_and_layers(self) -> None:
        if not 0 <= self.random_augment <= MAX_OPERATIONS:
            raise UsageError(f"random augment must be a number of operations from 0 to {MAX_OPERATIONS}; got {self.random_augment}")
        if not 0 <= self.random_magnitude <= 1:
            raise UsageError(f"random magnitude must be between 0 and 1; got {self.random_magnitude:g}")
        for field in ("mixup", "cutmix"):
            if not 0 <= getattr(self, field) < float("inf"):
                raise UsageError(f"{field} must be an alpha, 0 for none; got {getattr(self, field):g}")
        if not 0 < self.backbone_rate <= 1:
            raise UsageError(f"backbone rate must be a factor above 0, at most 1; got {self.backbone_rate:g}")
        if self.backbone_rate != 1 and self.optimizer == "bop":
            raise UsageError("bop has one learning rate for all layers; set backbone_rate to 1")
        if not self.freeze.strip(" ,"):
            raise UsageError("freeze must be none, backbone or patterns of layers' names, such as 'stem_*,stage1_*'")
        if self.batch_norm not in BATCH_NORM:
            raise unknown_name("batch_norm", str(self.batch_norm), BATCH_NORM)
        if self.precision not in PRECISIONS:
            raise unknown_name("precision", str(self.precision), PRECISIONS)
        if self.class_weights not in CLASS_WEIGHTS:
            raise unknown_name("class_weights", str(self.class_weights), CLASS_WEIGHTS)

    def _check_int8(self) -> None:
        if self.qat_bits not in (0, *QAT_BITS):
            *more, last = map(str, QAT_BITS)
            raise UsageError(f"qat_bits must be {', '.join(more)} or {last}, or 0 for none; got {self.qat_bits}")
        if self.qat_ranges not in QAT_RANGES:
            raise unknown_name("qat_ranges", str(self.qat_ranges), QAT_RANGES)
        if not self.qat_bits:
            if self.qat_ranges != "auto":
                raise UsageError(f"qat_ranges {self.qat_ranges} needs qat_bits, such as 8; got {self.qat_bits}")
            return
        if self.precision != FLOAT32:
            raise UsageError(f"qat_bits needs precision {FLOAT32}, since int8 is simulated in it; got {self.precision}")

    def _check_prune(self) -> None:
        if self.prune not in PRUNE:
            raise unknown_name("prune", str(self.prune), PRUNE)
        if self.prune in _FIXED_SPARSITY:
            if self.sparsity not in ((0, 0.5) if self.prune == "2:4" else (0,)):
                why = {"none": "sparsity needs prune, such as magnitude", "2:4": "prune 2:4 has the sparsity 0.5; omit sparsity"}
                raise UsageError(f"{why.get(self.prune, 'prune keep has the sparsity of the start; omit sparsity')}")
        elif self.sparsity == 0:
            raise UsageError(f"prune {self.prune} needs a sparsity, such as 0.3")
        elif not 0 < self.sparsity < 1:
            raise UsageError(f"sparsity must be above 0 and below 1; got {self.sparsity:g}")
        if not 0 <= self.prune_from <= self.prune_to <= 1:
            raise UsageError(
                f"prune_from and prune_to must be fractions of all steps, in this order; got {self.prune_from:g}, {self.prune_to:g}"
            )
        if self.prunes and (self.prune_from if self.prune == "2:4" else self.prune_to) and (self.keep == "best" or self.patience):
            what = "patience" if self.patience else "keep best"
            raise UsageError(f"{what} may choose an epoch before the sparsity is reached; omit it, or fine-tune with prune keep")
        if self.prune != "none" and self.average:
            raise UsageError("an average of weights is not 0 where they were pruned; set average to 0, or prune to none")

    def _check_bop(self) -> None:
        if self.clip_norm is not None:
            raise UsageError("bop does not support gradient clipping; set clip_norm to null")
        if self.average:
            raise UsageError("bop has no latent weights, so there is nothing to average; set average to 0")
        if not 0 <= self.bop_threshold < float("inf"):
            raise UsageError(f"bop threshold must not be negative; got {self.bop_threshold:g}")
        if not 0 < self.bop_gamma <= 1:
            raise UsageError(f"bop gamma must be above 0 and at most 1; got {self.bop_gamma:g}")

    def _check_optimizer(self) -> None:
        for field, known in (("optimizer", OPTIMIZERS), ("schedule", SCHEDULES)):
            if getattr(self, field) not in known:
                raise unknown_name(field, str(getattr(self, field)), known)
        if self.optimizer in ("adam", "bop") and self.weight_decay:
            raise UsageError(f"{self.optimizer} has no weight decay; choose adamw, or set weight_decay to 0")
        if self.optimizer == "bop":
            self._check_bop()
        if not 0 <= self.momentum < 1:
            raise UsageError(f"momentum must be from 0 to below 1; got {self.momentum:g}")
        if not 0 < self.drop < 1:
            raise UsageError(f"drop must be between 0 and 1; got {self.drop:g}")
        if not all(0 < at < 1 for at in self.drop_at) or list(self.drop_at) != sorted(set(self.drop_at)):
            raise UsageError(
                f"drop at must be increasing fractions of all steps; got {', '.join(f'{at:g}' for at in self.drop_at)}"
            )
        if self.clip_norm is not None and not 0 < self.clip_norm < float("inf"):
            raise UsageError(f"clip norm must be positive; got {self.clip_norm:g}")


DEFAULTS: dict[str, Any] = {field.name: field.default for field in fields(Recipe) if field.default is not MISSING}
"""The fields that a recipe may leave out, with their values."""
