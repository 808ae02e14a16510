"""``watchdog notify``: whether notifications arrive."""

from __future__ import annotations

import logging
import secrets
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from monitoring.cli import UNABLE
from monitoring.cli.session import Address, ConfigPath, configuration, open_session
from monitoring.cli.terminal import print_line, reports_errors
from monitoring.config.alert_settings import Receiver
from monitoring.doctor.receivers import receivers
from monitoring.errors import ConfigError, DeliveryError
from monitoring.messages.route_test import route_test_message
from monitoring.model.outbox import Delivery, DigestContent

if TYPE_CHECKING:
    from monitoring.wiring import Session

app = App(name="notify")


@app.command(name="test")
@reports_errors
def send_test(
    *,
    route: Annotated[str | None, Parameter(name="--route", help="Only by this route. [default: by each]")] = None,
    config: ConfigPath = None,
    target: Address = None,
) -> int:
    """Send a test notification by each route, and print which receivers accepted theirs, and why the others did not.

    Nothing is saved, and nobody is mentioned. Run it where the worker runs, with its environment. Exit status: 0 all
    were accepted, 3 not all.
    """
    policies = configuration(config, target)
    routes = receivers(policies.config)
    if not routes:
        raise ConfigError("no route has a receiver: set slack.channel or alerts.default")
    if route is not None and route not in routes:
        raise ConfigError(f"--route: {route!r}: expected one of {', '.join(routes)}")
    # On a slow machine Prefect would print that its event about a used block is still to be sent.
    logging.getLogger("EventsWorker").setLevel(logging.ERROR)
    with open_session(policies, target) as server:
        failed = [not _sent(server, name, routes[name]) for name in ([route] if route else routes)]
    return UNABLE if any(failed) else 0


def _sent(server: Session, route: str, receiver: Receiver) -> bool:
    """Send by a route, and print what became of it; return whether the receiver accepted it."""
    message = route_test_message(server.config.target.name, route, server.now)
    content = DigestContent(target=server.config.target.name, day=server.now.date(), message=message)
    # The delivery names no route: those whom the digest's route mentions are not mentioned by a test.
    delivery = Delivery(id=f"test-{secrets.token_hex(8)}", kind="post", digest=content, queued_at=server.now)
    try:
        server.notifier(route).post(delivery, None)
    except DeliveryError as error:
        outcome = "it is unknown whether it arrived" if error.outcome_unknown else "not sent"
        print_line(f"{route}: {outcome}: {error}")
        return False
    print_line(f"{route}: arrived: accepted by {_words(receiver)}")
    return True


def _words(receiver: Receiver) -> str:
    if receiver.channel:
        return f"Slack for the channel {receiver.channel}"
    if receiver.webhook_secret:
        return f"the Slack webhook in the Secret block {receiver.webhook_secret}"
    return f"the receiver of the block {receiver.block}"
