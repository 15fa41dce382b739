"""`jaxrecon train`: train a network by a strategy, on files or on heads simulated here; the run folder is its resume point."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import tyro
from rich.console import Console

from ..experiment.experiment import Experiment
from . import experiments
from .common import choices, say

if TYPE_CHECKING:
    from jax.sharding import Mesh

    from ..strategies.configs import StrategyConfig

MAY_CHANGE = (
    "n_updates",
    "every.evaluate",
    "every.checkpoint",
    "every.log",
    "strategy.n_modules",
    "strategy.schedule",
    "strategy.n_batches",
)
"""Fields in which a run that goes on may differ."""


@dataclasses.dataclass(frozen=True)
class Options:
    """Train a reconstruction network; killed and started again with the same command, it ends with the same weights.

    What is trained is an experiment: a Python file with a function experiment(small=False) that returns a
    jaxrecon.experiment.Experiment, or --model NAME. Each field is an option: see below, for the model that is chosen.
    The folder --out gets checkpoints, log.jsonl, pictures of the validation and curves.png; TensorBoard's files where
    tensorboardX is installed. jaxrecon memory tells beforehand what a strategy needs.

    Examples:
      jaxrecon train --model pgd --small --data simulated --out runs/try           (a few minutes on two cores)
      jaxrecon train --model varnet --data /data/multicoil_train --validation /data/multicoil_val --out runs/varnet
      jaxrecon train my_experiment.py --data KNEES --out runs/knees --strategy gleam --strategy.n-modules 4
      jaxrecon train --model pgd-cine --small --data simulated --out runs/cine      (2D + time: beating hearts)
      jaxrecon train --model modl --model.norm none --model.no-shared --strategy invertible --data FOLDER --out RUN
      jaxrecon train my_experiment.py --data FOLDER --out RUN --strategy p_gleam --devices 4   (modules side by side)
      jaxrecon recon scan.h5 --checkpoint runs/varnet --out recon.h5               (use it)
    """

    config: tyro.conf.Positional[Path | None] = None
    """The configuration file."""
    data: str = tyro.MISSING
    """Folder of fully sampled scans (searched with its subfolders), a file, or: simulated. A network of frames (pgd-cine,
    modl-cine) learns from whole time series, (frame, coil, y, x): all frames of one slice position."""
    out: Path = tyro.MISSING
    """The run folder. If it holds a run of the same experiment on the same data, that run goes on."""
    model: experiments.ModelName | None = None
    """A built-in experiment, in place of a file."""
    small: bool = False
    """A smaller network and a shorter training, to see it work."""
    strategy: experiments.StrategyName | None = None
    """How the gradient is obtained, in place of the experiment's own; its numbers are options below."""
    optimizer: experiments.OptimizerName | None = None
    """The optimizer, in place of the experiment's own, with its published numbers, which are options below."""
    validation: Path | None = None
    """Folder or file for validation. Default: a tenth of the subjects of --data."""
    split: tuple[float, float, float] | None = None
    """Parts of the subjects of --data, sorted by name, for training, validation and a test that training leaves alone:
    0.72 0.08 0.2 as GLEAM has it. Default: see --validation."""
    devices: int | None = None
    """Devices, those of all hosts counted. p_gleam spreads its modules over them, other strategies the examples of a
    batch. Default: all for p_gleam and with several hosts, else one."""
    data_shards: int = 1
    """For p_gleam: parts that a batch is split into, each for devices of its own."""
    coordinator: str | None = None
    """With several hosts host:port of the first, the same command on each: its port must be free."""
    processes: int = 1
    """How many hosts (processes) there are."""
    process: int = 0
    """Which this one is, from 0."""
    join_timeout: int = 300
    """Seconds to wait for the other hosts."""
    experiment: Annotated[Experiment, tyro.conf.arg(name="")] = experiments.NO_EXPERIMENT


def parse(args: Sequence[str]) -> Options:
    """The options, with the fields of the chosen experiment among them."""
    return experiments.parse(Options, "train", args)


