"""The proxies that bench/dataplane.py drives: how each is configured, started and asked what it used.

All do the same work: HTTP/1.1 on a loopback port, rule `x-canary: true` to the second upstream, else a 70:30 split over two, access log to a file.
"""

import copy
import json
import os
import pathlib
import socket
import struct
import subprocess
import threading
import time

HOST = "user-service.theater-msa.svc.cluster.local"


def free_port(address="127.0.0.1"):
    with socket.socket() as probe:
        probe.bind((address, 0))
        return probe.getsockname()[1]


def wait_for(address, port, process):
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise SystemExit(f"{process.args[0]} ended with {process.returncode}: see its log in the working folder")
        try:
            socket.create_connection((address, port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.01)
    raise SystemExit(f"{process.args[0]} does not listen on {address}:{port}")


def pinned(cpu, command, **options):
    return subprocess.Popen(["taskset", "-c", str(cpu), *map(str, command)], stdin=subprocess.DEVNULL, **options)


class Contender:
    """A running proxy: where it listens, and the process whose CPU time and memory count."""

    def __init__(self, name, process, address, port):
        self.name, self.process, self.address, self.port = name, process, address, port
        self.pids = [process.pid]

    def cpu_nanoseconds(self):
        """The scheduler's own account of the time on CPU, over all threads."""
        total = 0
        for pid in self.pids:
            for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
                total += int((task / "schedstat").read_text().split()[0])
        return total

    def memory(self):
        """Resident and private memory in MB."""
        kilobytes = {"Rss": 0, "Private_Clean": 0, "Private_Dirty": 0}
        for pid in self.pids:
            for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                name = line.split(":")[0]
                if name in kilobytes:
                    kilobytes[name] += int(line.split()[1])
        return kilobytes["Rss"] / 1024, (kilobytes["Private_Clean"] + kilobytes["Private_Dirty"]) / 1024

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Shape:
    """What a run varies: extra rules before the two that matter, and endpoints per upstream."""

    def __init__(self, routes=0, endpoints=1):
        self.routes, self.endpoints = routes, endpoints

    def __str__(self):
        return f"{self.routes} extra routes, {self.endpoints} endpoints per subset"

    def addresses(self, subset):
        """Loopback addresses, all served by the same upstream."""
        return [f"127.{90 + subset}.{number // 250}.{number % 250 + 1}" for number in range(self.endpoints)]


# --- smov ------------------------------------------------------------------------------------------------------------------------------


def real_snapshot(smov, folder):
    """The snapshot that the api-gateway's sidecar runs on when `smov up` has applied `k8s/`."""
    state = folder / "mesh"
    command = [smov, "--state-dir", state, "--lang", "en", "up", "--port", str(free_port()), "--operator-port", "0", "--store", "sqlite"]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        for line in process.stdout:
            if "ready in" in line:
                break
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            for notes in state.glob("*.json"):
                for _, path in json.loads(notes.read_text()).get("debug_sockets", []):
                    for pod in ask(path, "/debug/syncz")["proxies"]:
                        snapshot = ask(path, f"/debug/snapshot/{pod['pod']}") if pod["pod"].startswith("api-gateway") else None
                        # Both clusters' pods must have become ready.
                        if snapshot and all(snapshot["clusters"][f"outbound|8081|ctx{subset}|{HOST}"]["endpoints"] for subset in (1, 2)):
                            return snapshot
            time.sleep(0.05)
        raise SystemExit("no istiod of the mesh knows an api-gateway with user-service in both clusters")
    finally:
        process.terminate()
        process.wait()


def ask(path, target):
    with socket.socket(socket.AF_UNIX) as stream:
        stream.connect(os.path.relpath(path))
        stream.sendall(f"GET {target} HTTP/1.1\r\nHost: istiod\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: stream.recv(65536), b""))
    head, body = answer.split(b"\r\n\r\n", 1)
    if b"chunked" in head.lower():
        parts = []
        while body:
            size, body = body.split(b"\r\n", 1)
            parts.append(body[: int(size, 16)])
            body = body[int(size, 16) + 2 :]
        body = b"".join(parts)
    return json.loads(body)


def shaped(snapshot, shape, ports):
    """The real snapshot with the upstreams' addresses, more endpoints and more rules."""
    snapshot = copy.deepcopy(snapshot)
    # Upstreams are nginx and speak plaintext; what mutual TLS costs is a contest of its own. No certificate, so none to wait for.
    for cluster in snapshot["clusters"].values():
        cluster["tls"] = "disable"
        for endpoint in cluster["endpoints"]:
            endpoint["mutual_tls"], endpoint["via"] = False, None
    for cluster in (cluster for name, cluster in snapshot["clusters"].items() if name.endswith(HOST)):
        wanted = []
        for subset in (1, 2):
            own = [one for one in cluster["endpoints"] if one["workload"]["cluster"] == f"ctx{subset}"]
            if own:
                wanted += [{**own[0], "address": f"{address}:{ports[subset - 1]}"} for address in shape.addresses(subset)]
        cluster["endpoints"] = wanted
    for host in snapshot["outbound"]["8081"]["hosts"]:
        if host["service"] == HOST:
            first = host["rules"][0]
            extra = []
            for number in range(shape.routes):
                rule = copy.deepcopy(first)
                rule["matches"] = [{"uri": {"prefix": f"/extra-{number}/"}}]
                extra.append(rule)
            host["rules"] = extra + host["rules"]
    return snapshot


class ControlPlane:
    """Hands one snapshot to whoever connects, and reads what comes back, as istiod would."""

    def __init__(self, path, snapshot):
        self.frame = json.dumps({"type": "snapshot", "snapshot": snapshot}).encode()
        self.server = socket.socket(socket.AF_UNIX)
        self.server.bind(str(path))
        self.server.listen()
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                stream, _ = self.server.accept()
            except OSError:
                return
            stream.sendall(struct.pack(">I", len(self.frame)) + self.frame)
            threading.Thread(target=self.drain, args=(stream,), daemon=True).start()

    @staticmethod
    def drain(stream):
        while stream.recv(1 << 20):
            pass


def smov(binary, folder, snapshot, shape, ports, cpu=0, name="smov", address="127.77.0.1", environment=None):
    folder.mkdir(parents=True)
    control = folder / "xds.sock"
    plane = ControlPlane(control, shaped(snapshot, shape, ports))
    (folder / "token").write_text("bench")
    environment = {
        **(environment or {}),
        "POD_NAME": snapshot["proxy"]["pod"],
        "POD_IP": address,
        "POD_NAMESPACE": "theater-msa",
        "SERVICE_ACCOUNT": "api-gateway",
        "SMOV_CLUSTER_ID": "ctx1",
        "SMOV_XDS_SOCKET": str(control),
        "SMOV_TOKEN_FILE": str(folder / "token"),
        "PATH": os.environ["PATH"],
    }
    log = open(folder / "access.log", "wb")
    process = pinned(cpu, [binary, "proxy"], env=environment, stdout=log, stderr=open(folder / "error.log", "wb"))
    contender = Contender(name, process, address, 15001)
    contender.plane = plane
    wait_for(address, 15001, process)
    return contender


# --- Envoy, as Istio configures a sidecar ------------------------------------------------------------------------------------------------

ISTIO_LOG = (
    '[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" %RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% '
    '%CONNECTION_TERMINATION_DETAILS% "%UPSTREAM_TRANSPORT_FAILURE_REASON%" %BYTES_RECEIVED% %BYTES_SENT% %DURATION% '
    '%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" "%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" '
    '"%UPSTREAM_HOST%" %UPSTREAM_CLUSTER_RAW% %UPSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% '
    "%REQUESTED_SERVER_NAME% %ROUTE_NAME%\n"
)


def typed(name, kind, **fields):
    return {"name": name, "typed_config": {"@type": f"type.googleapis.com/{kind}", **fields}}


def envoy_route(match, action):
    retry = {
        "retry_on": "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes",
        "num_retries": 2,
        "retry_host_predicate": [
            typed("envoy.retry_host_predicates.previous_hosts", "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate")
        ],
        "host_selection_retry_max_attempts": "5",
    }
    return {"match": match, "route": {"timeout": "0s", "retry_policy": retry, **action}}


def envoy_config(shape, ports, port, admin, log):
    clusters = []
    for subset in (1, 2):
        endpoints = [
            {"endpoint": {"address": {"socket_address": {"address": address, "port_value": ports[subset - 1]}}}}
            for address in shape.addresses(subset)
        ]
        name = f"outbound|8081|ctx{subset}|{HOST}"
        unlimited = {"max_connections": 2**32 - 1, "max_pending_requests": 2**32 - 1, "max_requests": 2**32 - 1, "max_retries": 2**32 - 1}
        clusters.append(
            {
                "name": name,
                "type": "STATIC",
                "connect_timeout": "10s",
                "lb_policy": "LEAST_REQUEST",
                "circuit_breakers": {"thresholds": [{**unlimited, "track_remaining": True}]},
                "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": endpoints}]},
            }
        )
    canary = {"name": "x-canary", "string_match": {"exact": "true"}}
    second = {"cluster": clusters[1]["name"]}
    split = [{"name": clusters[0]["name"], "weight": 70}, {"name": clusters[1]["name"], "weight": 30}]
    routes = [envoy_route({"prefix": f"/extra-{number}/"}, second) for number in range(shape.routes)]
    routes += [
        envoy_route({"prefix": "/", "headers": [canary]}, second),
        envoy_route({"prefix": "/"}, {"weighted_clusters": {"clusters": split}}),
    ]
    http = "envoy.extensions.filters.http"
    manager = typed(
        "envoy.filters.network.http_connection_manager",
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="outbound",
        use_remote_address=False,
        normalize_path=True,
        generate_request_id=True,
        access_log=[
            typed(
                "envoy.access_loggers.file",
                "envoy.extensions.access_loggers.file.v3.FileAccessLog",
                path=str(log),
                log_format={"text_format_source": {"inline_string": ISTIO_LOG}},
            )
        ],
        route_config={
            "name": "8081",
            "virtual_hosts": [{"name": HOST, "domains": ["*"], "routes": routes, "include_request_attempt_count": True}],
        },
        http_filters=[
            typed("envoy.filters.http.rbac", f"{http}.rbac.v3.RBAC"),
            typed("envoy.filters.http.fault", f"{http}.fault.v3.HTTPFault"),
            typed("envoy.filters.http.cors", f"{http}.cors.v3.Cors"),
            typed("envoy.filters.http.router", f"{http}.router.v3.Router"),
        ],
    )
    listener = {
        "name": "outbound",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "filter_chains": [{"filters": [manager]}],
    }
    return {
        "node": {"id": "bench", "cluster": "bench"},
        "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": admin}}},
        "static_resources": {"listeners": [listener], "clusters": clusters},
    }


