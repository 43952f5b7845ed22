"""The device cookie: a browser from which an account has signed in shows that it has, and nothing more.

It opens no door; it only gives tries to sign in from that browser a budget of their own. Signed over the account, the
device and the password's hash, so that a new password forgets every device.
"""

import hmac
import re
import secrets

_COOKIE = re.compile(r"([A-Za-z0-9_-]{22})\.([0-9a-f]{64})")


def device_of(secret_key: bytes, account_sha256: str, password_hash: str | None, cookie: str | None) -> str | None:
    """The device that the cookie proves for this account, or None."""
    found = _COOKIE.fullmatch(cookie or "")
    if found is None:
        return None
    expected = _signature(secret_key, account_sha256, password_hash or "", found[1])
    return found[1] if hmac.compare_digest(expected, found[2]) and password_hash else None


def device_cookie(secret_key: bytes, account_sha256: str, password_hash: str, device: str | None = None) -> str:
    """For this device, or for a new one."""
    device = device or secrets.token_urlsafe(16)
    return f"{device}.{_signature(secret_key, account_sha256, password_hash, device)}"


def _signature(secret_key: bytes, account_sha256: str, password_hash: str, device: str) -> str:
    told = "\0".join(("device", account_sha256, password_hash, device))
    return hmac.digest(secret_key, told.encode(), "sha256").hex()
