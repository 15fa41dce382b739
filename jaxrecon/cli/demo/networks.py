"""The networks of `jaxrecon demo`: one MoDL trained end to end, one greedily by GLEAM, on simulated heads."""

import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np
from rich.console import Console

from ...data import Slice
from ...data.pipeline import batches
from ...data.preparation import Preparation
from ...data.recipes import SCALES
from ...experiment.as_json import kind_of, to_json
from ...experiment.experiment import DataConfig, Experiment, make_update
from ...experiment.resume import check_resume
from ...metrics import evaluate
from ...models import MoDLConfig, batched, build
from ...recon import Network
from ...strategies.configs import EndToEnd, Gleam, StrategyConfig
from ...strategies.update import copy_state
from ...training import Every, RunFolder, compiled_memory, evaluation_params, fit, read_log
from ...training.optimizers import Adam
from .cases import VARIANT

if TYPE_CHECKING:
    from .cases import Case, Options

MODEL = MoDLConfig(
    n_steps=4, features=24, layers=4, norm="none", shared=False, lam=0.05, cg_iters=4, warm_start=True
)  # fmt: skip
"""MoDL as GLEAM has it, with separate weights, but small."""
NETWORKS: dict[str, StrategyConfig] = {"MoDL, end to end": EndToEnd(), "MoDL, GLEAM": Gleam()}
"""Name -> strategy; nothing else differs."""


class Trained(NamedTuple):
    """A trained network and how it came about.

    Attributes:
      network: the network, for reconstruction.
      n_parameters: number of weights.
      seconds: duration of the training, with compilation.
      memory: bytes of intermediate results of a training step, as compiled.
      losses: (steps, losses) of the training.
      psnr_by_step: mean PSNR of the test slices where the reconstruction stops after step 1, 2, ...
    """

    network: Network
    n_parameters: int
    seconds: float
    memory: int
    losses: tuple[np.ndarray, np.ndarray]
    psnr_by_step: list[float]

    def as_json(self) -> dict[str, Any]:
        """What a report keeps of it."""
        steps, losses = self.losses
        return {
            "experiment": to_json(self.network.experiment),
            "run": str(self.network.path),
            "parameters": self.n_parameters,
            "training_seconds": self.seconds,
            "temporary_bytes_of_a_training_step": self.memory,
            "losses": {"step": steps.tolist(), "loss": losses.tolist()},
            "psnr_by_step": self.psnr_by_step,
        }


def experiment_for(options: "Options", strategy: StrategyConfig) -> Experiment:
    """The experiment of one network."""
    return Experiment(
        MODEL,
        strategy=strategy,
        loss="complex_l1",
        optimizer=Adam(options.learning_rate),
        ema_decay=0.98,
        n_updates=options.updates,
        data=DataConfig(
            mask=options.mask,
            acceleration=options.acceleration,
            n_masks=1,
            target="combined",
            scale="top_magnitude",
            shape=options.shape,
            n_coils=options.coils,
        ),
        every=Every(checkpoint=100, log=min(10, options.updates)),
        seed=options.seed,
    )


def train_networks(
    options: "Options", mask: np.ndarray, training: Sequence["Case"], test: Sequence["Case"]
) -> dict[str, Trained]:
    """Train each of NETWORKS on the same slices with the mask of the test, then stop each early on the test slices.

    An unfinished demo in the folder goes on; with --overwrite it is begun anew.
    """
    slices = [Slice(kspace=case.kspace, maps=case.maps, target=case.target, index=i) for i, case in enumerate(training)]
    trained = {}
    for name, strategy in NETWORKS.items():
        experiment, out = experiment_for(options, strategy), options.out / "runs" / kind_of(strategy)
        if options.overwrite and out.is_dir():
            shutil.rmtree(out)
        first = options.validation_slices + options.test_slices
        data = {"training": f"{len(slices)} simulated heads from number {first}, SNR {options.snr:g}"}
        check_resume(experiment, out, data=data)
        one = _train(experiment, out, slices, mask, data=data)
        trained[name] = one._replace(psnr_by_step=early_exit(one.network, test, mask))
    return trained


def early_exit(network: Network, cases: Sequence["Case"], mask: np.ndarray) -> list[float]:
    """Mean PSNR over slices after each step of the network."""
    values = []
    for case in cases:
        images, _ = network.reconstruct(case.kspace, mask, case.maps, every_step=True)
        values.append([evaluate(case.truth, np.abs(image), variant=VARIANT).volume["psnr"] for image in images])
    return np.mean(values, 0).tolist()


def _train(
    experiment: Experiment, out: Path, slices: list[Slice], mask: np.ndarray, *, data: dict[str, str]
) -> Trained:
    scale = SCALES[experiment.data.scale]
    how = Preparation(mask=lambda part, rng: mask.astype(np.float32), scale=scale)
    feed = batches(slices, how, batch_size=experiment.batch_size, seed=experiment.seed)
    iterator = iter(feed)
    problem, target = next(iterator)
    iterator.close()
    params_key, training_key = jax.random.split(jax.random.key(experiment.seed))
    params = jax.jit(batched(build(experiment.model)).init)(params_key, problem)
    update = make_update(experiment, updates_per_epoch=feed.per_epoch)
    started = time.perf_counter()
    state = fit(
        update,
        update.init(params, training_key),
        feed,
        out=RunFolder(out, config=to_json(experiment, learned_from=data)),
        n_updates=experiment.n_updates,
        every=experiment.every,
        progress=Console().is_terminal,
    )
    seconds = time.perf_counter() - started
    records = [r for r in read_log(out) if r["event"] == "training"]
    losses = np.array([r["step"] for r in records], float), np.array([r["loss"] for r in records], float)
    memory = compiled_memory(update, jax.eval_shape(copy_state, state), problem, target).temporary
    n_parameters = sum(leaf.size for leaf in jax.tree.leaves(params))
    model = build(experiment.model)
    network = Network(out, experiment, evaluation_params(state), model.frozen or model)
    return Trained(network, n_parameters, seconds, memory, losses, [])
