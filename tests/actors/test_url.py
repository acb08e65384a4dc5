"""What a broker's URL may be, and that no error tells a password."""

from __future__ import annotations

import traceback

import pytest

from tars.actors.url import BrokerUrl, UrlError, parse_mqtt_url

SECRET = "hunter2"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mqtt://user:pass@host:1884", BrokerUrl("host", 1884, "user", "pass")),
        ("mqtt://host", BrokerUrl("host", 1883)),
        ("mqtt://host:", BrokerUrl("host", 1883)),
        ("mqtt://host:0", BrokerUrl("host", 1883)),
        ("mqtt://host:65535", BrokerUrl("host", 65535)),
        ("mqtt://:1884", BrokerUrl("localhost", 1884)),
        ("mqtt://", BrokerUrl("localhost", 1883)),
        ("mqtt://u@", BrokerUrl("localhost", 1883, "u")),
        ("MQTT://Host", BrokerUrl("host", 1883)),
        ("mqtt://host/", BrokerUrl("host", 1883)),
        ("mqtt://[::1]:1884", BrokerUrl("::1", 1884)),
        ("mqtt://[::1]", BrokerUrl("::1", 1883)),
        ("mqtts://host", BrokerUrl("host", 8883, tls=True)),
        ("mqtts://host:0", BrokerUrl("host", 8883, tls=True)),
        ("MQTTS://host:1883", BrokerUrl("host", 1883, tls=True)),
        ("mqtt://u%40x:p%40s%2Fs@h", BrokerUrl("h", 1883, "u@x", "p@s/s")),
        ("mqtt://%C3%BC:%20@h", BrokerUrl("h", 1883, "ü", " ")),
        ("mqtt://u:p@ss:w@h", BrokerUrl("h", 1883, "u", "p@ss:w")),
        ("mqtt://:pw@h", BrokerUrl("h", 1883, "", "pw")),
        ("mqtt://user@h", BrokerUrl("h", 1883, "user", None)),
        ("mqtt://user:@h", BrokerUrl("h", 1883, "user", "")),
        ("mqtt://@h", BrokerUrl("h", 1883, None, None)),
    ],
)
def test_a_url_is_read(text: str, expected: BrokerUrl) -> None:

    assert expected == parse_mqtt_url(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "expected mqtt://"),
        ("host:1883", "expected mqtt://"),
        ("mqtt:host", "expected mqtt://"),
        (f"u:{SECRET}@host", "expected mqtt://"),
        ("ws://host", 'the scheme "ws" is not supported; expected mqtt:// (TCP) or mqtts:// (TLS)'),
        ("ssl://host", 'the scheme "ssl" is not supported'),
        (f"http://u:{SECRET}@host", 'the scheme "http" is not supported'),
        ("mqtt://host:99999", "the port must be a number between 0 and 65535"),
        ("mqtt://host:-1", "the port must be"),
        ("mqtt://host:mqtt", "the port must be"),
        ("mqtt://::1", "the port must be"),
        ("mqtt://[::1", "the host is not valid"),
        ("mqtt://ho%73t", "the host must not be percent-encoded"),
        (f"mqtt://u:{SECRET}[@host", "%5B and %5D"),
        (f"mqtt://u:{SECRET}@ho\u2100st", "the host is not valid"),
        ("mqtt://host/path", "a path, query or fragment means nothing"),
        (f"mqtt://host?password={SECRET}", "a path, query or fragment means nothing"),
        ("mqtt://host#x", "a path, query or fragment means nothing"),
        (f"mqtt://u:{SECRET}/x@host", "must be percent-encoded: %2F"),
        (f"mqtt://u:{SECRET}#x@host", "must be percent-encoded"),
        (f"mqtt://u:{SECRET}?x@host", "must be percent-encoded"),
        (f"mqtt://u:{SECRET} x@host", "a blank is %20"),
        ("mqtt://host\n", "a blank or a control character"),
        (f"mqtt://u:{SECRET}%@host", "must be written %25"),
        (f"mqtt://u:{SECRET}%zz@host", "must be written %25"),
        (f"mqtt://u:{SECRET}%FF@host", "must be UTF-8"),
        (f"mqtt://u%00:{SECRET}@host", "U+0000"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_without_telling_its_secret(text: str, why: str) -> None:
    with pytest.raises(UrlError) as caught:
        parse_mqtt_url(text)

    assert why in str(caught.value)
    assert SECRET not in "".join(traceback.format_exception_only(caught.value)) + repr(caught.value)


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("mqtt://host", "mqtt://host:1883"),
        (f"mqtts://u:{SECRET}@host", "mqtts://***@host:8883"),
        (f"mqtt://:{SECRET}@[::1]:1", "mqtt://***@[::1]:1"),
    ],
)
def test_a_redacted_url_says_everything_but_the_credentials(text: str, redacted: str) -> None:
    url = parse_mqtt_url(text)

    assert redacted == url.redacted
    assert SECRET not in f"{url} {url!r}"
