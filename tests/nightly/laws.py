"""The laws, deeper than CI holds them."""

from __future__ import annotations

import random
import secrets
import time
from concurrent.futures import ProcessPoolExecutor

from tests.nightly import nightly

__all__ = ["deep_laws", "false_accusations", "probes_at_ties"]


def _pairs(only: str) -> list[tuple[str, str, str]]:
    """(kind, subject, law) of everything that the suite checks, by name."""
    import test_laws

    found = {**test_laws.SUBJECTS, "complex": test_laws.COMPLEX}
    return [
        (kind, name, law.name)
        for kind, subjects in found.items()
        for name, subject in subjects.items()
        if subject.case is not None
        for law in subject.laws()
        if (kind != "complex" or law.name in test_laws.COMPLEX_LAWS)
        if only.lower() in f"{name}-{law.name}".lower()
    ]


def _hold(pair: tuple[str, str, str], examples: int, seed: int) -> tuple[str, int, str]:
    """One law on one subject: (what, how many examples, what is wrong)."""
    import test_laws

    from tapegrad.autograd.check import LawProfile

    kind, name, law_name = pair
    subject = (test_laws.COMPLEX if kind == "complex" else test_laws.SUBJECTS[kind])[name]
    law = next(law for law in subject.laws() if law.name == law_name)
    outcome = subject.examine(law, LawProfile(examples, derandomize=False), seed=seed)
    if outcome.ok:
        return f"{name}-{law_name}", outcome.examples, ""
    notes = getattr(outcome.error, "__notes__", [])
    return f"{name}-{law_name}", outcome.examples, "\n".join([str(outcome.error), *notes])


@nightly(minutes=480)
def deep_laws(
    *,
    examples: int = 100_000,
    minutes: float = 480.0,
    processes: int = 2,
    seed: int = 0,
    only: str = "",
) -> int:
    """Hold laws against 100,000 examples each, in a drawn order, while time is left.

    minutes: after which no further pair is begun
    seed:    of the order and the examples; 0 draws one and says it
    only:    part of `subject-law`, such as ``conv2d`` or ``-nan_stays_nan``
    """
    seed = seed or 1 + secrets.randbelow(2**31)
    pairs = _pairs(only)
    random.Random(seed).shuffle(pairs)
    print(f"seed {seed}: {len(pairs)} pairs of a subject and a law", flush=True)
    until = time.monotonic() + 60 * minutes
    held = drawn = failures = 0
    with ProcessPoolExecutor(processes) as pool:
        waiting = iter(pairs)
        running = set()
        while True:
            while len(running) < processes and time.monotonic() < until:
                pair = next(waiting, None)
                if pair is None:
                    break
                running.add(pool.submit(_hold, pair, examples, seed))
            if not running:
                break
            done = next((f for f in running if f.done()), None)
            if done is None:
                time.sleep(0.01)
                continue
            running.remove(done)
            what, count, wrong = done.result()
            held, drawn, failures = held + 1, drawn + count, failures + bool(wrong)
            if wrong:
                print(f"FAILED {what}\n{wrong}\n", flush=True)
    print(f"{held} of {len(pairs)} pairs, {drawn:,} examples", flush=True)
    return failures


@nightly(minutes=60)
def false_accusations(*, seeds: int = 20, examples: int = 500) -> int:
    """Hold every law against correct layers written by hand: none may be accused."""
    from planted.hunting import hunt
    from planted.layers import LAYERS

    failures = 0
    for name, kind in LAYERS.items():
        for seed in range(1, seeds + 1):
            found = hunt(kind, examples=examples, seed=seed)
            if found is not None:
                failures += 1
                print(f"FAILED {name}, seed {seed}: {found.law}: {found.message}", flush=True)
    print(f"{len(LAYERS)} layers, {seeds} times {examples} examples", flush=True)
    return failures


@nightly(minutes=30)
def probes_at_ties(*, probes: int = 100_000, seed: int = 0) -> int:
    """Probe right functions with ties, masks and choices where they are tied: none may be accused.

    probes: how many, of all functions together
    """
    import numpy as np
    from planted.right_at_ties import RIGHT_AT_TIES

    from tapegrad.autograd.check import Draws
    from tapegrad.autograd.check.draws import REGIMES
    from tapegrad.autograd.check.probing import probe

    failures, done, proved = 0, 0, 0
    for number, (name, (function, rule)) in enumerate(RIGHT_AT_TIES.items()):
        turn = 0
        while done < probes * (number + 1) / len(RIGHT_AT_TIES):
            d = Draws(1_000_003 * seed + turn, regimes=REGIMES, turn=turn)
            x = d.array(d.shape("N? C+1"))
            turn += 1
            with np.errstate(all="ignore"):
                found = probe(
                    lambda point, f=function: [np.asarray(f(point[0]))],
                    lambda point, g, r=rule: [r(g[0], point[0])],
                    [x], d.rng,
                )  # fmt: skip
            done += len(found)
            proved += sum(p.verdict == "ok" for p in found)
            for p in found:
                if p.verdict == "wrong":
                    failures += 1
                    print(f"FAILED {name}, example {turn - 1}: {p}", flush=True)
    print(f"{len(RIGHT_AT_TIES)} functions, {done:,} probes, {proved:,} proved", flush=True)
    return failures
