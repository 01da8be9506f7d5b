"""Inbound mutual TLS for bench/dataplane.py: a small authority, both servers, and a client that opens what wrk cannot.

wrk has no client certificate, so nginx stands before the server under test as the calling sidecar does: plaintext from wrk, mutual TLS towards the
server, kept alive or a connection per request. Only the server's CPU counts.
"""

import base64
import json
import os
import socket
import struct
import subprocess
import threading
import time

from contenders import EVENTS, HOST, Contender, ISTIO_LOG, free_port, nginx, pinned, typed, wait_for

TRUST_DOMAIN = "cluster.local"


def identity(account):
    return f"spiffe://{TRUST_DOMAIN}/ns/theater-msa/sa/{account}"


class Authority:
    """A root that signs workloads, by openssl's command line."""

    def __init__(self, folder):
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.key, self.root = folder / "root.key", folder / "root.pem"
        self.openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", self.key)
        extensions = ["-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign"]
        self.openssl("req", "-x509", "-new", "-key", self.key, "-subj", "/CN=bench", "-days", "30", "-out", self.root, *extensions)

    @staticmethod
    def openssl(*arguments):
        subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)

    def sign(self, name, account, public_key):
        """A certificate for a public key in PEM; gives its path."""
        extensions, chain = self.folder / f"{name}.ext", self.folder / f"{name}.pem"
        extensions.write_text(
            f"subjectAltName=critical,URI:{identity(account)}\nextendedKeyUsage=serverAuth,clientAuth\nkeyUsage=critical,digitalSignature\n"
        )
        # The request only carries the form: its key is replaced.
        request = self.folder / f"{name}.csr"
        self.openssl("req", "-new", "-key", self.key, "-subj", "/", "-out", request)
        signing = ["-CA", self.root, "-CAkey", self.key, "-CAcreateserial", "-days", "10", "-extfile", extensions]
        self.openssl("x509", "-req", "-in", request, "-force_pubkey", public_key, *signing, "-out", chain)
        return chain

    def issue(self, name, account):
        """Certificate and key as files."""
        key, public = self.folder / f"{name}.key", self.folder / f"{name}.pub"
        self.openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key)
        self.openssl("ec", "-in", key, "-pubout", "-out", public)
        return self.sign(name, account, public), key

    def sign_point(self, name, account, point):
        """A certificate for a point of P-256, as a proxy sends it."""
        # SubjectPublicKeyInfo of id-ecPublicKey on prime256v1, then the point.
        head = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200")
        text = base64.encodebytes(head + point).decode()
        public = self.folder / f"{name}.pub"
        public.write_text(f"-----BEGIN PUBLIC KEY-----\n{text}-----END PUBLIC KEY-----\n")
        return self.sign(name, account, public)


class ControlPlane:
    """Hands a snapshot to whoever connects, and certificates to whoever asks."""

    def __init__(self, path, snapshot, authority):
        self.snapshot, self.authority = {"type": "snapshot", "snapshot": snapshot}, authority
        self.issued = threading.Event()
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
            threading.Thread(target=self.talk, args=(stream,), daemon=True).start()

    def talk(self, stream):
        def send(message):
            frame = json.dumps(message).encode()
            stream.sendall(struct.pack(">I", len(frame)) + frame)

        send(self.snapshot)
        reader = stream.makefile("rb")
        while head := reader.read(4):
            message = json.loads(reader.read(struct.unpack(">I", head)[0]))
            if message["type"] == "certificateRequest":
                chain = self.authority.sign_point("smov", "user-service", base64.b64decode(message["public_key"])).read_text()
                expires = int(time.time()) + 10 * 86400
                send({"type": "certificate", "chain": chain, "roots": self.authority.root.read_text(), "expires": expires})
                self.issued.set()


def workload(name):
    labels = {"app": name, "version": "v1"}
    return {
        "pod": f"{name}-bench",
        "name": name,
        "namespace": "theater-msa",
        "cluster": "ctx1",
        "service_account": name,
        "labels": labels,
        "region": "",
        "zone": "",
        "has_sidecar": True,
    }


def snapshot(port):
    """All that the inbound side looks at."""
    return {
        "version": {"epoch": 1, "number": 1},
        "proxy": workload("user-service"),
        "outbound": {},
        "tcp": [],
        "unknown_hosts": "ALLOW_ANY",
        "ingress": {},
        "inbound": [{"port": port, "protocol": "http", "service": HOST, "mutual_tls": "STRICT"}],
        "clusters": {},
        "peers": {"127.77.2.1": workload("api-gateway")},
        "protected": [],
    }


def smov(binary, folder, authority, app, cpu=0, name="smov", address="127.77.1.1"):
    """Our sidecar with one port that takes mutual TLS only, before an app on a loopback port."""
    folder.mkdir(parents=True)
    port, control = 8081, folder / "xds.sock"
    plane = ControlPlane(control, snapshot(port), authority)
    (folder / "token").write_text("bench")
    environment = {
        "POD_NAME": "user-service-bench",
        "POD_IP": address,
        "POD_NAMESPACE": "theater-msa",
        "SERVICE_ACCOUNT": "user-service",
        "SMOV_CLUSTER_ID": "ctx1",
        "SMOV_INBOUND": f"{port}=127.0.0.1:{app}",
        "SMOV_XDS_SOCKET": str(control),
        "SMOV_TOKEN_FILE": str(folder / "token"),
        "PATH": os.environ["PATH"],
    }
    log = open(folder / "access.log", "wb")
    process = pinned(cpu, [binary, "proxy"], env=environment, stdout=log, stderr=open(folder / "error.log", "wb"))
    contender = Contender(name, process, address, port)
    contender.plane = plane
    wait_for(address, port, process)
    if not plane.issued.wait(10):
        raise SystemExit("smov asks for no certificate")
    return contender


