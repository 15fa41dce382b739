"""`jaxrecon memory`: what a training step needs under every strategy, as the compiler plans it; nothing is computed."""

import dataclasses
import functools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from ..experiment.experiment import Experiment
from ..sampling.named import names
from . import experiments
from .common import choices, say

if TYPE_CHECKING:
    import optax

    from ..models import Unrolled
    from ..strategies import Strategy, UpdateStrategy
    from ..training.memory import Row

UNITS = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30,
         "TIB": 2**40}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Options:
    """Tell the memory of a training step under every strategy before it is run: compiled for this device, not computed.

    The table has the temporaries, in which strategies differ, how many times larger those of a Python loop from end to
    end are, and all bytes with weights, optimizer and data. With --limit the exit code is 2 where the experiment's own
    strategy does not fit, and those that do are named.

    Examples:
      jaxrecon memory --model pgd --shape 320 256 --coils 8
      jaxrecon memory --model modl-gleam --batch-size 4 --strategy gleam --limit 12GiB
      jaxrecon memory --model pgd-cine --size 200 200 --frames 20
      jaxrecon memory my_experiment.py --batch-size 4 --limit 80GiB
    """

    config: tyro.conf.Positional[Path | None] = None
    """The configuration file."""
    model: experiments.ModelName | None = None
    """A built-in experiment, in place of a file."""
    small: bool = False
    """Its small form."""
    strategy: experiments.StrategyName | None = None
    """The strategy that --limit is for, in place of the experiment's own; its numbers are options below."""
    optimizer: experiments.OptimizerName | None = None
    """The optimizer, in place of the experiment's own, with its published numbers, which are options below."""
    size: tuple[int, int] = (320, 256)
    """Matrix y x of the data, where the experiment does not fix it (--shape)."""
    coils: int = 8
    """Receive coils of the data, where the experiment does not fix it (--n-coils)."""
    frames: int = 20
    """Frames of the data, for networks of frames: they see the whole of a time series."""
    limit: str | None = None
    """Bytes that there are, such as 12GiB."""
    experiment: Annotated[Experiment, tyro.conf.arg(name="")] = experiments.NO_EXPERIMENT


def parse(args: Sequence[str]) -> Options:
    """The options, with the fields of the chosen experiment among them."""
    return experiments.parse(Options, "memory", args)


def run(options: Options) -> None:
    """Compile a step for every strategy; refuse what is over the limit."""
    experiment = options.experiment
    limit = None if options.limit is None else parse_bytes(options.limit)
    from ..models import build
    from ..training import carry_bytes, format_memory, memory_report
    from ..training.losses import LOSSES
    from ..training.optimizers import Course

    problem, target = abstract_batch(options)
    model = build(experiment.model)
    network, own = experiments.describe(experiment)
    tx = experiment.optimizer.build(Course(experiment.n_updates, updates_per_epoch=1, untrained=model.untrained))
    strategies = every_strategy(experiment, model, tx)
    size = experiments.describe_size(experiment, problem.kspace.shape[1:])
    rows = [
        ("network", network, "--model.*"),
        ("batch", f"{experiment.batch_size} of {size}", "--batch-size, --size, --coils, --frames"),
        ("carry", _carry(carry_bytes(model, problem)), "--model.*"),
        ("strategy", own, "--strategy, --strategy.*"),
        ("optimizer", experiments.describe_optimizer(experiment), "--optimizer, --optimizer.*"),
    ]
    choices("memory of a training step", rows)
    experiments.warn_of_modules(experiment)
    report = memory_report(model, LOSSES[experiment.loss].function, tx, problem, target, strategies=strategies)
    say(format_memory(report))
    check_report(report, own, limit)
    if limit is not None:
        say(f"strategy {own} fits into {options.limit}")


