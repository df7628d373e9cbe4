#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""offenders_test.py CC: hardened.py finds each fault that it looks for, in libraries made to have
one.
"""
import pathlib
import subprocess
import sys
import tempfile
import unittest

import hardened

GOOD = ["-Wl,-z,relro", "-Wl,-z,now", "-Wl,-z,noexecstack"]
CASES = [
    ([], []),
    (["-Wl,-z,execstack"], ["GNU_STACK is writable and executable"]),
    (["-Wl,-z,lazy"], ["resolves addresses late"]),
    (["-Wl,-z,norelro"], ["has no GNU_RELRO"]),
    (["-Wl,--omagic", "-nostdlib"], ["LOAD is writable and executable"]),
]


class Offenders(unittest.TestCase):
    def test_each(self):
        for options, expected in CASES:
            with self.subTest(options=options), tempfile.TemporaryDirectory() as folder:
                source = pathlib.Path(folder, "a.c")
                source.write_text("int g(void), a = 1;\nint f(void) { return g(); }\n")
                library = pathlib.Path(folder, "a.so")
                subprocess.run([CC, "-shared", "-fPIC", source, "-o", library, *GOOD, *options],
                               check=True)
                found = set(hardened.faults(hardened.readelf("--segments", library),
                                            hardened.readelf("--dynamic", library)))
                self.assertLessEqual(set(expected), found)
                self.assertEqual(bool(expected), bool(found), found)


if __name__ == "__main__":
    CC = sys.argv.pop()
    unittest.main()
