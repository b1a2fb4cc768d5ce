import logging

from tapegrad.nn import mxnet as mx

# %% DEBUG INFO WARNING ERROR CRITICAL NOTSET
mx.log.DEBUG, logging.getLevelName(mx.log.DEBUG)

# %% get_logger
log = mx.log.get_logger("training", level=mx.log.INFO)
log, len(log.handlers)
