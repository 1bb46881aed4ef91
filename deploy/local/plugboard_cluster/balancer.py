"""HAProxy in front of services, as a load balancer or a Service of Kubernetes is elsewhere."""

# What it listens for, and how it passes on: requests for those who speak HTTP/1.1, connections for gRPC.
DOORS = {"gateway": "http", "grpc": "tcp", "auth": "tcp", "pages": "http", "catalog": "tcp"}
# The same processes by another door: asked once.
SAME = {"grpc": "gateway", "pages": "auth"}

# A service is asked for /readyz five times a second, and one refusal is enough: what it takes after that counts as its
# own fault. A connection that cannot be made is tried elsewhere; a request that was sent is never sent again.
COMMON = """global
    maxconn 4096

defaults
    timeout connect 2s
    timeout check 2s
    timeout client 120s
    timeout server 120s
    option redispatch
    retries 3
    default-server inter 200ms fall 1 rise 1
"""


def configuration(doors, behind):
    """`doors`: the port of each; `behind`: the port and the operator's port of each server behind it."""
    return COMMON + "".join(section(name, port, behind[name]) for name, port in doors.items())


def section(name, port, servers):
    lines = [f"bind 127.0.0.1:{port}", f"mode {DOORS[name]}", "balance leastconn"]
    if name in SAME:
        looks = [f"track {SAME[name]}/{SAME[name]}-{i}" for i in range(1, len(servers) + 1)]
    else:
        lines += ["option httpchk GET /readyz", "http-check expect status 200"]
        looks = [f"check port {health}" for _, health in servers]
    lines += [f"server {name}-{i} 127.0.0.1:{to} {look}" for i, ((to, _), look) in enumerate(zip(servers, looks), 1)]
    return f"\nlisten {name}\n" + "".join(f"    {line}\n" for line in lines)
