"""Certificates for a cluster on this machine: one CA, and one certificate for each kind of process.

What a certificate says of its holder are the defaults of [tls.names] in deploy/config/default.toml.
"""

import os
import subprocess

HOLDERS = ("gateway", "executor", "auth", "catalog", "nats", "redis", "limits")
EVERY = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 365".split()


def files(folder, holder):
    """Certificate, key and CA."""
    return folder / f"{holder}.pem", folder / f"{holder}.key", folder / "ca.pem"


def make_absent(folder):
    """Makes all of them, unless there is a CA: then somebody else has."""
    if (folder / "ca.pem").is_file():
        return
    authority(folder)
    for holder in HOLDERS:
        issue(folder, holder, [f"DNS:{holder}.plugboard.internal", "DNS:localhost", "IP:127.0.0.1"])


def authority(folder):
    folder.mkdir(parents=True, exist_ok=True)
    openssl("-keyout", folder / "ca.key", "-out", folder / "ca.pem", "-subj", "/CN=Plugboard local CA",
            "-addext", "keyUsage=critical,keyCertSign,cRLSign")


def issue(folder, holder, names):
    """By the CA of this folder; names as openssl writes them."""
    certificate, key, ca = files(folder, holder)
    openssl("-keyout", key, "-out", certificate, "-subj", f"/CN={holder}", "-CA", ca, "-CAkey", folder / "ca.key",
            "-addext", f"subjectAltName={','.join(names)}", "-addext", "basicConstraints=critical,CA:FALSE",
            "-addext", "extendedKeyUsage=serverAuth,clientAuth")


def openssl(*arguments):
    # Keys are for us alone from the moment they are there.
    before = os.umask(0o077)
    try:
        subprocess.run([*EVERY, *map(str, arguments)], check=True, capture_output=True)
    finally:
        os.umask(before)
