import numpy as np

import tapegrad as tg
from tapegrad import nn, optim
from tapegrad.autograd import check


def cube(x):
    return x**3


# %% Report Probe
report = check.check_gradients(cube, np.array([1.0, 2.0]))
isinstance(report, check.Report), report.verdict
probe = report.probes[0]
isinstance(probe, check.Probe), probe.verdict, probe.kind


# %% ReportEntry
@tg.primitive
def halved(xp, x):
    """x / 2, elementwise."""
    return x / 2


halved.vjp(x=lambda g: g / 2 + np.array([0.0, 1.0]))  # wrong in the second entry
try:
    check.check_gradients(halved, np.array([1.0, 3.0]))
except check.GradientError as error:
    [entry] = error.report.wrong[0].entries
isinstance(entry, check.ReportEntry), entry.argument, entry.indices

# %% Summary
summary = check.check_module(nn.Tanh, input="N C")
isinstance(summary, check.Summary), summary.ok
summary.counts()

# %% Subject
case = check.module_case(nn.Linear, input="N? inputSize", inputSize=[1, 3], outputSize=2)
subject = check.Subject("Linear", "module", nn.Linear, case)
len(subject.laws()) > 30, subject.trial(check.Draws(0)).module

# %% discover
names = [subject.short for subject in check.discover(optim, public=True)]
names[:3]

# %% Law MODULE_LAWS
law = check.MODULE_LAWS["a_pickled_copy_gives_equal_results"]
isinstance(law, check.Law), law.sentence

# %% CRITERION_LAWS FUNCTION_LAWS OPTIMIZER_LAWS PRIMITIVE_LAWS
[law.sentence for law in list(check.CRITERION_LAWS)[:3]]

# %% Laws
MY_LAWS = check.Laws("function")


@MY_LAWS()
def it_is_odd(trial):
    found, mirrored = trial.function(trial.x), trial.function(-trial.x)
    check.must_be_close(mirrored, -found, "f(-x) beside -f(x)", relative=1e-12)


[law.sentence for law in MY_LAWS]

# %% must_be_close
try:
    check.must_be_close(np.array([1.0, 2.1]), np.array([1.0, 2.0]), "the sum", relative=1e-6)
except check.LawError as error:
    print(error)

# %% must_be_equal
try:
    check.must_be_equal(np.array([1.0, 2.1]), np.array([1.0, 2.0]), "the sum")
except check.LawError as error:
    print(error)

# %% applies_to_primitive
law = check.PRIMITIVE_LAWS["equal_seeds_give_equal_draws"]
check.applies_to_primitive(law, "tanh"), check.applies_to_primitive(law, "bernoulli")

# %% operations
check.operations()["tanh"](np.array([0.0, 1.0]))

# %% TrialCall PrimitiveTrial
trial = check.PrimitiveTrial("tanh", lambda d: check.TrialCall([d.array((3,))]), check.Draws(0))
trial.check(order=1).verdict

# %% Layer ModuleTrial
case = lambda d: check.Layer(nn.Linear(3, 2), d.array((4, 3)))
trial = check.ModuleTrial("Linear", case, check.Draws(0))
trial.module, trial.input.shape

# %% Setting OptimizerTrial
case = lambda d: check.Setting({"learningRate": d.choice([0.01, 0.1])}, size=3)
law = check.OPTIMIZER_LAWS["a_quadratic_goes_down"]
check.examine(law, lambda d: check.OptimizerTrial("sgd", optim.sgd, case, d)).verdict

# %% Pair FunctionTrial
case = lambda d: check.Pair(cube, lambda g, x: 3 * g * x * x, [d.array((3,))], names=["x"])
trial = check.FunctionTrial("cube", case, check.Draws(0))
trial.results(), trial.gradients([np.ones(3)])

# %% CriterionTrial
case = lambda d: check.Layer(nn.MSECriterion(), d.array((2, 3)), target=d.array((2, 3)))
trial = check.CriterionTrial("MSECriterion", case, check.Draws(0))
type(trial.module).__name__, trial.input.shape

# %% Draws
draws = check.Draws(seed=1)
draws.integer(1, 6), draws.choice(["a", "b"]), draws.array((2,))
check.Draws(seed=1).integer(1, 6)

# %% RecordedDraws
case = check.module_case(nn.Linear, input="N? inputSize", inputSize=[1, 3], outputSize=2)
draws = check.Draws(seed=1)
first = case(draws)
again = case(check.RecordedDraws(draws.choices_made))
np.array_equal(first.input, again.input)

# %% HypothesisDraws
from hypothesis import given, settings, strategies

drawn = []


@settings(max_examples=20, database=None)
@given(strategies.data())
def tanh_is_odd(data):
    x = check.HypothesisDraws(data).array((3,))
    drawn.append(x)
    assert np.array_equal(np.tanh(-x), -np.tanh(x))


tanh_is_odd()
drawn[0].shape

# %% LAYOUTS
x = np.arange(6.0).reshape(2, 3)
list(check.LAYOUTS)
check.LAYOUTS["Fortran-ordered"](x).flags.f_contiguous

# %% REGIMES
draws = check.Draws(0, regimes=check.REGIMES)
check.REGIMES, draws.regime

# %% PROFILES LawProfile
isinstance(check.PROFILES["ci"], check.LawProfile), check.PROFILES["ci"]

# %% CaseArray
image = check.array("N C H W", low=0, high=1)
isinstance(image, check.CaseArray), image

# %% Case module_case
case = check.module_case(nn.Linear, input="N? inputSize", inputSize=[1, 3], outputSize=2)
isinstance(case, check.Case)
layer = case(check.Draws(3))
layer.module, layer.input.shape

# %% CaseOption floats
option = check.floats(0.0, 1.0)
isinstance(option, check.CaseOption), option.draw(check.Draws(0))

# %% booleans
case = check.module_case(
    nn.Linear, input="inputSize", inputSize=3, outputSize=2, bias=check.booleans()
)
[case(check.Draws(seed)).module for seed in range(3)]

# %% one_of
case = check.module_case(nn.Linear, input="inputSize", inputSize=check.one_of(1, 3), outputSize=2)
[case(check.Draws(seed)).module for seed in range(3)]

# %% primitive_case
case = check.primitive_case(["N C"], axis=[0, 1])
call = case(check.Draws(0))
call.args[0].shape, call.settings


# %% case_of
class Halved(nn.Module):
    def forward(self, x):
        return x / 2


check.case_of(Halved)
check.register_case(Halved, input="N C")
isinstance(check.case_of(Halved), check.Case)

# %% examine Outcome
case = check.module_case(nn.Tanh, input="N C")
law = check.MODULE_LAWS["its_gradients_are_the_derivatives"]
outcome = check.examine(law, lambda d: check.ModuleTrial("Tanh", case, d), examples=10)
isinstance(outcome, check.Outcome), outcome.verdict, outcome.examples

# %% run_law
case = check.module_case(nn.Tanh, input="N C")
law = check.MODULE_LAWS["its_gradients_are_the_derivatives"]
reports = check.run_law(law, lambda d: check.ModuleTrial("Tanh", case, d), examples=10)
sorted({report.verdict for report in reports})

# %% rerun_law
case = check.module_case(nn.Tanh, input="N C")
law = check.MODULE_LAWS["its_gradients_are_the_derivatives"]
make = lambda draws: check.ModuleTrial("Tanh", case, draws)
draws = check.Draws(5)
_ = make(draws)
check.rerun_law(law, make, draws.choices_made).verdict
