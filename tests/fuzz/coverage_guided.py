"""A fuzzer that follows the branches it takes, for the readers of strangers' bytes: `just fuzz`.

    python coverage_guided.py CORPUS [libFuzzer's options]     CORPUS: a folder it begins from and adds to; made when there is none
    python coverage_guided.py FILE                             one payload once more

Needs atheris, which no test does. It ends at the first payload that raises what it should not, and writes that to a file.
"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import atheris
import orjson

with atheris.instrument_imports(include=["tars", "cattrs"]):
    from support.contract_table import CONTRACTS
    from tars.actors.contracts import DecodeError, Envelope, decode, encode
    from tars.actors.mqtt.topics import TopicError, matches, params, parse_template, validate_topic
    from tars.actors.url import UrlError, parse_mqtt_url


def one(given: bytes) -> None:
    """Try one input on everything."""
    for cls in (Envelope, dict, *CONTRACTS):
        with contextlib.suppress(DecodeError):
            event: object = decode(given, cls).event
            if event != decode(encode(event), cls).event:
                raise AssertionError(f"{cls.__name__} is not read back as it was written: {event!r}")
    text = given.decode(errors="replace")
    with contextlib.suppress(UrlError):
        parse_mqtt_url(text)
    wanted, _, topic = text.partition(" ")
    with contextlib.suppress(TopicError):
        template = parse_template(wanted)
        validate_topic(topic)
        if matches(template.filter, topic):
            params(template, topic)


def seed(corpus: Path) -> None:
    """Begin with one message of every contract."""
    corpus.mkdir(parents=True)
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
