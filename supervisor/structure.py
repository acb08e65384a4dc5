"""Strict structuring of TOML values into frozen attrs classes: every mistake, each with its key path.

Law: nothing is converted by guess. ``"false"`` is not a bool, ``1.9`` and ``true`` are not ints, ``1`` is not a
string; an int is accepted where a float is asked for, since TOML writes both. Ranges stand on the fields as
attrs validators (`within`, or any of attrs' own that do not look at the instance).

A field may be: bool, int, float, str, Path, Literal, Enum (by value), Any, an attrs class (a nested table),
``X | None``, unions of these, list/tuple/frozenset of X, dict[str, X], and ``Annotated[X, range]``, where a range is
whatever has ``holds(value)`` and names itself.
"""

from __future__ import annotations

import enum
import sys
import types
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeAlias, TypeVar, get_args, get_origin

import attrs
import cattrs
from cattrs.errors import AttributeValidationNote, BaseValidationError, ClassValidationError, ForbiddenExtraKeysError
from cattrs.gen import make_dict_structure_fn, override

from .problem import ARRAYS, UNIONS, KeyPath, Mismatch, Problem, Unstructurable, describe, sentence, suggestion

T = TypeVar("T")
Hook: TypeAlias = Callable[[Any, Any], Any]

_LARGEST: Final = sys.float_info.max


