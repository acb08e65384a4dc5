"""Topics and filters as AsyncAPI writes them: an address whose parameters, ``{name}``, each stand for what a wildcard matches.

AsyncAPI knows one kind of parameter, MQTT two wildcards: ``+`` is a parameter that stands for one level, ``#`` one that stands for
all the rest, and says so. The filter itself stands beside the address, as ``x-mqtt-filter``.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Final

import attrs

from tars.actors.mqtt.topics import Template, plain_filter

_PARAMETER: Final = re.compile(r"[A-Za-z0-9_-]+")
_ONE_LEVEL: Final = "One level of the topic."
_THE_REST: Final = 'The rest of the topic: any number of levels, with the "/" between them. It may be missing, with the "/" before it.'


@attrs.frozen
class Address:
    """`text` with its parameters in braces; `parameters`: what each one is, in words, by name."""

    text: str
    parameters: Mapping[str, str] = attrs.field(factory=dict)


def address(template: Template) -> Address:
    """The address of what `template` matches: a topic, or a filter. A shared one has the address of the filter behind its group."""
    levels = plain_filter(template.filter).split("/")
    names = {at: name for at, name in template.names if _PARAMETER.fullmatch(name)}
    parameters: dict[str, str] = {}
    for at, level in enumerate(levels):
        if level in {"+", "#"}:
            name = names.get(at) or _free("rest" if level == "#" else f"level{at + 1}", names.values())
            parameters[name] = _ONE_LEVEL if level == "+" else _THE_REST
            levels[at] = f"{{{name}}}"
        else:
            levels[at] = level.replace("{", "%7B").replace("}", "%7D")  # as in a URI template (RFC 6570): braces are the parameters'
    return Address("/".join(levels), parameters)


def _free(name: str, taken: Collection[str]) -> str:
    while name in taken:
        name = f"{name}_"
    return name
