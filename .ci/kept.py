"""What .ci/run keeps between runs on one machine: the packages that the project needs, and the programs that XLA compiled.

    python .ci/kept.py environment KEPT NEW    a fresh virtual environment NEW that sees the kept packages
    python .ci/kept.py programs KEPT           prints the folder of compiled programs; to be run in that environment

Kept packages are installed once and never changed: jaxrecon itself goes into NEW, so that runs in several checkouts do
not meet. Both kinds of folders have their key in their name, and are removed when no run has used them for a while.
"""

import contextlib
import hashlib
import os
import platform
import re
import secrets
import shutil
import subprocess
import sys
import time
import tomllib
import venv
import zlib
from importlib import metadata
from pathlib import Path

TOP = Path(__file__).parents[1]
UNUSED_DAYS = 10
"""What no run has used for so long is removed."""
LARGEST = 2 * 2**30
"""Bytes of compiled programs that are kept; those of several versions of the code lie side by side."""
PYTHON = "bin/python"
WHOLE = "whole"
"""The empty file that an environment gets when it is complete: one whose installation was killed is never used."""


def main(what: str, kept: str, new: str = "") -> None:
    """Run one of the commands of the file's head."""
    folder = Path(kept)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    remove_unused(folder)
    if what == "environment":
        layer(environment(folder), Path(new))
    elif what == "programs":
        print(programs(folder))
    else:
        raise SystemExit(__doc__)


def remove_unused(folder: Path) -> None:
    """Remove what no run has used for UNUSED_DAYS."""
    for path in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):  # another run removes it too
            if path.stat().st_mtime < time.time() - UNUSED_DAYS * 86400:
                shutil.rmtree(path, ignore_errors=True)


def requirements() -> list[str]:
    """All that tests and build need, as pyproject.toml has it."""
    project = tomllib.loads((TOP / "pyproject.toml").read_text(encoding="utf-8"))
    return [
        *project["build-system"]["requires"],
        "editables",  # hatchling asks for it at `pip install -e`
        *project["project"]["dependencies"],
        *project["project"]["optional-dependencies"]["test"],
    ]


def environment(folder: Path) -> Path:
    """The virtual environment with all packages of tests and build, but without the project; a new one each week."""
    key = _digest(sys.version, sys.base_prefix, time.strftime("%G %V"), *requirements())
    whole = sorted(path for path in folder.glob(f"environment-{key}-*") if (path / WHOLE).exists())
    if whole:
        os.utime(whole[0])
        return whole[0]
    # a name of its own: a virtual environment cannot be renamed, and two runs may build theirs at the same time
    path = folder / f"environment-{key}-{secrets.token_hex(4)}"
    venv.create(path, with_pip=True, symlinks=True)
    pip = [str(path / PYTHON), "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, "--upgrade", "pip"], check=True)
    subprocess.run([*pip, *requirements()], check=True)
    (path / WHOLE).touch()
    return path


def layer(below: Path, new: Path) -> None:
    """An empty virtual environment that finds what is not in it, pip too, in the one below."""
    venv.create(new, symlinks=True)
    script = ["-c", "import sysconfig; print(sysconfig.get_path('purelib'), end='')"]
    own, theirs = (
        subprocess.run([path / PYTHON, *script], check=True, capture_output=True, text=True).stdout
        for path in (new, below)
    )
    (Path(own) / "kept.pth").write_text(f"import site; site.addsitedir({theirs!r})\n", encoding="utf-8")


def programs(folder: Path) -> Path:
    """The folder of compiled programs for this jaxlib, these flags of XLA and this processor, ready for use."""
    flags = re.findall(r"--xla\w+=\w+", (TOP / "tests" / "conftest.py").read_text(encoding="utf-8"))
    path = folder / f"programs-{_digest(metadata.version('jaxlib'), *flags, processor())}"
    path.mkdir(exist_ok=True, mode=0o700)
    remove_damaged(path)
    remove_oldest(path, LARGEST)
    os.utime(path)
    return path


def processor() -> str:
    """What compiled programs may use of this machine: its instruction sets, else the name of its processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    sets = next((line for line in lines if line.startswith(("flags", "Features"))), platform.processor())
    return f"{platform.system()} {platform.machine()} {sets}"


def remove_damaged(path: Path) -> None:
    """Remove entries that are cut off, of those written since the last call.

    jax writes them in place, so a process that is killed leaves half of one; it would be read in vain, with a warning,
    in each run, and never be replaced.
    """
    stamp = path / "checked"
    since = stamp.stat().st_mtime - 2 if stamp.exists() else 0.0  # clocks of file systems are coarse
    now = time.time()
    for entry, status in _entries(path).items():
        if status.st_mtime >= since:
            try:
                _decompress(entry.read_bytes())
            except Exception:
                entry.unlink(missing_ok=True)
    stamp.touch()
    os.utime(stamp, (now, now))


def remove_oldest(path: Path, largest: int) -> None:
    """Remove the entries that were not read for the longest time until the rest has no more than `largest` bytes."""
    entries = _entries(path)
    total = sum(status.st_size for status in entries.values())
    for entry, status in sorted(entries.items(), key=lambda item: max(item[1].st_atime, item[1].st_mtime)):
        if total <= largest:
            break
        entry.unlink(missing_ok=True)
        total -= status.st_size


def _entries(path: Path) -> dict[Path, os.stat_result]:
    """The compiled programs; another run may remove some meanwhile."""
    found = {}
    for entry in path.glob("*-cache"):
        with contextlib.suppress(FileNotFoundError):
            found[entry] = entry.stat()
    return found


def _decompress(data: bytes) -> bytes:
    """As jax does it: by zlib, or where there is one by a module for Zstandard."""
    if data[:1] == b"\x78":
        return zlib.decompress(data)
    try:
        from compression import zstd
    except ImportError:
        import zstandard as zstd
    return zstd.decompress(data)


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


if __name__ == "__main__":
    main(*sys.argv[1:])
