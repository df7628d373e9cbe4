#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Pictures and one self-contained HTML page from what `ropekv bench --json` prints.

Writes report.html, ratio.png, roofline.png and, if peers were measured, peers.png.
"""
import argparse
import base64
import html
import json
import os
import pathlib
import statistics
import sys

try:
    import matplotlib
    matplotlib.use("Agg")
    from matplotlib import pyplot
    from matplotlib.ticker import FuncFormatter, NullLocator
except ImportError as import_error:
    sys.exit(f"bench_report.py: {import_error}; Debian has it as python3-matplotlib")

# Okabe and Ito's colours, which the colour-blind can tell apart; markers say the same again.
KERNELS = [("i32", "f16", "float32", "#0072B2", "o"), ("i32", "bf16", "float32", "#56B4E9", "s"),
           ("f16", "f16", "float32", "#009E73", "^"), ("bf16", "bf16", "float32", "#000000", "D"),
           ("i32", "f16", "ascend", "#D55E00", "v"), ("f16", "f16", "ascend", "#CC79A7", "P"),
           ("i32", "f32", "float32", "#E69F00", "<"), ("f32", "f32", "float32", "#F0E442", ">")]
FLOOR = "#777777"
MOST_PANELS = 8

# POINT tells points apart. The pictures show the commonest KIND.
KIND = """cache kv_output bound f32_cos positions packed half_width index_dtype cache_dtype scales
layout sliced""".split()
POINT = "model tokens x dtype numerics threads rotary_dim rotary_style".split() + KIND
COLUMNS = POINT + """target runs ns ns_min ns_max ns_per_token floor_ns floor_stores ratio
gbps""".split()
TITLES = {"dtype": "q", "kv_output": "k, v out", "ns": "ns/call", "ns_min": "min", "ns_max": "max",
          "ns_per_token": "ns/token", "floor_ns": "copy, ns", "floor_stores": "copy's stores",
          "gbps": "GB/s", "slower": "time / ropekv's", "mismatches": "int8 entries that differ"}

METHOD = """Each time is the median over the runs of one call of a prepared plan, its checks of the
data included. Everything is warm that fits in the caches: a run repeats a short call for about
20 ms. The <em>copy</em> takes turns with the operator, in the same process, with the same buffers
and threads. It reads the bytes that the operator must read and writes the bytes that it must write,
to the same addresses, and computes nothing; the better of ordinary and streaming stores. ratio is
the copy's time over the operator's: 1 is the speed of memory. Peers work on the same data, those in
Python in processes of their own; NumPy always uses one thread."""


def size_text(size, _position=None):
    unit, scale = next((u for u in (("GiB", 30), ("MiB", 20)) if size >= 1 << u[1]), ("KiB", 10))
    return f"{size / (1 << scale):g} {unit}"


def threads_text(count):
    return f"{count} thread" + ("" if count == 1 else "s")


def curves(rows):
    """The rows of each kernel, in order of tokens, with its style."""
    for x, dtype, numerics, colour, marker in KERNELS:
        mine = [row for row in rows
                if (row["x"], row["dtype"], row["numerics"]) == (x, dtype, numerics)]
        if mine:
            style = {"color": colour, "marker": marker, "markersize": 5, "linewidth": 1.4}
            yield f"{x} → {dtype}, {numerics}", style, sorted(mine, key=lambda row: row["tokens"])


def values(row, keys):  # older reports lack some
    return tuple(row.get(key) for key in keys)


def place(row, *keys):
    """What a panel is about: the model, how it turns, and the values of `keys`."""
    partial = row.get("rotary_dim", row["head_dim"]) < row["head_dim"]
    model = row["model"] + (f", {row['rotary_dim']} rotated" if partial else "")
    model += ", interleaved" if row.get("rotary_style") == "interleaved" else ""
    return model, *(row[key] for key in keys)


def panels(rows, *keys):
    """(note, {place: rows}) to draw: those of one kind, and not too many."""
    kinds = [values(row, KIND) for row in rows]
    kind = max(dict.fromkeys(kinds), key=kinds.count)  # the commonest
    groups = {}
    for row in (row for row in rows if values(row, KIND) == kind):
        groups.setdefault(place(row, *keys), []).append(row)
    note = f"{kind[0]} cache, k and v {'also' if kind[1] else 'not'} written as outputs"
    if len(groups) > MOST_PANELS:
        note += f"; {MOST_PANELS} of {len(groups)} groups, the others are in the table"
    return note, dict(list(groups.items())[:MOST_PANELS])


def grid(count, **options):
    columns = 1 if count == 1 else 2
    rows = -(-count // columns)
    figure, axes = pyplot.subplots(rows, columns, squeeze=False, layout="constrained",
                                   figsize=(5.4 * columns, 3.7 * rows + 0.9), **options)
    for axis in axes.flat[count:]:
        axis.set_visible(False)
    return figure, list(axes.flat[:count])


def finish(figure, axes, title, path):
    figure.suptitle(title, fontsize=11)
    entries = {}
    for axis in axes:
        entries |= dict(zip(*reversed(axis.get_legend_handles_labels())))
    figure.legend(entries.values(), entries.keys(), loc="lower center", ncol=3, fontsize=9,
                  frameon=False)
    below = (0.1 + 0.2 * -(-len(entries) // 3)) / figure.get_figheight()
    figure.get_layout_engine().set(rect=(0, below, 1, 1 - below))
    figure.savefig(path, dpi=130)
    pyplot.close(figure)


def draw_ratio(results, path):
    note, groups = panels(results, "threads")
    figure, axes = grid(len(groups), sharey=True)
    tokens = sorted({row["tokens"] for rows in groups.values() for row in rows})
    for axis, ((model, threads), rows) in zip(axes, groups.items()):
        for label, style, mine in curves(rows):
            axis.plot([r["tokens"] for r in mine], [r["ratio"] for r in mine], label=label, **style)
        axis.axhline(1, color=FLOOR, linestyle="--", label="the copy itself")
        axis.set_title(f"{model}, {threads_text(threads)}", fontsize=10)
        axis.set_xscale("log", base=2)
        axis.set_xticks(tokens, [str(t) for t in tokens], rotation=45 if len(tokens) > 6 else 0)
        axis.xaxis.set_minor_locator(NullLocator())
        axis.set_xlabel("tokens of a call")
        axis.grid(alpha=0.3)
    highest = max(row["ratio"] for rows in groups.values() for row in rows)
    axes[0].set_ylim(0, 1.1 * max(1, highest))
    figure.supylabel("copy's time / operator's time", fontsize=10)
    finish(figure, axes, f"Speed beside a plain copy of the same bytes\n{note}", path)


def draw_roofline(results, machine, path):
    note, groups = panels(results, "threads")
    figure, axes = grid(len(groups), sharex=True, sharey=True)
    shown = [row for rows in groups.values() for row in rows]
    for axis, ((model, threads), rows) in zip(axes, groups.items()):
        for label, style, mine in curves(rows):
            axis.plot([r["bytes"] for r in mine], [r["gbps"] for r in mine], label=label, **style)
            axis.plot([r["bytes"] for r in mine], [r["bytes"] / r["floor_ns"] for r in mine],
                      color=FLOOR, linestyle="--", linewidth=1, zorder=1)
        for level, name in (("L1", "l1d_bytes"), ("L2", "l2_bytes"), ("L3", "l3_bytes")):
            if machine.get(name, 0) > 0:
                axis.axvline(machine[name], color=FLOOR, linewidth=0.8, linestyle=":")
                axis.annotate(level, (machine[name], 0.98), xycoords=("data", "axes fraction"),
                              xytext=(3, 0), textcoords="offset points", va="top", fontsize=9)
        axis.set_title(f"{model}, {threads_text(threads)}", fontsize=10)
        axis.set_xscale("log", base=2)
        axis.set_yscale("log", base=2)
        first = min(row["bytes"] for row in shown).bit_length() - 1
        last = max(row["bytes"] for row in shown).bit_length()
        axis.set_xticks([1 << bit for bit in range(first + first % 2, last + 1, 2)])
        axis.xaxis.set_major_formatter(FuncFormatter(size_text))
        axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.xaxis.set_minor_locator(NullLocator())
        axis.tick_params(axis="x", labelsize=8, labelbottom=True)
        axis.set_xlabel("bytes read and written by a call")
        axis.grid(alpha=0.3)
    axes[0].plot([], [], color=FLOOR, linestyle="--", linewidth=1, label="the copy, each")
    figure.supylabel("GB/s, logarithmic", fontsize=10)
    finish(figure, axes, f"Bytes moved per second, and what a copy of them reaches\n{note}", path)


def draw_peers(results, peers, path):
    note, groups = panels(peers, "tokens", "threads")
    figure, axes = grid(len(groups), sharex=True)
    slowness = {name: statistics.median(row["ns"] / row["operator_ns"] for row in peers
                                        if row["peer"] == name)
                for name in {row["peer"] for row in peers}}
    names = ["the copy", "ropekv"] + sorted(slowness, key=slowness.get)
    for axis, (about, rows) in zip(axes, groups.items()):
        kinds = {values(row, KIND) for row in rows}
        mine = [row for row in results
                if place(row, "tokens", "threads") == about and values(row, KIND) in kinds]
        measured = ([dict(row, peer="ropekv") for row in mine] + rows +
                    [dict(row, peer="the copy", ns_per_token=row["floor_ns"] / row["tokens"])
                     for row in mine])
        for label, style, dots in curves(measured):
            axis.plot([row["ns_per_token"] for row in dots],
                      [names.index(row["peer"]) for row in dots], label=label,
                      **(style | {"linestyle": "none", "markersize": 6, "alpha": 0.85}))
        for name in names[2:]:
            slower = sorted(row["ns"] / row["operator_ns"] for row in rows if row["peer"] == name)
            if slower:
                text = " to ".join(dict.fromkeys(f"{s:.2g}" if s < 10 else f"{s:.0f}"
                                                 for s in (slower[0], slower[-1])))
                axis.annotate(f"{text} ×", (0.985, names.index(name)), ha="right", va="center",
                              xycoords=("axes fraction", "data"), fontsize=8)
        axis.set_title(f"{about[0]}, {about[1]} tokens, {threads_text(about[2])}", fontsize=10)
        axis.set_xscale("log")
        axis.set_yticks(range(len(names)), names)
        axis.set_ylim(len(names) - 0.5, -0.5)
        axis.tick_params(axis="x", labelbottom=True)
        axis.set_xlabel("ns per token, logarithmic")
        axis.grid(alpha=0.3)
    low, high = axes[0].get_xlim()
    axes[0].set_xlim(low, high * (high / low) ** 0.3)  # room for the factors
    finish(figure, axes, "Other implementations on the same data; on the right, their time over "
           f"ropekv's\n{note}", path)


def table(columns, rows):
    def cell(value):
        if isinstance(value, bool):
            return "<td>" + ("yes" if value else "no")
        if isinstance(value, (int, float)):
            return f"<td class=n>{value:,.0f}" if abs(value) >= 100 else f"<td class=n>{value:g}"
        return "<td>" + html.escape(str(value))

    head = "".join(f"<th>{html.escape(TITLES.get(key, key.replace('_', ' ')))}" for key in columns)
    body = "".join("<tr>" + "".join(cell(row.get(key, "")) for key in columns) + "\n"
                   for row in rows)
    return f"<div class=wide><table><tr>{head}\n{body}</table></div>\n"


STYLE = """body{font:15px/1.5 sans-serif;max-width:75em;margin:2em auto;padding:0 1em;color:#222}
img{max-width:100%}.wide{overflow-x:auto}table{border-collapse:collapse;font-size:12px}
th{text-align:left;border-bottom:2px solid #888}td,th{padding:2px 8px;white-space:nowrap}
td.n{text-align:right;font-variant-numeric:tabular-nums}tr:nth-child(even){background:#f3f3f3}
code{background:#f3f3f3;padding:2px 4px}"""


def page(report, pictures):
    sizes = [{"name": key.replace("_bytes", " cache"), "value": size_text(value)}
             if key.endswith("_bytes") else {"name": key, "value": str(value)}
             for key, value in report["machine"].items()]
    parts = [f"<!doctype html><html lang=en><meta charset=utf-8><title>ropekv bench</title>"
             f"<style>{STYLE}</style><h1>ropekv bench</h1>",
             f"<p>{METHOD}</p>",
             *(f"<p><code>{html.escape(command)}</code></p>" for command in report["commands"]),
             "<h2>Machine</h2>", table(["name", "value"], sizes)]
    for title, path in pictures:
        data = base64.b64encode(pathlib.Path(path).read_bytes()).decode()
        parts.append(f"<h2>{title}</h2><img alt='{title}' src='data:image/png;base64,{data}'>")
    parts += ["<h2>Every point</h2>", table(COLUMNS, report["results"])]
    peers = report["peers"]
    measured = [row | {"slower": round(row["ns"] / row["operator_ns"], 2)}
                for row in peers if "ns" in row]
    if measured:
        columns = ["peer", "version"] + [key for key in COLUMNS if key != "target"]
        columns += ["slower", "mismatches"]
        parts += ["<h2>Peers at every point</h2>", table(columns, measured)]
    reasons = dict.fromkeys((row["peer"], row.get("absent") or row["failed"])
                            for row in peers if "ns" not in row)
    if reasons:
        parts += ["<h2>Peers that were not measured</h2>",
                  table(["peer", "why"], [{"peer": peer, "why": why} for peer, why in reasons])]
    return "".join(parts) + "</html>\n"


def load(paths):
    """One report of several; of points that occur more than once the first counts."""
    reports = [json.loads(pathlib.Path(path).read_text(encoding="utf-8")) for path in paths]
    rows, peers = ([row for report in reports for row in report[key]]
                   for key in ("results", "peers"))
    results = {}
    for row in rows + peers:
        row["f32_cos"] = "angles" in row and row["angles"] != row["dtype"]
    for row in rows:
        results.setdefault(values(row, POINT), row)
    return {"machine": reports[0]["machine"], "results": list(results.values()), "peers": peers,
            "commands": [report.get("command", "") for report in reports]}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("json", nargs="+", help="what `ropekv bench --json` printed")
    parser.add_argument("-o", "--output", default=".", help="folder; default: this one")
    arguments = parser.parse_args()
    report = load(arguments.json)
    if not report["results"]:
        sys.exit(f"bench_report.py: {arguments.json[0]}: no results")
    os.makedirs(arguments.output, exist_ok=True)
    pictures = []

    def picture(title, name, draw, *data):
        path = os.path.join(arguments.output, name)
        draw(*data, path)
        pictures.append((title, path))

    results = report["results"]
    picture("Ratio to the copy", "ratio.png", draw_ratio, results)
    picture("Roofline", "roofline.png", draw_roofline, results, report["machine"])
    measured = [row for row in report["peers"] if "ns" in row]
    if measured:
        picture("Peers", "peers.png", draw_peers, results, measured)
    path = os.path.join(arguments.output, "report.html")
    pathlib.Path(path).write_text(page(report, pictures), encoding="utf-8")
    print("wrote", ", ".join([path] + [path for _, path in pictures]))


if __name__ == "__main__":
    main()