def envoy_config(authority, app, port, admin, log):
    """The inbound side of a sidecar as Istio configures it for STRICT."""
    chain, key = authority.issue("envoy", "user-service")
    http, cluster = "envoy.extensions.filters.http", f"inbound|{port}||"
    sans = [{"san_type": "URI", "matcher": {"prefix": f"spiffe://{TRUST_DOMAIN}/"}}]
    context = {
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        "require_client_certificate": True,
        "common_tls_context": {
            "alpn_protocols": ["h2", "http/1.1"],
            "tls_params": {"tls_minimum_protocol_version": "TLSv1_2", "tls_maximum_protocol_version": "TLSv1_3"},
            "tls_certificates": [{"certificate_chain": {"filename": str(chain)}, "private_key": {"filename": str(key)}}],
            "validation_context": {"trusted_ca": {"filename": str(authority.root)}, "match_typed_subject_alt_names": sans},
        },
    }
    manager = typed(
        "envoy.filters.network.http_connection_manager",
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="inbound",
        server_name="istio-envoy",
        normalize_path=True,
        forward_client_cert_details="APPEND_FORWARD",
        set_current_client_cert_details={"subject": True, "dns": True, "uri": True},
        access_log=[
            typed(
                "envoy.access_loggers.file",
                "envoy.extensions.access_loggers.file.v3.FileAccessLog",
                path=str(log),
                log_format={"text_format_source": {"inline_string": ISTIO_LOG}},
            )
        ],
        route_config={
            "name": cluster,
            "virtual_hosts": [{"name": "inbound|http", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": cluster, "timeout": "0s"}}]}],
        },
        http_filters=[
            typed("envoy.filters.http.rbac", f"{http}.rbac.v3.RBAC"),
            typed("envoy.filters.http.fault", f"{http}.fault.v3.HTTPFault"),
            typed("envoy.filters.http.cors", f"{http}.cors.v3.Cors"),
            typed("envoy.filters.http.router", f"{http}.router.v3.Router"),
        ],
    )
    listener = {
        "name": "virtualInbound",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "listener_filters": [typed("envoy.filters.listener.tls_inspector", "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector")],
        "filter_chains": [
            {
                "filter_chain_match": {"transport_protocol": "tls"},
                "filters": [manager],
                "transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": context},
            }
        ],
    }
    endpoint = {"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": app}}}}
    upstream = {
        "name": cluster,
        "type": "STATIC",
        "connect_timeout": "10s",
        "load_assignment": {"cluster_name": cluster, "endpoints": [{"lb_endpoints": [endpoint]}]},
    }
    return {
        "node": {"id": "bench", "cluster": "bench"},
        "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": admin}}},
        "static_resources": {"listeners": [listener], "clusters": [upstream]},
    }


def envoy(binary, folder, authority, app, cpu=0):
    folder.mkdir(parents=True)
    port, config = free_port(), folder / "envoy.json"
    config.write_text(json.dumps(envoy_config(authority, app, port, free_port(), folder / "access.log")))
    command = [binary, "-c", config, "--concurrency", "1", "--disable-hot-restart", "-l", "warning"]
    process = pinned(cpu, command, stdout=subprocess.DEVNULL, stderr=open(folder / "error.log", "wb"))
    contender = Contender("envoy", process, "127.0.0.1", port)
    wait_for("127.0.0.1", port, process)
    return contender


def called(contender, folder, authority, kept_alive, resumed, cpu=1):
    """The same contender, called through nginx in mutual TLS. Of the address only wrk hears."""
    port = free_port()
    chain, key = authority.issue(f"caller-{contender.name}", "api-gateway")
    pool = f"upstream server {{ server {contender.address}:{contender.port}; {'keepalive 512; keepalive_requests 100000000;' if kept_alive else ''} }}\n"
    tls = (
        f"proxy_ssl_certificate {chain}; proxy_ssl_certificate_key {key}; proxy_ssl_protocols TLSv1.3; proxy_ssl_server_name on; "
        f"proxy_ssl_name outbound_.8081_._.{HOST}; proxy_ssl_session_reuse {'on' if resumed else 'off'};"
    )
    forward = f"proxy_http_version 1.1; proxy_set_header Connection '{'' if kept_alive else 'close'}'; proxy_set_header Host $host;"
    server = f"server {{ listen 127.0.0.1:{port} backlog=4096; location / {{ {forward} {tls} proxy_pass https://server; }} }}"
    config = f"{EVENTS}http {{ access_log off; keepalive_requests 100000000;\n{pool}{server} }}\n"
    contender.caller = nginx(folder, config, f"caller-{contender.name}", port, cpu)
    contender.address, contender.port = "127.0.0.1", port
    return contender
