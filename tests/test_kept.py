"""What the check script keeps between runs: only what is whole, of these very versions, and not more than it says."""

import importlib.util
import os
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.compilation_cache import compilation_cache

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the check script is one of bash")


@pytest.fixture(scope="module")
def kept():
    spec = importlib.util.spec_from_file_location("kept", Path(__file__).parents[1] / ".ci" / "kept.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def own_cache(tmp_path):
    """jax's cache of compiled programs in a folder of this test, which keeps the smallest program."""
    names = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
    before = {name: getattr(jax.config, name) for name in names}
    try:
        for name, value in zip(names, (str(tmp_path), 0.0), strict=True):
            jax.config.update(name, value)
        compilation_cache.reset_cache()
        yield tmp_path
    finally:
        for name, value in before.items():
            jax.config.update(name, value)
        compilation_cache.reset_cache()


def test_a_damaged_program_is_compiled_again_and_does_not_stay(kept, own_cache):
    """A process that is killed while it writes an entry leaves half of it; a warning would fail the suite."""
    # a new function each time: nothing but the cache on disk knows the program
    run = lambda: jax.jit(lambda x: jnp.cos(x) * 3 + 1)(np.zeros(5, np.float32))
    run()
    whole = {entry: entry.read_bytes() for entry in own_cache.glob("*-cache")}
    assert whole
    kept.remove_damaged(own_cache)
    assert {entry: entry.read_bytes() for entry in own_cache.glob("*-cache")} == whole
    for entry, content in whole.items():
        entry.write_bytes(content[: len(content) // 2])
    assert run().tolist() == [4.0] * 5
    assert all(entry.stat().st_size < len(content) for entry, content in whole.items())  # jax never mends them
    kept.remove_damaged(own_cache)
    assert not list(own_cache.glob("*-cache"))
    run()
    assert {entry.name for entry in own_cache.glob("*-cache")} == {entry.name for entry in whole}


def test_oldest_programs_go_first(kept, tmp_path):
    for age, name in enumerate("abcd"):
        entry = tmp_path / f"{name}-cache"
        entry.write_bytes(bytes(100))
        os.utime(entry, (time.time() - 1000 * age,) * 2)
    kept.remove_oldest(tmp_path, 250)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a-cache", "b-cache"]


def test_what_no_run_uses_goes(kept, tmp_path):
    for name, days in (("old", kept.UNUSED_DAYS + 1), ("new", kept.UNUSED_DAYS - 1)):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (time.time() - 86400 * days,) * 2)
    kept.remove_unused(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


def test_programs_of_another_processor_or_jaxlib_lie_elsewhere(kept, tmp_path, monkeypatch):
    folders = [kept.programs(tmp_path), kept.programs(tmp_path)]
    assert folders[0] == folders[1] and folders[0].is_dir()
    monkeypatch.setattr(kept, "processor", lambda: "another")
    folders.append(kept.programs(tmp_path))
    monkeypatch.setattr(kept.metadata, "version", lambda _: "0.0.1")
    folders.append(kept.programs(tmp_path))
    assert len(set(folders)) == 3


def test_an_unfinished_environment_is_never_used(kept, tmp_path, monkeypatch):
    installed = []

    def install(command, **_):
        if installed and installed[0] == "killed":
            raise KeyboardInterrupt
        installed.append(command)

    monkeypatch.setattr(kept.venv, "create", lambda path, **_: path.mkdir())
    monkeypatch.setattr(kept.subprocess, "run", install)
    installed.append("killed")
    with pytest.raises(KeyboardInterrupt):
        kept.environment(tmp_path)
    installed.clear()
    first = kept.environment(tmp_path)
    assert len(installed) == 2 and "jax>=0.10" in installed[1] and "jaxrecon" not in " ".join(map(str, installed[1]))
    assert kept.environment(tmp_path) == first and len(installed) == 2
    monkeypatch.setattr(kept, "requirements", lambda: ["numpy"])
    assert kept.environment(tmp_path) != first and len(installed) == 4


def test_a_layer_sees_what_lies_below_it_and_keeps_it_as_it_is(kept, tmp_path):
    kept.layer(Path(sys.prefix), tmp_path / "new")
    script = "import sys, numpy, sysconfig; print(sys.prefix, numpy.__file__, sysconfig.get_path('purelib'), sep='\\n')"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [tmp_path / "new" / kept.PYTHON, "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    prefix, found, own = done.stdout.splitlines()
    assert prefix == str(tmp_path / "new") and found == np.__file__ and own.startswith(prefix)
