"""The pytest plugin's front: two options, and nothing else until one of them is given.

pytest imports the plugins of installed packages in every run, also in projects that have nothing
to do with tapegrad, so this file imports nothing; `tapegrad.autograd.check.plugin` does the work.
"""

__all__ = ["pytest_addoption", "pytest_configure"]


def pytest_addoption(parser):
    """Declare ``--laws``, ``--laws-profile``, ``--laws-seed`` and ``--laws-isolate``."""
    group = parser.getgroup("laws", "laws of layers (tapegrad)")
    group.addoption(
        "--laws",
        action="append",
        default=[],
        metavar="[FRAMEWORK:]MODULE[:CLASS]",
        help="hold every law against every Module, Criterion and primitive of this module, package "
        "or class, PyTorch's modules too, or against torch:torch.nn.Conv2d, jax:jax.nn.gelu, …; "
        "may be repeated",
    )
    group.addoption(
        "--laws-profile",
        default="pr",
        choices=("pr", "ci", "nightly"),
        help="25, 100 or 10,000 examples (default: pr); pr and ci draw the same ones every time",
    )
    group.addoption(
        "--laws-isolate",
        action="store_true",
        help="check each law in a process of its own, so that a crash is a failure of that law",
    )
    group.addoption(
        "--laws-seed", type=int, metavar="N", help="the seed that an earlier run has printed"
    )


def pytest_configure(config):
    """Register the collector where laws were asked for."""
    if config.getoption("laws"):
        from tapegrad.autograd.check.plugin import LawsPlugin

        config.pluginmanager.register(LawsPlugin(config), "tapegrad-laws-collector")