def envoy(binary, folder, shape, ports, cpu=0):
    folder.mkdir(parents=True)
    port = free_port()
    config = folder / "envoy.json"
    config.write_text(json.dumps(envoy_config(shape, ports, port, free_port(), folder / "access.log")))
    command = [binary, "-c", config, "--concurrency", "1", "--disable-hot-restart", "-l", "warning"]
    process = pinned(cpu, command, stdout=subprocess.DEVNULL, stderr=open(folder / "error.log", "wb"))
    contender = Contender("envoy", process, "127.0.0.1", port)
    wait_for("127.0.0.1", port, process)
    return contender


# --- nginx -------------------------------------------------------------------------------------------------------------------------------


def nginx(folder, config, name, port, cpu):
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.conf"
    path.write_text(f"worker_processes 1;\ndaemon off;\nmaster_process off;\npid {folder}/{name}.pid;\nerror_log {folder}/{name}.error crit;\n{config}")
    process = pinned(cpu, ["nginx", "-p", folder, "-c", path], stdout=subprocess.DEVNULL, stderr=open(folder / f"{name}.stderr", "wb"))
    contender = Contender(name, process, "127.0.0.1", port)
    wait_for("127.0.0.1", port, process)
    return contender


EVENTS = "events { worker_connections 16384; }\n"


