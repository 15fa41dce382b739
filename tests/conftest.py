"""Strict flags and the type check for the whole suite, and the summary of the golden files."""

import gc
import os
from importlib import metadata
from pathlib import Path

# compiling is most of the suite's time: without LLVM's optimisation, and (where jaxlib still has them) by the older emitters, it
# takes a third as long; one part for LLVM, since other workers have the other cores. Demo and tutorials run with the compiler
# as users have it. Must be set before jax starts
_FLAGS = ["--xla_backend_optimization_level=0", "--xla_cpu_parallel_codegen_split_count=1"]
if metadata.version("jaxlib").startswith("0.10."):
    _FLAGS.append("--xla_cpu_use_fusion_emitters=false")
os.environ["XLA_FLAGS"] = " ".join([os.environ.get("XLA_FLAGS", ""), *_FLAGS])

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest
import support.type_check

# before the first import of the package; the check by its name, from which jaxtyping imports it
jaxtyping.install_import_hook(support.type_check.ROOMS, f"{support.type_check.__name__}.checked")

# compiled programs stay, and with them most of what tracing made: to look it through again and again is a tenth of the time
gc.set_threshold(100_000, 50, 100)
jax.config.update("jax_numpy_rank_promotion", "raise")
_cache = os.environ.get("JAXRECON_TEST_CACHE", str(Path.home() / ".cache" / "jaxrecon-tests"))
jax.config.update("jax_compilation_cache_dir", _cache)
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)


@pytest.fixture
def x64():
    """Double precision for one test; the flag is restored afterwards."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def random_complex(rng):
    """random_complex(shape, dtype=np.complex64): unit normal real and imaginary parts."""

    def make(shape, dtype=np.complex64):
        return jnp.array((rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(dtype))

    return make


def pytest_terminal_summary(terminalreporter):
    """Per golden file the error reached beside the tolerance, and what no code knows yet."""
    reports = [r for group in ("passed", "failed", "skipped") for r in terminalreporter.getreports(group)]
    lines = sorted({line for r in reports for name, line in r.user_properties if name == "golden"})
    if lines:
        terminalreporter.section("golden files")
        for line in lines:
            terminalreporter.write_line(line)
