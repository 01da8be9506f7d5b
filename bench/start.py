#!/usr/bin/env python3
"""From exec of `smov up` to the first true answer, and the memory of all its processes.

    cargo build --release && python3 bench/start.py [RUNS]

For each store and for a fresh and an existing state folder: the median of RUNS (7) of the time from exec until GET /users/ answers 200 through
ingress, gateway, sidecars and store, until everything is ready by `smov up`'s own word, and the sum of the proportional set sizes (PSS) then.
Meant for an idle machine; prints the load average beside the figures.
"""

import http.client
import json
import os
import pathlib
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
SMOV = pathlib.Path(os.environ.get("SMOV", ROOT / "target/release/smov"))
RUNS = int(sys.argv[1]) if len(sys.argv) > 1 else 7


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def answers(port):
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
        connection.request("GET", "/users/")
        answer = connection.getresponse()
        body = answer.read()
        return answer.status == 200 and answer.headers.get("X-Pod-Name") and json.loads(body)
    except (OSError, http.client.HTTPException, ValueError):
        return False


def family(pid):
    """The process and all that descend from it."""
    children = {}
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except (OSError, IndexError):
                continue
            children.setdefault(parent, []).append(int(entry.name))
    found, todo = [], [pid]
    while todo:
        one = todo.pop()
        found.append(one)
        todo += children.get(one, [])
    return found


def pss_kilobytes(pids):
    total = 0
    for pid in pids:
        try:
            text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))
    return total


def one_run(state, store):
    port = free_port()
    started = time.monotonic()
    command = [SMOV, "--state-dir", state, "--lang", "en", "up", "--port", str(port), "--operator-port", "0", "--store", store]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    while not answers(port):
        if time.monotonic() - started > 60:
            process.kill()
            sys.exit("no answer within a minute")
        time.sleep(0.002)
    first = time.monotonic() - started
    ready = None
    for line in process.stdout:
        if "ready in" in line:
            ready = float(line.split("ready in")[1].split()[0])
            break
    memory = pss_kilobytes(family(process.pid)) / 1024
    process.terminate()
    process.wait()
    return first, ready, memory


def main():
    print(f"load average {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores, {RUNS} runs each; medians")
    print(f"{'store':8} {'state':9} {'first 200':>10} {'all ready':>10} {'PSS':>9}")
    stores = ["sqlite"] + (["redis"] if shutil.which("redis-server") or shutil.which("valkey-server") else [])
    for store in stores:
        for kind in ("fresh", "existing"):
            runs = []
            with tempfile.TemporaryDirectory() as kept:
                if kind == "existing":
                    one_run(kept, store)
                for _ in range(RUNS):
                    with tempfile.TemporaryDirectory() as new:
                        runs.append(one_run(kept if kind == "existing" else new, store))
            first, ready, memory = (statistics.median(column) for column in zip(*runs))
            print(f"{store:8} {kind:9} {first:8.2f} s {ready:8.2f} s {memory:6.0f} MB")


main()
