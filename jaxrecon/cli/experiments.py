"""How commands are given an experiment: a configuration file or a built-in one, and an option for each of its fields."""

import dataclasses
import inspect
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import tyro

from ..checks import UserError
from ..experiment.as_json import OWN, check_types, kind_of
from ..experiment.catalog import CATALOG
from ..experiment.experiment import Experiment, load_experiment
from ..models import build
from ..strategies.configs import STRATEGIES, modules_of
from ..training.optimizers import OPTIMIZERS
from .common import say

OptionsType = TypeVar("OptionsType")
if TYPE_CHECKING:
    ModelName = StrategyName = OptimizerName = str
else:
    ModelName, StrategyName, OptimizerName = (Literal[tuple(table)] for table in (CATALOG, STRATEGIES, OPTIMIZERS))
NO_EXPERIMENT = CATALOG["varnet"].preset
"""What --help shows the options of."""


def parse(options: type[OptionsType], name: str, args: Sequence[str]) -> OptionsType:
    """Read the options of a command whose dataclass has the fields config, model, small, strategy, optimizer and experiment.

    The experiment that is chosen gives the defaults, with the strategy and the optimizer that are chosen by name, so these
    are looked for before the options are read.

    Raises:
      ValueError: no experiment is chosen, or two are, or the configuration file does not run; a name that does not exist.
    """
    file = next((word for word in args if word.endswith(".py")), None)
    small = "--small" in args
    model, strategy, optimizer = (_word(args, option) for option in ("--model", "--strategy", "--optimizer"))
    asks_for_help = bool({"-h", "--help"} & set(args))
    if file and model:
        raise UserError(f"{file} and --model {model} both choose the experiment: give one of them")
    if not (file or model or asks_for_help):
        word = next((word for word in args if word in CATALOG), args[0] if args else "-")
        found = "" if word.startswith("-") else f", but '{word}' is no configuration file, whose name ends in .py"
        cure = "a configuration file" if not found else "give one"
        cure += f", as in jaxrecon {name} my_experiment.py ..., or one of --model {', '.join(CATALOG)}"
        raise UserError(f"{name} needs an experiment{found}: {f'say --model {word}' if word in CATALOG else cure}")
    if file and not asks_for_help:
        experiment = load_experiment(file, small=small)
        check_types(experiment, where=file)
    elif model:
        experiment = CATALOG[model].small_preset if small else CATALOG[model].preset
    else:
        experiment = NO_EXPERIMENT
    if strategy is not None:
        experiment = dataclasses.replace(experiment, strategy=_named(strategy, "strategy", STRATEGIES)())
    if optimizer is not None:
        experiment = dataclasses.replace(experiment, optimizer=_named(optimizer, "optimizer", OPTIMIZERS))
    if file:  # an option of several values would take it, too
        rest = list(args)
        rest.remove(file)
        args = [file, *rest]
    default: Any = options
    read: Any = tyro.cli(
        options,
        prog=f"jaxrecon {name}",
        description=inspect.getdoc(options),
        args=list(args),
        default=default(experiment=experiment),
        config=(tyro.conf.AvoidSubcommands,),
    )
    # the place of the configuration file takes any word, such as a second value of the option before it
    if read.config is not None and (file is None or read.config != Path(file)):
        raise UserError(f"'{read.config}' belongs to no option, and is no configuration file, whose name ends in .py")
    return read


def _word(args, option):
    """The word after an option, or None."""
    given = next((word.removeprefix(f"{option}=") for word in args if word.startswith(f"{option}=")), None)
    return args[list(args).index(option) + 1] if option in args[:-1] else given


def _named(name, what, table):
    if name not in table:
        raise UserError(f"there is no {what} '{name}'; there are {', '.join(table)}")
    return table[name]


def describe_size(experiment: Experiment, shape: Sequence[int]) -> str:
    """The size of k-space ([frame or adjacent,] coil, y, x) in words."""
    *several, coils, y, x = shape
    what = "neighbouring slices" if build(experiment.model).wants.input == "window" else "frames"
    return "".join(f"{n} {what} of " for n in several) + f"{y} x {x}, {coils} coils"


def describe(experiment: Experiment) -> tuple[str, str]:
    """(the network in words, how its gradient is obtained)."""
    fields = [f"{name} {value}" for name, value in _own_fields(experiment.model)]
    network = f"{network_name(experiment)}: {', '.join(fields) or 'with its defaults'}"
    return network, experiment.strategy.label(build(experiment.model))


def describe_optimizer(experiment: Experiment) -> str:
    """The optimizer in words: its name, or the name of its kind and what differs from that."""
    optimizer = experiment.optimizer
    same = [name for name, named in OPTIMIZERS.items() if named == optimizer]
    if same:
        return same[0]
    fields = [f"{name.replace('_', ' ')} {value}" for name, value in _own_fields(optimizer)]
    return ", ".join([kind_of(optimizer).removeprefix(OWN), *fields])


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


def warn_of_modules(experiment: Experiment) -> None:
    """Say that weights do not learn where modules have too few steps: a legal experiment, but hardly what is wanted."""
    model = build(experiment.model)
    modules, least = modules_of(experiment.strategy, model), model.wants.steps_per_module
    if modules > 1 and model.n_steps < least * modules:
        say(
            f"warning: {modules} modules of {model.n_steps} steps: what only the next step sees of one, as the latent of "
            f"{network_name(experiment)}, gets no gradient and never learns; give its modules {least} steps or more, as "
            "without --strategy.n-modules"
        )
