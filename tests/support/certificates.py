"""Certificates of a test's own making: an authority, a broker and clients it vouches for, one that has expired, and a stranger.

Law: everything is made for one test run, in its own folder; nobody trusts it anywhere else.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import attrs
import trustme
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat, load_pem_private_key

HOST: Final = "localhost"
"""What the broker's certificate is for, and what its numeric address is not."""
_PAST: Final = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
_FUTURE: Final = dt.datetime(2999, 1, 1, tzinfo=dt.UTC)


@attrs.frozen
class Certificates:
    """PEM files in `directory`: ``NAME.pem``, and ``NAME.key`` of those that are not an authority.

    Authorities: "ca" and "stranger". Vouched for by "ca": "broker", "client", the brokers "expired" and "future" (not
    valid yet), "expired-client". "foreign-client" is the stranger's.
    """

    directory: Path

    def path(self, name: str) -> str:
        return str(self.directory / name)

    def make(self) -> None:
        ca, stranger = trustme.CA(), trustme.CA()
        for name, authority in (("ca", ca), ("stranger", stranger)):
            authority.cert_pem.write_to_path(self.path(f"{name}.pem"))
        self._keep("broker", ca.issue_cert(HOST))
        self._keep("expired", ca.issue_cert(HOST, not_before=_PAST, not_after=_PAST + dt.timedelta(days=1)))
        self._keep("future", ca.issue_cert(HOST, not_before=_FUTURE, not_after=_FUTURE + dt.timedelta(days=1)))
        self._keep("client", ca.issue_cert("client.example", common_name="robot7"))
        self._keep("expired-client", ca.issue_cert("client.example", not_before=_PAST, not_after=_PAST + dt.timedelta(days=1)))
        self._keep("foreign-client", stranger.issue_cert("client.example"))

    def lock(self, name: str, passphrase: str) -> str:
        """The path of a copy of NAME's private key that only `passphrase` opens."""
        key = load_pem_private_key(Path(self.path(f"{name}.key")).read_bytes(), None)
        locked = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(passphrase.encode()))
        Path(self.path(f"{name}.locked.key")).write_bytes(locked)
        return self.path(f"{name}.locked.key")

    def listener(self, *extra: str, broker: str = "broker") -> Sequence[str]:
        """Lines of a Mosquitto's config: TLS with the certificate of `broker`, open to anybody."""
        files = [f"cafile {self.path('ca.pem')}", f"certfile {self.path(f'{broker}.pem')}", f"keyfile {self.path(f'{broker}.key')}"]
        return ["allow_anonymous true", *files, *extra]

    def _keep(self, name: str, cert: trustme.LeafCert) -> None:
        for blob in cert.cert_chain_pems:
            blob.write_to_path(self.path(f"{name}.pem"))
        cert.private_key_pem.write_to_path(self.path(f"{name}.key"))
