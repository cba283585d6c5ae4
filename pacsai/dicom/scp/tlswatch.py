"""Whether TLS can be spoken with the files that the settings name, while the node runs; told when that changes."""

from __future__ import annotations

import time

import structlog

from pacsai.config import Tls
from pacsai.dicom import tls
from pacsai.dicom.scp.backoff import Backoff
from pacsai.story import Story

log = structlog.get_logger()

_DAY_S = 86400.0


class TlsWatch:
    """Watches the TLS files; `settings` is None where no TLS is wanted. Tells the log and the node's story."""

    def __init__(self, settings: Tls | None, story: Story) -> None:
        self._settings = settings
        self._story = story
        self._check_at = float("inf")
        self._again = Backoff()
        self._amiss = False

    def check(self) -> None:
        """Tell of a certificate that has ended or soon will; raises TlsError where the files cannot be used."""
        self._check_at = time.monotonic() + _DAY_S
        amiss = self._settings and tls.check(self._settings)
        if amiss:
            self._tell(amiss)

    def check_daily(self) -> None:
        """Check once a day; never raises."""
        if time.monotonic() > self._check_at:
            try:
                self.check()
            except tls.TlsError as error:
                self._tell(str(error))

    def usable(self) -> bool:
        """Return whether peers can be served by TLS now, or need not be; why not is told once."""
        if self._settings is None or self._settings.port is None:
            return True
        try:
            tls.server_context(self._settings)
        except tls.TlsError as error:
            if not self._amiss:
                self._tell(f"{error}; until that is in order, new receiver processes serve the plain port only")
            self._amiss = True
            return False
        return True

    def recovered(self) -> bool:
        """Return True once when the files can be used again; looks after growing pauses."""
        if not self._amiss or not self._again.is_due():
            return False
        if not self.usable():
            self._again.failed()
            return False
        self._amiss = False
        self._again.worked()
        self._tell("the TLS files are in order again")
        return True

    def _tell(self, reason: str) -> None:
        log.error(reason)
        self._story.tell("TLS certificate", reason=reason)
