"""TLS through a whole service: who is let in, who is not, and that a refusal is one sentence that says what to do."""

from __future__ import annotations

import re
import shutil
import signal
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from support.broker import Mosquitto
from support.certificates import HOST, Certificates
from support.process import config, service
from support.service import Seen, running
from tars.actors import subscribe
from tars.actors.mqtt.aiomqtt_transport import AiomqttTransport
from tars.actors.mqtt.events import LinkUp
from tars.actors.mqtt.transport import ConnectSettings, Link, LinkLost, Outbound, TlsSettings

SOON_S = 20.0


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    made = Certificates(tmp_path_factory.mktemp("certificates"))
    made.make()
    return made


def secured(port: int, folder: Path, host: str = HOST, **files: str) -> dict[str, Any]:
    """A config for the TLS listener at `port`."""
    table = config(port, {"mqtt": {"url": f"mqtts://{host}:{port}", "tls": files}}, {"sink": {"use": "echo:Echo"}})
    table["actors"]["sink"]["settings"] = {"journal": str(folder / "journal")}
    return table


async def refusal(folder: Path, table: dict[str, Any]) -> str:
    """The one sentence a service says that ends at once, with exit code 1 and without a second attempt."""
    async with service(folder, table) as child:
        code = await child.exited()
    (sentence,) = child.stderr.splitlines()

    assert 1 == code
    assert "Traceback" not in child.stdout + child.stderr
    assert 1 == len(child.events("child_exited", actor="root/service/link/connection"))
    return sentence


# -- let in ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
async def test_a_service_with_the_right_authority_and_a_certificate_is_let_in(
    tmp_path: Path, certificates: Certificates, protocol: str
) -> None:
    path = certificates.path
    async with Mosquitto(config=certificates.listener("require_certificate true")) as broker:
        table = secured(broker.port, tmp_path, ca_file=path("ca.pem"), cert_file=path("client.pem"), key_file=path("client.key"))
        table["mqtt"]["protocol"] = protocol
        async with service(tmp_path, table) as child:
            up = await child.event("link_up")
            child.signal(signal.SIGTERM)
            code = await child.exited()

    assert (0, "", protocol, 1) == (code, child.stderr, up["protocol"], up["filters"])


async def test_certificates_may_be_named_relative_to_the_current_folder_and_serve_as_user_name(
    tmp_path: Path, certificates: Certificates
) -> None:
    for name in ("ca.pem", "client.pem", "client.key"):
        shutil.copyfile(certificates.path(name), tmp_path / name)
    lines = certificates.listener("require_certificate true", "use_identity_as_username true")
    async with Mosquitto(config=lines) as broker:
        table = secured(broker.port, tmp_path, ca_file="ca.pem", cert_file="client.pem", key_file="client.key")
        async with service(tmp_path, table) as child:
            await child.event("link_up")


@attrs.frozen
class Here:
    """The real transport, to the TLS listener at `port`, whatever the settings say."""

    port: int
    tls: TlsSettings

    def connect(self, settings: ConnectSettings) -> AbstractAsyncContextManager[Link]:
        return AiomqttTransport().connect(attrs.evolve(settings, host=HOST, port=self.port, tls=self.tls))


async def test_in_this_process_a_service_is_delivered_to_over_tls_also_after_the_broker_was_away(certificates: Certificates) -> None:
    seen = Seen()

    @subscribe("a", qos=1)
    async def sink(event: bytes) -> None:
        seen.add(event)

    async with Mosquitto(config=certificates.listener()) as broker:
        here = Here(broker.port, TlsSettings(ca_file=certificates.path("ca.pem")))
        async with running(sink, transport=lambda _: here, config={"mqtt": {"backoff": {"initial_s": 0.02}}}) as world:
            with trio.fail_after(SOON_S):
                for time in (1, 2):
                    await world.event(LinkUp, count=time)
                    async with here.connect(ConnectSettings("", 1, "sender")) as sender:
                        sender.publish(Outbound("a", b"%d" % time))
                        await seen.until(time)
                    await broker.restart()

    assert [b"1", b"2"] == seen.items


# -- not let in -----------------------------------------------------------------------------------

UNTRUSTED = r"(self-signed certificate in certificate chain|unable to get local issuer certificate)"
ALERT = r"\([A-Z0-9_]*(CERTIFICATE|UNKNOWN_CA)[A-Z0-9_]*\)"

WRONG_BROKER = {
    # what is wrong: (the broker's certificate, host in the url, ca_file, what the sentence says)
    "another authority": (
        "broker",
        HOST,
        "stranger.pem",
        UNTRUSTED + r"; ca_file in \[mqtt.tls\], CA, does not vouch for it; set ca_file to ",
    ),
    "no authority named": ("broker", HOST, None, UNTRUSTED + r"; what this system trusts does not vouch for it; set ca_file to "),
    "another host": (
        "broker",
        "127.0.0.1",
        "ca.pem",
        r"IP address mismatch.*'127.0.0.1'.*; write a host name in the url of \[mqtt\] that ",
    ),
    "expired": (
        "expired",
        HOST,
        "ca.pem",
        r"certificate has expired; the broker needs a new certificate, unless this machine's clock is wrong",
    ),
}