@attrs.frozen
class Within:
    """The validator `within` makes. None passes: an optional field is left alone."""

    ge: float | None
    gt: float | None
    le: float | None
    lt: float | None

    @property
    def rule(self) -> str:
        """The range in words."""
        if self.ge is not None and self.le is not None:
            return f"between {self.ge:g} and {self.le:g}"
        bounds = ((">=", self.ge), (">", self.gt), ("<=", self.le), ("<", self.lt))
        return " and ".join(f"{sign} {bound:.15g}" for sign, bound in bounds if bound is not None)

    def __call__(self, _instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
        """Raise `Mismatch` unless `value` is inside. NaN never is."""
        inside = value is None or (
            (self.ge is None or value >= self.ge)
            and (self.gt is None or value > self.gt)
            and (self.le is None or value <= self.le)
            and (self.lt is None or value < self.lt)
        )
        if not inside:
            raise Mismatch(f"{describe(attribute.type)} {self.rule}", value)


def within(*, ge: float | None = None, gt: float | None = None, le: float | None = None, lt: float | None = None) -> Within:
    """A range for a number: ``keepalive_s: int = attrs.field(default=60, validator=within(ge=1, le=3600))``."""
    return Within(ge, gt, le, lt)


def structure(cls: type[T], raw: object, at: KeyPath = ()) -> T:
    """Build `cls` from what a TOML parser gave. Raises `Unstructurable` with every problem, key paths below `at`."""
    try:
        return _CONVERTER.structure(raw, cls)
    except (BaseValidationError, Mismatch) as error:
        raise Unstructurable(list(_problems(error, at))) from error


# -- problems out of cattrs' groups ---------------------------------------------------------------


def _problems(error: BaseException, at: KeyPath, *, hidden: bool = False) -> Iterator[Problem]:
    if isinstance(error, BaseValidationError):
        for inner in error.exceptions:
            note = next((note for note in getattr(inner, "__notes__", ()) if isinstance(note, AttributeValidationNote)), None)
            if isinstance(inner, ForbiddenExtraKeysError):
                yield from _unknown(inner, at)
            elif note is None:
                yield from _problems(inner, at, hidden=hidden)
            elif isinstance(inner, KeyError):
                yield Problem((*at, note.name), f"is missing; expected {describe(note.type)}")
            else:
                yield from _problems(inner, (*at, note.name), hidden=hidden or _is_hidden(error, note.name))
    else:
        yield Problem(at, sentence(error, at, hidden=hidden))


def _is_hidden(error: BaseValidationError, field: str) -> bool:
    """``repr=False``: whoever wrote the class wants it shown nowhere."""
    cls = error.cl if isinstance(error, ClassValidationError) else None
    return cls is not None and attrs.has(cls) and any(each.name == field and each.repr is False for each in attrs.fields(cls))


def _unknown(error: ForbiddenExtraKeysError, at: KeyPath) -> Iterator[Problem]:
    known = [field.name for field in attrs.fields(error.cl)]
    for key in sorted(error.extra_fields):
        yield Problem((*at, key), "unknown key" + suggestion(key, known))


# -- the converter ----------------------------------------------------------------------------------


def _scalar(kind: type[Any]) -> Hook:
    def hook(raw: Any, _: Any) -> Any:
        if type(raw) is not kind:
            raise Mismatch(describe(kind), raw)
        return raw

    return hook


def _float(raw: Any, _: Any) -> float:
    if type(raw) in (int, float) and -_LARGEST <= raw <= _LARGEST:  # NaN and the infinities are not
        return float(raw)
    raise Mismatch(describe(float), raw)


def _path(raw: Any, _: Any) -> Path:
    if type(raw) is not str or raw == "":
        raise Mismatch(describe(Path), raw)
    return Path(raw)


def _choice(kind: Any) -> Hook:
    members = tuple(kind) if isinstance(kind, enum.EnumMeta) else get_args(kind)
    choices = [(member.value if isinstance(member, enum.Enum) else member, member) for member in members]

    def hook(raw: Any, _: Any) -> Any:
        for value, choice in choices:
            if type(raw) is type(value) and raw == value:
                return choice
        hint = suggestion(raw, [value for value, _ in choices if isinstance(value, str)]) if isinstance(raw, str) else ""
        raise Mismatch(describe(kind), raw, hint)

    return hook


def _union(converter: cattrs.Converter, kind: Any) -> Hook:
    members = [member for member in get_args(kind) if member is not types.NoneType]
    hooks = [(member, converter.get_structure_hook(member)) for member in members]

    def hook(raw: Any, _: Any) -> Any:
        if len(hooks) == 1:
            return hooks[0][1](raw, hooks[0][0])
        for member, structure_member in hooks:
            try:
                return structure_member(raw, member)
            except (Mismatch, BaseValidationError):
                continue
        raise Mismatch(describe(kind), raw)

    return hook


def _ranged(converter: cattrs.Converter, kind: Any) -> Hook:
    inner, *extras = get_args(kind)
    structure_inner = converter.get_structure_hook(inner)
    ranges = [extra for extra in extras if hasattr(extra, "holds")]

    def hook(raw: Any, _: Any) -> Any:
        value = structure_inner(raw, inner)
        for each in ranges:
            if not each.holds(value):
                raise Mismatch(f"{describe(inner)} {each}", raw)
        return value

    return hook


def _array(converter: cattrs.Converter, kind: Any) -> Hook:
    item = (get_args(kind) or (Any,))[0]
    build = get_origin(kind) or kind
    structure_item = converter.get_structure_hook(item)

    def hook(raw: Any, _: Any) -> Any:
        if type(raw) is not list:
            raise Mismatch(describe(kind), raw)
        return build(_each(kind, ((f"[{index}]", value) for index, value in enumerate(raw)), structure_item, item).values())

    return hook


def _table(converter: cattrs.Converter, kind: Any) -> Hook:
    item = (get_args(kind) or (str, Any))[1]
    structure_item = converter.get_structure_hook(item)

    def hook(raw: Any, _: Any) -> Any:
        if type(raw) is not dict:
            raise Mismatch(describe(kind), raw)
        return _each(kind, raw.items(), structure_item, item)

    return hook


def _each(kind: Any, pairs: Iterable[tuple[str, Any]], structure_item: Hook, item: Any) -> dict[str, Any]:
    good: dict[str, Any] = {}
    bad: list[Exception] = []
    for name, value in pairs:
        try:
            good[name] = structure_item(value, item)
        except (Mismatch, BaseValidationError) as error:
            error.add_note(AttributeValidationNote(f"at {name}", name, item))
            bad.append(error)
    if bad:
        raise ClassValidationError("mistakes", bad, kind)
    return good


def _class(converter: cattrs.Converter, kind: Any) -> Hook:
    """The function cattrs generates, with each field's validator run where the key path is known."""
    attrs.resolve_types(kind)
    overrides: dict[str, Any] = {field.name: override(struct_hook=_field(converter, field)) for field in attrs.fields(kind) if field.init}
    build = make_dict_structure_fn(kind, converter, _cattrs_forbid_extra_keys=True, _cattrs_detailed_validation=True, **overrides)

    def hook(raw: Any, _: Any) -> Any:
        if type(raw) is not dict:
            raise Mismatch("a table", raw)
        return build(raw, kind)

    return hook


def _field(converter: cattrs.Converter, field: attrs.Attribute[Any]) -> Hook:
    structure_value = converter.get_structure_hook(field.type)

    def hook(raw: Any, _: Any) -> Any:
        value = structure_value(raw, field.type)
        if field.validator is not None:
            try:
                field.validator(None, field, value)
            except Mismatch as error:  # name what stands in the file, not what became of it: 0, not 0.0
                raise Mismatch(error.expected, raw) from None
        return value

    return hook


def _converter() -> cattrs.Converter:
    converter = cattrs.Converter(forbid_extra_keys=True, detailed_validation=True)
    for kind in (bool, int, str):
        converter.register_structure_hook(kind, _scalar(kind))
    converter.register_structure_hook(float, _float)
    converter.register_structure_hook(Path, _path)
    converter.register_structure_hook_func(lambda asked: asked in (Any, object), lambda raw, _: raw)
    factories: tuple[tuple[Callable[[Any], bool], Callable[[Any], Hook]], ...] = (
        (lambda asked: isinstance(asked, type) and issubclass(asked, enum.Enum), _choice),
        (lambda asked: get_origin(asked) is Literal, _choice),
        (lambda asked: get_origin(asked) is Annotated, partial(_ranged, converter)),
        (lambda asked: get_origin(asked) in UNIONS, partial(_union, converter)),
        (lambda asked: asked in ARRAYS or get_origin(asked) in ARRAYS, partial(_array, converter)),
        (lambda asked: asked is dict or get_origin(asked) is dict, partial(_table, converter)),
        (lambda asked: isinstance(asked, type) and attrs.has(asked), partial(_class, converter)),
    )
    for asked_for, factory in factories:
        converter.register_structure_hook_factory(asked_for, factory)
    return converter


_CONVERTER: Final = _converter()
