#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Each rule of layering.py finds an offender planted for it, and lets the legal neighbour pass."""
import pathlib
import subprocess
import sys
import tempfile
import unittest

import layering

# file, what it includes, whether that is legal
CASES = [
    ("include/ropekv/a.h", "<vector>", True),
    ("include/ropekv/a.h", '"ropekv/types.h"', True),
    ("include/ropekv/a.h", "<unistd.h>", False),
    ("include/ropekv/a.h", "<oneapi/tbb/info.h>", False),
    ("include/ropekv/a.h", '"plan/plan.h"', False),
    ("src/types/a.cc", '"plan/plan.h"', False),
    ("src/plan/a.cc", '"kernels/call.h"', True),
    ("src/plan/a.cc", '"kernels/nest-inl.h"', False),
    ("src/plan/a.cc", '"run/slots.h"', False),
    ("src/plan/a.cc", '"reference/reference.h"', False),
    ("src/plan/a.cc", '"hwy/highway.h"', False),
    ("src/plan/a.cc", "<immintrin.h>", False),
    ("src/run/a.cc", '"plan/plan.h"', True),
    ("src/run/a.cc", '"kernels/call.h"', True),
    ("src/run/a.cc", '"kernels/targets.h"', False),
    ("src/run/a.cc", '"hwy/highway.h"', False),
    ("src/run/a.cc", "<xmmintrin.h>", False),
    ("src/run/fp_env.h", "<xmmintrin.h>", True),
    ("src/run/a.cc", '"reference/reference.h"', False),
    ("src/kernels/a.cc", '"hwy/highway.h"', True),
    ("src/kernels/a.cc", '"plan/plan.h"', False),
    ("src/reference/a.cc", '"reference/reference.h"', True),
    ("src/reference/a.cc", '"run/check_args.h"', False),
    ("src/reference/run_reference.cc", '"run/check_args.h"', True),
    ("src/reference/run_reference.cc", '"run/run.h"', False),
    ("src/reference/a.cc", '"plan/plan.h"', False),
    ("src/reference/a.cc", '"kernels/call.h"', False),
    ("src/types/a.cc", '"frontends/cli/file.h"', False),
    ("src/plan/a.cc", '"workload/case.h"', False),
    ("src/kernels/a.cc", '"bench/measure.h"', False),
    ("src/new_folder/a.cc", "<vector>", False),
    ("workload/a.cc", '"workload/case.h"', True),
    ("workload/a.cc", '"kernels/variants.h"', False),
    ("bench/copy_floor.cc", '"hwy/highway.h"', True),
    ("bench/a.cc", '"hwy/highway.h"', False),
    ("tests/a.cc", '"hwy/highway.h"', False),
    ("frontends/cli/a.cc", "<fmt/format.h>", True),
    ("frontends/cli/a.cc", '"plan/plan.h"', False),
    ("frontends/cli/a.cc", '"hwy/highway.h"', False),
    ("frontends/cli/a.cc", '"acl/acl.h"', False),
    ("frontends/aclnn/a.cc", '"acl/acl.h"', True),
    ("frontends/aclnn/a.cc", '"kernels/call.h"', False),
    ("src/run/a.cc", '"aclnn/aclnn_base.h"', False),
]

SPDX = "SPDX-License-Identifier: Apache-2.0\n"
LICENCE_CASES = [
    ("src/types/a.cc", "// " + SPDX, True),
    ("src/types/a.cc", "int x;\n// " + SPDX, False),
    ("examples/a.c", "/* SPDX-License-Identifier: Apache-2.0 */\n", True),
    ("scripts/a.sh", "#!/bin/sh\n# " + SPDX, True),
    ("scripts/a.sh", "#!/bin/sh\n", False),
    ("tests/a.py", "import os\n", False),
    ("cmake/a.cmake", "set(x 1)\n", False),
    ("src/CMakeLists.txt", "", False),
    ("src/a.cc.in", "int x;\n", False),
    ("frontends/a.map", "{};\n", False),
    (".clang-format", "BasedOnStyle: Google\n", False),
    ("scripts/tool", "#!/bin/sh\n", False),
]


def errors_of(path, text):
    with tempfile.TemporaryDirectory() as root:
        file = pathlib.Path(root, path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return layering.check(pathlib.Path(root))[2]


class Offenders(unittest.TestCase):
    def test_includes(self):
        for path, include, legal in CASES:
            with self.subTest(path=path, include=include):
                errors = errors_of(path, f"// {SPDX}#include {include}\n")
                self.assertEqual(len(errors), 0 if legal else 1, errors)
                self.assertTrue(all(error.startswith(path + ":2:") for error in errors), errors)

    def test_indented_include(self):
        self.assertEqual(len(errors_of("src/run/a.cc", f"// {SPDX}  #  include <hwy/a.h>\n")), 1)

    def test_licences(self):
        for path, text, legal in LICENCE_CASES:
            with self.subTest(path=path, text=text):
                self.assertEqual(len(errors_of(path, text)), 0 if legal else 1)

    def test_exit_codes(self):
        def exit_code(root):
            return subprocess.run([sys.executable, layering.__file__, root], check=False,
                                  capture_output=True).returncode
        with tempfile.TemporaryDirectory() as root:
            self.assertEqual(exit_code(root), 1, "a tree without files passes")
            pathlib.Path(root, "a.cc").write_text(f"// {SPDX}#include <vector>\n")
            self.assertEqual(exit_code(root), 0)
            pathlib.Path(root, "a.cc").write_text(f"// {SPDX}#include <hwy/highway.h>\n")
            self.assertEqual(exit_code(root), 1)


if __name__ == "__main__":
    unittest.main()
