"""HAProxy in front of services, as a load balancer or a Service of Kubernetes is elsewhere."""

# What it listens for, and how it passes on: requests for those who speak HTTP/1.1, connections for gRPC.
DOORS = {"gateway": "http", "grpc": "tcp", "auth": "tcp", "pages": "http", "catalog": "tcp"}

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
    default-server check inter 200ms fall 1 rise 1
"""


def configuration(doors, behind):
    """`doors`: the port of each; `behind`: the port and the operator's port of each server behind it."""
    return COMMON + "".join(section(name, port, behind[name]) for name, port in doors.items())


def section(name, port, servers):
    lines = [f"server {name}-{i} 127.0.0.1:{to} port {health}" for i, (to, health) in enumerate(servers, 1)]
    listed = "\n    ".join(lines)
    return f"""
listen {name}
    bind 127.0.0.1:{port}
    mode {DOORS[name]}
    balance leastconn
    option httpchk GET /readyz
    http-check expect status 200
    {listed}
"""
