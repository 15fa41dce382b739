"""`jaxrecon memory`: what a training step needs under every strategy, as the compiler plans it; nothing is computed."""

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro

from ..checks import UserError
from ..experiment.experiment import Experiment
from . import experiments
from .common import choices, say

UNITS = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30,
         "TIB": 2**40}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Options:
    """Tell the memory of a training step under every strategy before it is run: compiled for this device, not computed.

    The table has the temporaries, in which strategies differ, how many times larger those of a Python loop from end to
    end are, and all bytes with weights, optimizer and data, of 320 x 256 and 8 coils unless the experiment, --shape and
    --n-coils say others. With --limit the exit code is 2 where the experiment's own
    strategy does not fit, and those that do are named.

    Examples:
      jaxrecon memory --model pgd --shape 320 256 --n-coils 8
      jaxrecon memory --model modl-gleam --batch-size 4 --strategy gleam --limit 12GiB
      jaxrecon memory --model pgd-cine --shape 200 200 --frames 20
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
    from ..experiment.memory import abstract_batch, check_fits, memory
    from ..models import build
    from ..training import carry_bytes, format_memory

    problem, _ = abstract_batch(experiment, frames=options.frames)
    network, own = experiments.describe(experiment)
    size = experiments.describe_size(experiment, problem.kspace.shape[1:])
    rows = [
        ("network", network, "--model.*"),
        ("batch", f"{experiment.batch_size} of {size}", "--batch-size, --shape, --n-coils, --frames"),
        ("carry", _carry(carry_bytes(build(experiment.model), problem)), "--model.*"),
        ("strategy", own, "--strategy, --strategy.*"),
        ("optimizer", experiments.describe_optimizer(experiment), "--optimizer, --optimizer.*"),
    ]
    choices("memory of a training step", rows)
    experiments.warn_of_modules(experiment)
    report = memory(experiment, frames=options.frames)
    say(format_memory(report))
    check_fits(report, own, limit)
    if limit is not None:
        say(f"strategy {own} fits into {options.limit}")


def _carry(parts: dict[str, int]) -> str:
    """What is handed from step to step, in words."""
    mebibytes = {name: f"{size / 2**20:.1f} MiB" for name, size in parts.items()}
    if len(parts) == 1:
        return f"{mebibytes.popitem()[1]} between steps"
    total = sum(parts.values()) / 2**20
    return f"{total:.1f} MiB between steps: {', '.join(f'{name} {size}' for name, size in mebibytes.items())}"


def parse_bytes(text: str) -> int:
    """Bytes of "12GiB", "800 MB" or a number.

    Raises:
      ValueError: anything else.
    """
    found = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)\s*", text)
    if found is None or found[2].upper() not in UNITS:
        raise UserError(f"--limit {text}: expected bytes as 12GiB, 800MB or a number")
    return round(float(found[1]) * UNITS[found[2].upper()])
