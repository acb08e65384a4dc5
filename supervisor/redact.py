"""What must never be shown: credentials in URLs, and the value of any key that is named like a secret.

Pure text functions, shared by the config report and the log. Law: when in doubt, hide too much.
"""

from __future__ import annotations

import re
from typing import Final

HIDDEN: Final = "***"
_USERINFO: Final = re.compile(r"(?<=://)[^\s\"'<>]*@")
_SECRET_KEY: Final = re.compile(r"passw|passphrase|passwd|secret|token|credential|api_?key|private_?key|^pass$|_pass$", re.IGNORECASE)
_NOT_SECRET: Final = re.compile(r"tokens$|_(file|path|s|bytes|count|limit)$", re.IGNORECASE)


def is_secret(key: str) -> bool:
    """Is a key of this name a secret? ``max_tokens``, ``token_ttl_s`` and ``password_file`` are not."""
    return _SECRET_KEY.search(key) is not None and _NOT_SECRET.search(key) is None


def redact(text: str) -> str:
    """`text` with the userinfo of every URL hidden: ``mqtt://user:pw@host`` becomes ``mqtt://***@host``.

    Hides up to the last ``@`` before a blank or a quote, so a password with a stray ``/`` or ``@`` is hidden too.
    """
    return _USERINFO.sub(f"{HIDDEN}@", text) if "://" in text and "@" in text else text
