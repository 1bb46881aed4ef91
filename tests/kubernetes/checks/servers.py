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
    plan.secrets = {"nats_gateway": "g", "nats_executor": "e", "redis": "r", "limits": "l", "limits_admin": "a"}
    plan.route_ports = [1, 2, 3]
    plan.redis_port, plan.limits_port = 6379, 6379
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
        for name in ("appendonly", "appendfsync", "maxmemory", "maxmemory-policy", "save"):
            said[name] = subprocess.run(
                [*ask, "CONFIG", "GET", name], capture_output=True, text=True, check=False
            ).stdout
        return said
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def local_redis(name):
    plan = local()
    with tempfile.TemporaryDirectory() as folder:
        plan.data = Path(folder)
        (plan.data / name).mkdir()
        getattr(plan, name)()
        return acl(folder, f"{folder}/{name}/redis.conf", plan.secrets[{"limits": "limits_admin"}.get(name, name)])


def rendered_redis(world, place, name):
    """As in the pod, with its folders elsewhere."""
    files = world.find(place, "ConfigMap", name)["data"]
    with tempfile.TemporaryDirectory() as folder:
        mounted = certified(folder, name)
        run = Path(folder) / "run"
        run.mkdir()
        for file, text in files.items():
            moved = text.replace("/etc/redis", folder).replace("/var/run/redis", str(run)).replace("/data", folder)
            (Path(folder) / file).write_text(moved.replace(MOUNTED, mounted))
        env = {"PATH": os.environ["PATH"], "REDIS_PASSWORD": "p1e2", "REDIS_LIMITS_PASSWORD": "p3e4"}
        subprocess.run(["sh", f"{folder}/users.sh"], env=env, check=True)
        admin = run / "admin"
        return acl(folder, f"{folder}/redis.conf", admin.read_text() if admin.exists() else "p1e2")


@check("each Redis has the users of the local cluster, keeps what it should, and starts with its configuration")
def redis(world):
    problems = []
    for name in ("redis", "limits"):
        wanted = local_redis(name)
        for place in world.rendered:
            if place == "external-redis":
                continue
            found = rendered_redis(world, place, name)
            problems += [
                f"{place} {name} {what}: {found.get(what)!r}, wanted {wanted.get(what)!r}"
                for what in sorted(set(wanted) | set(found))
                if found.get(what) != wanted.get(what)
            ]
    return problems


@notices(redis, "a user of the limits who may read more than those")
def _(world):
    files = world.find("base", "ConfigMap", "limits")["data"]
    files["users.acl"] = files["users.acl"].replace("~plugboard:limit:*", "~plugboard:*")


@notices(redis, "limits that wait for a disk")
def _(world):
    files = world.find("production", "ConfigMap", "limits")["data"]
    files["redis.conf"] = files["redis.conf"].replace("appendonly no", "appendonly yes")


@notices(redis, "a Redis that flushes once a second")
def _(world):
    files = world.find("small", "ConfigMap", "redis")["data"]
    files["redis.conf"] = files["redis.conf"].replace("appendfsync always", "appendfsync everysec")
