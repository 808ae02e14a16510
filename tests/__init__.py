"""The tests share nothing with the Prefect of whoever runs them.

Prefect reads its settings when it is first imported. This module is imported before any test and any conftest, so the
environment is cleared here.
"""

import atexit
import os
import shutil
import tempfile

for _name in [name for name in os.environ if name.startswith(("PREFECT_", "WATCHDOG_", "SLACK_"))]:
    del os.environ[_name]

_home = tempfile.mkdtemp(prefix="prefect-home-")
atexit.register(shutil.rmtree, _home, ignore_errors=True)
os.environ |= {
    "PREFECT_HOME": _home,
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    # A test that forgot its server must fail, not silently start one.
    "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
    # Tests call flows as functions; a log line outside of a run is no mistake there.
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
}
