# SPDX-License-Identifier: Apache-2.0
import pathlib
import sys

from hypothesis import settings
from hypothesis.configuration import set_hypothesis_home_dir

sys.path.insert(0, str(pathlib.Path(__file__).parent))
set_hypothesis_home_dir(pathlib.Path(__file__).parents[2] / "build" / "hypothesis")
# The same cases each time, and no database of them in the source tree.
settings.register_profile("ropekv", derandomize=True, database=None, deadline=None)
settings.load_profile("ropekv")
