"""Commands of ``tars`` called in this process: what they said, and their exit code."""

from __future__ import annotations

import attrs
import pytest

from tars.supervisor.cli import main


@attrs.frozen
class Said:
    """One call, ended."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> Said:
    """``tars ARGUMENTS``. A pipe, not a terminal, reads it."""
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    code = ended.value.code
    assert code is None or isinstance(code, int)
    return Said(code or 0, out, err)
