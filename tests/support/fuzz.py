"""What the fuzz tests share: how many examples, and JSON as somebody draws it who wants the reader to fall.

The examples are the same in every run, so that a red run is red again. FUZZ_EXAMPLES asks for so many other ones.
"""

from __future__ import annotations

import os
from typing import Final

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

EXAMPLES: Final = os.environ.get("FUZZ_EXAMPLES")
FUZZ: Final = settings(
    max_examples=int(EXAMPLES or 300),
    derandomize=EXAMPLES is None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

FIELDS: Final = ("id", "type", "ts", "source", "data", "message_id", "text", "params", "timestamp", "confidence", "ok", "tools", "")
"""Names that mean something to the reader, and the one that is none."""

NUMBERS: Final = st.from_regex(r"\A-?(0|[1-9][0-9]{0,40})(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,4})?\Z") | st.sampled_from(
    [
        "9" * 5000,
        "-" + "9" * 400,
        "1e400",
        "-1e400",
        "1e-400",
        "-0",
        "-0.0",
        "18446744073709551616",
        "0." + "1" * 5000,
        "NaN",
        "Infinity",
        "01",
        "1.",
    ]
)
ESCAPES: Final = st.sampled_from(
    [
        "\\ud800",
        "\\udfff",
        "\\ud83d\\ude00",
        "\\ude00\\ud83d",
        "\\u0000",
        "\\n",
        "\\",
        "\\x",
        "\\u12",
        "\n",
        "\0",
        "\ufeff",
        "\u2028",
        "x" * 300,
    ]
)
STRINGS: Final = st.lists(ESCAPES | st.text(st.characters(exclude_categories=["Cs"]), max_size=5), max_size=4).map(
    lambda pieces: '"' + "".join(pieces) + '"'
)
KEYS: Final = st.sampled_from([f'"{name}"' for name in FIELDS]) | STRINGS
SCALARS: Final = NUMBERS | STRINGS | st.sampled_from(["null", "true", "false", "", "nul", "{", "]", "//"])


def _containers(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    arrays = st.lists(inner, max_size=4).map(lambda items: f"[{','.join(items)}]")
    tables = st.lists(st.tuples(KEYS, inner), max_size=6).map(lambda items: "{" + ",".join(f"{key}:{item}" for key, item in items) + "}")
    deep = st.tuples(st.sampled_from(["[", '{"data":']), st.integers(1, 1200), inner).map(
        lambda drawn: drawn[0] * drawn[1] + drawn[2] + ("]" if drawn[0] == "[" else "}") * drawn[1]
    )
    return arrays | tables | deep


JSON_TEXTS: Final = st.recursive(SCALARS, _containers, max_leaves=12)
"""JSON and near misses of it: numbers of any size, halves of surrogate pairs, keys that stand twice, any depth."""

ENVELOPES: Final = st.tuples(
    *(st.sampled_from(good) | JSON_TEXTS for good in (['"e"'], ['"stt.final"'], ["1.5"], ['"stt"'], ['{"text":"x"}']))
).map(lambda parts: "{" + ",".join(f'"{name}":{part}' for name, part in zip(FIELDS, parts, strict=False)) + "}")
"""The five fields of an envelope, each good or anything."""


@st.composite
def damaged(draw: st.DrawFn, whole: bytes) -> bytes:
    """`whole` with a few of its bytes cut out, doubled or replaced."""
    payload = bytearray(whole)
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(payload)))
        end = min(len(payload), start + draw(st.integers(0, 8)))
        payload[start:end] = draw(
            st.binary(max_size=4) | st.sampled_from([b"", bytes(payload[start:end]) * 2, b"null", b"1e999", b"[[[", b'"\\ud800"'])
        )
    return bytes(payload)
