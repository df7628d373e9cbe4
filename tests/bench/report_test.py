#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""report_test.py SCRIPT ROPEKV: bench_report.py on what `ropekv bench --json` prints."""
import json
import pathlib
import re
import struct
import subprocess
import sys
import tempfile
import unittest

SCRIPT, ROPEKV = sys.argv.pop(1), sys.argv.pop(1)
BENCH = [ROPEKV, "bench", "--numerics", "float32", "--runs", "1", "--json"]


def report(folder, *sources):
    return subprocess.run([sys.executable, SCRIPT, *sources, "-o", folder], check=False,
                          capture_output=True, text=True)


class Report(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.root = pathlib.Path(self.folder.name)
        self.json = self.root / "bench.json"
        self.output = self.root / "out"

    def make(self, *options, change=lambda data: None):
        printed = subprocess.run(BENCH + list(options), check=True, capture_output=True).stdout
        data = json.loads(printed)
        change(data)
        self.json.write_text(json.dumps(data), encoding="utf-8")
        done = report(self.output, self.json)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return data, (self.output / "report.html").read_text(encoding="utf-8")

    def check_pictures(self, names):
        self.assertEqual(sorted(path.name for path in self.output.iterdir()),
                         sorted(names + ["report.html"]))
        for name in names:
            head = (self.output / name).read_bytes()[:24]
            self.assertEqual(head[:8], b"\x89PNG\r\n\x1a\n")
            self.assertGreater(min(struct.unpack(">II", head[16:24])), 300)

    def test_without_peers(self):
        data, page = self.make("--x", "bf16,int32", "--tokens", "1,4,16", "--threads", "1,2")
        self.check_pictures(["ratio.png", "roofline.png"])
        self.assertEqual(page.count("src='data:image/png;base64,"), 2)
        self.assertEqual(page.count("<td>Llama-3-8B<"), len(data["results"]))
        self.assertIn(data["command"], page)
        self.assertIn(data["machine"]["processor"], page)
        # Nothing comes from elsewhere.
        self.assertIsNone(re.search(r"(src|href)=.?https?:", page))

    def test_with_peers(self):
        def change(data):
            data["peers"].append({"peer": "abacus", "absent": "no <beads>"})
        data, page = self.make("--x", "bf16", "--tokens", "1,4", "--threads", "1", "--peer",
                               "chain", "--cache", "page,random", change=change)
        self.check_pictures(["ratio.png", "roofline.png", "peers.png"])
        self.assertEqual(page.count("<tr><td>chain<"), len(data["results"]))
        self.assertIn("no &lt;beads&gt;", page)

    def test_features(self):
        def age(data):  # what older versions wrote
            for row in data["results"]:
                for key in ("rotary_dim", "rotary_style", "angles", "positions", "layout"):
                    del row[key]
        options = ("--x", "bf16", "--tokens", "1", "--threads", "1")
        data, page = self.make(*options, "--model", "glm-4-9b-chat,llama-3-8b", "--layout",
                               "nhd,hnd", "--angles", "q,f32", "--rotary-style", "interleaved")
        self.assertEqual(len(data["results"]), 8)
        self.assertEqual(page.count("<td>interleaved<"), 8)
        self.assertEqual(page.count("<td>hnd<"), 4)
        _, page = self.make(*options, change=age)
        self.assertEqual(page.count("<td>Llama-3-8B<"), 1)

    def test_several_runs(self):
        data, page = self.make("--x", "bf16", "--tokens", "1,4", "--threads", "1")
        done = report(self.output, self.json, self.json)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        again = (self.output / "report.html").read_text(encoding="utf-8")
        for text in (page, again):
            self.assertEqual(text.count("<td>Llama-3-8B<"), len(data["results"]))
        self.assertEqual(again.count(data["command"]), 2)

    def test_many_models(self):
        data, page = self.make("--model", "all", "--x", "f16", "--tokens", "1", "--threads", "1")
        self.check_pictures(["ratio.png", "roofline.png"])
        self.assertGreater(len({row["model"] for row in data["results"]}), 10)
        self.assertIn("Phi-3-mini", page)

    def test_bad_input(self):
        self.json.write_text('{"machine": {}, "results": [], "peers": []}', encoding="utf-8")
        done = report(self.output, self.json)
        self.assertEqual(done.returncode, 1)
        self.assertIn("no results", done.stderr)
        self.assertFalse(self.output.exists())


if __name__ == "__main__":
    unittest.main()
