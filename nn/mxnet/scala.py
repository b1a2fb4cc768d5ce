"""mx.scala: a Module under the names of MXNet's Scala interface.

Source: org.apache.mxnet.module.BaseModule, Module and FitParams.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

from tapegrad.nn.mxnet import metric
from tapegrad.nn.mxnet.io.description import DataBatch
from tapegrad.nn.mxnet.module.base import DEFAULT, BaseModule
from tapegrad.nn.mxnet.module.module import Module as PythonModule

if TYPE_CHECKING:
    from tapegrad.nn.mxnet.io.description import DataIter
    from tapegrad.nn.mxnet.metric.base import EvalMetric
    from tapegrad.nn.mxnet.monitor import Monitor
    from tapegrad.nn.mxnet.symbol.symbol import Symbol
    from tapegrad.nn.mxnet.types import (
        BatchCallbacks,
        BatchLike,
        ContextLike,
        DataShapes,
        EpochCallbacks,
        GradReq,
        InitializerLike,
        KVStoreLike,
        MetricLike,
        NDArrayLike,
        NDArrays,
        OptimizerLike,
        ParamsLike,
        PathLike,
    )


__all__ = ["FitParams", "Module"]

FIRST = "bind() and initParams() must be called first."


class FitParams:
    """What `fit` takes beside data and epochs; each set… returns the FitParams.

    Here setKVStore, setArgParams and setAuxParams have their effect, which they lack in Scala.
    """

    def __init__(self) -> None:
        self.settings: dict[str, Any] = {}

    def _set(self, name: str, value: Any) -> Self:
        self.settings[name] = value
        return self

    def setEvalMetric(self, evalMetric: MetricLike) -> Self:
        """The metric in training, accuracy by default."""
        return self._set("eval_metric", evalMetric)

    def setValidationMetric(self, metric: MetricLike) -> Self:
        """The metric of the validation data, the same as in training by default."""
        return self._set("validation_metric", metric)

    def setEpochEndCallback(self, callback: EpochCallbacks) -> Self:
        """Called behind each epoch."""
        return self._set("epoch_end_callback", callback)

    def setBatchEndCallback(self, callback: BatchCallbacks) -> Self:
        """Called behind each batch."""
        return self._set("batch_end_callback", callback)

    def setEvalEndCallback(self, callback: BatchCallbacks) -> Self:
        """Called behind each validation."""
        return self._set("eval_end_callback", callback)

    def setEvalBatchEndCallback(self, callback: BatchCallbacks) -> Self:
        """Called behind each batch of a validation."""
        return self._set("eval_batch_end_callback", callback)

    def setKVStore(self, kvStore: KVStoreLike) -> Self:
        """A kvstore or its type."""
        return self._set("kvstore", kvStore)

    def setOptimizer(self, optimizer: OptimizerLike) -> Self:
        """The optimizer, SGD by default."""
        return self._set("optimizer", optimizer)

    def setInitializer(self, initializer: InitializerLike) -> Self:
        """The initializer, Uniform(0.01) by default."""
        return self._set("initializer", initializer)

    def setArgParams(self, argParams: ParamsLike | None) -> Self:
        """First values of parameters."""
        return self._set("arg_params", argParams)

    def setAuxParams(self, auxParams: ParamsLike | None) -> Self:
        """First values of states."""
        return self._set("aux_params", auxParams)

    def setAllowMissing(self, allowMissing: bool) -> Self:
        """Whether first values may lack parameters."""
        return self._set("allow_missing", allowMissing)

    def setForceRebind(self, forceRebind: bool) -> Self:
        """Whether to bind a module that is bound."""
        return self._set("force_rebind", forceRebind)

    def setForceInit(self, forceInit: bool) -> Self:
        """Whether to give new first values to a module that has parameters."""
        return self._set("force_init", forceInit)

    def setBeginEpoch(self, beginEpoch: int) -> Self:
        """The number of the first epoch."""
        return self._set("begin_epoch", beginEpoch)

    def setMonitor(self, monitor: Monitor) -> Self:
        """A Monitor."""
        return self._set("monitor", monitor)


class Module:
    """A Module, or any machine of `mx.mod`, under Scala's names; `module` is the machine itself.

    symbol: a Symbol (with the other arguments of `mx.mod.Module`), or a machine
    A call before bind and initParams raises ValueError.
    """

    def __init__(
        self,
        symbol: Symbol | BaseModule,
        dataNames: Sequence[str] = ("data",),
        labelNames: Sequence[str] = ("softmax_label",),
        contexts: ContextLike = None,
        workLoadList: Sequence[float] | None = None,
        fixedParamNames: Sequence[str] | None = None,
    ):
        if isinstance(symbol, BaseModule):
            self.module: Any = symbol
            return
        self.module = PythonModule(
            symbol, dataNames, labelNames, context=contexts, work_load_list=workLoadList,
            fixed_param_names=fixedParamNames,
        )  # fmt: skip

    def _require(self) -> None:
        if not (self.module.binded and self.module.params_initialized):
            raise ValueError(FIRST)

    # What it is

    @property
    def binded(self) -> bool:
        """Whether there are executors."""
        return bool(self.module.binded)

    @property
    def forTraining(self) -> bool:
        """Whether it is bound for training."""
        return bool(self.module.for_training)

    @property
    def inputsNeedGrad(self) -> bool:
        """Whether gradients of the data are computed."""
        return bool(self.module.inputs_need_grad)

    @property
    def paramsInitialized(self) -> bool:
        """Whether parameters have values."""
        return bool(self.module.params_initialized)

    @property
    def optimizerInitialized(self) -> bool:
        """Whether there is an optimizer."""
        return bool(self.module.optimizer_initialized)

    @property
    def symbol(self) -> Symbol:
        """The symbol."""
        return self.module.symbol

    def getSymbol(self) -> Symbol:
        """The symbol."""
        return self.module.symbol

    @property
    def dataNames(self) -> list[str]:
        """The names of the data."""
        return list(self.module.data_names)

    @property
    def labelNames(self) -> list[str]:
        """The names of the labels."""
        return list(self.module.label_names or ())

    @property
    def outputNames(self) -> list[str]:
        """The names of the outputs."""
        return list(self.module.output_names)

    @property
    def dataShapes(self) -> list[Any]:
        """The descriptions of the data."""
        return list(self.module.data_shapes)

    @property
    def labelShapes(self) -> list[Any]:
        """The descriptions of the labels; [] without."""
        return list(self.module.label_shapes or ())

    @property
    def outputShapes(self) -> list[Any]:
        """(name, shape) of every output."""
        return list(self.module.output_shapes)

    # Getting ready

    def bind(
        self,
        dataShapes: DataShapes,
        labelShapes: DataShapes | None = None,
        forTraining: bool = True,
        inputsNeedGrad: bool = False,
        forceRebind: bool = False,
        sharedModule: Module | BaseModule | None = None,
        gradReq: GradReq = "write",
    ) -> None:
        """Make the executors."""
        shared = sharedModule.module if isinstance(sharedModule, Module) else sharedModule
        self.module.bind(
            dataShapes, labelShapes or None, forTraining, inputsNeedGrad, forceRebind, shared,
            gradReq,
        )  # fmt: skip

    def reshape(self, dataShapes: DataShapes, labelShapes: DataShapes | None = None) -> None:
        """Fit the executors to other shapes."""
        self.module.reshape(dataShapes, labelShapes or None)

    def initParams(
        self,
        initializer: InitializerLike = DEFAULT,
        argParams: Mapping[str, Any] | None = None,
        auxParams: Mapping[str, Any] | None = None,
        allowMissing: bool = False,
        forceInit: bool = False,
        allowExtra: bool = False,
    ) -> None:
        """Give parameters their first values."""
        self.module.init_params(
            initializer, argParams, auxParams, allowMissing, forceInit, allowExtra
        )

    def initOptimizer(
        self,
        kvstore: KVStoreLike = "local",
        optimizer: OptimizerLike = "sgd",
        resetOptimizer: bool = True,
        forceInit: bool = False,
    ) -> None:
        """Make the optimizer; `resetOptimizer` takes the place of one that is there."""
        self._require()
        force = forceInit or (resetOptimizer and not self.module.optimizer_initialized)
        self.module.init_optimizer(kvstore, optimizer, force_init=force)

    def borrowOptimizer(self, sharedModule: Module | BaseModule) -> None:
        """Use another module's optimizer."""
        shared = sharedModule.module if isinstance(sharedModule, Module) else sharedModule
        self.module.borrow_optimizer(shared)

    # Parameters

    def getParams(self) -> tuple[Any, Any]:
        """(parameters, states) by name."""
        self._require()
        return self.module.get_params()

    def setParams(
        self,
        argParams: ParamsLike,
        auxParams: ParamsLike,
        allowMissing: bool = False,
        forceInit: bool = True,
        allowExtra: bool = False,
    ) -> None:
        """Set parameters and states."""
        self.module.set_params(argParams, auxParams, allowMissing, forceInit, allowExtra)

    def saveParams(self, fname: PathLike) -> None:
        """Write parameters and states."""
        self.module.save_params(fname)

    def loadParams(self, fname: PathLike) -> None:
        """Read parameters and states.  Raises OSError for a file that has others."""
        try:
            self.module.load_params(fname)
        except ValueError as error:
            raise OSError(f"Invalid param file {fname}") from error

    def saveCheckpoint(self, prefix: str, epoch: int, saveOptStates: bool = False) -> None:
        """Write a checkpoint."""
        self.module.save_checkpoint(prefix, epoch, saveOptStates)

    @staticmethod
    def loadCheckpoint(
        prefix: str, epoch: int, loadOptimizerStates: bool = False, **settings: Any
    ) -> Module:
        """The module of a checkpoint; settings as of `mx.mod.Module`."""
        return Module(PythonModule.load(prefix, epoch, loadOptimizerStates, **settings))

    def saveOptimizerStates(self, fname: PathLike) -> None:
        """Write the optimizer's states."""
        self.module.save_optimizer_states(fname)

    def loadOptimizerStates(self, fname: PathLike) -> None:
        """Read the optimizer's states."""
        self.module.load_optimizer_states(fname)

    # Running

    def forward(self, dataBatch: BatchLike, isTrain: bool | None = None) -> None:
        """Run the graph."""
        self._require()
        self.module.forward(dataBatch, isTrain)

    def backward(self, outGrads: NDArrays | None = None) -> None:
        """Fill the gradients."""
        self._require()
        self.module.backward(outGrads)

    def forwardBackward(self, dataBatch: BatchLike) -> None:
        """forward in training mode, then backward."""
        self._require()
        self.module.forward_backward(dataBatch)

    def update(self) -> None:
        """One step of the optimizer."""
        self._require()
        self.module.update()

    def getOutputs(self) -> list[list[Any]]:
        """For each output its array on each context."""
        self._require()
        return self.module.get_outputs(merge_multi_context=False)

    def getOutputsMerged(self) -> list[Any]:
        """The outputs, joined over the contexts."""
        self._require()
        return self.module.get_outputs()

    def getInputGrads(self) -> list[list[Any]]:
        """For each input its gradient on each context."""
        self._require()
        return self.module.get_input_grads(merge_multi_context=False)

    def getInputGradsMerged(self) -> list[Any]:
        """The gradients of the data, joined over the contexts."""
        self._require()
        return self.module.get_input_grads()

    def updateMetric(self, evalMetric: EvalMetric, labels: Sequence[Any]) -> None:
        """Give a metric the last outputs and their labels."""
        self.module.update_metric(evalMetric, labels)

    def installMonitor(self, monitor: Monitor) -> None:
        """Let a Monitor watch."""
        self.module.install_monitor(monitor)

    # Whole data

    def score(
        self,
        evalData: DataIter,
        evalMetric: MetricLike,
        numBatch: int | None = None,
        batchEndCallback: BatchCallbacks = None,
        scoreEndCallback: BatchCallbacks = None,
        reset: bool = True,
        epoch: int = 0,
    ) -> metric.EvalMetric:
        """The metric, with the evaluation in it."""
        self._require()
        made = metric.as_metric(evalMetric)
        self.module.score(
            evalData, made, _number(numBatch), batchEndCallback, scoreEndCallback, reset, epoch
        )
        return made

    def predictEveryBatch(
        self, evalData: DataIter, numBatch: int = -1, reset: bool = True
    ) -> list[list[Any]]:
        """For each batch the list of its outputs."""
        self._require()
        return self.module.predict(evalData, _number(numBatch), merge_batches=False, reset=reset)

    def predict(
        self, evalData: DataIter | NDArrayLike | DataBatch, numBatch: int = -1, reset: bool = True
    ) -> list[Any]:
        """The outputs, always a list: of an iterator, joined over the batches, or of one batch."""
        self._require()
        if isinstance(evalData, DataBatch):
            self.module.forward(evalData, is_train=False)
            return self.getOutputsMerged()
        return self.module.predict(
            evalData, _number(numBatch), reset=reset, always_output_list=True
        )

    def fit(
        self,
        trainData: DataIter,
        evalData: DataIter | None = None,
        numEpoch: int = 1,
        fitParams: FitParams | None = None,
    ) -> None:
        """Train up to epoch `numEpoch`."""
        settings = {} if fitParams is None else fitParams.settings
        self.module.fit(trainData, evalData, num_epoch=numEpoch, **settings)


def _number(count: int | None) -> int | None:
    """None for "all": below 0, or Integer.MAX_VALUE."""
    return None if count is None or count < 0 or count >= 2**31 - 1 else count
