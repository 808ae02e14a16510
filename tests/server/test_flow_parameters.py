"""The digest's form, as a real server takes it."""

from __future__ import annotations

import pytest
from prefect.client.orchestration import get_client
from prefect.exceptions import PrefectHTTPStatusError
from prefect.utilities.callables import parameter_schema

from demo.stack import Server
from flows.digest import digest
from monitoring.config.flow_parameters import deployed_time_zone, parameters


def test_a_real_server_takes_the_form_as_it_stands_and_refuses_what_is_wrong(prefect_server: Server) -> None:
    schema = parameter_schema(digest).model_dump()
    # What the form submits when nobody has touched it.
    sections = schema["definitions"]["PolicyChanges"]["properties"]
    untouched = {name: field["default"] for name, field in sections.items()}
    with get_client(sync_client=True) as client:
        deployment = client.create_deployment(
            client.create_flow_from_name("digest"),
            "form",
            parameter_openapi_schema=schema,
            enforce_parameter_schema=True,
        )

        run = client.create_flow_run_from_deployment(deployment, parameters={"overrides": untouched, "time_zone": None})

        given = digest.validate_parameters(run.parameters)
        assert parameters(given["overrides"]) == deployed_time_zone(given["time_zone"]) == {}
        with pytest.raises(PrefectHTTPStatusError, match="409"):
            client.create_flow_run_from_deployment(deployment, parameters={"overrides": {"late": {"after": "15"}}})
