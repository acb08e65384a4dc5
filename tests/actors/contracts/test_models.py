"""Every contract, field for field: what old services send is read, what they read is sent."""

import importlib
import pkgutil
import types
from datetime import UTC, datetime
from typing import Annotated, Any, Union, get_args, get_origin

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tars.actors.contracts
from support.contract_table import AUTO, CONTRACTS
from support.contract_values import events
from tars.actors import subscribe
from tars.actors.contracts import DecodeError, Envelope, Reason, decode, decode_json, encode, structure, unstructure, wrap_now
from tars.actors.contracts.fields import ABSENT_WHEN_NONE
from tars.actors.contracts.llm import LLMRequest
from tars.actors.definition import define

EACH = pytest.mark.parametrize("cls", CONTRACTS, ids=lambda cls: cls.__name__)


def test_the_table_holds_every_contract_there_is() -> None:
    package = tars.actors.contracts
    modules = [importlib.import_module(f"{package.__name__}.{found.name}") for found in pkgutil.iter_modules(package.__path__)]
    of_a_domain = [module for module in modules if hasattr(module, "contract") and module.__name__ != f"{package.__name__}.fields"]
    found = {value for module in of_a_domain for value in vars(module).values() if attrs.has(value) and value.__module__ == module.__name__}

    assert set(CONTRACTS) == found


@EACH
def test_the_least_a_sender_may_send_is_filled_with_the_defaults(cls: type) -> None:
    least, defaults = CONTRACTS[cls]

    event: Any = structure(cls, least)

    assert set(least) | set(defaults) == {field.name for field in attrs.fields(cls)}
    for name, default in defaults.items():
        value = getattr(event, name)
        if default is not AUTO:
            assert default == value, name
        elif isinstance(value, str):
            assert 32 == len(value)
            assert value != getattr(structure(cls, least), name)
        elif isinstance(value, datetime):
            assert UTC == value.tzinfo
            assert value <= datetime.now(UTC)
        else:
            assert isinstance(value, float)
            assert 1.6e9 < value <= datetime.now(UTC).timestamp()


@EACH
def test_a_missing_required_field_is_named(cls: type) -> None:
    least, _ = CONTRACTS[cls]
    for name in [field.name for field in attrs.fields(cls) if field.default is attrs.NOTHING]:
        with pytest.raises(DecodeError) as caught:
            structure(cls, {key: value for key, value in least.items() if key != name})

        assert Reason.WRONG_DATA == caught.value.reason
        assert f"missing field @ $.{name}" in caught.value.detail


@EACH
def test_an_unknown_field_is_refused_by_name(cls: type) -> None:
    with pytest.raises(DecodeError, match="unknown fields 'correlation_id'"):
        structure(cls, {**CONTRACTS[cls][0], "correlation_id": "1"})


@EACH
def test_every_field_refuses_a_value_of_another_type(cls: type) -> None:
    least, _ = CONTRACTS[cls]
    for field in attrs.fields(cls):
        for wrong in ("str", 7, 7.5, True, [1], {"a": 1}):
            if _accepts(field.type, wrong):
                continue
            with pytest.raises(DecodeError) as caught:
                structure(cls, {**least, field.name: wrong})

            assert f"$.{field.name}" in caught.value.detail
            assert type(wrong).__name__ in caught.value.detail


@EACH
def test_what_is_sent_has_exactly_the_contract_s_fields_and_null_for_none(cls: type) -> None:
    least, defaults = CONTRACTS[cls]

    sent = decode_json(encode(structure(cls, least)))

    assert isinstance(sent, dict)
    names = [field.name for field in attrs.fields(cls) if ABSENT_WHEN_NONE not in field.metadata]
    assert names == list(sent)
    assert {name for name in names if (least | defaults)[name] is None} == {name for name, value in sent.items() if value is None}


@EACH
def test_a_value_cannot_be_changed(cls: type) -> None:
    event: Any = structure(cls, CONTRACTS[cls][0])

    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        setattr(event, attrs.fields(cls)[0].name, "x")
    assert not hasattr(event, "__dict__")


# For each of the forty: what free-form values may be is test_strictness.py's. Drawing them is slow on a busy machine.
@settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
@EACH
def test_any_value_comes_back_from_the_wire_as_it_was(cls: type, data: st.DataObject) -> None:
    event: Any = data.draw(events(cls))

    assert event == structure(cls, decode_json(encode(event)))
    assert event == structure(cls, unstructure(event))


@EACH
def test_an_event_is_read_from_its_envelope_and_bare_alike(cls: type) -> None:
    event: Any = structure(cls, CONTRACTS[cls][0])
    envelope = wrap_now("a.type", unstructure(event), source="a-service")

    assert (event, envelope) == _read(encode(envelope), cls)
    assert (event, None) == _read(encode(event), cls)


@EACH
def test_a_contract_can_be_a_handler_s_annotation(cls: type) -> None:
    def handles(event: Any) -> None:
        del event

    handles.__annotations__["event"] = cls
    (subscription,) = define("subject", subscribe("in")(handles)).subscriptions

    assert cls is subscription.event_type


def test_a_wrong_field_deep_inside_is_named_with_its_whole_path() -> None:
    with pytest.raises(DecodeError) as caught:
        structure(
            LLMRequest, {"id": 1, "text": "x", "conversation_history": [{"role": "user", "content": "a"}, {"role": "god", "content": 3}]}
        )

    assert (
        "as LLMRequest: expected str, found int 1 @ $.id; "
        "expected one of 'user', 'assistant', found str 'god' @ $.conversation_history[1].role; "
        "expected str, found int 3 @ $.conversation_history[1].content"
    ) == caught.value.detail


def _read(payload: bytes, cls: type) -> tuple[Any, Envelope | None]:
    decoded: Any = decode(payload, cls)
    return decoded.event, decoded.envelope


def _members(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)


def _accepts(annotation: Any, value: object) -> bool:
    """Whether JSON of this Python type may stand in a field of `annotation`; written apart from the codec on purpose."""
    kinds: set[type] = set()
    for member in _members(annotation):
        plain = get_args(member)[0] if get_origin(member) is Annotated else member
        kinds |= {list} if get_origin(plain) is tuple else set()
        scalars: dict[Any, set[Any]] = {float: {float, int}, int: {int}, str: {str}, bool: {bool}}
        kinds |= scalars.get(plain, {get_origin(plain)})
    return type(value) in kinds
