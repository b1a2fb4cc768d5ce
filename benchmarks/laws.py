"""What the laws find, what they never accuse, and what that costs: the table of the checker.

    python benchmarks/laws.py            # everything, some minutes; PyTorch's columns if installed
    python benchmarks/laws.py --quick    # a tenth of it

Planted bugs and correct layers are those of the tests (`tests/planted`).  PyTorch's `gradcheck`
gets the same layers, wrapped as `torch.autograd.Function`, in float64 at its default tolerances, on
ordinary data of one drawn shape and of eight; it has no protocol for accumulation, modes or memory,
so bugs of the methods are counted apart.  All figures come from fixed seeds.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
import warnings
from collections import Counter
from pathlib import Path

from _timing import machine, one_thread, torch_or_none

one_thread()
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import numpy as np  # noqa: E402  # threads are set before
from planted.bugs import BUGS, Bug  # noqa: E402
from planted.held_out import HELD_OUT  # noqa: E402
from planted.hunting import hunt, label, smallest, trial_maker  # noqa: E402
from planted.layers import LAYERS, LayerKind  # noqa: E402
from planted.tape import WRONG_RULES, hunt_rule  # noqa: E402
from test_checker import DIFFICULT  # noqa: E402

from tapegrad.autograd import Tensor  # noqa: E402
from tapegrad.autograd.check import MODULE_LAWS, REGIMES, Draws, run_law  # noqa: E402
from tapegrad.autograd.check.probing import probe  # noqa: E402

GRADIENT = "its_gradients_are_the_derivatives"


def row(what: str, value: str, wanted: str = "") -> None:
    """One line of the table."""
    print(f"{what:<62} {value:<34} {wanted}", flush=True)


class Clock:
    """Seconds since it was made: of this process, and on the wall (a shared machine's are more)."""

    def __init__(self) -> None:
        self.started = time.process_time(), time.perf_counter()

    def __call__(self) -> tuple[float, float]:
        """(seconds of this process, seconds on the wall)."""
        return time.process_time() - self.started[0], time.perf_counter() - self.started[1]


def medians(measured: list[tuple[float, float]]) -> str:
    """The median of both clocks, and the largest of the first."""
    own, wall = zip(*measured, strict=True)
    return (
        f"median {statistics.median(own):.3f} s, most {max(own):.2f} s "
        f"(wall {statistics.median(wall):.3f} s)"
    )


def share(count: int, total: int) -> str:
    """A count and its percentage."""
    return f"{count} of {total} ({100 * count / max(total, 1):.1f} %)"


def found(every: int) -> None:
    """Planted bugs found, and named, with 25 and with 100 examples."""
    bugs, rules = BUGS[::every], WRONG_RULES[::every]
    kinds = len({bug.kind.name for bug in bugs})
    for examples, wanted in ((25, "95 %"), (100, "98 %")):
        hits = {bug.name: hunt(bug.kind, bug.make, examples=examples) for bug in bugs}
        on_tape = {wrong.name: hunt_rule(wrong, examples=examples) for wrong in rules}
        every_hit = {**hits, **on_tape}
        missed = [name for name, hit in every_hit.items() if hit is None]
        count = len(every_hit) - len(missed)
        row(f"planted bugs in {kinds} layer kinds and 12 primitives found, {examples} examples",
            share(count, len(every_hit)), wanted)  # fmt: skip
        for name in missed:
            print(f"    missed: {name}")
        for family in ("slip", "generic", "method"):
            own = [bug for bug in bugs if bug.family == family]
            row(
                f"    of them {family}", share(sum(hits[b.name] is not None for b in own), len(own))
            )
        row("    of them rules of primitives",
            share(sum(hit is not None for hit in on_tape.values()), len(on_tape)))  # fmt: skip
        if examples == 25:
            measured = [
                (bug, hits[bug.name])
                for bug in bugs
                if bug.argument and hits[bug.name] is not None and hits[bug.name].report
            ]
            named = 0
            for bug, hit in measured:
                is_named = label(bug.kind, bug.argument) in hit.places and hit.names_an_entry
                named += is_named
                if not is_named:
                    print(f"    not named: {bug.name}: {hit.message}")
            row("argument and entry named", share(named, len(measured)), "98 %")
            laws = Counter(hit.law for hit in every_hit.values() if hit is not None)
            for law, number in laws.most_common():
                print(f"    {number:4d}  {law.replace('_', ' ')}")


def held_out() -> None:
    """Bugs that were written when everything else was finished."""
    hits = sum(hunt(bug.kind, bug.make, examples=25) is not None for bug in HELD_OUT)
    row("held-out bugs in 5 further layers found, 25 examples", share(hits, len(HELD_OUT)))


def accusations(count: int) -> None:
    """Probes on correct layers in every regime, and at and near kinks."""
    total, verdicts = 0, Counter()
    per_kind = -(-count // len(LAYERS))
    for kind in LAYERS.values():
        done, seed = 0, 0
        while done < per_kind:
            d = Draws(seed, regimes=REGIMES)
            seed += 1
            inputs, parameters, constants = kind.draw(d)
            names = [*inputs, *parameters]
            evaluate, pull = pair(kind, names, constants)
            for result in probe(evaluate, pull, [*inputs.values(), *parameters.values()], d.rng,
                                names=names):  # fmt: skip
                verdicts[result.verdict] += 1
                done += 1
                if result.verdict == "wrong":
                    print(f"    accused: {kind.name}, seed {seed - 1}: {result}")
        total += done
    row(f"false accusations in {total} probes of correct layers", str(verdicts["wrong"]), "0")
    row("    resolved", share(verdicts["ok"], total))
    verdicts, total = Counter(), 0
    for name, (function, pull, draw) in DIFFICULT.items():
        for seed in range(max(10, count // 250)):
            rng = np.random.default_rng([seed, 7])
            for result in probe(
                lambda point, f=function: [np.asarray(f(*point))],
                lambda point, g, p=pull: [np.asarray(p(*point, *g))],
                [draw(rng)], rng,
            ):  # fmt: skip
                verdicts[result.verdict] += 1
                total += 1
                if result.verdict == "wrong":
                    print(f"    accused: {name}, seed {seed}: {result}")
    row(
        f"false accusations in {total} probes at kinks, ties, cancellation",
        str(verdicts["wrong"]),
        "0",
    )
    row("    resolved", share(verdicts["ok"], total))


def pair(kind: LayerKind, names: list[str], constants: dict) -> tuple:
    """(evaluate, pull) of a layer over bare arrays."""

    def run(point):
        return kind.code.run({**dict(zip(names, point, strict=True)), **constants, "train": True})

    return (
        lambda point: [np.asarray(run(point)["y"])],
        lambda point, g: [np.asarray(x) for x in kind.code.pull(run(point), g[0], names)],
    )


def one_entry(trials: int) -> None:
    """One wrong entry in a 512 × 512 Jacobian, and in the gradient of a 512 × 512 weight."""
    n = 512
    for what in ("Jacobian", "Jacobian of tanh", "gradient of a weight"):
        for off, wanted in ((1.0, "99 %"), (0.01, "95 %")):
            hits, named, times = 0, 0, []
            runs = trials if what.startswith("Jacobian") else max(trials // 5, 10)
            for seed in range(runs):
                rng = np.random.default_rng([seed, n])
                x, w = rng.standard_normal(n), rng.standard_normal((n, n))
                i, j = (int(k) for k in rng.integers(n, size=2))
                evaluate, pull, point = planted_entry(what, x, w, i, j, off)
                start = time.perf_counter()
                results = probe(evaluate, pull, point, rng, names=["x", "w"][: len(point)])
                times.append(time.perf_counter() - start)
                hits += any(result.verdict == "wrong" for result in results)
                place = (i, j) if len(point) == 2 else (j,)
                named += any((place,) == e.indices for r in results for e in r.entries)
            row(f"one entry of a 512 × 512 {what} wrong by {100 * off:g} %, one probe",
                f"{share(hits, runs)}, {1e3 * statistics.median(times):.0f} ms",
                wanted)  # fmt: skip
            row("    and named", share(named, runs))


def planted_entry(what, x, w, i, j, off):
    """(evaluate, pull, point) with entry (i, j) wrong."""
    wrong = w.copy()
    wrong[i, j] *= 1 + off
    if what == "Jacobian":
        return lambda p: [w @ p[0]], lambda _, g: [wrong.T @ g[0]], [x]
    if what == "Jacobian of tanh":
        return (
            lambda p: [np.tanh(0.05 * (w @ p[0]))],
            lambda p, g: [0.05 * wrong.T @ (g[0] * (1 - np.tanh(0.05 * (w @ p[0])) ** 2))],
            [x],
        )

    def pull(p, g):
        gradient = np.outer(g[0], p[0])
        gradient[i, j] *= 1 + off
        return [p[1].T @ g[0], gradient]

    return lambda p: [p[1] @ p[0]], pull, [x, w]


def times(every: int) -> None:
    """Seconds per layer, with 25 examples."""
    kinds = list(LAYERS.values())[::every]
    gradients, laws = [], []
    for kind in kinds:
        clock = Clock()
        run_law(MODULE_LAWS[GRADIENT], trial_maker(kind), examples=25)
        gradients.append(clock())
        clock = Clock()
        hunt(kind, examples=25)
        laws.append(clock())
    row("time per layer, 25 examples: gradients", medians(gradients), "0.1 s")
    row("    all laws that apply", medians(laws))


def shrinking(every: int) -> None:
    """Seconds from nothing to the minimal counterexample."""
    bugs = [bug for bug in BUGS if bug.family != "method"][::every]
    seconds, named, count = [], 0, 0
    for bug in bugs:
        clock = Clock()
        error = smallest(bug.kind, GRADIENT, bug.make)
        if error is None or getattr(error, "report", None) is None:
            continue
        seconds.append(clock())
        count += 1
        named += any(
            entry.argument == label(bug.kind, bug.argument)
            for result in error.report.wrong
            for entry in result.entries
        )
    row(f"to the minimal counterexample, {count} bugs", medians(seconds), "2 s")
    row("    within 2 s", share(sum(own <= 2 for own, _ in seconds), count))
    row("    argument and entry named there", share(named, count), "98 %")


# PyTorch's checker on the same layers -------------------------------------------------------------


def against_torch(torch, every: int) -> None:
    """gradcheck, slow and fast, on one and on eight drawn shapes, beside the laws."""
    families = {
        "wrong gradients": [b for b in BUGS if b.family != "method"][::every],
        "broken methods": [b for b in BUGS if b.family == "method"],
    }
    for family, bugs in families.items():
        for fast in (False, True):
            for shapes in (1, 8):
                start = time.perf_counter()
                hits = sum(torch_finds(torch, bug, fast, shapes) for bug in bugs)
                ms = 1e3 * (time.perf_counter() - start) / len(bugs)
                row(f"gradcheck {'fast' if fast else 'slow'}, {shapes} shape(s): {family}",
                    f"{share(hits, len(bugs))}, {ms:.1f} ms each")  # fmt: skip
        start = time.perf_counter()
        hits = sum(hunt(bug.kind, bug.make, examples=25) is not None for bug in bugs)
        ms = 1e3 * (time.perf_counter() - start) / len(bugs)
        row(f"laws, 25 examples: {family}", f"{share(hits, len(bugs))}, {ms:.1f} ms each", "more")
    for fast in (False, True):
        right = [Bug(k.name, k, "", "", "right") for k in LAYERS.values()]
        start = time.perf_counter()
        accused = sum(torch_finds(torch, bug, fast, 8) for bug in right)
        ms = 1e3 * (time.perf_counter() - start) / len(right)
        row(f"gradcheck {'fast' if fast else 'slow'}, 8 shape(s): correct layers accused",
            f"{share(accused, len(right))}, {ms:.1f} ms each")  # fmt: skip


def torch_finds(torch, bug: Bug, fast: bool, shapes: int) -> bool:
    """Whether gradcheck refuses the layer on any of the first drawn shapes."""
    for seed in range(shapes):
        inputs, parameters, constants = bug.kind.draw(Draws(seed))
        layer = bug.make(bug.kind, parameters, constants).training()
        function = as_torch(torch, layer, len(inputs))
        arrays = [
            torch.tensor(np.asarray(a), dtype=torch.float64, requires_grad=True)
            for a in (*inputs.values(), *parameters.values())
        ]
        try:
            right = torch.autograd.gradcheck(
                function.apply, arrays, fast_mode=fast, raise_exception=False
            )
        except (RuntimeError, ValueError, IndexError, TypeError):
            right = False
        if not right:
            return True
    return False


def as_torch(torch, layer, count: int):
    """The layer's forward and backward as a torch.autograd.Function."""

    class Function(torch.autograd.Function):
        @staticmethod
        def forward(ctx, *arrays):
            ctx.arrays = [a.detach().numpy() for a in arrays]
            return torch.from_numpy(np.array(Function.run(ctx.arrays).numpy()))

        @staticmethod
        def run(arrays):
            for parameter, value in zip(layer.held, arrays[count:], strict=True):
                parameter.data[...] = value
            return layer.forward(Function.given(arrays))

        @staticmethod
        def given(arrays):
            inputs = [Tensor(a) for a in arrays[:count]]
            return inputs if count > 1 else inputs[0]

        @staticmethod
        def backward(ctx, g):
            Function.run(ctx.arrays)
            layer.zeroGradParameters()
            found = layer.backward(Function.given(ctx.arrays), Tensor(g.numpy().copy()))
            found = found if isinstance(found, list) else [found]
            gradients = [*found, *layer.parameters()[1]]
            return tuple(torch.from_numpy(np.array(x.numpy())) for x in gradients)

    return Function


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of everything")
    quick = parser.parse_args().quick
    warnings.simplefilter("ignore", RuntimeWarning)
    every = 10 if quick else 1
    torch = torch_or_none()
    print(machine(1) + (f", PyTorch {torch.__version__}" if torch else ", no PyTorch"))
    row("figure", "measured", "wanted")
    found(every)
    held_out()
    one_entry(20 if quick else 200)
    times(every)
    shrinking(3 * every)
    if torch:
        against_torch(torch, every)
    accusations(100_000 // every)


if __name__ == "__main__":
    main()
