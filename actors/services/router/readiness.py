"""Are the services the router talks through there? Says "System online." the first time they all are.

Law: readiness is what was last reported. It goes false again with `ok: false`, which includes the Will of a service that
died, and, if an age is set, when the report is old. It gates nothing: it is announced and it can be asked.

Once per what? The state is one incarnation's: losing a service and getting it back does not announce again. After a
crash the router is shown what it had seen; that it does not announce again is the actor's doing.
"""

from __future__ import annotations

import attrs

from .say import Say
from .settings import RouterSettings


@attrs.define
class Readiness:
    """The last report of each watched service."""

    settings: RouterSettings
    watched: tuple[str, ...] = ("tts", "stt")
    announced: bool = False
    _reports: dict[str, tuple[float, bool]] = attrs.field(factory=dict, init=False)

    def report(self, now_s: float, service: str, *, ok: bool) -> Say | None:
        """Take a health report of `service`; the announcement, if this is the moment for it."""
        self._reports[service] = (now_s, ok)
        if self.announced or not self.ready(now_s):
            return None
        self.announced = True
        if not (self.settings.online_announce and self.settings.online_text.strip()):
            return None
        return Say(text=self.settings.online_text, utt_id="boot", system_announce=True)

    def ready(self, now_s: float) -> bool:
        """True when every watched service last said ok, and not too long ago."""
        return all(self._is_ok(now_s, service) for service in self.watched)

    def _is_ok(self, now_s: float, service: str) -> bool:
        if service not in self._reports:
            return False
        reported_s, ok = self._reports[service]
        expires_s = self.settings.health_expires_s
        return ok and (expires_s is None or now_s - reported_s <= expires_s)