def run(options: Options) -> None:
    """Find the data, train, evaluate, draw."""
    from ..experiment.as_json import to_json
    from ..experiment.experiment import make_update

    experiment, out = options.experiment, options.out
    mesh, strategy = choose_devices(options)
    import jax

    from ..data.pipeline import batches, labelled
    from ..experiment.data import find_data
    from ..experiment.preparation import draw_mask, preparation
    from ..models import batched, build
    from ..training import RunFolder, evaluator, fit

    how = preparation(experiment)
    data = find_data(experiment, options.data, options.validation, split=options.split)
    check_resume(experiment, out, data=data.named)
    feed = batches(data.training, how, batch_size=experiment.batch_size, seed=experiment.seed)
    problem, target = _first(feed)
    params_key, training_key = jax.random.split(jax.random.key(experiment.seed))
    params = jax.jit(batched(build(experiment.model)).init)(params_key, problem)
    n_params = sum(leaf.size for leaf in jax.tree.leaves(params))
    on_devices = dataclasses.replace(experiment, strategy=strategy)
    update = make_update(on_devices, updates_per_epoch=feed.per_epoch, mesh=mesh)
    network, label = experiments.describe(experiment)
    size, of_data = problem.kspace.shape[1:], experiment.data
    sampling = "that of the files"
    if of_data.mask:
        number = "a new one for each slice" if of_data.n_masks is None else f"{of_data.n_masks} different ones"
        measured = 1 / np.mean(draw_mask(experiment, size, 0) != 0)
        sampling = f"{of_data.mask}, R = {measured:.2f}, {number}"
    rows = [
        ("network", f"{network}; {n_params:,} parameters", "--model.*"),
        ("strategy", label, "--strategy, --strategy.*"),
        *describe_devices(mesh, strategy),
        ("data", data.described, "--data, --validation"),
        ("batch", f"{experiment.batch_size} of {experiments.describe_size(experiment, size)}", "--batch-size, --shape"),
        ("mask", sampling, "--mask, --acceleration, --acs, --n-masks"),
        ("target", f"{of_data.target}, {target.image.dtype}; scale: {of_data.scale}", "--target, --scale"),
        ("loss", experiment.loss, "--loss"),
        ("optimizer", experiments.describe_optimizer(experiment), "--optimizer, --optimizer.*"),
        ("length", f"{experiment.n_updates} steps, {feed.per_epoch} to an epoch", "--n-updates"),
    ]
    first = jax.process_index() == 0
    if first:
        choices(f"{options.data} -> {out}", rows)
        experiments.warn_of_modules(experiment)
    evaluate = None
    if len(data.validation):
        validation = labelled(data.validation, preparation(experiment, use="validation"))
        model = build(experiment.model)
        evaluate = evaluator(model.frozen or model, validation, variant=experiment.variant)
    fit(
        update,
        params,
        feed,
        out=RunFolder(
            out, to_json(experiment, learned_from=data.named), best=rank_by(experiment.variant) if evaluate else None
        ),
        n_updates=experiment.n_updates,
        evaluate=evaluate,
        every=experiment.every,
        key=training_key,
        progress=Console().is_terminal,
    )
    if first:
        if feed.n_empty:
            say(f"slices without signal, left out of training: {feed.n_empty}")
        _finish(out, experiment)


def choose_devices(options: Options) -> "tuple[Mesh | None, StrategyConfig]":
    """Join the other hosts, and choose devices: (their mesh, None for one device; the strategy as it uses them).

    Raises:
      ValueError: options that do not fit each other, or fewer devices than asked for.
      OSError: the hosts do not meet.
    """
    from ..strategies import join_hosts, module_mesh
    from ..strategies.configs import PGleam

    strategy, several = options.experiment.strategy, options.processes > 1
    if several and options.coordinator is None:
        raise ValueError(f"--processes {options.processes} needs --coordinator host:port, the address of process 0")
    if several:
        join_hosts(options.coordinator or "", options.processes, options.process, timeout=options.join_timeout)
    if isinstance(strategy, PGleam):
        mesh = module_mesh(options.devices, n_data=options.data_shards)
        return mesh, strategy.on(mesh, n_updates=options.experiment.n_updates)
    if options.data_shards > 1:
        raise ValueError("--data-shards is for --strategy p_gleam: other strategies spread a batch over --devices")
    if not several and options.devices in (None, 1):
        return None, strategy
    import jax

    n = len(jax.devices()) if options.devices is None else options.devices
    return module_mesh(n, n_data=n), strategy


