"""Ports that stay ours between the choice and the moment in which a server binds them.

The system gives ports of its own range to everybody who does not ask for one: outgoing connections, and listeners on
port 0. A port chosen there may be gone a second later, or while a killed process waits to be started again. So ours come
from below that range, where only those get ports who ask for them, and a lock on a file of the port's number, held as long
as the cluster lives, keeps other clusters on this machine away.
"""

import fcntl
import os
import random
import socket
import tempfile
from pathlib import Path

LOWEST = 20_000
RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")

# Held until this process ends.
_claims = []


def take(count):
    """So many ports, none of which anybody else will be given. Raises OSError when there are not as many."""
    candidates = list(range(LOWEST, _end()))
    # Clusters that start at the same moment begin at different places.
    random.shuffle(candidates)
    folder = Path(tempfile.gettempdir()) / f"plugboard-ports-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    taken = []
    for port in candidates:
        if len(taken) == count:
            break
        claim = _claim(folder, port)
        if claim:
            _claims.append(claim)
            taken.append(port)
    if len(taken) < count:
        raise OSError(f"no {count} ports are free between {LOWEST} and {_end()}")
    return taken


def _end():
    try:
        return max(int(RANGE.read_text().split()[0]), LOWEST + 4_000)
    except (OSError, ValueError, IndexError):
        return 32_768


def _claim(folder, port):
    file = open(folder / str(port), "w")  # noqa: SIM115
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with socket.socket() as probe:
            # As a server does: what is left of earlier connections does not count.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
    except OSError:
        file.close()
        return None
    return file
