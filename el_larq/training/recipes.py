"""The recipes that come with el-larq, by name. Does not import TensorFlow."""

from dataclasses import replace

from el_larq.errors import unknown_name
from el_larq.training.recipe import Recipe

_TEACHER = Recipe(
    "teacher",
    "the network without binarization",
    epochs=100,
    batch_size=256,
    learning_rate=1e-3,
    weight_decay=1e-5,
    label_smoothing=0.0,
    method="float",
    binarize="nothing",
)

_REACTNET_FIRST = Recipe(
    "activations",
    "binary activations, real-valued kernels",
    epochs=128,
    batch_size=256,
    learning_rate=1.25e-3,
    warmup=0.0,
    weight_decay=1e-5,
    label_smoothing=0.0,
    schedule="linear",
    binarize="activations",
    cross_entropy=0.0,
    distributional=1.0,
    teacher="teacher",
)

# Larq Zoo's weight of 30 is for maps that are divided by their maximum.
_R2B_REAL = Recipe(
    "real",
    "tanh in place of the sign, real-valued kernels",
    epochs=75,
    batch_size=256,
    learning_rate=1e-3,
    warmup=0.067,
    weight_decay=1e-5,
    label_smoothing=0.0,
    schedule="step",
    drop_at=(0.53, 0.8, 0.93),
    drop=0.3,
    binarize="nothing",
    instead_of_sign="tanh",
    logits=3.0,
    attention=30.0,
    attention_norm="max",
    teacher="teacher",
)

_R2B_STAGES = (
    _TEACHER,
    _R2B_REAL,
    replace(
        _R2B_REAL,
        name="activations",
        summary="binary activations, real-valued kernels",
        binarize="activations",
        instead_of_sign="identity",
        start="real",
        teacher="real",
    ),
    Recipe(
        "both",
        "binary activations and kernels",
        epochs=75,
        batch_size=256,
        learning_rate=2e-4,
        warmup=0.1,
        label_smoothing=0.0,
        optimizer="adam",
        weight_decay=0.0,
        logits=0.8,
        start="activations",
        teacher="activations",
    ),
)

_INT8 = Recipe(
    "int8",
    "for --init-from: int8 is simulated, at a twentieth of standard's rate, 5 epochs, clipped gradients",
    epochs=5,
    batch_size=64,
    learning_rate=1e-3,
    warmup=0.1,
    clip_norm=1.0,
    qat_bits=8,
)

_PRUNE = replace(
    _INT8,
    name="prune",
    summary="30 % of the weights, the smallest ones of all layers, become 0 in the first half",
    qat_bits=0,
    prune="magnitude",
    sparsity=0.3,
)

_FINETUNE = replace(_PRUNE, name="fine-tune", summary="pruned weights stay 0", prune="keep", sparsity=0.0)


RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            "standard",
            "AdamW, warm-up, cosine; for small images on a PC",
            epochs=30,
            batch_size=64,
            learning_rate=2e-2,
        ),
        Recipe(
            "demo",
            "the same, short enough for a first look",
            epochs=3,
            batch_size=64,
            learning_rate=2e-2,
        ),
        Recipe(
            "finetune",
            "for --init-from: standard's rate for the head and a tenth of it below, 10 epochs, clipped gradients",
            epochs=10,
            batch_size=64,
            learning_rate=2e-2,
            backbone_rate=0.1,
            warmup=0.1,
            clip_norm=1.0,
        ),
        _INT8,
        Recipe.of_stages(
            "prune-quantize",
            "for --init-from: 30 % of the weights pruned, fine-tuned, then int8 is simulated; for real-valued networks",
            (_PRUNE, replace(_FINETUNE, start="prune"), replace(_INT8, name="quantize", start="fine-tune", prune="keep")),
            method="float",
        ),
        Recipe(
            "detector",
            "for detectors: AdamW, warm-up, cosine, clipped gradients, 60 epochs",
            epochs=60,
            batch_size=16,
            learning_rate=5e-3,
            label_smoothing=0.0,
            clip_norm=5.0,
        ),
        Recipe(
            "bbg-cifar",
            "SGD, cosine, 400 epochs, as IR-Net's code trains on CIFAR-10; BBG's own recipe is not published",
            epochs=400,
            batch_size=128,
            learning_rate=0.1,
            warmup=0.0,
            label_smoothing=0.0,
            optimizer="sgd",
        ),
        Recipe.of_stages(
            "two-stage",
            "ReActNet's: a teacher, binary activations, then binary kernels; the loss is distributional",
            (
                _TEACHER,
                _REACTNET_FIRST,
                replace(
                    _REACTNET_FIRST,
                    name="both",
                    summary="binary activations and kernels",
                    optimizer="adam",
                    weight_decay=0.0,
                    binarize="both",
                    start="activations",
                ),
            ),
            method="reactnet",
        ),
        Recipe.of_stages(
            "real-to-binary",
            "Real-to-Binary's: a teacher, tanh for signs, binary activations, then binary kernels; attention maps and logits",
            _R2B_STAGES,
            method="real_to_binary",
        ),
        Recipe.of_stages(
            "el-dagger",
            "Elastic-Links in the stages of real-to-binary; no source that was seen defines the dagger of the paper's EL†",
            _R2B_STAGES,
            method="el",
        ),
    )
}


OWN = "own"
"""In place of a recipe's name in a comparison: each method's own (`own_recipe`)."""

_OWN = {"bbg": "bbg-cifar", "reactnet": "two-stage", "real_to_binary": "real-to-binary"}


def own_recipe(method: str) -> Recipe:
    """The recipe that is made for a method, or else "standard". Method `el` is published with one stage; "el-dagger" is another."""
    return RECIPES[_OWN.get(method, "standard")]


def get_recipe(name: str) -> Recipe:
    if name not in RECIPES:
        raise unknown_name("recipe", name, RECIPES)
    return RECIPES[name]
