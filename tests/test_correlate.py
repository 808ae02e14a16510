from __future__ import annotations

from tests.support.builders import NOW, deployment, found, minutes, observation, run


def test_a_parent_is_a_symptom_of_the_child_deployment_that_failed_it() -> None:
    parent = run("FAILED", "parent", of="etl/parent", message="boom", since=NOW - minutes(1))
    child = run("FAILED", "child", of="etl/child", message="boom", since=NOW - minutes(2), parent_task_run_id="t")
    seen = observation(
        parent,
        child,
        deployments=[deployment("etl/parent"), deployment("etl/child")],
        failed_children={"parent": (child,)},
    )
    by_name = {finding.deployment: finding for finding in found(seen)}

    assert by_name["etl/parent"].symptom_of == by_name["etl/child"].fingerprint
    assert by_name["etl/child"].symptom_of is None
    why = by_name["etl/parent"].cause
    assert why is not None
    assert (why.kind, why.name, why.reason) == ("flow-run", "name of child", "failed")


def test_a_child_whose_parent_completed_is_no_finding_of_the_parent() -> None:
    parent = run("COMPLETED", "parent", of="etl/parent", since=NOW - minutes(1))
    child = run("FAILED", "child", of=None, flow_id="sub", since=NOW - minutes(2), parent_task_run_id="t")

    seen = observation(parent, deployments=[deployment("etl/parent")], failed_children={"parent": (child,)})

    assert found(seen) == ()


def test_an_unusable_server_hides_everything_else() -> None:
    seen = observation(run("FAILED"))
    down = seen.model_copy(update={"server": seen.server.model_copy(update={"problem": "no answer"})})
    (finding,) = found(down)

    assert (finding.check, finding.severity, finding.observed) == ("server", "critical", "no answer")
    assert finding.fingerprint == "prod/server/server/prod"
