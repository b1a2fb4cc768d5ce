"""The command line: `tapegrad demo`, `check`, `info`, `run`, `show`, `convert`, `completion`.

Each command looks for optional libraries before it imports them, so that a missing one ends in a
line that says what to install and not in a traceback. Exit codes: 0 done, 1 could not be done (the
reason is on standard error), 2 a wrong command line, 130 interrupted.
"""

import argparse
import importlib.metadata
import importlib.util
import os
import platform
import re
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tapegrad import _completion, _files, _run, devices
from tapegrad._colour import painted
from tapegrad._command import (
    Formatter,
    add_command,
    examples_text,
    is_file,
    natural_number,
    positive_integer,
)
from tapegrad._errors import CommandError, reason_of
from tapegrad._version import __version__
from tapegrad.autograd import get_num_threads

# What the optional libraries are imported as, installed as, and the extra that brings them.
_OPTIONAL = (
    ("numba", ("numba",), "fast"),
    ("cupy", ("cupy-cuda12x", "cupy-cuda13x", "cupy"), "cuda"),
    ("safetensors", ("safetensors",), "files"),
    ("sklearn", ("scikit-learn",), "demo"),
    ("matplotlib", ("matplotlib",), "plot"),
    ("tqdm", ("tqdm",), "progress"),
    ("threadpoolctl", ("threadpoolctl",), "fast"),
    ("mpi4py", ("mpi4py",), "mpi"),
)
_DEMO_NEEDS = ("safetensors", "sklearn", "matplotlib", "tqdm", "threadpoolctl")
_THREAD_VARIABLES = (
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "OMP_NUM_THREADS",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code; `arguments` are sys.argv[1:] by default."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        return options.run(options)
    except CommandError as error:
        place = painted(f"tapegrad {options.command}:", "red", sys.stderr)
        print(f"{place} {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader has ended: `tapegrad info | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print(f"tapegrad {options.command}: interrupted", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tapegrad",
        description="Differentiable NumPy with Torch7's modules.",
        epilog=examples_text(
            [
                ("tapegrad demo", "train a network on handwritten digits, in under a minute"),
                ("tapegrad check mypackage.layers", "hold the laws against your own layers"),
                ("tapegrad convert model.t7 model.safetensors", "a file of another system"),
                ("tapegrad COMMAND --help", "what a command does, with examples"),
            ]
        )
        + "\n\nTAPEGRAD_PROGRESS=0 switches progress bars off, NO_COLOR=1 colours.",
        formatter_class=Formatter,
    )
    parser.add_argument("--version", action="version", version=f"tapegrad {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="command", required=True)
    _add_demo(commands)
    _add_check(commands)
    info = add_command(
        commands,
        "info",
        help="print versions, devices, BLAS and threads",
        description="Prints versions, devices, BLAS and threads: what a report of a problem needs.",
        examples=[
            ("tapegrad info", "this machine, and which optional libraries are installed"),
            ("tapegrad info --ops > coverage.md", "NumPy's functions, as a table in Markdown"),
        ],
    )
    info.add_argument(
        "--ops", action="store_true", help="print which of NumPy's functions have derivatives"
    )
    info.set_defaults(run=_info)
    _run.add_run(commands)
    _files.add_commands(commands)
    _completion.add_completion(commands, parser)
    return parser


def _add_demo(commands: Any) -> None:
    demo = add_command(
        commands,
        "demo",
        help="train a convolutional network on handwritten digits",
        description="Trains a small LeNet on scikit-learn's handwritten digits, in under a minute.",
        examples=[
            ("tapegrad demo", "on the CPU; leaves a model and two pictures in ./tapegrad-demo"),
            ("tapegrad demo --device cuda --epochs 10 --out /tmp/digits", "on a GPU"),
        ],
    )
    demo.add_argument(
        "--device", type=_device_name, default="cpu", help="cpu, cuda or cuda:N (default: cpu)"
    )
    demo.add_argument(
        "--epochs",
        type=positive_integer,
        default=30,
        help="passes over the training set (default: 30)",
    )
    demo.add_argument(
        "--seed",
        type=natural_number,
        default=0,
        help="same seed, same result, bit for bit (default: 0)",
    )
    out = demo.add_argument(
        "--out",
        default="tapegrad-demo",
        metavar="FOLDER",
        help="folder for the model and the pictures (default: tapegrad-demo)",
    )
    is_file(out)
    demo.add_argument(
        "--compile", action="store_true", help="train with a step that is recorded and compiled"
    )
    demo.set_defaults(run=_demo)


def _add_check(commands: Any) -> None:
    check = add_command(
        commands,
        "check",
        help="hold the laws against your layers",
        description="Checks gradients and promises of every layer, criterion and primitive named, "
        "of PyTorch's modules with a case too. With torch:, jax: or numpy: in front, of any class "
        "or function: torch:torch.nn.Conv2d.",
        examples=[
            ("tapegrad check mypackage.layers", "every layer of a module"),
            ("tapegrad check mypackage.layers:Swish --profile nightly", "one class, for long"),
            (
                "tapegrad check torch:torch.nn.Linear --input 'N? 3' --option in_features=3",
                "a class of PyTorch's, with inputs of such shapes",
            ),
        ],
    )
    check.add_argument(
        "paths",
        nargs="+",
        metavar="[FRAMEWORK:]MODULE[:CLASS]",
        help="what to check: an importable module, or a class or function in one",
    )
    check.add_argument(
        "--input", action="append", default=[], metavar="SHAPE", dest="inputs",
        help="the shape of an input with named sizes, 'N? 3 H+2'; once for each input",
    )  # fmt: skip
    check.add_argument(
        "--option", action="append", default=[], metavar="NAME=VALUE", dest="options",
        help="an option: a Python value, or 1..5 for any integer from 1 to 5",
    )  # fmt: skip
    check.add_argument("--vjp", metavar="MODULE:FUNCTION", help="the gradient of a NumPy function")
    check.add_argument(
        "--isolate", action="store_true", help="in processes that may crash, which is a finding"
    )
    check.add_argument(
        "--profile",
        default="pr",
        choices=("pr", "ci", "nightly"),
        help="how many examples are drawn (default: pr, few)",
    )
    check.add_argument("--law", metavar="NAME", help="only this law")
    check.add_argument("--seed", type=natural_number, help="of the examples")
    check.add_argument("--quiet", action="store_true", help="no progress on standard error")
    check.set_defaults(run=_check)


def _device_name(text: str) -> str:
    if not re.fullmatch(r"cpu|cuda(:\d+)?", text):
        raise argparse.ArgumentTypeError(f"{text!r} is none of cpu, cuda, cuda:0, cuda:1, …")
    return text


def _demo(options: argparse.Namespace) -> int:
    missing = [name for name in _DEMO_NEEDS if importlib.util.find_spec(name) is None]
    if missing:
        distributions = {name: packages[0] for name, packages, _ in _OPTIONAL}
        raise CommandError(
            f"needs {', '.join(distributions[name] for name in missing)}; install with\n"
            "    pip install 'tapegrad[demo]'"
        )
    from tapegrad import _demo as demo

    try:
        device = devices.device(options.device)
        demo.run_demo(
            device=device,
            epochs=options.epochs,
            seed=options.seed,
            out=options.out,
            compiled=options.compile,
        )
    except (devices.DeviceError, demo.DemoError, OSError) as error:
        raise CommandError(reason_of(error)) from error
    return 0


def _check(options: argparse.Namespace) -> int:
    from tapegrad import _check as check

    try:
        summary = check.run_laws(
            options.paths,
            profile=options.profile,
            law=options.law,
            seed=options.seed,
            quiet=options.quiet,
            inputs=options.inputs,
            options=options.options,
            vjp=options.vjp,
            isolate=options.isolate,
        )
    except check.CheckFailed as error:
        raise CommandError(str(error)) from error
    return 0 if summary.ok else 1


def _info(options: argparse.Namespace) -> int:
    if options.ops:
        from tapegrad.autograd.surface import coverage

        sys.stdout.write(coverage.markdown())
        return 0
    rows = list(_facts())
    width = max(len(name) for name, _ in rows)
    for name, fact in rows:
        print(f"{name:<{width}}  {fact}")
    return 0


def _facts() -> Iterator[tuple[str, str]]:
    yield "tapegrad", __version__
    yield "python", f"{platform.python_version()} ({platform.platform()})"
    yield "numpy", np.__version__
    yield "opt_einsum", importlib.metadata.version("opt_einsum")
    for name, distributions, extra in _OPTIONAL:
        yield name, _version(distributions) or f"not installed (pip install 'tapegrad[{extra}]')"
    yield from _device_facts()
    yield "BLAS", _blas()
    yield "BLAS threads", _threads()
    yield "threads", f"{get_num_threads()} (set_num_threads, TAPEGRAD_NUM_THREADS)"
    yield "ranks", _ranks()
    yield "processors", f"{_usable_processors()} usable of {os.cpu_count()}"


def _device_facts() -> Iterator[tuple[str, str]]:
    for device in devices.available_devices():
        memory = devices.memory(device)
        yield "device", f"{device} ({_gib(memory.free)} of {_gib(memory.total)} free)"
    try:
        devices.device("cuda")
    except devices.DeviceError as error:
        yield "no cuda", str(error).splitlines()[0]


def _ranks() -> str:
    try:
        group = devices.collectives.world()
    except (devices.collectives.CollectiveError, ValueError) as error:
        return str(error).splitlines()[0]
    return f"rank {group.rank} of {group.size}, {group.name} (TAPEGRAD_COLLECTIVES)"


def _version(distributions: Sequence[str]) -> str | None:
    for distribution in distributions:
        try:
            return f"{importlib.metadata.version(distribution)} ({distribution})"
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def _blas() -> str:
    """Name the library that NumPy was built with, from NumPy's own record of its build."""
    built = np.show_config(mode="dicts")
    blas = built.get("Build Dependencies", {}).get("blas", {}) if built else {}
    name, version = blas.get("name", "unknown"), blas.get("version", "")
    return f"{name} {version}".strip()


def _threads() -> str:
    """Tell how many threads BLAS uses, and who says so.

    With threadpoolctl the loaded libraries are asked, else the environment.
    """
    if importlib.util.find_spec("threadpoolctl") is not None:
        import threadpoolctl

        pools = [pool for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"]
        if pools:
            return ", ".join(f"{pool['num_threads']} ({pool['internal_api']})" for pool in pools)
    for variable in _THREAD_VARIABLES:
        if variable in os.environ:
            return f"{os.environ[variable]} ({variable})"
    return f"{_usable_processors()} (the library's default: one for each processor)"


def _usable_processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _gib(size: int | None) -> str:
    return "unknown" if size is None else f"{size / 2**30:.1f} GiB"


if __name__ == "__main__":
    sys.exit(main())
