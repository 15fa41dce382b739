"""How commands are given an experiment: a configuration file or a built-in one, and an option for each of its fields."""

import dataclasses
import inspect
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import tyro

from ..experiment.as_json import OWN, check_types, kind_of
from ..experiment.catalog import CATALOG, entry
from ..models import build
from ..training.experiment import Experiment, load_experiment, n_modules
from .common import say

OptionsType = TypeVar("OptionsType")
if TYPE_CHECKING:
    ModelName = str
else:
    ModelName = Literal[tuple(CATALOG)]
NO_EXPERIMENT = CATALOG["varnet"].preset
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
            f"--model {', '.join(CATALOG)}"
        )
    if file and not asks_for_help:
        experiment = load_experiment(file, small=small)
        check_types(experiment, where=file)
    elif model:
        experiment = entry(model).small_preset if small else entry(model).preset
    else:
        experiment = NO_EXPERIMENT
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
    what = "neighbouring slices" if build(experiment.model).wants.input == "window" else "frames"
    return "".join(f"{n} {what} of " for n in several) + f"{y} x {x}, {coils} coils"


def describe(experiment: Experiment) -> tuple[str, str]:
    """(the network in words, how its gradient is obtained)."""
    fields = [f"{name} {value}" for name, value in _own_fields(experiment.model)]
    return f"{network_name(experiment)}: {', '.join(fields) or 'with its defaults'}", strategy_label(experiment)


def network_name(experiment: Experiment) -> str:
    """The name of its network, for words and figures."""
    return kind_of(experiment.model).removeprefix(OWN)


def _own_fields(config: Any) -> Iterator[tuple[str, Any]]:
    """The fields of a configuration that do not have their defaults, and their values; those of a part as part.field."""
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            yield from ((f"{field.name}.{name}", part) for name, part in _own_fields(value))
        elif isinstance(field.default, type(dataclasses.MISSING)) or value != field.default:
            yield field.name, value


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
    model, modules = build(experiment.model), n_modules(experiment)
    least = model.wants.steps_per_module
    if experiment.strategy in ("gleam", "p_gleam") and modules > 1 and model.n_steps < least * modules:
        say(
            f"warning: --n-modules {modules} of {model.n_steps} steps: what only the next step sees of one, as the latent of "
            f"{network_name(experiment)}, gets no gradient and never learns; give its modules {least} steps or more, as "
            "without --n-modules"
        )
