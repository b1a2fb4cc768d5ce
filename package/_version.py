"""The version of tapegrad, in one place.

A constant rather than a look-up in the installed metadata: importing `importlib.metadata` costs
more than some of our own folders do, and setuptools reads the constant without running any code.
"""

__version__ = "0.1.0"