def describe_devices(mesh: "Mesh | None", strategy: "StrategyConfig") -> list[tuple[str, str, str]]:
    """The row of the choices for the devices, where there are several."""
    from ..strategies.configs import PGleam

    if mesh is None:
        return []
    text = f"{mesh.size} {mesh.devices.flat[0].platform}: {mesh.shape['data']} parts of a batch"
    if isinstance(strategy, PGleam):
        text += f" x {mesh.shape['module']} stages of modules, {strategy.schedule}, {strategy.n_batches} at once"
    return [("devices", text, "--devices, --data-shards, --strategy.*")]


def check_resume(experiment: Experiment, out: Path, *, data: Mapping[str, str] | None = None) -> None:
    """Refuse a folder that holds a run of another experiment, or of other data.

    Args:
      experiment: the run that is to go on.
      out: the run folder.
      data: what it learns from, by name, where the run keeps a record of that.

    Raises:
      ValueError: the fields that differ are listed.
    """
    from ..experiment.as_json import from_json, to_json
    from ..experiment.old_forms import renewed
    from ..training import load_config
    from ..training.checkpoints import FOLDER

    folder = out / FOLDER
    if not folder.is_dir() or not any(p.name.isdigit() for p in folder.iterdir()):
        return
    stored = load_config(out)
    recorded = None
    if data is not None:
        # what a run of an earlier version has no record of, is not compared
        record = renewed(stored).get("learned_from", data)
        recorded = {name: data[name] for name in ("files",) if name in data} | record
    before = _flat(to_json(from_json(stored, where=out, own=experiment), learned_from=recorded))
    after = _flat(to_json(experiment, learned_from=data))
    names = sorted(before.keys() | after.keys())
    different = [
        f"{name} {before.get(name)}, now {after.get(name)}"
        for name in names
        if before.get(name) != after.get(name)
        and name not in MAY_CHANGE
        # one makes the updates of the other, from the same state
        and not {before.get(name), after.get(name)} <= {"gleam", "p_gleam"}
    ]
    if different:
        raise ValueError(
            f"{out} holds a run of another experiment or of other data: {'; '.join(different)}. Choose another folder, "
            "or the options that it was made with"
        )


def rank_by(variant: str) -> tuple[str, Literal["min", "max"]]:
    """The metric that chooses the best weights, and whether its smallest or largest value does."""
    from ..metrics import VARIANTS

    return ("nmse", "min") if "nmse" in VARIANTS[variant].metrics else ("psnr", "max")


def _flat(content, prefix=""):
    out: dict[str, Any] = {}
    for name, value in content.items():
        out |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return out


def _first(feed):
    """The first batch; its readers are ended."""
    iterator = iter(feed)
    try:
        return next(iterator)
    finally:
        iterator.close()


def _finish(out: Path, experiment: Experiment) -> None:
    """Curves, the last evaluation, and what to do next."""
    from .. import plots
    from ..training import read_log

    records = read_log(out)
    training = [(r["step"], r["loss"]) for r in records if r["event"] == "training"]
    if training:
        figure = plots.curves({"loss": _columns(training)}, xlabel="step", ylabel=experiment.loss, log_y=True)
        plots.save(figure, out / "curves.png")
    evaluations = [r for r in records if r["event"] == "evaluation"]
    if evaluations:
        name, mode = rank_by(experiment.variant)
        best = (min if mode == "min" else max)(evaluations, key=lambda r: r[name])
        scores = ", ".join(f"{name.upper()} {best[name]:.4g}" for name in ("psnr", "ssim", "nmse") if name in best)
        say(f"validation, variant {experiment.variant}: {scores} at step {best['step']}, whose weights are used")
    say(f"trained: {out}; to use it: jaxrecon recon SCAN --checkpoint {out} --out recon.h5")


def _columns(pairs):
    return tuple(np.array(column, float) for column in zip(*pairs, strict=True))
