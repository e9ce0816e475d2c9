"""Builds the package, and with CAMPAIGN_EXPRESS_COMPILE=1 its hot path to machine code (mypyc): docs/decisions/0012.

Which modules: `[tool.campaign-express] compiled` in pyproject.toml. A stamp with the hashes of the sources is left
beside them, so that what is older than its source is refused (`campaign_express/compiled.py`).
"""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT))  # a wheel is built with this folder out of the path

from campaign_express import compiled  # noqa: E402


def modules() -> list[str]:
    with (ROOT / "pyproject.toml").open("rb") as file:
        return list(tomllib.load(file)["tool"]["campaign-express"]["compiled"])


class BuildCompiled(build_ext):
    """Compiles the files of an extension side by side, which setuptools does not, and leaves the stamp."""

    def build_extensions(self) -> None:
        one_by_one = self.compiler.compile
        width = int(self.parallel or len(os.sched_getaffinity(0)))

        def side_by_side(sources: list[str], *args: Any, **options: Any) -> list[str]:
            with ThreadPoolExecutor(width) as pool:
                made = pool.map(lambda source: one_by_one([source], *args, **options), sources)
                return [path for paths in made for path in paths]

        self.compiler.compile = side_by_side
        self.parallel = None
        super().build_extensions()

    def run(self) -> None:
        place = ROOT if self.inplace else Path(self.build_lib)
        if self.extensions:
            (place / compiled.STAMP).unlink(missing_ok=True)  # what an interrupted build leaves is refused
        super().run()
        if self.extensions:
            compiled.write_stamp(modules(), ROOT, place)


def extensions() -> list[Extension]:
    """What is to be compiled: nothing unless it is asked for. Exits with what is missing and how to get it."""
    if os.environ.get("CAMPAIGN_EXPRESS_COMPILE") != "1":
        return []
    if not shutil.which(os.environ.get("CC", "gcc")):
        sys.exit("error: no C compiler: sudo apt-get install gcc python3-dev")
    if not (Path(sysconfig.get_paths()["include"]) / "Python.h").exists():
        sys.exit("error: the headers of this Python are not installed (Python.h): sudo apt-get install python3-dev")
    try:
        from mypyc.build import mypycify
    except ImportError:
        sys.exit("error: mypyc is not installed: pip install --no-deps -r requirements-dev.lock")
    level = os.environ.get("CAMPAIGN_EXPRESS_COMPILE_LEVEL", "2")  # of the C compiler; 0 builds fastest, for tests
    return list(mypycify(modules(), opt_level=level, debug_level="0", multi_file=True))


setup(ext_modules=extensions(), cmdclass={"build_ext": BuildCompiled})
