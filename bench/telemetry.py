#!/usr/bin/env python3
"""What it costs our sidecar to tell what it does: access log and traces at 1 %, beside the same proxy without them.

    cargo build --release && python3 bench/telemetry.py [--runs 7] [--seconds 3] [--smov BINARY] [--json FILE]

The way of dataplane.py: proxies on CPU 0, wrk and the upstreams on CPU 1, runs interleaved in rotating order, CPU time by the scheduler's account.
Requests bring neither a trace nor an id, so that the proxy decides for each. The bound is 15 % more CPU per request. Every kind counts metrics: the proxy has no
switch for them, so what they cost is not told here.
"""

import argparse
import copy
import json
import os
import pathlib
import statistics
import sys
import tempfile

import contenders
import dataplane
from contenders import Shape

BOUND = 1.15


def telling(snapshot, percent, log):
    """The snapshot with this share of traces, and with or without an access log."""
    snapshot = copy.deepcopy(snapshot)
    for side in snapshot["telemetry"].values():
        side["sampling"] = int(percent * 10_000)
        side["access_log"] = {"encoding": "TEXT", "filter": None} if log else None
    return snapshot


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--smov", type=pathlib.Path, default=dataplane.ROOT / "target/release/smov")
    parser.add_argument("--json", type=pathlib.Path, help="write the figures here")
    arguments = parser.parse_args()
    # The folder changes below.
    binary, figures = arguments.smov.resolve(), arguments.json and arguments.json.resolve()
    for name in ("Traceparent", "X-Request-Id"):
        dataplane.HEADERS.pop(name)
    kinds = {
        "metrics only": (0, False),
        "and log": (0, True),
        "and traces": (1, True),
        "all traced": (100, True),
    }
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        os.chdir(folder)
        snapshot = contenders.real_snapshot(binary, folder)
        ports = [contenders.free_port(), contenders.free_port()]
        upstreams = [contenders.upstream(folder / "up", f"upstream-{index}", port) for index, port in enumerate(ports)]
        proxies = []
        try:
            for index, (kind, (percent, log)) in enumerate(kinds.items()):
                told = telling(snapshot, percent, log)
                address = f"127.77.2.{index + 1}"
                proxies.append(
                    contenders.smov(binary, folder / f"proxy-{index}", told, Shape(), ports, name=kind, address=address)
                )
            results = {proxy.name: [] for proxy in proxies}
            for proxy in proxies:
                dataplane.wrk(proxy, 1)
            for turn in range(arguments.runs):
                for place in range(len(proxies)):
                    proxy = proxies[(turn + place) % len(proxies)]
                    results[proxy.name].append(dataplane.measure(proxy, arguments.seconds))
            memory = {proxy.name: proxy.memory()[0] for proxy in proxies}
        finally:
            for one in proxies + upstreams:
                one.stop()
    print(f"load average {os.getloadavg()[0]:.1f}, medians of {arguments.runs} runs of {arguments.seconds} s, 32 connections")
    print(f"{'':14}{'CPU µs/req':>11}{'vs none':>8}{'min/min':>9}{'p50 µs':>8}{'p99 µs':>8}{'RSS MB':>8}")
    table = {}
    for kind, runs in results.items():
        # Ratios within a turn: what disturbs a turn disturbs both sides.
        ratio = statistics.median(own["cpu"] / off["cpu"] for own, off in zip(runs, results["metrics only"]))
        least = min(run["cpu"] for run in runs) / min(run["cpu"] for run in results["metrics only"])
        median = {key: statistics.median(run[key] for run in runs) for key in ("cpu", "p50", "p99")}
        table[kind] = {**median, "ratio": ratio, "min": least, "rss": memory[kind]}
        print(f"{kind:14}{median['cpu']:11.1f}{ratio:8.2f}{least:9.2f}{median['p50']:8.0f}{median['p99']:8.0f}{memory[kind]:8.1f}")
    if figures:
        figures.write_text(json.dumps(table, indent=1))
    if table["and traces"]["ratio"] > BOUND:
        sys.exit(f"traces at 1 % and access log cost {table['and traces']['ratio']:.2f} of the CPU without them; the bound is {BOUND}")


if __name__ == "__main__":
    main()
