"""Commands in processes of their own, that meet where they are told to, and what they leave."""

import os
import socket
import subprocess
import sys

import jax

from jaxrecon.experiment.as_json import from_json
from jaxrecon.models import abstract_params
from jaxrecon.training import load_config, load_params

HEARS_CTRL_C = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
"""A process of a job in the background ignores Ctrl-C, as then do those that it starts."""


def start(*options):
    """The command in a process of its own."""
    environment = {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "JAX_COMPILATION_CACHE_DIR": jax.config.jax_compilation_cache_dir,
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1",
    }
    code = HEARS_CTRL_C + "from jaxrecon.cli import main; raise SystemExit(main())"
    return subprocess.Popen(
        [sys.executable, "-c", code, *options],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def free_address():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def weights(out):
    like = abstract_params(from_json(load_config(out), where=out).model)
    return jax.device_get(load_params(out, like))