@pytest.mark.parametrize("wrong", WRONG_BROKER)
async def test_a_broker_whose_certificate_is_wrong_ends_the_service_with_one_sentence(
    tmp_path: Path, certificates: Certificates, wrong: str
) -> None:
    name, host, authority, says = WRONG_BROKER[wrong]
    files = {} if authority is None else {"ca_file": certificates.path(authority)}
    async with Mosquitto(config=certificates.listener(broker=name)) as broker:
        sentence = await refusal(tmp_path, secured(broker.port, tmp_path, host, **files))

    assert f"broker {host}:{broker.port}: its TLS certificate is not accepted: " in sentence
    assert re.search(says.replace("CA,", f"{files.get('ca_file')},"), sentence)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        (None, "it asks for a TLS certificate of ours " + ALERT + r"; set cert_file and key_file in \[mqtt.tls\]"),
        ("foreign-client", "it does not accept our TLS certificate " + ALERT + r"; has cert_file in \[mqtt.tls\], OURS, expired, or "),
        ("expired-client", "it does not accept our TLS certificate " + ALERT + r"; has cert_file in \[mqtt.tls\], OURS, expired, or "),
    ],
)
async def test_a_service_whose_certificate_is_wrong_or_missing_ends_with_one_sentence(
    tmp_path: Path, certificates: Certificates, name: str | None, says: str
) -> None:
    ours = {} if name is None else {"cert_file": certificates.path(f"{name}.pem"), "key_file": certificates.path(f"{name}.key")}
    async with Mosquitto(config=certificates.listener("require_certificate true")) as broker:
        table = secured(broker.port, tmp_path, ca_file=certificates.path("ca.pem"), **ours)
        sentence = await refusal(tmp_path, table)

    assert f"broker {HOST}:{broker.port}: " in sentence
    assert re.search(says.replace("OURS", re.escape(ours.get("cert_file", ""))), sentence)


async def test_a_broker_whose_certificate_is_not_valid_yet_is_waited_for(tmp_path: Path, certificates: Certificates) -> None:
    async with Mosquitto(config=certificates.listener(broker="future")) as broker:
        async with service(tmp_path, secured(broker.port, tmp_path, ca_file=certificates.path("ca.pem"))) as child:
            line = await child.event("child_exited", actor="root/service/link/connection", count=2)
            child.signal(signal.SIGTERM)
            code = await child.exited()

    assert (0, "unavailable") == (code, line["kind"])
    assert "certificate is not yet valid; is this machine's clock right?" in line["error"]


# -- files ----------------------------------------------------------------------------------------


def no_certificate(_certificates: Certificates, folder: Path) -> dict[str, str]:
    (folder / "broken.pem").write_text("this is no certificate\n")
    return {"ca_file": str(folder / "broken.pem")}


def no_match(certificates: Certificates, _folder: Path) -> dict[str, str]:
    return {
        "ca_file": certificates.path("ca.pem"),
        "cert_file": certificates.path("client.pem"),
        "key_file": certificates.path("broker.key"),
    }


def locked(certificates: Certificates, _folder: Path) -> dict[str, str]:
    key = certificates.lock("client", "open-sesame")
    return {"ca_file": certificates.path("ca.pem"), "cert_file": certificates.path("client.pem"), "key_file": key}


@pytest.mark.parametrize(
    ("files", "named", "why"),
    [
        (no_certificate, "ca_file", "cannot be used: "),
        (no_match, "key_file", "(KEY_VALUES_MISMATCH|KEY_TYPE_MISMATCH|key values mismatch)"),
        (locked, "key_file", "the key is locked with a passphrase, and nobody is here to ask for it"),
    ],
)
async def test_a_file_that_cannot_be_used_is_named(
    tmp_path: Path, certificates: Certificates, files: Callable[[Certificates, Path], dict[str, str]], named: str, why: str
) -> None:
    given = files(certificates, tmp_path)
    sentence = await refusal(tmp_path, secured(1, tmp_path, **given))

    assert f"{named} '{given[named]}'" in sentence
    assert re.search(why, sentence)
    assert "[mqtt.tls]" in sentence


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
@pytest.mark.parametrize(
    ("theirs", "tls", "words"),
    [(True, None, "Then the url is mqtts://"), (False, TlsSettings(), "If not, the url is mqtt://")],
    ids=["it speaks TLS and we do not", "we speak TLS and it does not"],
)
async def test_who_hangs_up_before_a_word_may_speak_tls_or_not(
    certificates: Certificates, protocol: str, theirs: bool, tls: TlsSettings | None, words: str
) -> None:
    async with Mosquitto(config=certificates.listener() if theirs else ()) as broker:
        settings = ConnectSettings(HOST, broker.port, "robot7", protocol, tls=tls, connect_timeout_s=SOON_S)
        with pytest.raises(LinkLost, match=re.escape(words)):
            async with AiomqttTransport().connect(settings):
                pass
