"""What a user says of a training run, checked and completed by the model's recipe and the data."""

from dataclasses import dataclass, replace

from tinsmith_data.dataset import Dataset
from tinsmith_data.limits import MAX_SEED, require, require_real, require_whole
from tinsmith_runtime.errors import UsageError
from tinsmith_train.recipe import AUGMENTATIONS, DEPTHS, FINE_TUNING, RECIPES, Recipe, find_recipe

# What float32 can hold, and more than any optimizer has a use for.
_LEAST_RATE, _MOST_RATE = 1e-30, 1e30
_WIDTHS = 0.05, 4.0
SIZES = 8, 1024
"""The least and the largest height and width that photos are fitted to, in pixels."""


@dataclass(frozen=True)
class Settings:
    """What a user says; `None` is the recipe's own. The arguments of `training.train`."""

    epochs: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    seed: int = 0
    width: float | None = None
    depth: int | None = None
    augment: str | None = None
    warm_up: float | None = None
    patience: int | None = None
    held_back: float | None = None

    def check(self) -> None:
        """Checks what can be checked before there are data.

        Raises:
            UsageError: a value is none or out of range; the message begins with its name.
        """
        for name in ("epochs", "batch_size", "patience"):
            value = getattr(self, name)
            if value is not None:
                require_whole(name, value, 1)
        require_whole("seed", self.seed, 0, MAX_SEED)
        for name, low, high in (
            ("learning_rate", _LEAST_RATE, _MOST_RATE),
            ("width", *_WIDTHS),
            ("warm_up", 0.0, 1.0),
            ("held_back", 0.0, 0.9),
        ):
            value = getattr(self, name)
            if value is not None:
                require_real(name, value, low, high)
        if self.depth is not None:
            names = " or ".join(map(str, DEPTHS))
            require(self.depth in DEPTHS, "depth", names, self.depth)
        if self.augment is not None:
            names = " or ".join(AUGMENTATIONS)
            require(self.augment in AUGMENTATIONS, "augment", names, self.augment)


def check_model(model: str, settings: Settings, init: bool = False) -> Recipe:
    """Gives the recipe of a model that can do what the settings say.

    Args:
        model: its name.
        settings: what a user says.
        init: whether it is a trained network with a new head.

    Raises:
        UsageError: there is no such model, or it has no such setting.
    """
    settings.check()
    recipe = FINE_TUNING if init else find_recipe(model)
    for name in ("width", "depth"):
        if getattr(settings, name) is not None and not getattr(recipe, name):
            having = ", ".join(key for key, one in RECIPES.items() if getattr(one, name))
            raise UsageError(f"{name}: the model `{model}` has none to choose: it is for {having}")
    if recipe is RECIPES["softmax"] and (
        settings.warm_up or settings.augment not in (None, "none", "auto")
    ):
        name = "warm_up" if settings.warm_up else "augment"
        raise UsageError(f"{name}: `softmax` has a training loop of its own, without it")
    if settings.held_back is not None and (recipe.task, bool(recipe.held_back)) != (
        "classify",
        True,
    ):
        raise UsageError(f"held_back: the model `{model}` holds no part of each class back")
    return recipe


def settled(model: str, settings: Settings, dataset: Dataset, init: bool = False) -> Recipe:
    """Gives a recipe with no setting left open; the arguments are those of `check_model`.

    Raises:
        UsageError: see `check_model`.
    """
    recipe = check_model(model, settings, init)
    said = {name: value for name, value in vars(settings).items() if value is not None}
    del said["seed"]
    recipe = replace(recipe, **said, stratified="held_back" in said)
    images = len(dataset.x_train)
    if settings.batch_size is None:
        recipe = replace(recipe, batch_size=recipe.batch_for(images))
    epochs = recipe.epochs_for(images) if settings.epochs is None else recipe.epochs
    photos = "photos" if dataset.x_train.shape[3] == 3 else "shifts"
    augment = photos if recipe.augment == "auto" else recipe.augment
    return replace(recipe, epochs=epochs, augment=augment)
