#!/usr/bin/env python3
"""Plays a kubectl session against a real Kubernetes API server; see README.md."""

import argparse
import os
import pathlib
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time

from real_cluster import RealCluster

HERE = pathlib.Path(__file__).parent
SETTLE_SECONDS = 20
COMMAND_SECONDS = 60


class Session:
    def __init__(self, kubeconfig, folder, kubectl):
        self.kubeconfig, self.folder, self.kubectl = kubeconfig, folder, kubectl
        self.rules = []

    def alike(self, text):
        for pattern, replacement in self.rules:
            text = re.sub(pattern, re.sub(r"\$(\d)", r"\\\1", replacement), text, flags=re.MULTILINE)
        return text

    def run(self, line):
        words = shlex.split(line)
        given = subprocess.DEVNULL
        if len(words) > 2 and words[-2] == "<":
            given = open(self.folder / words[-1], "rb")
            words = words[:-2]
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "KUBECONFIG": str(self.kubeconfig), "EDITOR": "true"}
        environment["KUBECTL_APPLYSET"] = "true"
        if words[0].startswith("EDITOR="):
            environment["KUBE_EDITOR"] = words.pop(0).removeprefix("EDITOR=")
        done = subprocess.run(
            [self.kubectl, *words], stdin=given, capture_output=True, env=environment, cwd=self.folder, timeout=COMMAND_SECONDS
        )
        said = []
        for mark, text in (("|", done.stdout), ("!", done.stderr)):
            text = self.alike(text.decode(errors="replace"))
            said += [f"{mark} {one}".rstrip() for one in text.splitlines()]
        if done.returncode:
            said.append(f"= {done.returncode}")
        return said

    def run_settled(self, line):
        end, before = time.monotonic() + SETTLE_SECONDS, None
        while True:
            said = self.run(line)
            if said == before or time.monotonic() > end:
                return said
            before = said
            time.sleep(1.5)


def rules(lines):
    """Patterns and what stands for them."""
    for line in lines:
        if line.startswith("%replace "):
            pattern, _, replacement = line.removeprefix("%replace ").partition(" =>")
            yield pattern, replacement.removeprefix(" ")


def play(session, lines):
    """The lines with real answers, and how many invocations there were."""
    told, count, place = [], 0, 0
    ours = settle = False
    while place < len(lines):
        line = lines[place]
        place += 1
        told.append(line)
        if line.startswith("%file "):
            start = place
            while lines[place] != "%end":
                place += 1
            (session.folder / line.removeprefix("%file ")).write_text("\n".join(lines[start:place]) + "\n")
            told += lines[start : place + 1]
            place += 1
        elif line.startswith("%ours"):
            ours = True
        elif line == "%settle":
            settle = True
        elif line.startswith("$ "):
            count += 1
            start = place
            while place < len(lines) and lines[place][:1] in ("|", "!", "="):
                place += 1
            if ours:
                told += lines[start:place]
            else:
                said = (session.run_settled if settle else session.run)(line[2:])
                if said != lines[start:place]:
                    print(line, *said, sep="\n", end="\n\n")
                told += said
            ours = settle = False
    return told, count


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--programs", required=True, help="folder with etcd, kube-apiserver, kube-controller-manager")
    parser.add_argument("--crds", help="file with custom resource definitions to apply first")
    parser.add_argument("--kubectl", default="kubectl")
    parser.add_argument("--write", action="store_true", help="write the answers into the session")
    parser.add_argument("session", nargs="?", default=HERE / "everyday.session", type=pathlib.Path)
    options = parser.parse_args()
    # So that the programs end with this one, however it ends.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    lines = options.session.read_text().splitlines()
    with RealCluster(options.programs) as cluster, tempfile.TemporaryDirectory() as folder:
        session = Session(cluster.kubeconfig, pathlib.Path(folder), options.kubectl)
        session.rules = list(rules((HERE / "alike.rules").read_text().splitlines()))
        if options.crds:
            apply = [options.kubectl, "--kubeconfig", str(cluster.kubeconfig), "apply", "--server-side", "-f", options.crds]
            subprocess.run(apply, check=True, stdout=subprocess.DEVNULL)
            wait = [options.kubectl, "--kubeconfig", str(cluster.kubeconfig), "wait", "crd", "--all", "--for=condition=Established"]
            subprocess.run(wait, check=True, stdout=subprocess.DEVNULL)
        told, count = play(session, lines)
    print(f"{count} invocations, {'the same' if told == lines else 'with differences'}")
    if options.write:
        options.session.write_text("\n".join(told) + "\n")
    return 0 if told == lines or options.write else 1


if __name__ == "__main__":
    sys.exit(main())
