"""`jaxrecon train`: train a network by a strategy, on files or on heads simulated here; the run folder is its resume point."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import tyro
from rich.console import Console

from ..checks import UserError
from ..experiment.experiment import Experiment
from . import experiments
from .common import choices, say
from .stopping import stopping

if TYPE_CHECKING:
    from jax.sharding import Mesh

    from ..experiment.runs import Trained, TrainingPlan


@dataclasses.dataclass(frozen=True)
class Options:
    """Train a reconstruction network; killed and started again with the same command, it ends with the same weights.

    Ctrl-C and SIGTERM keep a checkpoint of the update reached, from where the same command goes on; a second one stops at once.

    What is trained is an experiment: a Python file with a function experiment(small=False) that returns a
    jaxrecon.experiment.Experiment, or --model NAME. Each field is an option: see below, for the model that is chosen.
    The folder --out gets checkpoints, log.jsonl, pictures of the validation and curves.png; TensorBoard's files where
    tensorboardX is installed. jaxrecon memory tells beforehand what a strategy needs.

    Examples:
      jaxrecon train --model pgd --small --data simulated --out runs/try           (a few minutes on two cores)
      jaxrecon train --model varnet --data /data/multicoil_train --validation /data/multicoil_val --out runs/varnet
      jaxrecon train my_experiment.py --data KNEES --out runs/knees --strategy gleam --strategy.n-modules 4
      jaxrecon train --model varnet --data FOLDER --out RUN --acceleration 4 8 --acs 0.08 0.04     (as fastMRI mixes them)
      jaxrecon train --model pgd-cine --small --data simulated --out runs/cine      (2D + time: beating hearts)
      jaxrecon train --model modl --model.norm none --model.no-shared --strategy invertible --data FOLDER --out RUN
      jaxrecon train my_experiment.py --data FOLDER --out RUN --strategy p_gleam --devices 4   (modules side by side)
      jaxrecon train --model varnet --weights runs/varnet --data OWN --out runs/own --freeze start   (fine-tune, maps kept)
      jaxrecon recon scan.h5 --checkpoint runs/varnet --out recon.h5               (use it)
    """

    config: tyro.conf.Positional[Path | None] = None
    """The configuration file."""
    data: str | None = None
    """Folder of fully sampled scans (searched with its subfolders), a file, or: simulated, which --small does by itself. A
    network of frames (pgd-cine, modl-cine) learns from whole time series, (frame, coil, y, x): all frames of one slice position."""
    out: Path = tyro.MISSING
    """The run folder. If it holds a run of the same experiment on the same data, that run goes on."""
    model: experiments.ModelName | None = None
    """A built-in experiment, in place of a file."""
    weights: Path | None = None
    """What to start from in place of random weights: a run folder, trained or converted, or a file of weights under their
    published names. Parameters alone: the optimizer starts anew. --freeze keeps some of them as they are."""
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


def run(options: Options) -> int:
    """Find the data, say what is chosen, train, draw the curves; the exit code."""
    from ..experiment.runs import prepare_training
    from ..training.log import waiting

    data = options.data or ("simulated" if options.small else None)
    if data is None:
        raise UserError("train needs --data: a folder of fully sampled scans, a file, or simulated")
    mesh = choose_devices(options)
    import jax

    first = jax.process_index() == 0
    with waiting(
        "reading or simulating the first data and compiling the initial weights", say if first else lambda _: None
    ):
        plan = prepare_training(
            options.experiment,
            data=data,
            out=options.out,
            validation=options.validation,
            split=options.split,
            weights=options.weights,
            mesh=mesh,
        )
    if first:
        choices(f"{data} -> {options.out}", describe(plan))
        experiments.warn_of_modules(options.experiment)
    with stopping("stopping after this update, with a checkpoint") as wish:
        # in a log file a bar is noise
        trained = plan.run(stop=wish, progress=True if Console().is_terminal else say)
    if trained.n_updates < plan.experiment.n_updates:
        return wish.exit_code
    if first:
        if trained.n_empty:
            say(f"slices without signal, left out of training: {trained.n_empty}")
        _finish(trained)
    return 0


def choose_devices(options: Options) -> "Mesh | None":
    """Join the other hosts, and choose devices: their mesh; None for one device.

    Raises:
      ValueError: options that do not fit each other, or fewer devices than asked for.
      OSError: the hosts do not meet.
    """
    from ..strategies import PGleam, join_hosts, module_mesh

    several = options.processes > 1
    if several and options.coordinator is None:
        raise UserError(f"--processes {options.processes} needs --coordinator host:port, the address of process 0")
    if several:
        join_hosts(options.coordinator or "", options.processes, options.process, timeout=options.join_timeout)
    if isinstance(options.experiment.strategy, PGleam):
        return module_mesh(options.devices, n_data=options.data_shards)
    if options.data_shards > 1:
        raise UserError("--data-shards is for --strategy p_gleam: other strategies spread a batch over --devices")
    if not several and options.devices in (None, 1):
        return None
    import jax

    n = len(jax.devices()) if options.devices is None else options.devices
    return module_mesh(n, n_data=n)


def describe(plan: "TrainingPlan") -> list[tuple[str, str, str]]:
    """What is trained: (what, chosen, option)."""
    from ..experiment.samplings import is_file, samplings

    experiment, of_data = plan.experiment, plan.experiment.data
    network, label = experiments.describe(experiment)
    size, image = experiments.describe_size(experiment, plan.size), plan.example[1].image
    made, sampling = "", "that of the files"
    if plan.before.made:
        left = experiment.n_updates - plan.before.made
        made = f"; {plan.before.made} are made already, " + (f"{left} to go" if left else "nothing is left to train")
    if of_data.mask:
        masks = [of_data.mask] if isinstance(of_data.mask, str) else of_data.mask
        number = "a new one for each slice" if of_data.n_masks is None else f"{of_data.n_masks} different ones"
        each = " of each" if len(plan.accelerations) > 1 else ""
        reached = " and ".join(f"{rate:.2f}" for rate in plan.accelerations)
        drawn: list[Any] = [one.data for one in samplings(experiment).values()]
        asked = " and ".join(dict.fromkeys(f"{of.acceleration:g}" for of in drawn if not is_file(of.mask)))
        if asked:
            reached = f"{asked} asked for, {reached} reached by the first mask{each}, {number}{each}"
        sampling = f"{', '.join(masks)}, R = {reached}"
    return [
        ("network", f"{network}; {plan.n_params:,} parameters", "--model.*"),
        *describe_start(plan),
        ("strategy", label, "--strategy, --strategy.*"),
        *describe_devices(plan),
        ("data", plan.data.described, "--data, --validation"),
        ("batch", f"{experiment.batch_size} of {size}", "--batch-size, --shape"),
        ("mask", sampling, "--mask, --acceleration, --acs, --n-masks"),
        ("target", f"{of_data.target}, {image.dtype}; scale: {of_data.scale}", "--target, --scale"),
        ("loss", experiment.loss, "--loss"),
        ("optimizer", experiments.describe_optimizer(experiment), "--optimizer, --optimizer.*"),
        ("length", f"{experiment.n_updates} steps, {plan.feed.per_epoch} to an epoch{made}", "--n-updates"),
    ]


def describe_start(plan: "TrainingPlan") -> list[tuple[str, str, str]]:
    """The rows of the choices for weights that are given, and for parameters that keep their values."""
    # a run that goes on has its own weights
    rows = [] if plan.start is None or plan.before.made else [("start from", plan.start.described, "--weights")]
    if plan.n_frozen:
        rows.append(("kept as they are", f"{plan.n_frozen:,} of the parameters", "--freeze"))
    return rows


def describe_devices(plan: "TrainingPlan") -> list[tuple[str, str, str]]:
    """The row of the choices for the devices, where there are several."""
    from ..strategies import PGleam

    mesh, strategy = plan.mesh, plan.strategy
    if mesh is None:
        return []
    text = f"{mesh.size} {mesh.devices.flat[0].platform}: {mesh.shape['data']} parts of a batch"
    if isinstance(strategy, PGleam):
        text += f" x {mesh.shape['module']} stages of modules, {strategy.schedule}, {strategy.n_batches} at once"
    return [("devices", text, "--devices, --data-shards, --strategy.*")]


def _finish(trained: "Trained") -> None:
    """Curves, the last evaluation, and what to do next."""
    from .. import plots
    from ..experiment.samplings import samplings

    out, experiment, best = trained.out, trained.experiment, trained.best
    training = [(r["step"], r["loss"]) for r in trained.records if r["event"] == "training"]
    if training:
        steps, losses = (np.array(column, float) for column in zip(*training, strict=True))
        figure = plots.curves({"loss": (steps, losses)}, xlabel="step", ylabel=experiment.loss, log_y=True)
        plots.save(figure, out / "curves.png")
    if best is not None:
        scores = ", ".join(f"{name.upper()} {best[name]:.4g}" for name in ("psnr", "ssim", "nmse") if name in best)
        say(f"validation, variant {experiment.variant}: {scores} at step {best['step']}, whose weights are used")
        for sampling in samplings(experiment):
            own = [
                f"{m.upper()} {best[f'{m}_{sampling}']:.4g}"
                for m in ("psnr", "ssim", "nmse")
                if f"{m}_{sampling}" in best
            ]
            if own:
                say(f"  {sampling}: {', '.join(own)}")
    say(f"trained: {out}; to use it: jaxrecon recon SCAN --checkpoint {out} --out recon.h5")
