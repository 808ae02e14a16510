from __future__ import annotations

from tests.support.builders import NOW, deployment, found, minutes, observation, run, with_facts


def test_a_parent_is_a_symptom_of_the_child_deployment_that_failed_it() -> None:
    parent = run("FAILED", "parent", of="etl/parent", message="boom", since=NOW - minutes(1))
    child = run("FAILED", "child", of="etl/child", message="boom", since=NOW - minutes(2), parent_task_run_id="t")
    seen = observation(
        parent,
        child,
        deployments=[deployment("etl/parent"), deployment("etl/child")],
        children={"parent": (child,)},
    )
    by_name = {finding.deployment: finding for finding in found(seen)}

    assert by_name["etl/parent"].symptom_of == by_name["etl/child"].fingerprint
    assert by_name["etl/child"].symptom_of is None
    why = by_name["etl/parent"].cause
    assert why is not None
    assert why.what == ("flow-run", "name of child", "failed")


def test_a_parent_is_a_symptom_of_the_deepest_deployment_that_has_a_finding() -> None:
    message = "ValueError: no rows"
    ids = ("top", "middle", "deep", "subflow")
    runs = [run("FAILED", n, of=f"etl/{n}", message=message, since=NOW - minutes(m)) for m, n in enumerate(ids[:3], 1)]
    subflow = run("FAILED", "subflow", of=None, flow_id="s", message=message, since=NOW - minutes(9))
    children = {above: (below,) for above, below in zip(ids, [*runs[1:], subflow], strict=False)}
    deployments = [deployment(f"etl/{name}") for name in ids[:3]]

    seen = observation(*runs, deployments=deployments, children=children)
    by_name = {finding.deployment: finding for finding in found(seen)}
    assert by_name["etl/top"].symptom_of == by_name["etl/deep"].fingerprint
    assert by_name["etl/middle"].symptom_of == by_name["etl/deep"].fingerprint
    assert by_name["etl/deep"].symptom_of is None
    assert [finding.cause.name for finding in by_name.values() if finding.cause] == ["name of subflow"] * 3

    # What is tolerated there is a finding about the run above.
    rules = [{"match": {"deployment": "etl/deep"}, "failed": {"tolerate": 1}}]
    by_name = {finding.deployment: finding for finding in found(seen, rules=rules)}
    assert by_name["etl/top"].symptom_of == by_name["etl/middle"].fingerprint
    assert by_name["etl/middle"].symptom_of is None


def test_a_child_whose_parent_completed_is_no_finding_of_the_parent() -> None:
    parent = run("COMPLETED", "parent", of="etl/parent", since=NOW - minutes(1))
    child = run("FAILED", "child", of=None, flow_id="sub", since=NOW - minutes(2), parent_task_run_id="t")

    seen = observation(parent, deployments=[deployment("etl/parent")], children={"parent": (child,)})

    assert found(seen) == ()


def test_an_unusable_server_hides_everything_else() -> None:
    seen = observation(run("FAILED"))
    down = with_facts(seen, state=seen.server.state.model_copy(update={"problem": "no answer"}))
    (finding,) = found(down)

    assert (finding.check, finding.severity, finding.observed) == ("server", "critical", "no answer")
    assert finding.fingerprint == "prod/server/server/prod"
