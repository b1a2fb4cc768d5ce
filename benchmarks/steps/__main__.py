"""Thirteen workloads, tapegrad against the field: `python benchmarks/steps -w w2,w7 -t 1,2`.

Needs the `fast` extra and, for each peer that is to run, its library: torch, jax and jaxlib, or
autograd.  A peer whose library is missing is left out and named.  Writes a JSON file of all
results, and with `--page` the tables that stand in benchmarks/RESULTS.md.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from _timing import machine
from measuring import PEERS, WAIT, Result, declared, measure
from tables import render
from workloads import WORKLOADS

DISTRIBUTIONS = ("tapegrad", "numpy", "numba", "torch", "jax", "autograd")


def about(arguments: argparse.Namespace) -> list[str]:
    versions = []
    for name in DISTRIBUTIONS:
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    load = ", ".join(f"{n:.1f}" for n in os.getloadavg())
    return [
        machine(0).replace("0 thread(s), ", ""),
        ", ".join(versions),
        f"{arguments.rounds} rounds of {arguments.seconds:g} s for each peer; the load was {load}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("-w", "--workloads", default=",".join(WORKLOADS))
    parser.add_argument("-p", "--peers", default=",".join(PEERS))
    parser.add_argument("-t", "--threads", default="1,2")
    parser.add_argument("-r", "--rounds", type=int, default=10)
    parser.add_argument("-s", "--seconds", type=float, default=0.3, help="of a peer's turn")
    parser.add_argument("-o", "--output", type=Path, help="a JSON file for all results")
    parser.add_argument("--page", type=Path, help="a Markdown file for the tables")
    parser.add_argument("--wait", type=float, default=WAIT, help="seconds for a first step")
    arguments = parser.parse_args()
    unknown = [w for w in arguments.workloads.split(",") if w not in WORKLOADS]
    unknown += [p for p in arguments.peers.split(",") if p not in PEERS]
    if unknown:
        parser.error(f"{', '.join(unknown)}: there are {', '.join([*WORKLOADS, *PEERS])}")
    peers = {}
    for peer in arguments.peers.split(","):
        peers[peer] = declared(PEERS[peer], peer)
        if not peers[peer]:
            print(f"{peer} is left out: its library is not installed", file=sys.stderr)
    results: list[Result] = []
    for workload in arguments.workloads.split(","):
        for threads in map(int, arguments.threads.split(",")):
            found = measure(
                workload, peers, threads, arguments.rounds, arguments.seconds, arguments.wait
            )
            results += found
            for result in found:
                text = result.error or f"{result.smallest * 1e3:10.3f} ms"
                print(f"{workload:5} {threads} {result.peer:24} {text}", flush=True)
            if arguments.output:
                text = json.dumps([r.as_dict() for r in results], indent=1)
                arguments.output.write_text(text + "\n", encoding="utf-8")
    if arguments.page:
        arguments.page.write_text(render(results, about(arguments)), encoding="utf-8")


if __name__ == "__main__":
    main()
