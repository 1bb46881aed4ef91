"""Which processes there are, where they listen, and with which settings: everything decided before anything starts."""

import json
import os
import secrets
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from . import balancer, certificates, ports

ROOT = Path(__file__).resolve().parents[3]


class ClusterError(Exception):
    """Something the person at the keyboard can mend."""


@dataclass
class Child:
    name: str
    command: list
    env: dict = field(default_factory=dict)
    # What must answer before the child counts as up: ("tcp", port), or ("http", port, path) with 200.
    ready: tuple = None
    # Later waves start when earlier ones are ready, and stop before them.
    wave: int = 0


def find(name, env, installed):
    """A program: named by environment, on the PATH, or installed into the checkout."""
    for candidate in (os.environ.get(env), shutil.which(name), installed):
        if candidate and os.access(candidate, os.X_OK):
            return str(candidate)
    return None


def server(name, env):
    installed = ROOT / ".tools" / "bin" / name
    path = find(name, env, installed)
    if path is None:
        print_err(f"{name} is not installed; installing it into {installed.parent}")
        subprocess.run([str(ROOT / "deploy" / "local" / "install-servers")], check=True, stdout=2)
        path = find(name, env, installed)
    if path is None:
        raise ClusterError(f"{name} could not be installed; install it or set {env}")
    return path


def plugboard():
    named = os.environ.get("PLUGBOARD_BIN")
    if named:
        return str(Path(named).resolve())
    built = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release" / "plugboard"
    if not built.is_file():
        print_err("building plugboard; this takes some minutes the first time")
        subprocess.run(["cargo", "build", "--release", "--bin", "plugboard"], cwd=ROOT, check=True, stdout=2)
    return str(built)


def print_err(text):
    os.write(2, f"cluster: {text}\n".encode())


def write_private(path, text):
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)


def load_secrets(data, binary):
    """The deployment's secrets, made once. Returns them and whether this is the first start."""
    path = data / "secrets.json"
    first = not path.is_file()
    if first:
        command = [binary, "keys", "generate"]
        made = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        for name in ("PLUGBOARD_SEED_OPERATOR_KEY", "PLUGBOARD_SEED_API_KEY"):
            made[name] = os.environ.get(name) or made[name]
    else:
        made = json.loads(path.read_text())
    # A folder of an earlier version may lack some.
    for name in ("nats_gateway", "nats_executor", "redis", "limits", "limits_admin"):
        made.setdefault(name, secrets.token_hex(16))
    write_private(path, json.dumps(made, indent=1))
    return made, first


# What the scripts of the limits do, and what a client says when it connects.
LIMIT_COMMANDS = "+eval +evalsha +script|load +get +set +hgetall +hset +hdel +pexpire +time +ping +hello +auth +select"


TELEMETRY = [f"PLUGBOARD_TELEMETRY__{name}" for name in ("LOG", "FORMAT", "OTLP_ENDPOINT", "SAMPLE_RATIO", "SLOW_MS")]


def handed_on(*names):
    """Of this process's own environment; nothing else of it reaches a child."""
    return {name: os.environ[name] for name in names if name in os.environ}


