"""The recipes that come with el-larq, by name. Does not import TensorFlow."""

from el_larq.errors import unknown_name
from el_larq.training.recipe import Recipe

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
            "for --init-from: a tenth of standard's rate, a third of its epochs, clipped gradients",
            epochs=10,
            batch_size=64,
            learning_rate=2e-3,
            warmup=0.1,
            clip_norm=1.0,
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
    )
}


def get_recipe(name: str) -> Recipe:
    if name not in RECIPES:
        raise unknown_name("recipe", name, RECIPES)
    return RECIPES[name]
