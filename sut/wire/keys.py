"""The key that a coordinator and its nodes share.

A process with the file can run any code on every node that uses the same key, and can
answer for a node: keep the file where only this user may read it, and make another key
for another cluster.
"""

import os
import shlex
import stat
import struct
from pathlib import Path

import msgspec
import zmq
from zmq.auth.thread import ThreadAuthenticator

from base.decode import DecodeError, decode_json
from base.errors import UserError

_DOMAIN = "cluster"
_FOR_OTHERS = 0o077
_MAKE = "make it with: mlperf-sut keys FILE, and copy it to every node"


class ClusterKey(msgspec.Struct, frozen=True, kw_only=True):
    """Two CURVE key pairs, of 40 Z85 characters each: both ends prove their identity.

    What passes between them is encrypted and cannot be changed on the way.
    """

    server_public: str
    server_secret: str
    client_public: str
    client_secret: str

    def guard_server(self, socket: "zmq.Socket[bytes]") -> ThreadAuthenticator:
        """Let `socket`, which is not bound yet, accept only clients with this key.

        Returns:
            What asks; stop it before the socket's context is destroyed.
        """
        authenticator = ThreadAuthenticator(socket.context)
        authenticator.start()
        authenticator.configure_curve_callback(_DOMAIN, credentials_provider=self)
        # Without a domain that must be asked for, a moment in which nobody answers
        # would let everybody in.
        socket.setsockopt(zmq.ZAP_DOMAIN, _DOMAIN.encode())
        socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
        socket.curve_server = True
        socket.curve_publickey = self.server_public.encode()
        socket.curve_secretkey = self.server_secret.encode()
        return authenticator

    def guard_client(self, socket: "zmq.Socket[bytes]") -> None:
        """Let `socket`, not connected yet, connect only to holders of this key."""
        socket.curve_serverkey = self.server_public.encode()
        socket.curve_publickey = self.client_public.encode()
        socket.curve_secretkey = self.client_secret.encode()

    def callback(self, _domain: str, key: bytes) -> bool:
        """Return whether a client with this public key (Z85) may connect."""
        return key == self.client_public.encode()


def new_key() -> ClusterKey:
    """Return a key that nobody else has."""
    server, client = zmq.curve_keypair(), zmq.curve_keypair()
    return ClusterKey(
        server_public=server[0].decode(),
        server_secret=server[1].decode(),
        client_public=client[0].decode(),
        client_secret=client[1].decode(),
    )


def make_key(path: Path) -> None:
    """Write a new key that only this user may read.

    Raises:
        OSError: the file exists or cannot be written.
    """
    write_key(new_key(), path)


def write_key(key: ClusterKey, path: Path) -> None:
    """Write a key into a new file that only this user may read.

    Raises:
        OSError: the file exists or cannot be written.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(key)) + b"\n")


def read_key(path: Path) -> ClusterKey:
    """Return the key in the file `path`.

    Raises:
        UserError: the file is missing, holds no key, or others may read it.
    """
    try:
        found = path.stat()
        # As ssh does: a secret that everybody can read is none.
        if found.st_uid == os.geteuid() and found.st_mode & _FOR_OTHERS:
            mode = stat.S_IMODE(found.st_mode)
            raise UserError(
                f"{path}: other users may read this key (mode {mode:04o}); run"
                f" chmod 600 {shlex.quote(str(path))}, or make another key"
            )
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; {_MAKE}") from error
    return decode_key(data, str(path))


def decode_key(data: bytes, name: str) -> ClusterKey:
    """Return the key that `data` holds, as a key file does.

    Args:
        data: what was read.
        name: where it was read, for messages.

    Raises:
        UserError: it holds no key.
    """
    try:
        key = decode_json(data, ClusterKey)
    except DecodeError as error:
        raise UserError(f"{name}: holds no key ({error}); {_MAKE}") from error
    for public, secret in (
        (key.server_public, key.server_secret),
        (key.client_public, key.client_secret),
    ):
        if not _is_pair(public, secret):
            raise UserError(f"{name}: holds no key; {_MAKE}")
    return key


def _is_pair(public: str, secret: str) -> bool:
    try:
        return zmq.curve_public(secret.encode()) == public.encode()
    except (ValueError, KeyError, struct.error, zmq.ZMQError):
        return False