class Layout:
    def __init__(self, args):
        self.args = args
        self.data = args.data.resolve()
        self.binary = plugboard()
        for folder in ("run", "log", "nats", "redis", "limits"):
            (self.data / folder).mkdir(parents=True, exist_ok=True)
        self.secrets, self.first_start = load_secrets(self.data, self.binary)
        self.tls = args.tls and args.tls.resolve()
        if self.tls and args.balancer:
            raise ClusterError("--tls and --balancer do not go together: the balancer does not encrypt")
        if self.tls:
            certificates.make_absent(self.tls)
        self.choose_ports()

    def choose_ports(self):
        try:
            self.take_ports()
        except OSError as error:
            raise ClusterError(str(error)) from error

    def take_ports(self):
        args = self.args
        services = args.catalogs * 2 + args.auths * 3 + args.executors + args.gateways
        inner = ports.take(args.nats * 3 + 2 + services + len(balancer.DOORS))
        take = iter(inner)
        self.nats_ports = [next(take) for _ in range(args.nats)]
        self.route_ports = [next(take) for _ in range(args.nats)]
        self.nats_health = [next(take) for _ in range(args.nats)]
        self.redis_port, self.limits_port = next(take), next(take)
        self.catalog_ports = [(next(take), next(take)) for _ in range(args.catalogs)]
        self.auth_ports = [(next(take), next(take), next(take)) for _ in range(args.auths)]
        self.executor_health = [next(take) for _ in range(args.executors)]
        self.gateway_health = [next(take) for _ in range(args.gateways)]
        # As services see them: themselves, or whoever listens at a relay's port and passes on.
        relays = args.relays or [*self.nats_ports, self.redis_port, self.limits_port]
        if len(relays) != args.nats + 2:
            raise ClusterError(f"--relays needs {args.nats + 2} ports: one for each nats-server, for redis, for limits")
        *self.nats_reached, self.redis_reached, self.limits_reached = relays
        if args.port and not args.balancer:
            self.gateway_ports = [args.port + i for i in range(args.gateways)]
        else:
            self.gateway_ports = ports.take(args.gateways)
        # Where the balancer listens, by what is behind; nothing without one.
        self.doors = dict(zip(balancer.DOORS, take)) if args.balancer else {}
        if args.port and args.balancer:
            self.doors["gateway"] = args.port
        # With certificates, internal services have a listener of their own.
        self.grpc_ports = ports.take(args.gateways) if self.tls else []

    @property
    def pages_url(self):
        return f"http://127.0.0.1:{self.doors.get('pages', self.auth_ports[0][2])}"

    @property
    def urls(self):
        return [f"http://127.0.0.1:{port}" for port in self.gateway_ports]

    def children(self):
        yield from self.nats()
        yield self.redis()
        yield self.limits()
        if self.args.balancer:
            yield self.balancer()
        yield from self.catalogs()
        yield from self.auths()
        yield from self.executors()
        yield from self.gateways()

    # The broker. Each role may do what it needs and no more: a gateway cannot take jobs, an executor cannot listen
    # to outcomes, and nobody can make up an outcome but an executor.
    def nats(self):
        program = server("nats-server", "PLUGBOARD_NATS_SERVER")
        for i, (port, route, health) in enumerate(zip(self.nats_ports, self.route_ports, self.nats_health), 1):
            store = self.data / "nats" / str(i)
            store.mkdir(exist_ok=True)
            conf = self.data / "nats" / f"nats-{i}.conf"
            write_private(conf, self.nats_conf(i, port, route, health, store))
            # A port that answers is not enough: until a cluster has chosen its leader no stream can be made in it.
            yield Child(f"nats-{i}", [program, "-c", str(conf)], ready=("http", health, "/healthz"), wave=0)

    def nats_conf(self, i, port, route, health, store):
        sync = "always" if self.args.sync == "always" else '"2m"'
        cluster = ""
        if self.args.nats > 1:
            routes = ", ".join(f'"nats://127.0.0.1:{p}"' for p in self.route_ports)
            # A client that is told of the servers' own ports would go around the relays.
            advertise = "no_advertise: true, " if self.args.relays else ""
            listen = f"listen: 127.0.0.1:{route}, {advertise}routes: [{routes}]"
            cluster = f"cluster {{ name: plugboard, {', '.join(filter(None, (listen, self.nats_tls())))} }}\n"
        api = '"$JS.API.INFO", "$JS.API.STREAM.CREATE.*", "$JS.API.STREAM.UPDATE.*", "$JS.API.STREAM.INFO.*", ' \
              '"$JS.API.STREAM.MSG.GET.*", "$JS.API.DIRECT.GET.>", "$JS.API.CONSUMER.CREATE.>", ' \
              '"$JS.API.CONSUMER.DURABLE.CREATE.>", "$JS.API.CONSUMER.INFO.>"'
        shared = '"$KV.plugboard_journal.>", "plugboard.payload.>", "plugboard.job.>"'
        return f"""
listen: 127.0.0.1:{port}
http: 127.0.0.1:{health}
server_name: nats-{i}
max_payload: 1MB
jetstream {{ store_dir: "{store}", sync_interval: {sync} }}
{self.nats_tls()}
{cluster}authorization {{
  users: [
    {{ user: gateway, password: "{self.secrets['nats_gateway']}", permissions: {{
      publish: [{api}, {shared}, "plugboard.express", "plugboard.express.effects", "plugboard.fleet.ask", "plugboard.fleet.answer.>",
                "$JS.API.STREAM.MSG.DELETE.plugboard_DEAD"]
      subscribe: ["_INBOX.>", "plugboard.reply.>", "plugboard.express_news.>", "plugboard.fleet.ask",
                  "plugboard.fleet.answer.>"] }} }}
    {{ user: executor, password: "{self.secrets['nats_executor']}", permissions: {{
      publish: [{api}, {shared}, "$JS.API.CONSUMER.MSG.NEXT.>", "$JS.ACK.>", "plugboard.reply.>",
                "plugboard.express_news.>", "plugboard.dead.>",
                "plugboard.fleet.answer.>"]
      subscribe: ["_INBOX.>", "plugboard.express", "plugboard.express.effects", "plugboard.fleet.ask"] }} }}
  ]
}}
"""

    def nats_tls(self):
        if not self.tls:
            return ""
        certificate, key, ca = certificates.files(self.tls, "nats")
        return f'tls {{ cert_file: "{certificate}", key_file: "{key}", ca_file: "{ca}", verify: true }}'

    def redis_listen(self, name, port):
        if not self.tls:
            return f"port {port}"
        certificate, key, ca = certificates.files(self.tls, name)
        return (f'port 0\ntls-port {port}\ntls-cert-file "{certificate}"\ntls-key-file "{key}"\n'
                f'tls-ca-cert-file "{ca}"\ntls-auth-clients yes')

    def tls_env(self, role):
        if not self.tls:
            return {}
        named = zip(("CERTIFICATE", "PRIVATE_KEY", "CA"), certificates.files(self.tls, role))
        return {
            **{f"PLUGBOARD_TLS__{name}": json.dumps(str(path)) for name, path in named},
            **handed_on("PLUGBOARD_TLS__RELOAD_EVERY_S"),
        }

    def scheme(self, plain, encrypted):
        return encrypted if self.tls else plain

    def redis(self):
        """Of the auth services: accounts and keys."""
        return self.redis_server("redis", self.redis_port, f"""
requirepass {self.secrets['redis']}
appendonly yes
appendfsync always
maxmemory-policy noeviction""")

    def limits(self):
        """Of the executors: the vendors' limits. It keeps nothing, so that no turn waits for a disk."""
        return self.redis_server("limits", self.limits_port, f"""
requirepass {self.secrets['limits_admin']}
user limits on >{self.secrets['limits']} resetkeys ~plugboard:limit:* resetchannels -@all {LIMIT_COMMANDS}
appendonly no
maxmemory 256mb
maxmemory-policy volatile-ttl""")

    def redis_server(self, name, port, settings):
        program = server("redis-server", "PLUGBOARD_REDIS_SERVER")
        folder = self.data / name
        conf = folder / "redis.conf"
        write_private(conf, f"""
bind 127.0.0.1
{self.redis_listen(name, port)}
dir "{folder}"
save ""
{settings.strip()}
""")
        return Child(name, [program, str(conf)], ready=("tcp", port), wave=0)

    def redis_url(self, user, password, port):
        return f"{self.scheme('redis', 'rediss')}://{user}:{password}@127.0.0.1:{port}"

    def balancer(self):
        program = find("haproxy", "PLUGBOARD_HAPROXY", "/usr/sbin/haproxy")
        if program is None:
            raise ClusterError("haproxy is not installed; install it or set PLUGBOARD_HAPROXY")
        gateways = list(zip(self.gateway_ports, self.gateway_health))
        behind = {
            "gateway": gateways,
            "grpc": gateways,
            "auth": [(port, health) for port, health, _ in self.auth_ports],
            "pages": [(pages, health) for _, health, pages in self.auth_ports],
            "catalog": self.catalog_ports,
        }
        conf = self.data / "run" / "haproxy.cfg"
        conf.write_text(balancer.configuration(self.doors, behind))
        return Child("balancer", [program, "-db", "-f", str(conf)], ready=("tcp", self.doors["gateway"]), wave=0)

    def peers(self):
        http = self.scheme("http", "https")
        if self.doors:
            # As behind a Service of Kubernetes: one address, and each connection leads to one of those behind it.
            auths, catalog = [self.doors["auth"]] * 3, self.doors["catalog"]
        else:
            auths, catalog = [port for port, _, _ in self.auth_ports], self.catalog_ports[0][0]
        return {
            "PLUGBOARD_PEERS__AUTH": json.dumps([f"{http}://127.0.0.1:{port}" for port in auths]),
            "PLUGBOARD_PEERS__CATALOG": f"{http}://127.0.0.1:{catalog}",
        }

    def grace(self, section):
        # Without a balancer nobody looks whether a service is about to stop.
        name = f"PLUGBOARD_{section}__STOP_GRACE_MS"
        return {**({} if self.doors else {name: "0"}), **handed_on(name)}

    def common(self):
        args = self.args
        env = {
            "PLUGBOARD_SECRETS__CLUSTER_SECRET": f'"{self.secrets["PLUGBOARD_SECRETS__CLUSTER_SECRET"]}"',
            **self.peers(),
            "PLUGBOARD_MODE__SANDBOX": "true" if args.sandbox else "false",
            "PLUGBOARD_EGRESS__ALLOW": json.dumps(args.egress_allow),
            **handed_on(*TELEMETRY),
            # These mean something to builds for the fault campaign only.
            **handed_on("PLUGBOARD_FAILPOINTS", "PLUGBOARD_BROKEN"),
        }
        if args.upstream:
            env["PLUGBOARD_EGRESS__UPSTREAM"] = json.dumps(args.upstream)
            env["PLUGBOARD_EGRESS__UPSTREAM_ANY"] = "true" if args.upstream_any else "false"
        return env

    def secret(self, *names):
        # Quoted: a secret of digits only would be read as a number.
        return {f"PLUGBOARD_SECRETS__{n}": f'"{self.secrets[f"PLUGBOARD_SECRETS__{n}"]}"' for n in names}

    def nats_env(self, user):
        nats = self.scheme("nats", "tls")
        return {
            "PLUGBOARD_NATS__URLS": json.dumps([f"{nats}://127.0.0.1:{port}" for port in self.nats_reached]),
            "PLUGBOARD_NATS__USER": user,
            "PLUGBOARD_NATS__PASSWORD": f'"{self.secrets["nats_" + user]}"',
            "PLUGBOARD_NATS__REPLICAS": str(self.args.nats),
        }

    def service(self, name, role, env, ready, wave):
        offsets = os.environ.get("PLUGBOARD_CLOCK_OFFSETS")
        if offsets:
            # For the fault campaign: how far this one's clock is off.
            env = {**env, "PLUGBOARD_CLOCK_OFFSET": str(Path(offsets) / name)}
        return Child(name, [self.binary, role], {**self.common(), **self.tls_env(role), **env}, ready, wave)

    def catalogs(self):
        for i, (port, health) in enumerate(self.catalog_ports, 1):
            env = {
                "PLUGBOARD_CATALOG__LISTEN": f'"127.0.0.1:{port}"',
                "PLUGBOARD_CATALOG__CONNECTORS": json.dumps([str(Path(d).resolve()) for d in self.args.connectors]),
                "PLUGBOARD_MODE__HEALTH_LISTEN": f'"127.0.0.1:{health}"',
                # As in deploy/kubernetes/base/catalog: what reading the manifests has used is given back at once.
                "MIMALLOC_PURGE_DELAY": "0",
                **self.grace("CATALOG"),
            }
            name = f"catalog-{i}" if self.args.catalogs > 1 else "catalog"
            yield self.service(name, "catalog", env, ("http", health, "/readyz"), 1)

    def auths(self):
        for i, (port, health, pages) in enumerate(self.auth_ports, 1):
            env = {
                "PLUGBOARD_AUTH__LISTEN": f'"127.0.0.1:{port}"',
                "PLUGBOARD_AUTH__HTTP_LISTEN": f'"127.0.0.1:{pages}"',
                # Browsers are sent to the first one, wherever a sign-in began.
                "PLUGBOARD_AUTH__PUBLIC_URL": json.dumps(self.pages_url),
                "PLUGBOARD_REDIS__URL": self.redis_url("", self.secrets["redis"], self.redis_reached),
                "PLUGBOARD_SEED_OPERATOR_KEY": self.secrets["PLUGBOARD_SEED_OPERATOR_KEY"],
                "PLUGBOARD_SEED_API_KEY": self.secrets["PLUGBOARD_SEED_API_KEY"],
                "PLUGBOARD_MODE__HEALTH_LISTEN": f'"127.0.0.1:{health}"',
                **self.grace("AUTH"),
                **self.secret("TICKET_KEY", "MASTER_KEY"),
            }
            yield self.service(f"auth-{i}", "auth", env, ("http", health, "/readyz"), 2)

    def threads(self):
        """Who runs calls shares this machine. With a thread for each processor in each of them, they would take turns on
        it, and find their caches cold."""
        share = (os.cpu_count() or 1) // (self.args.gateways + self.args.executors)
        return {"TOKIO_WORKER_THREADS": str(max(1, share)), **handed_on("TOKIO_WORKER_THREADS")}

    def executors(self):
        for i, health in enumerate(self.executor_health, 1):
            env = {
                **self.nats_env("executor"),
                **self.threads(),
                "PLUGBOARD_MODE__HEALTH_LISTEN": f'"127.0.0.1:{health}"',
                "PLUGBOARD_REDIS__URL": self.redis_url("limits", self.secrets["limits"], self.limits_reached),
                **handed_on(
                    "PLUGBOARD_EXECUTOR__VENDOR_LIMITS", "PLUGBOARD_EXECUTOR__SLOTS", "PLUGBOARD_EXECUTOR__DRAIN_MS"
                ),
                **self.secret("PAYLOAD_KEY"),
            }
            yield self.service(f"executor-{i}", "executor", env, ("http", health, "/readyz"), 3)

    def gateways(self):
        for i, (port, health) in enumerate(zip(self.gateway_ports, self.gateway_health), 1):
            env = {
                **self.nats_env("gateway"),
                **self.threads(),
                "PLUGBOARD_GATEWAY__LISTEN": f'"127.0.0.1:{port}"',
                **{"PLUGBOARD_GATEWAY__GRPC_LISTEN": f'"127.0.0.1:{grpc}"' for grpc in self.grpc_ports[i - 1:i]},
                **self.grace("GATEWAY"),
                **handed_on("PLUGBOARD_QUEUE__BACKLOG_PER_ORGANIZATION", "PLUGBOARD_GATEWAY__DRAIN_MS"),
                "PLUGBOARD_MODE__HEALTH_LISTEN": f'"127.0.0.1:{health}"',
                **self.secret("TICKET_KEY", "PAYLOAD_KEY"),
            }
            yield self.service(f"gateway-{i}", "gateway", env, ("http", port, "/readyz"), 4)

    def health_urls(self):
        named = [
            ("catalog", [health for _, health in self.catalog_ports]),
            ("auth", [health for _, health, _ in self.auth_ports]),
            ("executor", self.executor_health),
            ("gateway", self.gateway_health),
        ]
        return {role: [f"http://127.0.0.1:{port}" for port in ports] for role, ports in named}

    def ready_line(self):
        keys = self.secrets if self.first_start else {}
        url = grpc = self.urls[0]
        if self.doors:
            url, grpc = (f"http://127.0.0.1:{self.doors[door]}" for door in ("gateway", "grpc"))
        elif self.tls:
            grpc = f"https://127.0.0.1:{self.grpc_ports[0]}"
        return {
            "event": "ready",
            "url": url,
            "mcp_url": f"{url}/mcp",
            "grpc_url": grpc,
            "connect_url": f"{self.pages_url}/connect",
            "console_url": f"{self.urls[0]}/console",
            "urls": self.urls,
            "health_urls": self.health_urls(),
            "operator_key": keys.get("PLUGBOARD_SEED_OPERATOR_KEY"),
            "api_key": keys.get("PLUGBOARD_SEED_API_KEY"),
        }
