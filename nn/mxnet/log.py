"""mx.log: a logger with MXNet's format."""

from __future__ import annotations

import logging

__all__ = ["CRITICAL", "DEBUG", "ERROR", "INFO", "NOTSET", "WARNING", "get_logger", "getLogger"]

# The levels of Python's logging.
CRITICAL, DEBUG, ERROR = logging.CRITICAL, logging.DEBUG, logging.ERROR
INFO, NOTSET, WARNING = logging.INFO, logging.NOTSET, logging.WARNING
_FORMAT = "%(levelname).1s%(asctime)s %(process)d %(pathname)s:%(funcName)s:%(lineno)d] %(message)s"
_made: set[str] = set()  # names of loggers that have their handler


def get_logger(
    name: str | None = None,
    filename: str | None = None,
    filemode: str | None = None,
    level: int = WARNING,
) -> logging.Logger:
    """The logger of a name, which writes to a file or to stderr; it gets its handler once.

    Raises OSError for a file that cannot be opened.
    """
    logger = logging.getLogger(name)
    if name is not None and name not in _made:
        handler: logging.Handler = (
            logging.FileHandler(filename, filemode or "a") if filename else logging.StreamHandler()
        )
        handler.setFormatter(logging.Formatter(_FORMAT, "%m%d %H:%M:%S"))
        logger.addHandler(handler)
        logger.setLevel(level)
        _made.add(name)
    return logger


getLogger = get_logger  # noqa: N816  # MXNet's name
