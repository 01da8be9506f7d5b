#!/usr/bin/env python3
"""From the API server's answer to a change until every proxy of the cluster runs on it, while requests flow.

    cargo build --release && python3 bench/changes.py [--seconds 60] [--rate 100] [--load 200]

Starts a mesh of its own, patches the weights of user-service-vs RATE times a second and asks istiod after each (`/debug/distributed`) when every
proxy has acknowledged it; meanwhile LOAD requests a second go through ingress, gateway and sidecars. Prints quantiles, and fails when a request
was answered with anything but 200.
"""

import argparse
import base64
import concurrent.futures
import http.client
import json
import os
import pathlib
import re
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time

import contenders

ROOT = pathlib.Path(__file__).resolve().parent.parent
PATH = "/apis/networking.istio.io/v1/namespaces/theater-msa/virtualservices/user-service-vs"


class ApiServer:
    """One cluster's API server, by the kubeconfig that `smov up` wrote; a connection for each thread."""

    def __init__(self, kubeconfig, context):
        text = json.loads(subprocess.run(["kubectl", "--kubeconfig", kubeconfig, "config", "view", "--raw", "-o", "json"], capture_output=True, check=True).stdout)
        named = lambda kind, name: next(one for one in text[kind + "s"] if one["name"] == name)[kind]
        about = named("context", context)
        cluster, user = named("cluster", about["cluster"]), named("user", about["user"])
        self.host = cluster["server"].removeprefix("https://")
        self.tls = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
        self.headers = {"Authorization": f"Bearer {user['token']}"}
        self.local = threading.local()

    def call(self, method, path, body=None, kind="application/json"):
        if not hasattr(self.local, "connection"):
            self.local.connection = http.client.HTTPSConnection(self.host, context=self.tls, timeout=10)
        connection = self.local.connection
        connection.request(method, path, body=json.dumps(body) if body is not None else None, headers={**self.headers, "Content-Type": kind})
        answer = connection.getresponse()
        text = answer.read()
        if answer.status >= 300:
            raise RuntimeError(f"{method} {path}: {answer.status} {text[:300]}")
        return json.loads(text)


def weights_patch(rules, share):
    """The rules with the split's weights changed."""
    rules = json.loads(json.dumps(rules))
    for rule in rules:
        if len(rule.get("route", [])) == 2:
            rule["route"][0]["weight"], rule["route"][1]["weight"] = share, 100 - share
    return {"spec": {"http": rules}}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--rate", type=int, default=100, help="changes a second")
    parser.add_argument("--load", type=int, default=200, help="requests a second")
    parser.add_argument("--smov", type=pathlib.Path, default=ROOT / "target/release/smov")
    arguments = parser.parse_args()
    binary = arguments.smov.resolve()
    with tempfile.TemporaryDirectory() as name:
        state = pathlib.Path(name) / "mesh"
        page = contenders.free_port()
        command = [binary, "--state-dir", state, "--lang", "en", "up", "--port", str(page), "--operator-port", "0", "--store", "sqlite"]
        mesh = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        try:
            for line in mesh.stdout:
                if "ready in" in line:
                    break
            notes = json.loads((state / "run.json").read_text())
            istiod = dict(notes["debug_sockets"])["ctx1"]
            api = ApiServer(state / "kubeconfig", "ctx1")
            rules = api.call("GET", PATH)["spec"]["http"]
            load = subprocess.Popen(
                [binary, "--state-dir", state, "--lang", "en", "load", "--rate", str(arguments.load), "--duration", f"{arguments.seconds}s"],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            )
            measured, late = [], []

            def change(number):
                written = api.call("PATCH", PATH, weights_patch(rules, number % 101), "application/merge-patch+json")
                answered = time.monotonic()
                query = f"/debug/distributed?kind=VirtualService&resourceVersion={written['metadata']['resourceVersion']}"
                told = contenders.ask(istiod, query)
                (measured if told["distributed"] else late).append(time.monotonic() - answered)

            started = time.monotonic()
            with concurrent.futures.ThreadPoolExecutor(16) as pool:
                futures = []
                for number in range(arguments.seconds * arguments.rate):
                    time.sleep(max(0.0, started + number / arguments.rate - time.monotonic()))
                    futures.append(pool.submit(change, number))
                for future in futures:
                    future.result()
            elapsed = time.monotonic() - started
            proxies = len(contenders.ask(istiod, "/debug/syncz")["proxies"])
            said = load.communicate(timeout=60)[0]
        finally:
            mesh.terminate()
            mesh.wait()
    cuts = statistics.quantiles([1000 * one for one in measured], n=1000)
    print(f"load average {os.getloadavg()[0]:.1f}; {len(measured)} changes in {elapsed:.1f} s, {proxies} proxies, {len(late)} not in use after 5 s")
    print(f"answer to every proxy's ack, ms: p50 {cuts[499]:.2f}  p90 {cuts[899]:.2f}  p99 {cuts[989]:.2f}  max {1000 * max(measured):.2f}")
    print(said.strip())
    others = [status for status in re.findall(r"\b([1-5]\d\d)\b\s*[×x]", said) if status != "200"]
    if late or others or load.returncode:
        sys.exit("a change was not distributed, or a request was not answered with 200")


if __name__ == "__main__":
    main()
