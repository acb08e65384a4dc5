"""Which end of a connection is which error: the broker's reason codes, read as LinkRefused or LinkLost.

Law: pure; the code decides, never a text. Waiting mends a full, busy or restarting broker; it does not mend
credentials, a client id, a protocol version or a Will the broker will not have. Numbers and names:
MQTT 5 section 2.4; those of a 3.1.1 CONNACK arrive here mapped onto them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import attrs

from .transport import LinkLost, LinkRefused

UNSPECIFIED: Final = 0x80
UNSUPPORTED_PROTOCOL: Final = 0x84
SESSION_TAKEN_OVER: Final = 0x8E

_PROTOCOL_HINT = 'the broker does not speak the MQTT version asked for: set protocol = "3.1.1" in [mqtt], or "5" if it is 3.1.1 now'
_WILL_HINT = "the broker will not have this Will message; see its log"
_QOS_HINT = "the broker takes no QoS 1, on which every promise rests, nor a Will of QoS 1: allow it there (Mosquitto: max_qos)"

# What the answer to CONNECT may say that waiting does not mend, and what the operator does about it.
_CONNECT_REFUSALS: Final[Mapping[int, tuple[str, str]]] = {
    UNSUPPORTED_PROTOCOL: ("unsupported protocol version", _PROTOCOL_HINT),
    0x85: ("client identifier not valid", "the broker will not have this client id: see client_id in [mqtt]"),
    0x86: ("bad user name or password", "check the user name and the password in the url of [mqtt], or in MQTT_URL"),
    0x87: ("not authorized", "the broker does not let this user or this client id in: check the credentials and the broker's access list"),
    0x8A: ("banned", "the broker's operator has banned this client"),
    0x8C: ("bad authentication method", "the broker wants another way of authentication than user name and password"),
    0x90: ("topic name invalid", _WILL_HINT),
    0x95: ("packet too large", _WILL_HINT),
    0x99: ("payload format invalid", _WILL_HINT),
    0x9A: ("retain not supported", _WILL_HINT),
    0x9B: ("QoS not supported", _QOS_HINT),
}

# What the broker's DISCONNECT may say that reconnecting does not mend.
_DISCONNECT_REFUSALS: Final[Mapping[int, tuple[str, str]]] = {
    0x87: _CONNECT_REFUSALS[0x87],
    SESSION_TAKEN_OVER: (
        "session taken over",
        "another client connected with the same client id: give each its own, see client_id in [mqtt]",
    ),
}


@attrs.frozen
class End:
    """Why a connection is over. `code` None: lost; a number: refused with that reason code."""

    message: str
    code: int | None = None
    hint: str = ""

    def error(self) -> LinkLost | LinkRefused:
        """A fresh exception each time: one that is raised twice collects two tracebacks."""
        if self.code is None:
            return LinkLost(self.message)
        return LinkRefused(self.message, code=self.code, hint=self.hint)


def connect_refused(code: int, where: str) -> End:
    """The CONNACK carried `code` (>= 0x80). `where` is "host:port"; credentials never come near a message."""
    if code in _CONNECT_REFUSALS:
        name, hint = _CONNECT_REFUSALS[code]
        return End(f"{where} refused the connection: {name} (0x{code:02X})", code, hint)
    return End(f"{where} cannot take the connection now (0x{code:02X})")


def disconnected(code: int, where: str) -> End:
    """The broker sent DISCONNECT with `code` (MQTT 5 only)."""
    if code in _DISCONNECT_REFUSALS:
        name, hint = _DISCONNECT_REFUSALS[code]
        return End(f"{where} ended the connection: {name} (0x{code:02X})", code, hint)
    return End(f"{where} ended the connection (0x{code:02X})")


# -- TLS. There is no MQTT code for what fails here; "unspecified error" stands in. ---------------------------------------

# Why OpenSSL does not accept a certificate (X509_V_ERR_..., x509_vfy.h).
_NOT_YET_VALID: Final = 9
_EXPIRED: Final = 10
_WRONG_NAME: Final = frozenset({62, 64})


def broker_distrusted(where: str, verify_code: int, problem: str, ca_file: str | None) -> End:
    """The handshake failed: we do not accept the broker's certificate. `problem` is OpenSSL's word for `verify_code`.

    One that is not valid yet is waited for: a gateway without a battery boots with its clock in the past.
    """
    said = f"{where}: its TLS certificate is not accepted: {problem}"
    if verify_code == _NOT_YET_VALID:
        return End(f"{said}; is this machine's clock right?")
    if verify_code in _WRONG_NAME:
        return End(said, UNSPECIFIED, "write a host name in the url of [mqtt] that the certificate is made out to")
    if verify_code == _EXPIRED:
        return End(said, UNSPECIFIED, "the broker needs a new certificate, unless this machine's clock is wrong")
    authority = f"ca_file in [mqtt.tls], {ca_file}," if ca_file else "what this system trusts"
    return End(said, UNSPECIFIED, f"{authority} does not vouch for it; set ca_file to the certificate of the authority that signed it")


def we_are_distrusted(where: str, alert: str, cert_file: str | None) -> End:
    """The handshake failed: the broker does not accept our certificate, or that we have none. `alert` is what it says."""
    if cert_file is None:
        return End(f"{where}: it asks for a TLS certificate of ours ({alert})", UNSPECIFIED, "set cert_file and key_file in [mqtt.tls]")
    hint = f"has cert_file in [mqtt.tls], {cert_file}, expired, or does the broker not trust who signed it?"
    return End(f"{where}: it does not accept our TLS certificate ({alert})", UNSPECIFIED, hint)


def wants_tls(where: str) -> End:
    """It answered CONNECT with an alert of TLS."""
    return End(f"{where} speaks TLS, and we do not", UNSPECIFIED, "write mqtts:// in the url of [mqtt]")


def perhaps_tls(*, spoken: bool) -> str:
    """What to look at when it hung up before a word was said; `spoken` by us. A guess: brokers that go down do that too."""
    return "; does it speak TLS at this port? " + ("If not, the url is mqtt://" if spoken else "Then the url is mqtts://")


def unusable_files(where: str, problem: str) -> End:
    """A file of [mqtt.tls] cannot be used: nothing was tried."""
    return End(f"{where}: not tried: {problem}", UNSPECIFIED, "see [mqtt.tls]")
