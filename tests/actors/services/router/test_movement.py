"""Movement commands: the whole utterance, or none (defects R1 and R3 of the old router)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tars.actors.contracts.movement import MovementTestCommand
from tars.actors.services.router.movement import _COMMANDS, movement, movement_id


@pytest.mark.parametrize(
    ("said", "command"),
    [
        ("turn left", "turn_left"),
        ("Turn left!", "turn_left"),
        ("please turn left", "turn_left"),
        ("could you please rotate right now", "turn_right"),
        ("Wave your hand, please.", "wave"),
        ("take a bow", "bow"),
        ("STOP", "stop"),
        ("stop now", "stop"),
        ("now", "now"),
        ("Now pose!", "now"),
        ("step back", "step_backward"),
        ("drop the mic", "mic_drop"),
        ("power down", "disable"),
        ("pez", "pezz_dispenser"),
    ],
)
def test_an_utterance_that_is_a_command_is_one_whatever_the_manners(said: str, command: str) -> None:
    assert command == movement(said)


@pytest.mark.parametrize(
    "said",
    [
        "do you know the answer",
        "what colours are in a rainbow",
        "my elbow hurts",
        "the microwave is broken",
        "what is the purpose of life",
        "he was opposed to it",
        "you are unstoppable",
        "the alarm is disabled",
        "reset my password",
        "what time is it now",
        "stop telling me stories",
        "tell me about monsters",
        "please",
        "now please tell me more",
        "",
        "can you",
    ],
)
def test_speech_that_contains_a_command_is_speech(said: str) -> None:
    assert movement(said) is None


def test_every_command_of_the_table_is_one_of_the_wire() -> None:
    assert {command.value for command in MovementTestCommand} >= set(_COMMANDS.values())


@given(st.text())
def test_any_text_is_decided(said: str) -> None:
    assert movement(said) is None or movement(said) in set(_COMMANDS.values())


def test_a_request_has_the_utterances_id_or_one_of_its_own() -> None:
    assert "u1" == movement_id("u1", "0123456789")
    assert "mv-01234567" == movement_id(" ", "0123456789")
