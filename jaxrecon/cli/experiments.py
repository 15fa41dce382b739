"""How commands are given an experiment: a configuration file or a built-in one, and an option for each of its fields."""

import dataclasses
import inspect
from collections.abc import Sequence
from typing import Any, Literal, TypeVar

import tyro

from ..training.experiment import Experiment, load_experiment, n_modules
from ..training.experiment_json import check_types
from ..training.networks import least_steps, model_name, window
from ..training.presets import PRESETS, SMALL
from .common import say

OptionsType = TypeVar("OptionsType")
ModelName = Literal[
    "unet", "varnet", "modl", "modl-gleam", "modl-cine", "pgd", "pgd-cine", "deep-jsense", "promptmr", "promptmr-plus"
]
NO_EXPERIMENT = PRESETS["varnet"]
"""What --help shows the options of."""


def parse(options: type[OptionsType], name: str, args: Sequence[str]) -> OptionsType:
    """Read the options of a command whose dataclass has the fields config, model, small and experiment.

    The experiment that is chosen gives the defaults, so it is looked for before the options are read.

    Raises:
      ValueError: none is chosen, or two are, or the configuration file does not run.
    """
    file = next((word for word in args if word.endswith(".py")), None)
    small = "--small" in args
    model = next((word.removeprefix("--model=") for word in args if word.startswith("--model=")), None)
    if "--model" in args[:-1]:
        model = args[list(args).index("--model") + 1]
    asks_for_help = bool({"-h", "--help"} & set(args))
    if file and model:
        raise ValueError(f"{file} and --model {model} both choose the experiment: give one of them")
    if not (file or model or asks_for_help):
        raise ValueError(
            f"{name} needs an experiment: a configuration file, as in jaxrecon {name} my_experiment.py ..., or one of "
            f"--model {', '.join(PRESETS)}"
        )
    if file and not asks_for_help:
        experiment = load_experiment(file, small=small)
        check_types(experiment, where=file)
    else:
        experiment = (SMALL if small else PRESETS).get(model or "", NO_EXPERIMENT)
    default: Any = options
    return tyro.cli(
        options,
        prog=f"jaxrecon {name}",
        description=inspect.getdoc(options),
        args=list(args),
        default=default(experiment=experiment),
        config=(tyro.conf.AvoidSubcommands,),
    )


def describe_size(experiment: Experiment, shape: Sequence[int]) -> str:
    """The size of k-space ([frame or adjacent,] coil, y, x) in words."""
    *several, coils, y, x = shape
    what = "frames" if window(experiment.model) is None else "neighbouring slices"
    return "".join(f"{n} {what} of " for n in several) + f"{y} x {x}, {coils} coils"


def describe(experiment: Experiment) -> tuple[str, str]:
    """(the network in words, how its gradient is obtained)."""
    defaults = type(experiment.model)()
    fields = [
        f"{f.name} {getattr(experiment.model, f.name)}"
        for f in dataclasses.fields(experiment.model)
        if f.name in ("n_steps", "features") or getattr(experiment.model, f.name) != getattr(defaults, f.name)
    ]
    return f"{model_name(experiment.model)}: {', '.join(fields)}", strategy_label(experiment)


def strategy_label(experiment: Experiment) -> str:
    """The strategy as `jaxrecon memory` calls it."""
    match experiment.strategy:
        case "gleam" | "gleam_shared" | "p_gleam" as name:
            return f"{name}, {n_modules(experiment)} modules"
        case "checkpointed" if experiment.every != 1:
            return f"checkpointed, every {experiment.every} steps"
        case "invertible" if experiment.n_checkpoints == 0:
            return "invertible, all steps"
        case "invertible" if experiment.n_checkpoints is not None:
            return f"invertible, {experiment.n_checkpoints} checkpoints"
    return experiment.strategy


def warn_of_modules(experiment: Experiment) -> None:
    """Say that weights do not learn where modules have too few steps: a legal experiment, but hardly what is wanted."""
    n_steps, least, modules = (
        getattr(experiment.model, "n_steps", 1),
        least_steps(experiment.model),
        n_modules(experiment),
    )
    if experiment.strategy in ("gleam", "p_gleam") and modules > 1 and n_steps < least * modules:
        say(
            f"warning: --n-modules {modules} of {n_steps} steps: the latent of {model_name(experiment.model)} gets no "
            f"gradient and never learns; give its modules {least} steps or more, as without --n-modules"
        )
