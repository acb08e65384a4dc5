"""``tars run CONFIG``: read the config, set up the log, run the tree, read the config again on SIGHUP.

Law: knows nothing of the command line's library. A service starts without it, and it costs a quarter of a start.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .application import Plan, next_start, plan, replan
from .config import ConfigError
from .log import configure
from .process import BAD_CONFIG
from .process import run as run_process
from .reload import Wanted
from .spec import SupervisorSpec
from .streams import let_go_of, tell_user


def run_config(config: Path) -> int:
    """Run the service of this file until it ends or is told to; the exit code. What is wrong with the file goes to the standard error."""
    try:
        with _nothing_to_collect():
            planned = plan(config, os.environ)
    except ConfigError as error:
        tell_user(str(error))
        return BAD_CONFIG
    try:
        configure(planned.log, sys.stdout)
    except OSError as error:
        tell_user(f"{config}: log.file: cannot be opened: {error.filename or planned.log.file}: {error.strerror}")
        return BAD_CONFIG
    gc.freeze()  # classes and code are here to stay: no collection, which nobody can interrupt, need look at them again
    code = run_process(
        planned.spec,
        stop_deadline_s=planned.stop_deadline_s,
        reload=lambda running: _reload(planned, running, config),
    )
    let_go_of(sys.stdout)
    return code


@contextmanager
def _nothing_to_collect() -> Iterator[None]:
    """Importing an application makes much that stays, and hardly any garbage."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _reload(first: Plan, running: SupervisorSpec, config: Path) -> Wanted:
    now = replan(running, config, os.environ)
    return Wanted(now.spec, now.stop_deadline_s, next_start(first, now))
