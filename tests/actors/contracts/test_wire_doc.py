"""docs/wire.md: true, because it is made from the classes; and useful, because its examples work and its links lead somewhere."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from support.contract_table import CONTRACTS
from tars.actors.contracts import STANDARD, decode, decode_json, encode
from tars.actors.contracts.catalogue import CATALOGUE, Entry, Example
from tars.actors.contracts.schema import parts
from tars.actors.contracts.wire_doc import render

ROOT = Path(__file__).parents[3]
ENTRIES = [entry for chapter in CATALOGUE for entry in chapter.entries]
EXAMPLES = [(entry, example) for entry in ENTRIES for example in entry.examples]


def test_the_document_is_what_the_classes_say() -> None:
    """When this fails: `just wire-doc`, and read what changed."""
    assert render() == (ROOT / "docs" / "wire.md").read_text(encoding="utf-8")


def test_the_command_line_writes_the_same_in_another_process() -> None:
    command = [sys.executable, "-X", "utf8", "-m", "tars.actors.contracts.wire_doc"]

    assert render().encode() == subprocess.run(command, check=True, capture_output=True, timeout=60).stdout


def test_every_topic_and_every_contract_is_in_the_catalogue_once() -> None:
    inside_others = {part for cls in CONTRACTS for part in parts(cls)}
    described = {cls for chapter in CATALOGUE for cls in chapter.strays} | {example.contract for _, example in EXAMPLES}

    assert sorted(pair.event_type for pair in STANDARD.pairs) == sorted(entry.pair.event_type for entry in ENTRIES)
    assert set(STANDARD.pairs) == {entry.pair for entry in ENTRIES}
    assert set(CONTRACTS) == described
    assert inside_others <= {cls for chapter in CATALOGUE for cls in chapter.strays}


@pytest.mark.parametrize(
    ("entry", "example"), EXAMPLES, ids=[f"{entry.pair.event_type}-{example.contract.__name__}" for entry, example in EXAMPLES]
)
def test_an_example_is_a_message_that_its_contract_reads(entry: Entry, example: Example) -> None:
    decoded: Any = decode(encode(entry.document(example)), example.contract)

    assert example.event == decoded.event
    assert entry.enveloped == (decoded.envelope is not None)
    assert entry.pair.event_type == STANDARD.event_of(entry.example_topic)
    assert getattr(example.contract, "PAIR", entry.pair).topic == entry.pair.topic or entry.pair.event_type.startswith("system.health.")


def test_the_examples_in_the_document_are_these() -> None:
    shown = [decode_json(block.encode()) for block in re.findall(r"```json\n(.*?)\n```", render(), re.DOTALL)]
    all_of_them = [decode_json(encode(entry.document(example))) for entry, example in EXAMPLES]

    assert [] == [block for block in shown if block not in all_of_them]
    assert {cls for chapter in CATALOGUE for entry in chapter.entries for cls in entry.contracts} == {
        example.contract for entry, example in EXAMPLES if decode_json(encode(entry.document(example))) in shown
    }


def test_every_field_of_every_contract_has_its_row() -> None:
    text = render()

    for least, defaults in CONTRACTS.values():
        for name in (*least, *defaults):
            assert f"\n| `{name}` | " in text


def test_every_link_leads_to_a_heading() -> None:
    text = render()
    anchors = {re.sub(r"[^a-z0-9_ -]", "", heading.lower()).replace(" ", "-") for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE)}

    assert set() == set(re.findall(r"\]\(#([^)]*)\)", text)) - anchors


def test_nothing_in_the_document_is_wider_than_it_must_be_or_left_open() -> None:
    text = render()

    assert text.endswith("```\n")
    assert "\n\n\n" not in text
    assert [] == [line for line in text.splitlines() if line != line.rstrip()]
    assert 0 == text.count("```") % 2
