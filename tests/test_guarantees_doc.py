"""`docs/guarantees.md` keeps its word: every sentence names tests that exist, every setting and default is the code's."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import attrs
import pytest

from tars.actors.contracts.codec import MAX_PAYLOAD_BYTES
from tars.actors.contracts.plain import MAX_DEPTH
from tars.actors.mqtt.latest import MAX_BYTES, MAX_TOPICS
from tars.actors.mqtt.own_retained import OwnRetained
from tars.actors.mqtt.retained import LastRetained
from tars.actors.settings import (
    ActorSettings,
    BrokerSettings,
    DedupSettings,
    HealthSettings,
    HeartbeatSettings,
    MqttSettings,
    ServiceSettings,
    StoreSettings,
)

TESTS = Path(__file__).parent
PAGE = TESTS.parent / "docs" / "guarantees.md"
TEXT = PAGE.read_text(encoding="utf-8")
PROOF: Final = re.compile(r"`([\w/.]+\.py)::(test_\w+)`")
TABLES: Final = MappingProxyType(
    {
        "service": ServiceSettings,
        "mqtt": MqttSettings,
        "broker": BrokerSettings,
        "health": HealthSettings,
        "heartbeat": HeartbeatSettings,
        "dedup": DedupSettings,
        "store": StoreSettings,
    }
)


def section(title: str) -> str:
    return TEXT[TEXT.index(f"\n## {title}\n") :].split("\n## ")[1]


def rows(title: str) -> list[list[str]]:
    """The cells of every row in one section, heads left out."""
    lines = [line for line in section(title).splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.removeprefix("|").removesuffix("|").split("|")] for line in lines]
    return [row for row in cells if row[0] not in {"setting", "promise", "what happens"}]


SENTENCES: Final = (*rows("What is promised"), *rows("What is not promised"))
PROOFS: Final = tuple(dict.fromkeys(PROOF.findall(TEXT)))


@cache
def defined_in(file: str) -> frozenset[str]:
    """The tests that a file defines, in classes too; none if it is no file of tests."""
    path = TESTS / file
    if not path.is_file() or not path.name.startswith(("test_", "transport_contract_")):
        return frozenset()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)))


def test_every_sentence_has_its_proof_and_nothing_but_proofs_in_that_cell() -> None:
    assert {3} == {len(row) for row in SENTENCES}
    assert [] == [row[0] for row in SENTENCES if not all(PROOF.fullmatch(each) for each in row[2].split("<br>"))]


def test_no_sentence_stands_there_twice() -> None:
    assert len(SENTENCES) == len({row[0] for row in SENTENCES}) > 0


def test_every_test_it_names_exists() -> None:
    assert [] == [f"{file}::{name}" for file, name in PROOFS if name not in defined_in(file)]


def test_the_files_of_tests_it_names_exist() -> None:
    files = re.findall(r"`((?:actors|broker|faults|support)/[\w/]*(?:\.py)?)`", TEXT)

    assert files
    assert [] == [file for file in files if not (TESTS / file).exists()]


def shown(value: Any) -> str:  # whatever a setting may be
    return str(value).lower() if isinstance(value, bool) else str(getattr(value, "value", value))


@pytest.mark.parametrize("row", rows("The settings that decide"), ids=lambda row: row[0].strip("`"))
def test_the_settings_and_their_defaults_are_those_of_the_code(row: list[str]) -> None:
    name, default = row[0].strip("`"), row[1].strip("`")
    table, _, key = name.rpartition(".")
    settings: type[attrs.AttrsInstance] = TABLES[table] if table else ActorSettings

    assert default == shown(attrs.fields_dict(settings)[key].default)


def test_every_setting_in_a_sentence_exists() -> None:
    keys = {key for settings in (*TABLES.values(), ActorSettings) for key in attrs.fields_dict(settings)}
    dotted = {f"{table}.{key}" for table, settings in TABLES.items() for key in attrs.fields_dict(settings)}
    named = [name for row in SENTENCES for name in re.findall(r"`([a-z_.0-9]+)(?: = [^`]*)?`", " ".join(row[:2]))]
    known = keys | dotted | {"seq", "quarantined", "discarded", "removed", "state_dir", "expires_s", "drop_oldest", "drop_newest", "block"}
    known |= {"def", "bytes", "async", "ctx.request", "key", "id"}
    known |= {"max_inflight_messages", "max_queued_messages"}  # Mosquitto's

    assert [] == [name for name in named if name not in known]


def test_the_bounds_it_names_are_those_of_the_code() -> None:
    assert (1000, 16 * 1024 * 1024, 16 * 1024 * 1024, 64) == (MAX_TOPICS, MAX_BYTES, MAX_PAYLOAD_BYTES, MAX_DEPTH)
    for kept in (OwnRetained().last, LastRetained().last):
        assert (MAX_TOPICS, MAX_BYTES) == (kept.capacity, kept.max_bytes)
    assert (2, 3, 1) == (TEXT.count("1 000"), TEXT.count("16 MiB"), TEXT.count("64 levels"))


def test_it_says_what_no_test_proves() -> None:
    assert section("What no test proves").count("\n* **") > 0
    assert [] == PROOF.findall(section("What no test proves"))


def test_every_link_leads_somewhere() -> None:
    anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in re.findall(r"^##+ (.*)$", TEXT, re.MULTILINE)}
    links = re.findall(r"\]\(([^)]+)\)", TEXT)

    assert links
    assert [] == [link for link in links if link.startswith("#") and link[1:] not in anchors]
    assert [] == [link for link in links if not link.startswith("#") and not (PAGE.parent / link.partition("#")[0]).is_file()]
