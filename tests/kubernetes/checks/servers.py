"""NATS and Redis here have the users of the local cluster, and their configuration is one that they accept."""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from .registry import check, notices
from .world import ROOT, Skip

sys.path.insert(0, str(ROOT / "deploy" / "local"))
from plugboard_cluster import certificates, layout  # noqa: E402

# Where components/tls has the certificate of a pod.
MOUNTED = "/var/run/tls"


def local():
    """The local cluster's own files, without starting anything."""
    plan = object.__new__(layout.Layout)
    plan.args = argparse.Namespace(sync="always", nats=3, relays=None)
    plan.secrets = {"nats_gateway": "g", "nats_executor": "e", "redis": "r"}
    plan.route_ports = [1, 2, 3]
    plan.redis_port = 6379
    plan.tls = None
    return plan


def users(text):
    """{user: (what it may publish, what it may subscribe to)} of a configuration of NATS."""
    found = {}
    for block in re.split(r"\buser:", text)[1:]:
        lists = {
            side: set(re.findall(r'"([^"]+)"', re.search(side + r":\s*\[(.*?)\]", block, re.S).group(1)))
            for side in ("publish", "subscribe")
        }
        found[re.match(r"\s*(\w+)", block).group(1)] = (lists["publish"], lists["subscribe"])
    return found


def certified(folder, name):
    """A pod's certificate files, as cert-manager names them, for a server that looks at them when it starts."""
    made = Path(folder) / "made"
    certificates.make_absent(made)
    mounted = Path(folder) / "tls"
    mounted.mkdir(exist_ok=True)
    for file, there in zip(certificates.files(made, name), ("tls.crt", "tls.key", "ca.crt")):
        shutil.copy(file, mounted / there)
    return str(mounted)


def nats_files(world, place):
    return world.find(place, "ConfigMap", "nats")["data"]


@check("users of NATS may do what those of the local cluster may, and writes are flushed")
def nats_users(world):
    plan = local()
    wanted = users(plan.nats_conf(1, 1, 1, 1, "/data"))
    problems = []
    for place in world.rendered:
        text = nats_files(world, place)["nats.conf"]
        found = users(text)
        for name in sorted(set(wanted) | set(found)):
            for side, here, there in zip(
                ("publish", "subscribe"), found.get(name, ((), ())), wanted.get(name, ((), ()))
            ):
                if set(here) != set(there):
                    problems.append(f"{place} {name} {side}: differs in {sorted(set(here) ^ set(there))}")
        if not re.search(r"sync_interval:\s*always", text) or not re.search(r"max_payload:\s*1MB", text):
            problems.append(f"{place}: sync_interval or max_payload is not that of the local cluster")
    return problems


@notices(nats_users, "a gateway that may take jobs")
def _(world):
    files = nats_files(world, "base")
    files["nats.conf"] = files["nats.conf"].replace('"plugboard.express",', '"plugboard.express", "$JS.ACK.>",')


def program(name, env):
    found = layout.find(name, env, ROOT / ".tools" / "bin" / name)
    if not found:
        raise Skip(f"{name} is not installed; deploy/local/install-servers does it")
    return found


@check("nats-server accepts its configuration")
def nats_accepts(world):
    server = program("nats-server", "PLUGBOARD_NATS_SERVER")
    problems = []
    for place in world.rendered:
        with tempfile.TemporaryDirectory() as folder:
            mounted = certified(folder, "nats")
            for name, text in nats_files(world, place).items():
                (Path(folder) / name).write_text(text.replace(MOUNTED, mounted))
            container = world.find(place, "StatefulSet", "nats")["spec"]["template"]["spec"]["containers"][0]
            # A password as deploy/secrets makes them.
            env = {one["name"]: one.get("value", "p0e1") for one in container["env"]}
            done = subprocess.run(
                [server, "-t", "--config", f"{folder}/nats.conf"], env=env, capture_output=True, text=True, check=False
            )
            if done.returncode:
                problems.append(f"{place}: {done.stderr.strip()[:300]}")
    return problems


@notices(nats_accepts, "a configuration with a slip of the pen")
def _(world):
    nats_files(world, "small")["cluster.conf"] = "cluster { name: plugboard"


def acl(folder, conf, password):
    """What a redis-server that starts with this configuration says of its users and of how it keeps things."""
    server = program("redis-server", "PLUGBOARD_REDIS_SERVER")
    client = shutil.which("redis-cli") or server.replace("redis-server", "redis-cli")
    socket = f"{folder}/redis.sock"
    ask = [client, "-s", socket, "--no-auth-warning", "-a", password]
    process = subprocess.Popen(
        [server, conf, "--port", "0", "--tls-port", "0", "--unixsocket", socket, "--dir", folder],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        for _ in range(100):
            if process.poll() is not None:
                return {"it ends": process.stdout.read()[-300:]}
            if os.path.exists(socket):
                break
            time.sleep(0.05)
        said = {}
        for user in ("default", "limits"):
            answer = subprocess.run([*ask, "ACL", "GETUSER", user], capture_output=True, text=True, check=False).stdout
            # Commands come in no certain order; passwords differ.
            said[user] = sorted(re.sub(r"\b[0-9a-f]{64}\b", "", answer).split())
        for name in ("appendonly", "appendfsync", "maxmemory-policy", "save"):
            said[name] = subprocess.run(
                [*ask, "CONFIG", "GET", name], capture_output=True, text=True, check=False
            ).stdout
        return said
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def local_redis():
    plan = local()
    with tempfile.TemporaryDirectory() as folder:
        plan.data = Path(folder)
        (plan.data / "redis").mkdir()
        plan.redis()
        return acl(folder, f"{folder}/redis/redis.conf", plan.secrets["redis"])


@check("Redis has the users of the local cluster, keeps what it is given, and starts with its configuration")
def redis(world):
    wanted = local_redis()
    problems = []
    for place in world.rendered:
        if place == "external-redis":
            continue
        files = world.find(place, "ConfigMap", "redis")["data"]
        with tempfile.TemporaryDirectory() as folder:
            mounted = certified(folder, "redis")
            # As in the pod, with its folders elsewhere.
            moved = {
                name: text.replace("/etc/redis", folder)
                .replace("/var/run/redis", f"{folder}/run")
                .replace("/data", folder)
                .replace(MOUNTED, mounted)
                for name, text in files.items()
            }
            (Path(folder) / "run").mkdir()
            for name, text in moved.items():
                (Path(folder) / name).write_text(text)
            env = {"PATH": os.environ["PATH"], "REDIS_PASSWORD": "p1e2", "REDIS_LIMITS_PASSWORD": "p3e4"}
            subprocess.run(["sh", f"{folder}/users.sh"], env=env, check=True)
            found = acl(folder, f"{folder}/redis.conf", "p1e2")
        problems += [
            f"{place} {name}: {found.get(name)!r}, wanted {wanted.get(name)!r}"
            for name in sorted(set(wanted) | set(found))
            if found.get(name) != wanted.get(name)
        ]
    return problems


@notices(redis, "a user of the limits who may read accounts")
def _(world):
    files = world.find("base", "ConfigMap", "redis")["data"]
    files["users.acl"] = files["users.acl"].replace("~plugboard:limit:*", "~plugboard:*")


@notices(redis, "a Redis that flushes once a second")
def _(world):
    files = world.find("small", "ConfigMap", "redis")["data"]
    files["redis.conf"] = files["redis.conf"].replace("appendfsync always", "appendfsync everysec")
