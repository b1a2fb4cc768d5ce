"""Data-parallel training: every rank has the model, and its share of each batch.

The gradients of the ranks are summed, so that all make the same update.  Nothing else needs to be
exchanged: parameters that begin equal stay equal, which is looked at from time to time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tapegrad import devices
from tapegrad.autograd.core.tensor import array_of
from tapegrad.autograd.reverse.arrivals import backward_by_leaf
from tapegrad.devices import TapegradError, collectives
from tapegrad.optim.core.samples import samples_in
from tapegrad.optim.parallel.buckets import Buckets
from tapegrad.optim.parallel.shares import cut_share, own_shares
from tapegrad.optim.parallel.statistics import MeanStatistics

if TYPE_CHECKING:
    from tapegrad.autograd import Parameter, Tensor
    from tapegrad.autograd.core.node import Leaf
    from tapegrad.devices.collectives import RankGroup

__all__ = ["DataParallel", "GlobalLoss", "RanksDifferError", "ShareLoss"]

NOT_SHARED_OUT = (
    "DataParallel: {shards} shards cannot be shared out among {size} ranks: shards is 1, 2, 4, 8, "
    "… and at least the number of ranks, which is 1, 2, 4, 8, … too"
)
DIFFERS = (
    "the ranks no longer hold the same {name}: ranks {groups} differ. Something changed it on one "
    "rank alone, such as an update, a load, or a random number that the others did not draw"
)
OTHER_NAMES = "the ranks have models with other parameters: rank 0 has {first}, rank {rank} {other}"
TOO_FEW = (
    "a batch of {samples} samples for {parts} shares: a model that exchanges statistics between "
    "ranks needs a sample on each. Leave the small batch out: Batches(…, drop_last=True)"
)
ONE_BY_ONE = (
    "DataParallel(shards=…) runs the shards of a rank one after the other, and a layer of the "
    "model exchanges statistics between ranks, which would be those of some shards: leave out one "
    "of both"
)


class RanksDifferError(TapegradError, RuntimeError):
    """The ranks hold other parameters, which were equal before."""


class ShareLoss(NamedTuple):
    """The loss of a share of a batch.

    loss:    0-d Tensor
    factor, weight: Σ factor·loss / Σ weight is the mean over several shares
    is_mean: whether the loss of the whole batch divides by the sum of the factors; a sum does not
    filled:  its gradients, where they are known already: (leaf, array)
    """

    loss: Any
    factor: float
    weight: float
    is_mean: bool
    filled: Sequence[tuple[Leaf, Any]] | None = None


class GlobalLoss(NamedTuple):
    """The loss of a whole batch, equal on all ranks, and its (factor, weight) among batches."""

    value: float
    factor: float
    weight: float


class DataParallel:
    """Sums gradients over ranks: ``parallel = DataParallel(model)``, under ``mpiexec -n 4``.

    model:        a Module, or a mapping or sequence of Parameters; on each rank the same, on the
                  rank's own device.  Parameters and buffers are set to those of rank 0
    group:        the ranks, ``devices.collectives.current()`` when omitted
    shards:       cut every batch into so many shards, 2, 4, 8, …, whatever the number of ranks, and
                  add in a fixed order: 1, 2 or 4 ranks then make equal bits.  Each shard has random
                  numbers of its own, and batch statistics of its own
    bucket_bytes: gradients are sent in buffers of about this size, as the reverse sweep fills them
    check_every:  gradients between two comparisons of the ranks' parameters, 0 for none
    A loop by hand::

        for x, t in parallel.shares(batches):
            optimizer.zero_grad()
            loss = criterion(model(x), t)
            parallel.backward(loss, samples=len(x))  # p.grad: of the mean over all ranks' samples
            optimizer.step()

    or, with shards, ``parallel.gradients((x, t), lambda x, t: criterion(model(x), t))`` for each
    whole batch.  Running statistics become the mean over the ranks, weighted by samples.
    Raises ValueError for shards that cannot be shared out, RanksDifferError for models with other
    parameters.
    """

    def __init__(
        self,
        model: Any,
        *,
        group: RankGroup | None = None,
        shards: int | None = None,
        bucket_bytes: int = 1 << 22,
        check_every: int = 100,
    ) -> None:
        self.group = collectives.current() if group is None else group
        size = self.group.size
        powers = size & (size - 1) == 0
        if shards is not None and (
            shards < size or shards < 1 or shards & (shards - 1) or not powers
        ):
            raise ValueError(NOT_SHARED_OUT.format(shards=shards, size=size))
        self.model, self.shards = model, shards
        self.bucket_bytes, self.check_every = bucket_bytes, check_every
        self.steps = 0
        self._buckets: Buckets | None = None
        self._check_names()
        self.synchronize()

    def __repr__(self) -> str:
        shards = "" if self.shards is None else f", shards={self.shards}"
        return f"DataParallel({self.group!r}{shards})"

    @property
    def is_alone(self) -> bool:
        """Whether there is one rank and no shards, so that nothing needs to be summed."""
        return self.group.size == 1 and self.shards is None

    # What the ranks hold --------------------------------------------------------------------------

    def _named(self) -> dict[str, Parameter]:
        model: Any = self.model
        if hasattr(model, "named_parameters"):
            return dict(model.named_parameters())
        if isinstance(model, Mapping):
            return dict(model)
        return {str(i): p for i, p in enumerate(model)}

    def _learning(self) -> list[Parameter]:
        model: Any = self.model
        if hasattr(model, "named_trainable"):
            return [p for _, p in model.named_trainable()]
        return [p for p in self._named().values() if not p.frozen]

    def _named_buffers(self) -> dict[str, Any]:
        model: Any = self.model
        return dict(model.named_buffers()) if hasattr(model, "named_buffers") else {}

    def _held(self) -> dict[str, Any]:
        return {**self._named(), **self._named_buffers()}

    def _check_names(self) -> None:
        own = "; ".join(f"{n} {t.dtype}{t.shape}" for n, t in self._held().items())
        names = self.group.all_gather_bytes(own.encode())
        for rank, other in enumerate(names):
            if other != names[0]:
                found = {"first": names[0].decode(), "rank": rank, "other": other.decode()}
                raise RanksDifferError(OTHER_NAMES.format(**found))

    def synchronize(self, root: int = 0) -> None:
        """Set parameters and buffers of every rank to those of rank `root`."""
        if self.group.size == 1:
            return
        for tensor in self._held().values():
            array = array_of(tensor)
            whole = devices.namespace(array).ascontiguousarray(array)
            self.group.broadcast(whole, root)
            if whole is not array:
                array[...] = whole

    def check(self) -> None:
        """Compare the parameters and buffers of all ranks, by their hashes.

        Raises RanksDifferError on every rank, with the name of the first that differs.
        """
        if self.group.size == 1:
            return
        digests = [_digest(tensor) for tensor in self._held().values()]
        own = hashlib.blake2b(b"".join(digests), digest_size=16).digest()
        if len(set(self.group.all_gather_bytes(own))) == 1:
            return
        each = self.group.all_gather_bytes(b"".join(digests))
        for i, name in enumerate(self._held()):
            found = [text[16 * i : 16 * (i + 1)] for text in each]
            others = [rank for rank, digest in enumerate(found) if digest != found[0]]
            if others:
                raise RanksDifferError(
                    DIFFERS.format(name=name, groups=f"0 and {', '.join(map(str, others))}")
                )

    # Gradients ------------------------------------------------------------------------------------

    def shares(self, batches: Iterable[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
        """Go through this rank's shares of batches (x, …, target); a share may have no samples."""
        for batch in batches:
            yield cut_share(tuple(batch), self.group.size, self.group.rank)

    def backward(self, loss: Tensor, *, samples: int, mean: bool = True) -> float:
        """Add the derivatives of the mean loss over all ranks to the gradients; return that loss.

        loss:    0-d, of this rank's share
        samples: how many samples the share has, or the sum of their weights
        mean:    False for a loss that is a sum over its samples: then the sum over all ranks
        With `shards` a batch must be cut before the loss, so use `gradients`.  Raises RuntimeError
        then.
        """
        if self.shards is not None:
            raise RuntimeError("DataParallel(shards=…) has gradients(batch, loss_of), no backward")
        # statistics have moved already: their beginning is what the ranks had in common
        share = ShareLoss(loss, samples if mean else 1, samples, mean)
        result = self._run([samples], lambda _: share, statistics=None)
        return result.value

    def gradients(
        self, batch: tuple[Any, ...], loss_of: Callable[..., Any], *, mean: bool = True
    ) -> float:
        """Add the derivatives of a whole batch's loss to the gradients; return the loss.

        batch:   (x, …, target), whole on every rank
        loss_of: a function of a share of the batch -> 0-d loss, a mean over samples; or a sum, with
                 mean=False
        A share without samples is left out, so `loss_of` is not called for it.
        """

        def share_loss(share: tuple[Any, ...]) -> ShareLoss:
            samples = samples_in(share[-1])
            return ShareLoss(loss_of(*share), samples if mean else 1, samples, mean)

        return self.of_batch(batch, share_loss).value

    def of_batch(
        self,
        batch: tuple[Any, ...],
        share_loss: Callable[[tuple[Any, ...]], ShareLoss],
        accept: Callable[[GlobalLoss], None] = lambda _: None,
        *,
        adjusted: bool = False,
    ) -> GlobalLoss:
        """As `gradients`, of a function that says itself how much a share's loss counts.

        accept: called with the loss before any gradient or statistic changes; what it raises leaves
                them as they were
        adjusted: whether the shares' gradients are already what regularizers make of them
        """
        parts = self.shards or self.group.size
        own = parts // self.group.size
        first = self.group.rank * own
        shares = own_shares(batch, parts, first, own)
        samples = [samples_in(share[-1]) for share in shares]
        total = getattr(batch, "total", samples_in(batch[-1]))
        if any(getattr(part, "synchronizes", False) for part in self._modules()):
            if self.shards is not None:
                raise ValueError(ONE_BY_ONE)
            if total < parts:
                raise ValueError(TOO_FEW.format(samples=total, parts=parts))
        statistics = MeanStatistics(list(self._named_buffers().values()))
        with self._streams() as stream:

            def run(i: int) -> ShareLoss:
                stream(first + i)
                return share_loss(shares[i])

            return self._run(samples, run, statistics, accept, adjusted=adjusted)

    def _modules(self) -> list[Any]:
        model: Any = self.model
        return list(model.listModules()) if hasattr(model, "listModules") else []

    def _run(
        self,
        samples: list[int],
        share_loss: Callable[[int], ShareLoss],
        statistics: MeanStatistics | None,
        accept: Callable[[GlobalLoss], None] = lambda _: None,
        *,
        adjusted: bool = False,
    ) -> GlobalLoss:
        """Gradients of this rank's shares, summed over them and over the ranks."""
        buckets = self._ready_buckets()
        ordered = self.shards is not None
        tree, numbers = _Tree(), _Tree()
        largest: list[Any] | None = None
        for i, count in enumerate(samples):
            buckets.clear(None if ordered else self.group)
            found = np.zeros(4)
            if count:
                share = share_loss(i)
                found[2:] = share.weight, share.is_mean
                if share.factor:  # the loss of no samples that count may be NaN
                    found[:2] = share.factor * float(share.loss), share.factor
                    _fill(buckets, share)
            parts: list[Any] = [found]
            if statistics is not None:
                largest = statistics.largest_numbers(largest)
                parts += [statistics.summary(count), [float(count)]]
                statistics.restore()
            numbers.add([np.concatenate(parts)])
            if ordered:
                tree.add(buckets.copies())
        [summed] = numbers.total()
        if ordered:
            buckets.assign(tree.total())
            buckets.reduce_ordered(self.group)
        else:
            buckets.finish()
        self.group.all_reduce(summed, ordered=ordered)
        loss_sum, factor_sum, weight_sum, means = summed[:4].tolist()
        factor_sum = factor_sum if means else 1.0
        scale = 1 / factor_sum if factor_sum else 1.0
        result = GlobalLoss(loss_sum * scale, factor_sum, weight_sum)
        accept(result)
        if statistics is not None and largest is not None:
            statistics.take(summed[4:-1], summed[-1], self.group, largest)
        buckets.add_to_gradients(scale, adjusted=adjusted)
        self.steps += 1
        if self.check_every and self.steps % self.check_every == 0:
            self.check()
        return result

    def _ready_buckets(self) -> Buckets:
        learning = self._learning()
        if self._buckets is None or not self._buckets.fits(learning):
            self._buckets = Buckets(learning, self.bucket_bytes)
        return self._buckets

    @contextmanager
    def _streams(self) -> Iterator[Callable[[int], None]]:
        """Give each share random numbers of its own, and leave the generators as one draw does.

        The numbers of a share depend on the generators, which are equal on all ranks, and on the
        share's number: not on the rank.
        """
        generators = self._generators()
        keys = [int(generator.integers(0, 2**62, (), np.int64)) for generator in generators]
        after = [generator.get_state() for generator in generators]

        def start(share: int) -> None:
            for generator, key in zip(generators, keys, strict=True):
                generator.seed((key << 32) | share)

        try:
            yield start
        finally:
            for generator, state in zip(generators, after, strict=True):
                generator.set_state(state)

    def _generators(self) -> list[devices.Generator]:
        """The default generators of the model's devices and of the CPU, and the modules' own."""
        names = {str(t.device) for t in self._held().values()} | {"cpu"}
        found = [devices.generator(name) for name in sorted(names)]
        for module in self._modules():
            for value in vars(module).values():
                if isinstance(value, devices.Generator) and all(value is not g for g in found):
                    found.append(value)
        return found


def _fill(buckets: Buckets, share: ShareLoss) -> None:
    """Let the buckets receive the derivatives of factor · loss."""
    if share.filled is None:
        backward_by_leaf(share.loss, lambda leaf, g: buckets.receive(leaf, g, share.factor))
        return
    for leaf, g in share.filled:
        buckets.receive(leaf, g, share.factor)


class _Tree:
    """Lists of arrays that come one after the other, added as `collectives.tree_sum` adds."""

    def __init__(self) -> None:
        self._open: list[tuple[int, list[Any]]] = []  # (how many were added, their sums)

    def add(self, arrays: list[Any]) -> None:
        count = 1
        while self._open and self._open[-1][0] == count:
            _, before = self._open.pop()
            arrays = [a + b for a, b in zip(before, arrays, strict=True)]
            count *= 2
        self._open.append((count, arrays))

    def total(self) -> list[Any]:
        """The sum; their number is a power of two."""
        [(_, arrays)] = self._open
        return arrays


def _digest(tensor: Any) -> bytes:
    array = np.ascontiguousarray(devices.to_numpy(array_of(tensor)))
    return hashlib.blake2b(array.tobytes(), digest_size=16).digest()
