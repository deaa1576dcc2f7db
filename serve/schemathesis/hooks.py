"""Who asks, and about what: credentials for each kind of route, and names that are there.

A description cannot say what a signature covers, nor which accounts exist. Everything else that is asked is drawn from the
description alone.
"""

import base64
import hashlib
import os
import secrets
import time
import zlib

import requests
import schemathesis
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

KEYS = os.environ["PLIMSOLL_DEV_KEYS"]
HOLDER = os.environ["PLIMSOLL_HOLDER"]
ADMIN = os.environ["PLIMSOLL_ADMIN"]
KNOWN = {
    "id": os.environ["PLIMSOLL_ACCOUNT"],
    "jkt": os.environ["PLIMSOLL_JKT"],
    "decision": os.environ["PLIMSOLL_GRANT"],
    "version": "1",
}
with open(os.path.join(KEYS, "bridge.pem")) as file:
    # PKCS#8 of version 2, with the public key behind the private one, which the library does not read.
    DER = base64.b64decode("".join(file.read().splitlines()[1:-1]))
BRIDGE = Ed25519PrivateKey.from_private_bytes(DER[16:48])

# What only the operator's own systems may ask.
BRIDGES = ("/v1/accounts/", "/v1/signals", "/v1/transfers/check", "/v1/score")
WALLETS = ("/v1/score/",)


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


class Credentials(requests.auth.AuthBase):
    """Signs a request as a bridge does (RFC 9421), or shows a token: by its route."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        path = request.path_url.split("?")[0]
        if path.startswith("/v1/admin/"):
            request.headers["Authorization"] = f"Bearer {ADMIN}"
        elif path.startswith(BRIDGES) and not path.startswith(WALLETS) and request.method in ("POST", "PUT"):
            self.sign(request)
        else:
            request.headers["Authorization"] = f"Bearer {HOLDER}"
        return request

    @staticmethod
    def sign(request: requests.PreparedRequest) -> None:
        body = request.body or b""
        body = body.encode() if isinstance(body, str) else body
        digest = f"sha-256=:{encoded(hashlib.sha256(body).digest())}:"
        kind = request.headers.get("Content-Type", "application/json")
        request.headers["Content-Type"] = kind
        kind = kind.decode() if isinstance(kind, bytes) else kind
        now = int(time.time())
        parameters = (
            '("@method" "@target-uri" "content-digest" "content-type")'
            f';created={now};expires={now + 60};nonce="{secrets.token_urlsafe(16)}";keyid="dev";tag="plimsoll-bridge"'
        )
        base = (
            f'"@method": {request.method}\n"@target-uri": {request.url}\n"content-digest": {digest}\n'
            f'"content-type": {kind}\n"@signature-params": {parameters}'
        )
        request.headers["Content-Digest"] = digest
        request.headers["Signature-Input"] = f"sig={parameters}"
        request.headers["Signature"] = f"sig=:{encoded(BRIDGE.sign(base.encode()))}:"


schemathesis.auth.set_from_requests(Credentials())


@schemathesis.hook
def map_path_parameters(context, path_parameters):
    """Half of all names are of something that is there."""
    for name, known in KNOWN.items():
        value = (path_parameters or {}).get(name)
        if isinstance(value, str) and value and zlib.crc32(value.encode()) % 2:
            path_parameters[name] = known
    return path_parameters
