"""Replay: a recorded step gives equal bits, and what cannot be repeated fails at its line."""

from __future__ import annotations

import numpy as np
import pytest

from tapegrad import compile as tg_compile
from tapegrad import devices, nn, optim
from tapegrad.autograd import Parameter, ReplayError, Tensor, grad, ops, replay
from tapegrad.autograd.core.tree import leaves, map_leaves
from tapegrad.autograd.replay import step as steps
from tapegrad.autograd.replay.plain import bind_bodies
from tapegrad.autograd.replay.recording import ProgramSlot

RNG = np.random.default_rng(0)
BATCHES = [RNG.normal(size=(6, 1, 8, 8)).astype(np.float32) for _ in range(7)]
LABELS = [RNG.integers(0, 3, 6) for _ in range(7)]


def network() -> nn.Sequential:
    devices.manual_seed(5)
    return nn.Sequential(
        nn.SpatialConvolution(1, 4, 3, 3),
        nn.SpatialBatchNormalization(4),
        nn.ReLU(),
        nn.SpatialMaxPooling(2, 2),
        nn.Dropout(0.3),
        nn.View(36),
        nn.Linear(36, 3),
    )


def training_step(model: nn.Module, rule: object, config: dict[str, object]) -> object:
    criterion = nn.CrossEntropyCriterion()
    flat, gradient = model.getParameters()
    state: dict[str, object] = {}

    def step(x: Tensor, t: Tensor) -> Tensor:
        def feval(_: Tensor) -> tuple[Tensor, Tensor]:
            model.zeroGradParameters()
            loss = criterion.forward(model.forward(x), t)
            model.backward(x, criterion.backward(model.output, t))
            return loss, gradient

        _, [loss] = rule(feval, flat, config, state)  # type: ignore[operator]  # an optimizer
        return loss

    return step


@pytest.mark.parametrize(
    ("rule", "config"),
    [
        (optim.sgd, {"learningRate": 0.1}),
        (optim.sgd, {"learningRate": 0.1, "momentum": 0.9, "learningRateDecay": 0.1}),
        (optim.sgd, {"momentum": 0.9, "dampening": 0, "nesterov": True, "weightDecay": 0.01}),
        (optim.adam, {"learningRate": 0.01, "learningRateDecay": 0.01}),
    ],
)
def test_a_replayed_training_step_equals_the_eager_one_bit_for_bit(rule, config) -> None:
    results = []
    for wrap in (lambda step: step, replay):
        model = network()
        step = wrap(training_step(model, rule, config))
        losses = [float(step(x, t)) for x, t in zip(BATCHES, LABELS, strict=True)]
        results.append((losses, {k: v.tobytes() for k, v in model.state_dict().items()}))
        if wrap is replay:
            assert step.recorded == 1
    assert results[0] == results[1]


def test_the_plain_form_with_backward_replays_too() -> None:
    results = []
    for wrap in (lambda step: step, replay):
        w = Parameter(np.ones((3, 2)))

        def step(x: Tensor, w: Parameter = w) -> Tensor:
            loss = np.mean(np.tanh(x @ w) ** 2)
            w.grad = np.zeros((3, 2)) if w.grad is None else w.grad
            w.grad *= 0
            loss.backward()
            value = w.detach()
            value -= w.grad * 0.1
            return {"loss": loss, "slope": grad(lambda x: np.sum(np.tanh(x @ w)))(x)}

        run = wrap(step)
        outcomes = [run(Tensor(np.full((4, 3), 0.1 * i))) for i in range(6)]
        results.append(
            [(o["loss"].numpy().tobytes(), o["slope"].numpy().tobytes()) for o in outcomes]
        )
    assert results[0] == results[1]


def test_the_mode_of_a_module_is_a_guard() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5))
    forward = replay(model)
    x = np.ones((2, 4), np.float32)
    for _ in range(4):
        forward(x)
    model.evaluate()
    expected = model(x).numpy()
    for _ in range(4):
        np.testing.assert_array_equal(forward(x).numpy(), expected)


def test_another_shape_is_recorded_anew() -> None:
    double = replay(lambda x: x * 2)
    for n in (2, 2, 2, 3, 3, 3):
        np.testing.assert_array_equal(double(np.ones(n)).numpy(), np.full(n, 2.0))
    assert double.recorded == 2


def test_an_array_passed_twice_is_not_two_arrays() -> None:
    total = replay(lambda x, y: x + y)
    a, b = np.ones(2), np.zeros(2)
    for _ in range(3):
        np.testing.assert_array_equal(total(a, a).numpy(), [2, 2])
    for _ in range(3):
        np.testing.assert_array_equal(total(a, b).numpy(), [1, 1])


