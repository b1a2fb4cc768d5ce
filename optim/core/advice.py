"""What to write instead: words of PyTorch and Keras that optimizers do not have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tapegrad.autograd.core.absent_name import absent_name

__all__ = [
    "OF_CLASSES",
    "OF_METRICS",
    "OF_OPTIMIZERS",
    "OF_OPTIONS",
    "OF_TRAINERS",
    "PAIR_OF_LISTS",
    "POSITIONAL",
    "absent_in_optim",
    "absent_in_trainer",
    "option_hint",
    "unknown_word",
]

_OPTIONS = "`optimizer.groups[0].options`, or the option by its name: `optimizer.lr = 0.1`"
_LIMITS = (
    "an argument of the constructor: `optim.Adam(model, clip_grad_norm=1.0, clip_grad_value=0.5)`"
)
_STATE = "`optimizer.state_dict()` and `optimizer.load_state_dict(optimizer.state_dict())`"
_SCHEDULE = "lr=, which takes a schedule: `optim.Adam(model, lr=optim.cosine_decay(0.1))`"
_STEP = "`loss.backward()`, which puts the gradients into the parameters, then `optimizer.step()`"
_AFTER_STEP = "the method on_step_end of an `optim.Callback`, or a method step of your subclass"

# Code between backticks is run by a test, on an optimizer, a model and a trainer of these names.
OF_OPTIMIZERS = {
    "add_param_group": "`optimizer.add_group(params, lr=0.1)`",
    "apply_gradients": _STEP,
    "base_lrs": "`optimizer.rates()`",
    "clip_norm": _LIMITS,
    "clip_value": _LIMITS,
    "clipnorm": _LIMITS,
    "clipvalue": _LIMITS,
    "config": _OPTIONS,
    "eval": "`model.evaluate()`: optimizers have no mode",
    "freeze": "`model.freeze()`, or the freeze() of a Parameter",
    "get_config": _OPTIONS,
    "get_lr": "`optimizer.lr`, or `optimizer.rates()` of all groups",
    "get_weights": _STATE,
    "global_clipnorm": _LIMITS,
    "iterations": "`optimizer.steps`",
    "learning_rate": "`optimizer.lr`",
    "lr_scheduler": _SCHEDULE,
    "minimize": "`optimizer.zero_grad()`, `loss.backward()`, `optimizer.step()`",
    "param_groups": "`optimizer.groups`, each with its options: "
    "`optimizer.groups[0].options['lr'] = 0.1`",
    "parameters": "`optimizer.named`",
    "params": "`optimizer.named`",
    "register_step_post_hook": _AFTER_STEP,
    "register_step_pre_hook": "a method step of your subclass",
    "save": "`optimizer.state_dict()`, which is a dict of arrays",
    "scheduler": _SCHEDULE,
    "set_lr": "`optimizer.lr = 0.1`",
    "set_weights": _STATE,
    "state": _STATE,
    "train": "`model.training()`: optimizers have no mode",
    "update": _STEP,
    "weights": _STATE,
    "zeroGradParameters": "`optimizer.zero_grad()`",
}

_LOOP = "`trainer.fit((x, target), epochs=1)`"
_SAVE = "`trainer.save_checkpoint()`, with a folder, or `trainer.model.save(path)`"

# Words of Keras, Lightning, fastai and Hugging Face that a Trainer does not have.
OF_TRAINERS = {
    "add_callback": "`trainer.callbacks.append(callback)`, or the argument callbacks=",
    "compile_model": "`optim.Trainer(model, criterion, optimizer, compile=True)`",
    "current_epoch": "`trainer.epoch`",
    "device": '`model.to("cpu")`, before the optimizer is made',
    "evaluate_model": "`trainer.evaluate((x, target))`",
    "fine_tune": "`trainer.model[0].freeze()`, a part or all but a part, then " + _LOOP,
    "fit_one_cycle": "`optim.SGD(model, lr=optim.one_cycle(0.1, total=100))`, then " + _LOOP,
    "fit_generator": "`trainer.fit(function_that_makes_batches, epochs=1)`",
    "get_preds": "`trainer.predict(x)`",
    "global_step": "`trainer.step_count`",
    "learning_rate": "`trainer.optimizer.lr`",
    "log_metrics": "`trainer.history`",
    "losses": "`trainer.step_losses`",
    "lr": "`trainer.optimizer.lr`",
    "lr_finder": "`trainer.lr_find((x, target))`",
    "plot": "`trainer.plot_history()`",
    "plot_loss": "`trainer.plot_history()`",
    "predict_proba": "`tapegrad.ops.softmax(trainer.predict(x))`",
    "recorder": "`trainer.history`, `trainer.step_losses` and `trainer.plot_history()`",
    "run": _LOOP,
    "save": _SAVE,
    "save_model": _SAVE,
    "save_weights": _SAVE,
    "score": "`trainer.evaluate((x, target))`",
    "should_stop": "`trainer.stop()`",
    "summary": "`trainer.model.summary(x)`",
    "test": "`trainer.evaluate((x, target))`",
    "train": _LOOP,
    "train_on_batch": "`trainer.fit((x, target), steps=1, batch_size=len(x))`",
    "validate": "`trainer.evaluate((x, target))`",
}

# Options of optimizers elsewhere -> the option here, or the argument of the constructor.
OF_OPTIONS = {
    "alpha": "lr",
    "beta_1": "betas",
    "beta1": "betas",
    "beta_2": "betas",
    "beta2": "betas",
    "clip_norm": "clip_grad_norm=1.0",
    "clipnorm": "clip_grad_norm=1.0",
    "clipvalue": "clip_grad_value=0.5",
    "decay": "lr=optim.exponential_decay(0.1)",
    "epsilon": "eps",
    "eta": "lr",
    "global_clipnorm": "clip_grad_norm=1.0",
    "l2": "weight_decay",
    "learning_rate": "lr",
    "learningRate": "lr",
    "lr_schedule": "lr=optim.cosine_decay(0.1)",
    "max_grad_norm": "clip_grad_norm=1.0",
    "gradient_accumulation_steps": "accumulate=4",
    "step_size": "lr",
    "weightDecay": "weight_decay",
}

# Names of metrics elsewhere -> the name here.
OF_METRICS = {
    "acc": "top1",
    "accuracy": "top1",
    "categorical_accuracy": "top1",
    "f1_score": "f1",
    "mean_absolute_error": "mae",
    "roc_auc": "auc",
    "sparse_categorical_accuracy": "top1",
    "top_5_accuracy": "top5",
    "top_k_categorical_accuracy": "top5",
}

# Only names with another one here: what exists needs no advice.
OF_CLASSES = {
    "CosineAnnealingLR": "cosine_decay",
    "CosineAnnealingWarmRestarts": "cosine_decay(…, restarts=True)",
    "CyclicLR": "cosine_decay(…, restarts=True), or a function of the number of updates",
    "DataLoader": "Batches(x, y, batch_size=…)",
    "Dataset": "arrays, or a function that makes batches: Trainer.fit takes both",
    "ExponentialLR": "exponential_decay",
    "History": "the figures that Trainer.fit returns, and trainer.history",
    "LRFinder": "Trainer(…).lr_find((x, target))",
    "LBFGS": "lbfgs(function, x), which minimizes a function of a flat array",
    "LambdaLR": "lr=, which takes a function of the number of updates",
    "LearningRateScheduler": "lr=, which takes a schedule",
    "LinearLR": "linear_warmup or polynomial_decay",
    "ModelCheckpoint": "Trainer(…, folder=…)",
    "Momentum": "SGD(…, momentum=0.9)",
    "MultiStepLR": "multi_step_decay",
    "NAdam": "Adam or AdamW; a rule of your own is an update_rule",
    "Nadam": "Adam or AdamW; a rule of your own is an update_rule",
    "OneCycleLR": "one_cycle",
    "PolynomialLR": "polynomial_decay",
    "RAdam": "Adam with linear_warmup; a rule of your own is an update_rule",
    "ReduceLROnPlateau": "ReduceOnPlateau",
    "RMSProp": "RMSprop",
    "SequentialLR": "join_schedules",
    "SparseAdam": "SGD on the rows of a batch: docs/looked_for.md, the rows of a large table",
    "StepLR": "step_decay",
    "TensorDataset": "Batches(x, y)",
    "WeightedRandomSampler": "Batches(…, sampling_weights=w)",
    "clip_grad_norm_": "clip_grad_norm",
    "clip_grad_value_": "clip_grad_value",
    "constant": "constant_rate",
    "cosine": "cosine_decay",
    "exponential": "exponential_decay",
    "lr_find": "Trainer(…).lr_find((x, target))",
    "lr_finder": "Trainer(…).lr_find((x, target))",
    "lr_scheduler": "lr=, which takes a schedule such as step_decay(0.1, every=30)",
    "multi_step": "multi_step_decay",
    "poly": "polynomial_decay",
    "sequential": "join_schedules",
    "step": "step_decay",
    "swa_utils": "ExponentialMovingAverage and update_bn",
    "warmup": "linear_warmup",
}
PAIR_OF_LISTS = (
    "parameter {name} is {found}, not a Parameter: parameters() is a pair of lists, so give the "
    "module itself, or parameters()[0]"
)
POSITIONAL = (
    "{name}: options are given by name, such as {name}(model, lr={value!r}); {count} by position"
)


def option_hint(option: str, known: Sequence[str]) -> str:
    """What to write for another system's option of an optimizer that has the options `known`."""
    instead = OF_OPTIONS.get(option, "")
    # An argument of the constructor is one of classes, whose rate is called lr.
    fits = instead in known or ("=" in instead and "lr" in known)
    return f" (write {instead})" if fits else ""


def unknown_word(optimizer: Any, name: str) -> AttributeError:
    """The error for an attribute that an optimizer does not have, with what to write instead."""
    text = f"{type(optimizer).__name__!r} object has no attribute {name!r}"
    if name in OF_OPTIMIZERS:
        text += f": use {OF_OPTIMIZERS[name]}"
    return AttributeError(text, name=name, obj=optimizer)


def absent_in_trainer(trainer: Any, name: str) -> AttributeError:
    """The error for an attribute that a trainer does not have, with what to write instead."""
    text = f"{type(trainer).__name__!r} object has no attribute {name!r}"
    if name in OF_TRAINERS:
        text += f": use {OF_TRAINERS[name]}"
    return AttributeError(text, name=name, obj=trainer)


def absent_in_optim(name: str, known: list[str]) -> AttributeError:
    """The error for a name that optim does not have, with that of what does the same."""
    return absent_name("tapegrad.optim", name, OF_CLASSES, known)
