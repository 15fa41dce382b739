"""Trainings that are killed over and over: each restart goes on bit for bit as a training that nobody disturbs.

    python experiments/benchmarks/restarts.py                          # 50 kill -9 and 20 SIGTERM, on one device and on two
    python experiments/benchmarks/restarts.py --kills 5 --terms 2      # to try it

`jaxrecon train` of a tiny network of a file of its own is killed at random steps, in random order by SIGKILL and SIGTERM, and
started again in the same run folder. After each kill the newest checkpoint (weights, optimizer, moving average, key, step) is compared with
the state that a plain loop over the same data has at that step, without checkpoints and in one process; at the end the last state
and the losses of all steps are. Two devices are forced host devices, over which the examples of a batch are spread. A restart is an
import and a small compilation: some seconds. Linux or macOS.
"""

import argparse
import dataclasses
import hashlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

NETWORK = '''
import dataclasses
import jax.numpy as jnp
from jaxrecon.experiment import DataConfig, Every, Experiment
from jaxrecon.models import Unrolled, unrolled


@dataclasses.dataclass(frozen=True)
class Descent:
    """Gradient descent with a learned step and a shrinkage of each step."""

    n_steps: int = 3

    def build(self) -> Unrolled:
        def start(_, problem):
            image = problem.op.adjoint(problem.kspace)
            return image, (problem.op, image)

        def step(theta, x, context, i):
            op, zero_filled = context
            return x + theta["a"] * jnp.tanh(x.real) - theta["t"] * (op.normal(x) - zero_filled)

        init_step = lambda key, image, context: {"a": jnp.asarray(0.1), "t": jnp.asarray(0.5)}
        last = lambda x, context: x
        return unrolled(n_steps=self.n_steps, shared=False, init_step=init_step, start=start, step=step, finish=last)


def experiment(small=False):
    data = DataConfig(acceleration=2.0, acs=4, n_masks=3)
    every = Every(evaluate=10**6, checkpoint=5, log=1)
    return Experiment(Descent(), data=data, n_updates=10**6, batch_size=2, ema_decay=0.9, every=every)
'''
CHECKPOINT = 5
"""Updates from one checkpoint to the next, as the network's file has it: at most so many are lost to SIGKILL, none to SIGTERM."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--terms", type=int, default=20)
    parser.add_argument("--devices", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        disturb(arguments.devices[0], arguments.kills, arguments.terms, arguments.seed)
        return
    words = ["--kills", arguments.kills, "--terms", arguments.terms, "--seed", arguments.seed]
    for n in arguments.devices:
        flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={n}"
        environment = {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
        command = [sys.executable, __file__, "--worker", "--devices", n, *words]
        subprocess.run([str(word) for word in command], env=environment, check=True)


def disturb(n_devices: int, n_kills: int, n_terms: int, seed: int) -> None:
    """Kill a training so often, compare after each kill, and print what was found."""
    import numpy as np

    rng = np.random.default_rng(seed)
    signals = rng.permutation([signal.SIGKILL] * n_kills + [signal.SIGTERM] * n_terms)
    say = lambda text: print(f"{n_devices} device{'s' * (n_devices > 1)}: {text}", flush=True)
    kills: list[Kill] = []
    with tempfile.TemporaryDirectory() as name:
        training = Training(Path(name), n_devices)
        started = time.perf_counter()
        for what in signals:
            kills.append(training.kill(signal.Signals(what), int(rng.integers(1, 15)), rng.random() / 50))
            if len(kills) % 10 == 0:
                say(f"{len(kills)} restarts of {len(signals)}, every checkpoint equal so far, step {kills[-1].step}")
        seconds = time.perf_counter() - started
        last = training.finish()
    for what in (signal.SIGKILL, signal.SIGTERM):
        steps, lost = zip(*[(k.step, k.lost) for k in kills if k.what == what] or [(0, 0)], strict=True)
        say(f"{what.name} at steps {' '.join(map(str, steps))}; updates lost: {min(lost)} to {max(lost)}")
    say(f"all {len(kills)} checkpoints are, bit for bit, those of the undisturbed training")
    say(
        f"so are the state and the losses of all {last} steps at the end; {seconds / max(len(kills), 1):.1f} s a restart"
    )


@dataclasses.dataclass
class Kill:
    """Which signal, the last step of the log by then, and how many updates the newest checkpoint is behind."""

    what: signal.Signals
    step: int
    lost: int


class Training:
    """`jaxrecon train` in a process, and the same in a plain loop."""

    def __init__(self, folder: Path, n_devices: int):
        import h5py
        import numpy as np

        from jaxrecon.experiment import load_experiment, prepare_training
        from jaxrecon.strategies import module_mesh

        rng = np.random.default_rng(0)
        kspace = rng.standard_normal((7, 1, 16, 14, 2)).astype(np.float32).view(np.complex64)[..., 0]
        with h5py.File(folder / "scan.h5", "w") as file:
            file["kspace"] = kspace
        (folder / "network.py").write_text(NETWORK)
        self.out, cache = folder / "run", folder / "cache"
        self.command = [sys.executable, "-m", "jaxrecon", "train", str(folder / "network.py"), "--out", str(self.out)]
        self.command += ["--data", str(folder / "scan.h5"), "--devices", str(n_devices)]
        self.environment = os.environ | {
            "JAX_COMPILATION_CACHE_DIR": str(cache),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        }
        plan = prepare_training(
            load_experiment(folder / "network.py"),
            data=folder / "scan.h5",
            out=folder / "undisturbed",
            mesh=module_mesh(n_devices, n_data=n_devices) if n_devices > 1 else None,
        )
        self.update, self.batches = plan.update, iter(plan.feed)
        self.state = plan.update.init(plan.params, plan.key)
        self.states, self.losses = [digest(self.state)], [0.0]

    def kill(self, what: signal.Signals, n_updates: int, delay: float) -> Kill:
        """Start, wait for so many updates and so many seconds, kill, and look at what is left."""
        from jaxrecon.training import read_log

        log = self.out / "log.jsonl"
        before = log.stat().st_ino if log.exists() else None
        process = subprocess.Popen(
            self.command, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        # a start leaves a new log, without what is beyond the checkpoint; it has a record of each update
        first, step = self.newest(), 0
        while process.poll() is None and step < first + n_updates:
            time.sleep(0.002)
            if log.exists() and log.stat().st_ino != before and (records := read_log(self.out)):
                step = records[-1]["step"]
        time.sleep(delay)
        process.send_signal(what)
        text, _ = process.communicate()
        wanted = 143 if what == signal.SIGTERM else -signal.SIGKILL
        assert process.returncode == wanted, f"exit code {process.returncode}, {wanted} wanted: {text}"
        step, kept = read_log(self.out)[-1]["step"], self.newest()
        assert 0 <= step - kept < (1 if what == signal.SIGTERM else CHECKPOINT + 1), (what, step, kept)
        self.compare(kept)
        return Kill(what, step, step - kept)

    def finish(self) -> int:
        """Go on for some updates undisturbed, compare the state and the log, and return the last step."""
        from jaxrecon.training import read_log

        last = self.newest() + 7
        subprocess.run([*self.command, "--n-updates", str(last)], env=self.environment, check=True, capture_output=True)
        assert self.newest() == last
        self.compare(last)
        records = [(r["step"], r["loss"]) for r in read_log(self.out)]
        assert records == list(enumerate(self.losses))[1:], "the losses differ"
        return last

    def newest(self) -> int:
        """The step of the newest checkpoint; 0: there is none."""
        from jaxrecon.training import Checkpoints

        with Checkpoints(self.out) as checkpoints:
            return checkpoints.latest or 0

    def compare(self, step: int) -> None:
        """The checkpoint of a step with the state of the plain loop."""
        from jaxrecon.training import Checkpoints

        while len(self.states) <= step:
            self.state, metrics = self.update(self.state, *next(self.batches))
            self.states.append(digest(self.state))
            self.losses.append(float(metrics["loss"]))
        if step:
            with Checkpoints(self.out) as checkpoints:
                restored = checkpoints.restore(self.state, step=step)
            assert digest(restored.state) == self.states[step], f"the state of step {step} differs"


def digest(state) -> str:
    """All bits of a training state."""
    import jax
    import numpy as np

    key = jax.random.key_data(state.key)
    leaves = jax.tree.leaves(jax.device_get(state.replace(key=key)))
    return hashlib.sha256(b"".join(np.asarray(leaf).tobytes() for leaf in leaves)).hexdigest()


if __name__ == "__main__":
    main()
