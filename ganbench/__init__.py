"""What every room stands on: names, mistakes, seeds and files.

This package imports nothing heavy and nothing of the rooms (`gans`, `metrics`, `reports`, `harness`),
so that each of them may use it without an arrow running backwards.
"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("ganbench")
except PackageNotFoundError:  # run from a checkout that was never installed
    __version__ = "0+unknown"
