"""The conformance list is whole: every case has its test, under enough schedules."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from support.cases import CASES, SEEDS, UNSEEDED, WITHOUT_ORDER, Case, Proof, case, proofs, table

Proofs = Mapping[str, tuple[Proof, ...]]


@pytest.fixture(scope="module")
def proved() -> Proofs:
    """What the tests of this project say that they prove."""
    return proofs(Path(__file__).parents[1])


@pytest.mark.parametrize("each", CASES, ids=lambda each: each.id)
def test_every_test_of_a_case_runs_under_enough_schedules_or_has_its_reason(each: Case, proved: Proofs) -> None:
    found = proved[each.id]

    assert found
    assert [] == [proof for proof in found if (proof.seeds or 0) < SEEDS and proof.unseeded is None]
    assert each.id in WITHOUT_ORDER or max(proof.seeds or 0 for proof in found) >= SEEDS


def test_no_reason_outlives_the_tests_that_it_excuses(proved: Proofs) -> None:
    needed = {proof.unseeded for found in proved.values() for proof in found if (proof.seeds or 0) < SEEDS}

    assert sorted(UNSEEDED) == sorted(name for name in needed if name)


def test_no_case_is_listed_twice() -> None:
    ids = [each.id for each in CASES]

    assert sorted(set(ids)) == sorted(ids)


def test_a_case_that_is_not_on_the_list_is_refused() -> None:
    with pytest.raises(ValueError, match="Z9"):
        case("A1", "Z9")


def test_tests_are_found_by_reading_their_decorators(tmp_path: Path) -> None:
    (tmp_path / "test_x.py").write_text(
        '@case("A3", "D2")\n@pytest.mark.parametrize("a", [1])\n@seeds(200)\nasync def test_one_thing(world): ...\n\n'
        '@case("A3")\ndef test_another(): ...\n\n@seeds(5)\ndef test_of_no_case(): ...\n'
    )
    found = proofs(tmp_path)

    assert [("test_x.py", "one thing", 200), ("test_x.py", "another", None)] == [
        (proof.file, proof.sentence, proof.seeds) for proof in found["A3"]
    ]
    assert ["test_one_thing"] == [proof.test for proof in found["D2"]]
    assert () == found["A4"]


def test_the_table_has_a_row_for_each_case(proved: Proofs) -> None:
    rows = table(proved).splitlines()

    assert [each.id for each in CASES] == [row.split("|")[1].strip() for row in rows[2:]]
