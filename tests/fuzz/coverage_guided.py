"""A fuzzer that follows the branches it takes, for the readers of strangers' bytes: `just fuzz`.

    python coverage_guided.py CORPUS [libFuzzer's options]     CORPUS: a folder it begins from and adds to; made when there is none
    python coverage_guided.py FILE                             one payload once more

Needs atheris, which no test does. It ends at the first payload that raises what it should not, and writes that to a file.
"""

from __future__ import annotations

import contextlib
import sys
import tomllib
from pathlib import Path

import atheris
import orjson

with atheris.instrument_imports(include=["tars", "cattrs"]):
    from support.contract_table import CONTRACTS
    from tars.actors.contracts import DecodeError, Envelope, decode, decode_json, encode
    from tars.actors.mqtt.sequence import Sequences
    from tars.actors.mqtt.topics import TopicError, matches, params, parse_template, validate_topic
    from tars.actors.service_config import read_service_config
    from tars.actors.url import UrlError, parse_mqtt_url
    from tars.supervisor import Config, ConfigError

CONFIG = Path(__file__).parents[2] / "config" / "router.toml"
SECRET = "hunter2"


def one(given: bytes) -> None:
    """Try one input on everything."""
    for cls in (Envelope, dict, *CONTRACTS):
        with contextlib.suppress(DecodeError):
            event: object = decode(given, cls).event
            if event != decode(encode(event), cls).event:
                raise AssertionError(f"{cls.__name__} is not read back as it was written: {event!r}")
    sequences = Sequences(lambda _: None)
    for now_s in (0.0, 1.0):
        sequences.see("t", lambda: decode_json(given), now_s)
    text = given.decode(errors="replace")
    config(text)
    with contextlib.suppress(UrlError):
        parse_mqtt_url(text)
    wanted, _, topic = text.partition(" ")
    with contextlib.suppress(TopicError):
        template = parse_template(wanted)
        validate_topic(topic)
        if matches(template.filter, topic):
            params(template, topic)


def config(text: str) -> None:
    """Read it as a service's file; what actors it names is not looked at, since that imports whatever it says."""
    try:
        raw = tomllib.loads(text)
    except (ValueError, RecursionError):  # a number of more digits than int() takes; a nest of thousands
        return
    service = Config(CONFIG, raw, {"MQTT_URL": f"mqtt://u:{SECRET}@{text[:8]}"})
    try:
        read_service_config(service)
        service.finish()
    except ConfigError as report:
        if SECRET in str(report) and SECRET not in text:
            raise AssertionError("the password is in the report") from report


def seed(corpus: Path) -> None:
    """Begin with one message of every contract, and a config."""
    corpus.mkdir(parents=True)
    (corpus / CONFIG.name).write_bytes(CONFIG.read_bytes())
    for cls, (minimal, _) in CONTRACTS.items():
        envelope = {"id": "e", "type": "t", "ts": 1.5, "source": "s", "data": minimal}
        (corpus / cls.__name__).write_bytes(orjson.dumps(minimal))
        (corpus / f"{cls.__name__}-envelope").write_bytes(orjson.dumps(envelope))


if __name__ == "__main__":
    where = Path(sys.argv[1])
    if not where.exists():
        seed(where)
    atheris.Setup(sys.argv, one)
    atheris.Fuzz()
