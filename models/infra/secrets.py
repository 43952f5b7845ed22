"""Secrets at rest: AES-256-GCM with the key outside the database, the owner as associated data."""

import os
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from models.domain.errors import AppError

NONCE_BYTES = 12


def load_key(path: Path) -> bytes:
    """The installation's key, 32 bytes, created at first use with mode 0600."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        key = path.read_bytes()
        if len(key) != 32:
            raise AppError(f"The key file holds {len(key)} bytes, 32 were needed. Restore it from a backup.") from None
        return key
    with os.fdopen(descriptor, "wb") as file:
        key = AESGCM.generate_key(bit_length=256)
        file.write(key)
        file.flush()
        os.fsync(file.fileno())
    return key


def seal(key: bytes, owner: str, secret: str) -> bytes:
    """nonce + ciphertext; only `open_sealed` with the same owner reads it."""
    nonce = os.urandom(NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, secret.encode(), owner.encode())


def open_sealed(key: bytes, owner: str, sealed: bytes) -> str:
    try:
        return AESGCM(key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], owner.encode()).decode()
    except InvalidTag:
        raise AppError("A stored secret cannot be opened with this installation's key. Enter it again.") from None