def test_reading_a_value_fails_at_its_line_and_printing_does_not() -> None:
    def reads(x: Tensor) -> Tensor:
        print(x)  # noqa: T201  # what is tested
        return x * float(x.sum())

    def branches(x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x

    for step, action in ((reads, "float"), (branches, "true or false")):
        with pytest.raises(ReplayError, match=rf"test_replay\.py:\d+: .*{action}"):
            replay(step)(np.ones(2))


def test_an_array_that_changes_behind_replay_fails_at_its_line() -> None:
    arrays = iter([np.ones(2), np.zeros(2)])

    @replay
    def step(x: Tensor) -> Tensor:
        return x * next(arrays)

    step(np.ones(2))
    with pytest.raises(ReplayError, match=r"test_replay\.py:\d+: an array of shape \(2,\)"):
        step(np.ones(2))


def test_a_number_that_changes_fails_at_its_line() -> None:
    rates = iter([0.1, 0.2, 0.3])

    @replay
    def step(x: Tensor) -> Tensor:
        return x * next(rates)

    step(np.ones(2))
    with pytest.raises(ReplayError, match=r"0\.1 became 0\.2"):
        step(np.ones(2))


def test_state_that_is_written_in_place_is_read_where_it_is() -> None:
    state = Tensor(np.zeros(2))

    @replay
    def step(x: Tensor) -> Tensor:
        state.__iadd__(x)
        return state * 1

    for i in range(1, 6):
        np.testing.assert_array_equal(step(np.ones(2)).numpy(), [i, i])


def test_a_step_that_never_takes_the_same_path_is_refused() -> None:
    count = iter(range(100))

    @replay
    def step(x: Tensor) -> Tensor:
        for _ in range(next(count)):
            x = x + 1
        return x

    step(np.ones(2))
    step(np.ones(2))  # one difference is forgiven: a first call may build state
    with pytest.raises(ReplayError, match="another path"):
        step(np.ones(2))


def test_a_replayed_step_inside_another_is_part_of_it() -> None:
    inner = replay(lambda x: np.tanh(x) * 2)
    for _ in range(3):
        inner(np.ones(2))
    outer = replay(lambda x: inner(x + 1) + 1)
    for i in range(5):
        x = np.full(2, 0.25 * i)
        np.testing.assert_array_equal(outer(x).numpy(), np.tanh(x + 1) * 2 + 1)
    assert outer.recorded == 1


def test_a_program_is_data_from_which_another_back_end_makes_the_same_run(monkeypatch) -> None:
    """One that interprets the entries as they stand, with nothing but what the program holds."""
    programs = []

    def interpreted(program):
        def run(arrays):
            values = program.initial_values(arrays)
            for entry in program.entries:
                given = [
                    map_leaves(
                        lambda part: values[part.number] if type(part) is ProgramSlot else part, x
                    )
                    for x in entry.operands
                ]
                body = entry.primitive.body_for(entry.xp)
                y = body(entry.xp, *given, **entry.settings)
                if not entry.primitive.mutates:
                    slots = leaves(list(entry.results))
                    parts = leaves([y] if len(slots) == 1 and not isinstance(y, list) else list(y))
                    for slot, part in zip(slots, parts, strict=True):
                        values[slot.number] = np.asarray(part)
            return program.build_result(values)

        programs.append(program)
        return run

    losses = []
    for back_end in (bind_bodies, interpreted):
        monkeypatch.setattr(steps, "bind_bodies", back_end)
        step = replay(training_step(network(), optim.sgd, {"learningRate": 0.1, "momentum": 0.9}))
        losses.append([step(x, t).item() for x, t in zip(BATCHES, LABELS, strict=True)])
    assert losses[0] == losses[1]
    [program] = programs
    names = [entry.primitive.name for entry in program.entries]
    assert {"conv2d", "max_pool2d", "bernoulli", "accumulate", "assign"} <= set(names)
    numbers = [s.number for entry in program.entries for s in leaves(list(entry.results))]
    assert len(numbers) == len(set(numbers))
    assert max(numbers) < program.slot_count
    assert all(entry.xp is np and __file__ in entry.where for entry in program.entries)


def test_a_copy_to_another_device_is_replayed() -> None:
    step = replay(lambda x: ops.to_device(np.exp(x), device=devices.device("strict")) * 2)
    for value in (0.0, 1.0, 2.0, 3.0):
        y = step(np.array([value]))
        assert str(y.device) == "strict"
        assert y.numpy() == 2 * np.exp(value)


def test_keyword_arguments_are_bound_at_each_call_and_their_names_are_guards():
    @replay
    def step(x, *, w, k=2):
        return x * w * k

    for i in range(4):
        x, w = np.array([1.0, i]), np.array([3.0, i + 1])
        np.testing.assert_array_equal(step(x, w=w).numpy(), x * w * 2)
    assert step.recorded == 1
    for i in range(4):
        np.testing.assert_array_equal(step(x, w=w, k=i % 2).numpy(), x * w * (i % 2))
    assert step.recorded == 3


@pytest.mark.parametrize("wrap", [replay, tg_compile], ids=["replay", "compile"])
@pytest.mark.parametrize("passes", [1, 2])
def test_a_gradient_that_the_step_makes_is_there_after_each_call(wrap, passes):
    p = Parameter(np.arange(6.0).reshape(2, 3))

    @wrap
    def step(x):
        for k in range(passes):
            np.sum(np.tanh(p * x) * (k + 1)).backward()
        return np.sum(p * x)

    held = []
    for number in range(5):
        x = np.full((2, 3), 0.1 * (number + 1))
        expected = passes * (passes + 1) / 2 * x / np.cosh(np.arange(6.0).reshape(2, 3) * x) ** 2
        p.grad = None
        step(x)
        np.testing.assert_allclose(np.asarray(p.grad), expected, rtol=1e-12)
        held.append((p.grad, expected))
    for gradient, expected in held:  # each call has made its own
        np.testing.assert_allclose(np.asarray(gradient), expected, rtol=1e-12)
    for number in range(4):  # kept, it grows
        step(x)
        np.testing.assert_allclose(np.asarray(p.grad), (number + 2) * expected, rtol=1e-12)


@pytest.mark.parametrize("wrap", [replay, tg_compile], ids=["replay", "compile"])
def test_a_table_s_gradient_that_the_step_makes_is_there_after_each_call(wrap):
    p = Parameter(np.ones((1000, 3)))

    @wrap
    def step(i):
        np.sum(p[i] * 2).backward()
        return np.sum(p)

    for number in range(4):
        p.grad = None
        step(np.array([number, 5, 5]))
        rows = np.asarray(p.grad)[:, 0]
        assert rows[5] == 4
        assert rows[number] == 2
        assert rows.sum() == 6
