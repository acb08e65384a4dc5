"""`docs/supervision.md` keeps its word: its examples run and print what it says, its tables are those of the code."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path
from typing import Any, get_args

import pytest
import trio
import trio.testing

from support.cases import CASES, proofs
from tars.supervisor import Event
from tars.supervisor.restart import ExitKind

TESTS = Path(__file__).parent
PAGE = TESTS.parent / "docs" / "supervision.md"
TEXT = PAGE.read_text(encoding="utf-8")
EXAMPLE = re.compile(r"^```python\n(.*?)^```$(?:\n\n```text\n(.*?)^```$)?", re.MULTILINE | re.DOTALL)


def test_the_examples_run_and_print_what_stands_below_them() -> None:
    names: dict[str, Any] = {}
    for found in EXAMPLE.finditer(TEXT):
        code, expected = found[1], found[2] or ""
        before = "\n" * TEXT[: found.start(1)].count("\n")  # a failure names the line of the page
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            exec(compile(before + code, str(PAGE), "exec"), names)  # noqa: S102 - our own page
            if "async def main()" in code:
                trio.run(names["main"], clock=trio.testing.MockClock(autojump_threshold=0))

        assert expected.splitlines() == said.getvalue().splitlines(), code


def rows(section: str) -> list[list[str]]:
    """The cells of the rows that begin with a case, in one section."""
    text = TEXT[TEXT.index(f"\n## {section}\n") :].split("\n## ")[1]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in text.splitlines() if re.match(r"\| [A-Z]\d+ ", line)]


def test_the_conformance_table_has_every_case_its_rule_and_tests_that_say_they_prove_it() -> None:
    found = proofs(TESTS)
    table = rows("What is proved, and by which test")
    wrong = [
        (case, name)
        for case, _, tests in table
        for name in tests.split("<br>")
        if name not in {f"`{proof.test}` ({proof.file})" for proof in found[case]}
    ]

    assert [[each.id, each.rule] for each in CASES] == [row[:2] for row in table]
    assert [] == wrong


def test_every_difference_from_otp_has_its_reason() -> None:
    table = rows("Where this differs from OTP, and why")

    assert [each.id for each in CASES if each.id.startswith("D")] == [row[0] for row in table]
    assert {4} == {len(row) for row in table}


@pytest.mark.parametrize("event", get_args(Event))
def test_every_event_is_explained(event: type[object]) -> None:
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", event.__name__).lower()

    assert f"| `{event.__name__}` | `{name}`, " in TEXT


@pytest.mark.parametrize("kind", ExitKind)
def test_every_way_to_end_is_explained(kind: ExitKind) -> None:
    assert f"| `{kind.value}` |" in TEXT


def test_every_link_leads_somewhere() -> None:
    anchors = {heading_anchor(heading) for heading in re.findall(r"^##+ (.*)$", TEXT, re.MULTILINE)}
    links = re.findall(r"\]\(([^)]+)\)", TEXT)

    assert [] == [link for link in links if link.startswith("#") and link[1:] not in anchors]
    assert [] == [link for link in links if not link.startswith("#") and not (PAGE.parent / link.partition("#")[0]).is_file()]


def heading_anchor(heading: str) -> str:
    """As GitHub makes them."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
