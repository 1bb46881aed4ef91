"""Certificates for a cluster on this machine: one CA, and one certificate for each kind of process.

What a certificate says of its holder are the defaults of [tls.names] in deploy/config/default.toml.
"""

import os
import subprocess

NAMES = ("gateway", "executor", "auth", "catalog", "nats", "redis")
CURVE = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "365"]


def files(folder, name):
    """Certificate, key and CA."""
    return folder / f"{name}.pem", folder / f"{name}.key", folder / "ca.pem"


def make_absent(folder):
    """Makes all of them, unless there is a CA: then somebody else has."""
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / "ca.pem").is_file():
        return
    # Keys are for us alone from the moment they are there.
    before = os.umask(0o077)
    try:
        authority = ["-keyout", folder / "ca.key", "-out", folder / "ca.pem", "-subj", "/CN=Plugboard local CA"]
        openssl(*CURVE, *authority, "-addext", "keyUsage=critical,keyCertSign,cRLSign")
        for name in NAMES:
            certificate, key, ca = files(folder, name)
            openssl(*CURVE, "-keyout", key, "-out", certificate, "-subj", f"/CN={name}", "-CA", ca, "-CAkey", folder / "ca.key",
                    "-addext", f"subjectAltName=DNS:{name}.plugboard.internal,DNS:localhost,IP:127.0.0.1",
                    "-addext", "basicConstraints=critical,CA:FALSE", "-addext", "extendedKeyUsage=serverAuth,clientAuth")
    finally:
        os.umask(before)


def openssl(*arguments):
    subprocess.run(["openssl", "req", "-x509", *map(str, arguments)], check=True, capture_output=True)
