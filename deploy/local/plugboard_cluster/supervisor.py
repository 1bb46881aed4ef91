"""Starts, watches and stops the processes of a layout."""

import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import replace
from pathlib import Path

from .layout import ClusterError, Layout, print_err

# A service drains within 12 s, unless it is given longer.
DRAIN_MS = [int(os.environ.get(f"PLUGBOARD_{section}__DRAIN_MS", 12_000)) for section in ("EXECUTOR", "GATEWAY")]
STOP_WITHIN = 3 + max(DRAIN_MS) / 1000
READY_WITHIN = 60
RESTART_AFTER = 1


def die_with_parent():
    """Called in the child: should the supervisor be killed, its children end with it."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)


def is_ready(ready):
    kind, port, *path = ready
    if kind == "tcp":
        with socket.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex(("127.0.0.1", port)) == 0
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path[0]}", timeout=2) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False


class Supervisor:
    def __init__(self, layout):
        self.layout = layout
        self.children = list(layout.children())
        self.running = {}
        self.restart_at = {}
        # Those that were told to end because fewer are wanted.
        self.dismissed = set()
        self.stopping = False
        # What a child inherits: not the keys and settings of whoever typed the command.
        self.base_env = {k: v for k, v in os.environ.items() if not k.startswith("PLUGBOARD_")}

    def pid_file(self, name):
        return self.layout.data / "run" / f"{name}.pid"

    def start(self, child):
        log = open(self.layout.data / "log" / f"{child.name}.log", "ab")
        with log:
            process = subprocess.Popen(
                child.command, env={**self.base_env, **child.env}, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True, preexec_fn=die_with_parent)
        self.running[child.name] = process
        self.dismissed.discard(child.name)
        temporary = self.pid_file(child.name).with_suffix(".tmp")
        temporary.write_text(f"{process.pid}\n")
        temporary.rename(self.pid_file(child.name))

    def start_all(self):
        for wave in sorted({child.wave for child in self.children}):
            members = [child for child in self.children if child.wave == wave]
            for child in members:
                self.start(child)
            for child in members:
                self.wait_ready(child)
        for child in self.children:
            if child.name == "balancer":
                # It listens from the start; now it must have seen that somebody is behind it.
                self.wait_ready(replace(child, ready=("http", self.layout.doors["gateway"], "/readyz")))

    def wait_ready(self, child):
        until = time.monotonic() + READY_WITHIN
        while not self.stopping:
            if self.running[child.name].poll() is not None:
                raise ClusterError(f"{child.name} ended at once; the end of its log:\n{self.log_end(child.name)}")
            if is_ready(child.ready):
                return
            if time.monotonic() > until:
                raise ClusterError(f"{child.name} is not ready after {READY_WITHIN} s; the end of its log:\n"
                                   f"{self.log_end(child.name)}")
            time.sleep(0.05)

    def log_end(self, name):
        lines = (self.layout.data / "log" / f"{name}.log").read_text(errors="replace").splitlines()
        return "\n".join(lines[-15:])

    def watch(self):
        while not self.stopping:
            scale = read_scale(self.layout.data)
            for child in self.children:
                self.look_after(child, is_wanted(child.name, scale))
            time.sleep(0.1)

    def look_after(self, child, wanted):
        now = time.monotonic()
        process = self.running[child.name]
        if child.name in self.restart_at:
            if wanted and now >= self.restart_at[child.name]:
                del self.restart_at[child.name]
                self.start(child)
        elif process.poll() is not None:
            print_err(f"{child.name} ended ({process.returncode}); " + ("starting it again" if wanted else "it rests"))
            self.pid_file(child.name).unlink(missing_ok=True)
            self.restart_at[child.name] = now + RESTART_AFTER
        elif not wanted and child.name not in self.dismissed:
            self.dismissed.add(child.name)
            process.terminate()

    def stop_all(self):
        for wave in sorted({child.wave for child in self.children}, reverse=True):
            names = [child.name for child in self.children if child.wave == wave and child.name in self.running]
            alive = [self.running[name] for name in names if self.running[name].poll() is None]
            for process in alive:
                # A stopped (SIGSTOP) process would not hear SIGTERM.
                for number in (signal.SIGTERM, signal.SIGCONT):
                    process.send_signal(number)
            until = time.monotonic() + STOP_WITHIN
            for process in alive:
                try:
                    process.wait(max(0.1, until - time.monotonic()))
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
            for name in names:
                self.pid_file(name).unlink(missing_ok=True)


def read_scale(data):
    """How many of each kind are wanted; of kinds that are not named, all."""
    try:
        return json.loads((data / "run" / "scale.json").read_text())
    except (OSError, ValueError):
        return {}


def is_wanted(name, scale):
    kind, _, number = name.rpartition("-")
    return kind not in scale or int(number) <= scale[kind]


def scale(data, executors):
    """Takes effect within a second; those beyond are asked to end, as at any stop."""
    if not alive(data / "run" / "cluster.pid"):
        raise ClusterError(f"no cluster runs on {data}")
    temporary = data / "run" / "scale.tmp"
    temporary.write_text(json.dumps({"executor": executors}))
    temporary.rename(data / "run" / "scale.json")
    return 0


def alive(pid_file):
    try:
        pid = int(pid_file.read_text())
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        return pid if state != "Z" else None
    except (OSError, ValueError, IndexError):
        return None


def up(args):
    data = args.data.resolve()
    (data / "run").mkdir(parents=True, exist_ok=True)
    own_pid = data / "run" / "cluster.pid"
    if alive(own_pid):
        raise ClusterError(f"a cluster runs on {data} already (pid {alive(own_pid)}); stop it with "
                           f"`cluster down --data {data}`")
    own_pid.write_text(f"{os.getpid()}\n")
    (data / "run" / "scale.json").unlink(missing_ok=True)
    supervisor = None
    try:
        supervisor = Supervisor(Layout(args))

        def stop(_number, _frame):
            supervisor.stopping = True

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop)
        supervisor.start_all()
        if not supervisor.stopping:
            greet(supervisor.layout, args)
        supervisor.watch()
    finally:
        if supervisor:
            supervisor.stop_all()
        own_pid.unlink(missing_ok=True)
    return 0


def greet(layout, args):
    line = layout.ready_line()
    if args.json:
        print(json.dumps(line), flush=True)
        return
    print(f"Plugboard runs as {args.gateways} gateway(s), {args.executors} executor(s), {args.auths} auth service(s) "
          f"and a catalog on {args.nats} nats-server(s) and redis.\n")
    for url in line["urls"]:
        print(f"  {url}/mcp")
    if line["api_key"]:
        print(f"\n  API key        {line['api_key']}\n  Operator key   {line['operator_key']}\n"
              "  They are shown this once.")
    print(f"\nLogs: {layout.data}/log   Stop: Ctrl-C, or `cluster down --data {layout.data}`", flush=True)


def names_of(data):
    return sorted(path.stem for path in (data / "log").glob("*.log")) if (data / "log").is_dir() else []


def status(data, as_json):
    rows = [{"name": name, "pid": alive(data / "run" / f"{name}.pid")} for name in ["cluster", *names_of(data)]]
    if as_json:
        print(json.dumps(rows))
    else:
        for row in rows:
            print(f"{row['name']:<12} {'pid ' + str(row['pid']) if row['pid'] else 'not running'}")
    return 0 if all(row["pid"] for row in rows) else 1


def down(data):
    pid = alive(data / "run" / "cluster.pid")
    if pid:
        os.kill(pid, signal.SIGTERM)
        until = time.monotonic() + 6 * STOP_WITHIN
        while alive(data / "run" / "cluster.pid") and time.monotonic() < until:
            time.sleep(0.1)
        if alive(data / "run" / "cluster.pid"):
            raise ClusterError("the supervisor does not stop")
        return 0
    # The supervisor is gone; whatever it left is stopped by its pid file.
    for name in reversed(names_of(data)):
        left = alive(data / "run" / f"{name}.pid")
        if left:
            os.kill(left, signal.SIGTERM)
        (data / "run" / f"{name}.pid").unlink(missing_ok=True)
    print("no cluster was running", file=sys.stderr)
    return 0
