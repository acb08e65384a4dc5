"""A broker's URL: ``mqtt://[user[:password]@]host[:port]``, or ``mqtts://`` for TLS.

Pure text. Laws: what is written is used or refused, never ignored; an error quotes nothing but the scheme, since any
other part may hold a piece of the password.

The rules beyond RFC 3986: no host is ``localhost``; no port, or port 0, is 1883, with TLS 8883; user name and password
are percent-decoded as UTF-8; a path, query or fragment is refused, since nothing would read it (one final ``/`` says nothing,
and passes).
"""

from __future__ import annotations

import re
from typing import Final, NoReturn
from urllib.parse import SplitResult, unquote, urlsplit

import attrs

from tars.supervisor.errors import TarsError

DEFAULT_HOST: Final = "localhost"
DEFAULT_PORT: Final = 1883
DEFAULT_TLS_PORT: Final = 8883

_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,15})://")
_UNPRINTABLE: Final = re.compile(r"[\x00-\x20\x7f]")
_BROKEN_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")


class UrlError(TarsError, ValueError):
    """A broker's URL that cannot be used. The message holds no credentials."""


@attrs.frozen
class BrokerUrl:
    """Where a broker is and who we are to it. `port` 1..65535. None: no user name, or no password, was given."""

    host: str
    port: int = DEFAULT_PORT
    username: str | None = None
    password: str | None = attrs.field(default=None, repr=False)
    tls: bool = False

    @property
    def redacted(self) -> str:
        """The URL for logs and messages: whole, except that credentials are ``***``."""
        scheme = "mqtts" if self.tls else "mqtt"
        host = f"[{self.host}]" if ":" in self.host else self.host
        who = "" if self.username is None and self.password is None else "***@"
        return f"{scheme}://{who}{host}:{self.port}"


def parse_mqtt_url(text: str) -> BrokerUrl:
    """Read a broker's URL by the rules at the top of this module. Raises `UrlError`."""
    scheme = _SCHEME.match(text)
    if scheme is None:
        _refuse("expected mqtt://host:port, or mqtts:// for TLS; before the host goes user:password@, if there is one")
    if scheme[1].lower() not in {"mqtt", "mqtts"}:
        _refuse(f'the scheme "{scheme[1]}" is not supported; expected mqtt:// (TCP) or mqtts:// (TLS)')
    if _UNPRINTABLE.search(text):
        _refuse("it holds a blank or a control character; in a user name or password, percent-encode it (a blank is %20)")
    try:
        parts = urlsplit(text)
    except ValueError:  # its message may quote the credentials
        _refuse("the host is not valid; brackets stand around an IPv6 address, and are %5B and %5D in a user name or password")
    _refuse_tail(parts)
    tls = parts.scheme == "mqtts"
    who, _, _ = parts.netloc.rpartition("@")
    username, colon, password = who.partition(":")
    return BrokerUrl(
        host=_host(parts),
        port=_port(parts) or (DEFAULT_TLS_PORT if tls else DEFAULT_PORT),
        username=_decoded(username) if who else None,
        password=_decoded(password) if colon else None,
        tls=tls,
    )


def _refuse_tail(parts: SplitResult) -> None:
    tail = parts.path + parts.query + parts.fragment
    if "@" in tail:
        _refuse('a "/", "?" or "#" in a user name or password must be percent-encoded: %2F, %3F, %23')
    if tail not in {"", "/"}:
        _refuse("a path, query or fragment means nothing to an MQTT broker; take away what stands behind the host and port")


def _host(parts: SplitResult) -> str:
    host = parts.hostname or DEFAULT_HOST
    if "%" in host:
        _refuse("the host must not be percent-encoded")
    return host


def _port(parts: SplitResult) -> int | None:
    try:
        return parts.port
    except ValueError:  # its message quotes what it found
        _refuse("the port must be a number between 0 and 65535 (0: the default)")


def _decoded(text: str) -> str:
    if _BROKEN_ESCAPE.search(text):
        _refuse("a % in a user name or password must be written %25")
    try:
        decoded = unquote(text, errors="strict")
    except UnicodeDecodeError:
        _refuse("user name and password must be UTF-8 when percent-decoded")
    if "\0" in decoded:
        _refuse("user name and password cannot hold the character U+0000")
    return decoded


def _refuse(why: str) -> NoReturn:
    raise UrlError(why) from None