def every_strategy(
    experiment: Experiment, model: "Unrolled", tx: "optax.GradientTransformation"
) -> "dict[str, Strategy | UpdateStrategy]":
    """Those of `standard_strategies`, for shared weights gleam_shared too, and the experiment's own."""
    from ..strategies.configs import Gleam, GleamShared, modules_of
    from ..training import standard_strategies

    strategies: dict[str, Strategy | UpdateStrategy] = {
        **standard_strategies(model, n_modules=modules_of(Gleam(), model))
    }
    more = [GleamShared(model.n_steps)] if model.shared else []
    for config in (*more, experiment.strategy):
        strategies.setdefault(config.label(model), functools.partial(config.build, tx=tx))
    return strategies


def _carry(parts: dict[str, int]) -> str:
    """What is handed from step to step, in words."""
    mebibytes = {name: f"{size / 2**20:.1f} MiB" for name, size in parts.items()}
    if len(parts) == 1:
        return f"{mebibytes.popitem()[1]} between steps"
    total = sum(parts.values()) / 2**20
    return f"{total:.1f} MiB between steps: {', '.join(f'{name} {size}' for name, size in mebibytes.items())}"


def check_report(report: "list[Row]", own: str, limit: int | None) -> None:
    """Refuse a strategy that cannot train the network, or needs more bytes than the limit.

    Raises:
      ValueError: why, and which strategies fit.
    """
    chosen = next(row for row in report if row.name == own)
    if chosen.memory is None:
        raise ValueError(f"strategy {own} cannot train this network: {chosen.reason}")
    if limit is None or chosen.memory.total <= limit:
        return
    fitting = [f"{r.name} ({r.memory.total / 2**20:.0f} MiB)" for r in report if r.memory and r.memory.total <= limit]
    cure = f"these fit: {', '.join(fitting)}" if fitting else "no strategy fits: smaller batches, or a smaller network"
    raise ValueError(
        f"strategy {own} needs {chosen.memory.total / 2**20:.0f} MiB, more than the limit of {limit / 2**20:.0f} MiB; "
        f"{cure}"
    )


def parse_bytes(text: str) -> int:
    """Bytes of "12GiB", "800 MB" or a number.

    Raises:
      ValueError: anything else.
    """
    found = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)\s*", text)
    if found is None or found[2].upper() not in UNITS:
        raise ValueError(f"--limit {text}: expected bytes as 12GiB, 800MB or a number")
    return round(float(found[1]) * UNITS[found[2].upper()])


def abstract_batch(options: Options):
    """(Problem, Target) of a batch as shapes and types.

    Raises:
      ValueError: masks and sizes that do not exist.
    """
    import jax
    import jax.numpy as jnp

    from ..experiment.preparation import preparation
    from ..models import build
    from ..problem import Problem, Target

    experiment = options.experiment
    encoding, wants = preparation(experiment).encoding, build(experiment.model).wants
    size, coils, batch = (
        experiment.data.shape or options.size,
        experiment.data.n_coils or options.coils,
        experiment.batch_size,
    )
    if min(*size, coils, batch, options.frames) < 1:
        raise ValueError("--size, --coils, --frames and --batch-size must be 1 or more")
    frames = (options.frames,) if wants.input == "series" else ()
    adjacent = (wants.window,) if wants.input == "window" else ()
    of_frames = experiment.data.mask in names("frames")
    by_columns = experiment.data.mask in names("lines", "frames")
    own = (*frames, *adjacent) if of_frames or frames else ()  # frames that have masks of their own
    maps = wants.maps == "given"

    mask = (*own, *(1 for _ in own), 1 if by_columns else size[0], size[1])
    arrays = encoding.abstract((*frames, *adjacent, coils, *size), mask)
    if maps:
        arrays["maps"] = jax.ShapeDtypeStruct((coils, *size), jnp.complex64)

    def zeros():
        example = {name: jnp.zeros((batch, *array.shape), array.dtype) for name, array in arrays.items()}
        dtype = jnp.complex64 if maps and experiment.data.target != "file" else jnp.float32
        image = jnp.zeros((batch, *frames, *size), dtype)
        return Problem.from_example(example, encoding), Target(image, jnp.zeros(batch))

    return jax.eval_shape(zeros)
