"""What is rendered for production, as processes of this machine: its files, users, settings and the secrets that
deploy/secrets makes. Every pod has an address of its own on the loopback, so only names are replaced by addresses, and
a call must go through. What this does not show is Kubernetes itself: policies, scheduling, disks."""

import os
import secrets
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from .registry import check, notices
from .servers import MOUNTED, certificates, program
from .settings import binary
from .world import OURS, ROOT, Skip

PLACE = "production"
# As often a process may begin: one that does not find NATS in time ends, and Kubernetes starts it again.
STARTS = 4
# One of each, and every server of NATS.
PODS = ["nats-0", "nats-1", "nats-2", "redis", "limits", "catalog", "auth", "executor", "gateway"]


def processors(quantity):
    """Rounded up, as with the divisor 1."""
    thousandths = int(quantity[:-1]) if quantity.endswith("m") else 1000 * int(quantity)
    return str(-(-thousandths // 1000))


class Machine:
    def __init__(self, world, folder, place):
        self.world, self.folder, self.place = world, Path(folder), place
        self.plugboard = binary()
        # Two runs at once, and whatever else listens here, do not meet.
        base = f"127.{secrets.randbelow(200) + 20}.{secrets.randbelow(250) + 1}"
        self.addresses = {pod: f"{base}.{i}" for i, pod in enumerate(PODS, 1)}
        keys = subprocess.run([self.plugboard, "keys", "generate"], capture_output=True, check=True).stdout
        made = subprocess.run(
            [ROOT / "deploy" / "secrets"], input=keys, capture_output=True, check=True
        ).stdout.decode()
        self.secret = dict(line.split("=", 1) for line in made.split())
        self.processes, self.starts = {}, {}
        self.certify()

    def certify(self):
        """As cert-manager would, with the names of the Certificates, and the address at which a pod is reached here."""
        found = {
            one["metadata"]["name"]: one["spec"]
            for place, one in self.world.of_kind("Certificate")
            if place == self.place
        }
        if not found:
            return
        made = self.folder / "made"
        certificates.authority(made)
        for pod, address in self.addresses.items():
            names = found[pod.split("-")[0]]["dnsNames"]
            certificates.issue(made, pod, [f"IP:{address}", *(f"DNS:{name}" for name in names)])
            there = self.folder / pod / MOUNTED.lstrip("/")
            there.mkdir(parents=True)
            for file, name in zip(certificates.files(made, pod), ("tls.crt", "tls.key", "ca.crt")):
                shutil.copy(file, there / name)

    def here(self, text, pod):
        """Names and folders of the cluster as they are on this machine."""
        for name, address in self.addresses.items():
            text = text.replace(f"{name}.nats-peers", address)
            for ends in ("://", "@"):
                text = text.replace(f"{ends}{name}:", f"{ends}{address}:")
        run = ("/var/run/nats", "/var/run/redis", "/var/run/plugboard", MOUNTED)
        for path in ("/etc/nats", "/etc/redis", *run, "/data"):
            text = text.replace(path, f"{self.folder / pod}{path}")
        return text.replace("0.0.0.0", self.addresses[pod])

    def container(self, pod, init=None):
        name = pod.split("-")[0]
        kind = "Deployment" if name in OURS else "StatefulSet"
        spec = self.world.find(self.place, kind, name)["spec"]["template"]["spec"]
        if init:
            return next(one for one in spec["initContainers"] if one["name"] == init)
        return spec["containers"][0]

    def environment(self, pod, container):
        given = {"PATH": os.environ["PATH"]}
        for source in container.get("envFrom", []):
            given |= self.world.find(self.place, "ConfigMap", source["configMapRef"]["name"])["data"]
        for one in container.get("env", []):
            reference = one.get("valueFrom", {})
            if "secretKeyRef" in reference:
                given[one["name"]] = self.secret[reference["secretKeyRef"]["key"]]
            elif "fieldRef" in reference:
                given[one["name"]] = pod
            elif "resourceFieldRef" in reference:
                given[one["name"]] = processors(container["resources"]["requests"]["cpu"])
            else:
                value = one["value"]
                for name, known in given.items():
                    value = value.replace(f"$({name})", known)
                given[one["name"]] = value
        return {name: self.here(value, pod) for name, value in given.items()}

    def files(self, pod, name):
        """The files of a ConfigMap, where the pod has them, and the folders that it writes to."""
        software = "nats" if name == "nats" else "redis"
        for path in (f"etc/{software}", f"var/run/{software}", "data"):
            (self.folder / pod / path).mkdir(parents=True)
        for file, text in self.world.find(self.place, "ConfigMap", name)["data"].items():
            moved = self.here(text, pod)
            if file == "redis.conf":
                moved += f"bind {self.addresses[pod]}\n"
            (self.folder / pod / "etc" / software / file).write_text(moved)

    def start(self, pod):
        """Writes what the pod is given, then begins."""
        name = pod.split("-")[0]
        container = self.container(pod)
        given = self.environment(pod, container)
        if name in OURS:
            command = [self.plugboard, *container["args"]]
            given["PLUGBOARD_MODE__SANDBOX"] = "true"
            if name == "auth":
                file = Path(given["PLUGBOARD_SECRETS__MASTER_KEY_FILE"])
                file.parent.mkdir(parents=True)
                file.write_text(self.secret["PLUGBOARD_SECRETS__MASTER_KEY"])
        else:
            self.files(pod, name)
            command = [self.here(word, pod) for word in container["command"]]
            server = command[0]
            command[0] = program(server, f"PLUGBOARD_{server.upper().replace('-', '_')}")
            if server == "redis-server":
                first = self.container(pod, init="users")
                script = [self.here(word, pod) for word in first["command"]]
                subprocess.run(script, env=self.environment(pod, first), check=True)
        self.starts[pod] = 0
        self.begin(pod, command, given)

    def begin(self, pod, command, given):
        with open(self.folder / f"{pod}.log", "w") as log:
            process = subprocess.Popen(command, env=given, stdout=log, stderr=log, cwd=self.folder)
        self.processes[pod] = (process, command, given)
        self.starts[pod] += 1

    def died(self):
        """Whoever ends is started again, as Kubernetes does, but not for ever."""
        problems = []
        for pod, (process, command, given) in list(self.processes.items()):
            if process.poll() is None:
                continue
            if self.starts[pod] < STARTS:
                self.begin(pod, command, given)
            else:
                problems.append(f"{pod} ended: {(self.folder / f'{pod}.log').read_text()[-300:]}")
        return problems

    def until(self, within, what, look):
        """Waits for something to be so; the problems if it is not, or if somebody dies."""
        end = time.monotonic() + within
        while time.monotonic() < end:
            if look():
                return []
            problems = self.died()
            if problems:
                return problems
            time.sleep(0.1)
        return [f"after {within} s: not {what}"]

    def ask(self, pod, port, path):
        try:
            with urllib.request.urlopen(f"http://{self.addresses[pod]}:{port}{path}", timeout=2) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, ""
        except OSError:
            return 0, ""

    def client(self, *arguments):
        url = f"http://{self.addresses['gateway']}:8080"
        given = {
            "PATH": os.environ["PATH"],
            "PLUGBOARD_URL": url,
            "PLUGBOARD_API_KEY": self.secret["PLUGBOARD_SEED_API_KEY"],
        }
        return subprocess.run(
            [self.plugboard, *arguments], env=given, capture_output=True, text=True, check=False, timeout=60
        )

    def stop(self):
        processes = [process for process, _, _ in self.processes.values()]
        for process in processes:
            process.terminate()
        try:
            for process in processes:
                process.wait(timeout=45)
        finally:
            for process in processes:
                process.kill()
                process.wait()


def probes_answer(machine):
    """Probes and metrics as the manifests say. A binary from before there were any is another matter."""
    status, _ = machine.ask("catalog", 8090, "/livez")
    if status == 404:
        raise Skip("a call goes through; but this binary has no /livez yet")
    problems = []
    for name in OURS:
        container = machine.container(name)
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
            probe = container[kind]["httpGet"]
            status, _ = machine.ask(name, ports[probe["port"]], probe["path"])
            if status != 200:
                problems.append(f"{name}: {kind} is answered with {status}")
        if "plugboard_build_info" not in machine.ask(name, ports["health"], "/metrics")[1]:
            problems.append(f"{name}: /metrics does not tell plugboard_build_info")
    return problems


def run(machine):
    servers = [pod for pod in PODS if pod.startswith("nats")]
    for pod in [*servers, "redis", "limits"]:
        machine.start(pod)
    healthy = lambda: all(machine.ask(pod, 8222, "/healthz")[0] == 200 for pod in servers)  # noqa: E731
    problems = machine.until(40, "three healthy nats-servers", healthy)
    if problems:
        return problems
    for pod in ("catalog", "auth", "executor", "gateway"):
        machine.start(pod)
    problems = machine.until(40, "a ready gateway", lambda: machine.ask("gateway", 8080, "/readyz")[0] == 200)
    if problems:
        return problems
    called = machine.client(
        "call", "wildberries", "statistics", "GET", "/api/v1/supplier/orders", "dateFrom==2026-04-15"
    )
    if called.returncode:
        return [f"a call does not go through: {(called.stdout + called.stderr)[-300:]}"]
    return machine.died() or probes_answer(machine)


def started(world, place):
    with tempfile.TemporaryDirectory() as folder:
        machine = Machine(world, folder, place)
        try:
            return run(machine)
        finally:
            machine.stop()


@check("what is rendered for production runs as processes: three nats-servers, two of Redis, four services, a call, probes")
def running(world):
    return started(world, PLACE)


@check("what is rendered with components/tls runs as processes, and a call goes through by mutual TLS alone")
def encrypted(world):
    return started(world, "tls")


@notices(encrypted, "an executor with a certificate of another role")
def _(world):
    names = {one["metadata"]["name"]: one["spec"] for place, one in world.of_kind("Certificate") if place == "tls"}
    names["executor"]["dnsNames"] = names["catalog"]["dnsNames"]


@notices(running, "an auth service that may not write its accounts")
def _(world):
    env = world.find(PLACE, "Deployment", "auth")["spec"]["template"]["spec"]["containers"][0]["env"]
    for one in env:
        if one["name"] == "REDIS_PASSWORD":
            one["valueFrom"]["secretKeyRef"]["key"] = "REDIS_LIMITS_PASSWORD"
        if one["name"] == "PLUGBOARD_REDIS__URL":
            one["value"] = one["value"].replace("://:", "://limits:")
