"""A real Kubernetes control plane for comparisons: etcd, kube-apiserver and kube-controller-manager on loopback.

Everything lives in one temporary folder and ends with the `with` block; only processes started here are ended.
There is no scheduler and no kubelet, so pods stay Pending until somebody writes their status.
"""

import json
import os
import pathlib
import secrets
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
import urllib.request

START_SECONDS = 120
STOP_SECONDS = 10


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class RealCluster:
    """`with RealCluster(programs) as cluster:` — `cluster.kubeconfig` is the administrator's."""

    def __init__(self, programs, controllers=True):
        self.programs = pathlib.Path(programs)
        self.controllers = controllers
        self.running = []
        self.folder = None

    def __enter__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="real-cluster-"))
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for process in reversed(self.running):
            process.terminate()
        for process in reversed(self.running):
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _run(self, program, *arguments):
        log = open(self.folder / f"{program}.log", "wb")
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.folder)}
        command = [str(self.programs / program), *arguments]
        process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment, cwd=self.folder)
        self.running.append(process)

    def _start(self):
        folder = self.folder
        key = folder / "accounts.key"
        subprocess.run(["openssl", "genrsa", "-out", str(key), "2048"], check=True, capture_output=True)
        token = secrets.token_hex(16)
        tokens = folder / "tokens.csv"
        tokens.write_text(f'{token},kubernetes-admin,,"system:masters"\n')
        store, peer, self.port = free_port(), free_port(), free_port()
        self._run(
            "etcd",
            f"--data-dir={folder}/etcd",
            f"--listen-client-urls=http://127.0.0.1:{store}",
            f"--advertise-client-urls=http://127.0.0.1:{store}",
            f"--listen-peer-urls=http://127.0.0.1:{peer}",
            "--unsafe-no-fsync",
        )
        self._run(
            "kube-apiserver",
            f"--etcd-servers=http://127.0.0.1:{store}",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            f"--secure-port={self.port}",
            f"--cert-dir={folder}/certificates",
            f"--token-auth-file={tokens}",
            "--authorization-mode=RBAC",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={key}",
            f"--service-account-signing-key-file={key}",
            "--service-cluster-ip-range=127.250.200.0/24",
            "--endpoint-reconciler-type=none",
        )
        self.kubeconfig = folder / "kubeconfig"
        self.kubeconfig.write_text(json.dumps(self._kubeconfig(token)))
        self._wait_until_ready(token)
        if self.controllers:
            self._run(
                "kube-controller-manager",
                f"--kubeconfig={self.kubeconfig}",
                "--leader-elect=false",
                "--use-service-account-credentials=false",
                f"--service-account-private-key-file={key}",
                "--secure-port=0",
                # Nodes here have no kubelet: nobody may mark them lost.
                "--controllers=*,-node-lifecycle-controller",
            )
            self._wait_for("default account", lambda: self.get("/api/v1/namespaces/default/serviceaccounts/default"))

    def _kubeconfig(self, token):
        name = "ctx1"
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": name,
            "clusters": [{"name": name, "cluster": {"server": f"https://127.0.0.1:{self.port}", "insecure-skip-tls-verify": True}}],
            "users": [{"name": f"{name}-admin", "user": {"token": token}}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": f"{name}-admin"}}],
        }

    def get(self, path):
        trust = ssl._create_unverified_context()
        request = urllib.request.Request(f"https://127.0.0.1:{self.port}{path}", headers={"Authorization": f"Bearer {self.token}"})
        with urllib.request.urlopen(request, context=trust, timeout=5) as answer:
            return answer.read()

    def _wait_until_ready(self, token):
        self.token = token
        self._wait_for("API server", lambda: self.get("/readyz"))

    def _wait_for(self, what, attempt):
        end = time.monotonic() + START_SECONDS
        while True:
            try:
                return attempt()
            except OSError as error:
                for process in self.running:
                    if process.poll() is not None:
                        raise RuntimeError(f"{process.args[0]} ended with {process.returncode}; its log: {self._log(process)}") from error
                if time.monotonic() > end:
                    raise RuntimeError(f"{what} is not there after {START_SECONDS} s: {error}") from error
                time.sleep(0.2)

    def _log(self, process):
        name = pathlib.Path(process.args[0]).name
        return (self.folder / f"{name}.log").read_text(errors="replace")[-2000:]
