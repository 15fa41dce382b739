"""The entry point: finds the command, reads its options, and turns a user's mistake into one line and exit code 2."""

import contextlib
import importlib
import inspect
import os
import sys
import warnings
from collections.abc import Iterator, Sequence

COMMANDS = {
    "info": "what a file holds: format, shapes, coils, acceleration, calibration lines, what can be done with it",
    "recon": "reconstruct images from measured k-space, by a classical method or a trained network",
    "evaluate": "score a reconstruction against a reference by a named rule",
    "simulate": "make a multi-coil scan of a phantom or of your images, undersampled if wanted",
    "masks": "draw a sampling mask, and measure it",
    "prepare": "maps and targets of fully sampled scans, once, for training",
    "train": "train a network by a strategy of your choice, on files or on data made here",
    "convert": "published weights to a run folder that recon reads, and back",
    "memory": "the memory of a training step under every strategy, before it is run",
    "demo": "everything on a measured head and on data made here: classical methods, two trained networks, tables, figures, one page",
}
"""Command -> what it does; the module of the same name has `Options` and `run`, and `parse` if its options are not fixed."""

HELP = """usage: jaxrecon COMMAND ...

Accelerated MRI reconstruction in JAX.

{commands}

Each command explains itself:  jaxrecon COMMAND --help

First steps:
  jaxrecon demo                             everything at once, in a few minutes
  jaxrecon info scan.h5                     what is in a file
  jaxrecon recon scan.h5 --out recon.h5     an image from it"""


RENAMED = {
    "memory": {"--size": "--shape", "--coils": "--n-coils"},
    "simulate": {"--n-slices": "--slices"},
}
"""Command -> option of the past -> the one that has its place."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code: 0 done, 2 a user's mistake, 130 stopped by Ctrl-C, 141 nobody reads on, 143 by SIGTERM.

    Files and options are to blame where the system refuses a file or this package an input (`UserError`). A mistake in this
    package is raised, with its traceback (exit code 1); so is a ValueError of NumPy or JAX, even in a line of this package.
    """
    try:
        try:
            return _run(list(sys.argv[1:] if argv is None else argv) or [""])
        finally:
            sys.stdout.flush()  # here a reader that has left, as head does, can still be caught
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def _run(words: list[str]) -> int:
    """`main` without the end of its output."""
    name, *rest = words
    if name in ("", "-h", "--help", "help"):
        width = max(map(len, COMMANDS))
        print(HELP.format(commands="\n".join(f"  {c:<{width}}  {text}" for c, text in COMMANDS.items())))
        return 0 if name else 2
    if name == "--version":
        from importlib.metadata import version

        print(f"jaxrecon {version('jaxrecon')}")
        return 0
    if name not in COMMANDS:
        return _refuse(f"there is no command '{name}'; there are {', '.join(COMMANDS)}")
    module = importlib.import_module(f".{name}", __package__)
    try:
        with _short_warnings():
            return module.run(_options(module, name, rest)) or 0
    except KeyboardInterrupt:
        print("stopped: no unfinished file was left", file=sys.stderr)
        return 130
    except Exception as error:
        from ..checks import UserError

        if isinstance(error, BrokenPipeError) or not isinstance(error, UserError | OSError):
            raise
        return _refuse(str(error) or type(error).__name__)


@contextlib.contextmanager
def _short_warnings() -> Iterator[None]:
    """Warnings of a user's data as one line, without the line of code that gives them."""
    from ..checks import DataWarning

    usual = warnings.formatwarning

    def short(message, category, *rest, **named):
        if not issubclass(category, DataWarning):
            return usual(message, category, *rest, **named)
        return f"jaxrecon: warning: {message}\n"

    warnings.formatwarning = short
    try:
        yield
    finally:
        warnings.formatwarning = usual


def _options(module, name, args):
    """The options of a command; leaves with exit code 0 after --help, 2 after a wrong option."""
    from ..checks import UserError

    for word in args:
        option = word.partition("=")[0].replace("_", "-")
        if option in RENAMED.get(name, {}):
            raise UserError(f"{option} is called {RENAMED[name][option]}")
    if hasattr(module, "parse"):
        return module.parse(args)
    import tyro

    return tyro.cli(module.Options, prog=f"jaxrecon {name}", description=inspect.getdoc(module.Options), args=args)


def _refuse(message: str) -> int:
    print("jaxrecon: error: " + " ".join(message.split()), file=sys.stderr)
    return 2
