#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""offenders_test.py ROOT: formatted.py finds an offender planted in each kind of source, lets its
well-formed neighbour pass, and takes no other version of clang-format."""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

import formatted
import layering

ROOT = pathlib.Path(sys.argv.pop()).resolve()
PROGRAM = formatted.clang_format(ROOT)
GOOD = "int F(int a) { return a; }\n"
BAD = "int F( int a ) { return a; }\n"


class Offenders(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name)
        shutil.copy(ROOT / ".clang-format", self.root)

    def plant(self, path, text):
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def test_each_kind_of_source(self):
        for suffix in sorted(layering.CODE):
            with self.subTest(suffix=suffix):
                file = self.plant(f"src/types/a{suffix}", GOOD)
                self.assertEqual(formatted.check(self.root, PROGRAM), (1, []))
                file.write_text(BAD)
                count, errors = formatted.check(self.root, PROGRAM)
                self.assertEqual(count, 1)
                self.assertTrue(errors)
                self.assertTrue(all(f"src/types/a{suffix}:1:" in error for error in errors), errors)
                file.unlink()

    def test_the_style_is_the_repositorys(self):
        for width, errors in ((100, 0), (101, 1)):
            name = "F" * (width - len("int (int a);"))
            self.plant("a.h", f"int {name}(int a);\n")
            self.assertEqual(len(formatted.check(self.root, PROGRAM)[1]), errors)

    def run_script(self, version):
        """On a system whose only clang-format says it is of that version."""
        fake = self.plant("build/tools/bin/clang-format", "#!/bin/sh\n"
                          f'[ "$1" = --version ] && echo "clang-format version {version}.0.6" ||'
                          f' exec {PROGRAM} "$@"\n')
        fake.chmod(0o755)
        return subprocess.run([sys.executable, formatted.__file__, self.root], check=False,
                              capture_output=True, text=True,
                              env=dict(os.environ, PATH=str(fake.parent)))

    def test_exit_codes(self):
        self.assertEqual(self.run_script(14).returncode, 1, "a tree without sources passes")
        self.plant("a.cc", GOOD)
        self.assertEqual(self.run_script(14).returncode, 0)
        self.plant("a.cc", BAD)
        self.assertEqual(self.run_script(14).returncode, 1)

    def test_other_versions(self):
        self.plant("a.cc", GOOD)
        for version in (13, 15, 114, 140):
            run = self.run_script(version)
            self.assertEqual(run.returncode, 1)
            self.assertIn("no clang-format 14", run.stderr)


if __name__ == "__main__":
    unittest.main()