def upstream(folder, name, port, cpu=1):
    body = json.dumps({"service": name, "users": [{"id": number, "name": f"user-{number}"} for number in range(7)]})[:210].ljust(210)
    server = f"server {{ listen {port} backlog=4096 reuseport; location / {{ default_type application/json; return 200 '{body}'; }} }}"
    return nginx(folder, f"{EVENTS}http {{ access_log off; keepalive_requests 100000000; {server} }}\n", name, port, cpu)


def nginx_proxy(folder, shape, ports, cpu=0):
    port = free_port()
    pools = "".join(
        f"upstream ctx{subset} {{ keepalive 512; keepalive_requests 100000000; "
        + "".join(f"server {address}:{ports[subset - 1]}; " for address in shape.addresses(subset))
        + "}\n"
        for subset in (1, 2)
    )
    forward = "proxy_http_version 1.1; proxy_set_header Connection ''; proxy_set_header Host $host;"
    extra = "".join(f"location ^~ /extra-{number}/ {{ {forward} proxy_pass http://ctx2; }}\n" for number in range(shape.routes))
    config = (
        f"{EVENTS}http {{ access_log {folder}/proxy-access.log; keepalive_requests 100000000;\n{pools}"
        "split_clients $request_id $split { 70% ctx1; * ctx2; }\nmap $http_x_canary $pool { true ctx2; default $split; }\n"
        f"server {{ listen 127.0.0.1:{port} backlog=4096; {extra} location / {{ {forward} proxy_pass http://$pool; }} }} }}\n"
    )
    return nginx(folder, config, "nginx", port, cpu)
