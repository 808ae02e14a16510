"""Documents on a real server, as written here and as somebody else may have left them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest
from prefect.blocks.core import Block
from pytest_httpserver import HTTPServer

from demo.stack import Server
from monitoring.adapters.prefect.client.api import Api, open_api
from monitoring.adapters.prefect.store.documents import SLUG, Documents, aside
from monitoring.errors import BadAnswer
from monitoring.model.policy import ApiSettings as Settings
from monitoring.model.target import Target
from tests.support.request_log import logged_requests


@pytest.fixture
def api(prefect_server: Server) -> Iterator[Api]:
    with open_api(Settings()) as api:
        yield api


@pytest.fixture
def documents(api: Api) -> Documents:
    return Documents(api)


def rows(api: Api) -> dict[str, dict[str, Any]]:
    return {
        row["name"]: row for row in api.post("/block_documents/filter", {"block_types": {"slug": {"any_": [SLUG]}}})
    }


def test_gives_back_what_was_written_and_keeps_one_document(api: Api, documents: Documents) -> None:
    documents.write("ledger", "one")
    first = rows(api)["ledger"]["id"]
    documents.write("ledger", "two: é, 漢, \0, " + "x" * 1_000_000)
    Documents(api).write("other", "")
    assert Documents(api).read("ledger") == "two: é, 漢, \0, " + "x" * 1_000_000
    assert Documents(api).read_all(["ledger", "other", "missing"]).keys() == {"ledger", "other"}
    assert documents.names() == ["ledger", "other"]
    assert rows(api)["ledger"]["id"] == first


def test_reading_changes_nothing_and_takes_one_request(api: Api, documents: Documents) -> None:
    requests = logged_requests(api)
    assert documents.read("ledger") is None
    assert documents.read_all(["ledger", "incidents"]) == {}
    assert len(requests) == 2
    assert documents.names() == []
    # Not even the block type is made, and there is no row of any kind that was not there before.
    with pytest.raises(BadAnswer) as missing:
        api.get(f"/block_types/slug/{SLUG}")
    assert missing.value.status == 404


def test_updating_what_was_read_takes_one_request(api: Api, documents: Documents) -> None:
    documents.write("ledger", "one")
    later = Documents(api)
    later.read("ledger")
    requests = logged_requests(api)
    later.write("ledger", "two")
    assert len(requests) == 1


def test_writes_what_others_deleted_or_made_in_between(api: Api, documents: Documents) -> None:
    documents.write("ledger", "one")
    documents.read("ledger")
    Documents(api).delete("ledger")
    documents.write("ledger", "two")
    assert documents.read("ledger") == "two"
    Documents(api).delete("ledger")
    Documents(api).write("ledger", "made anew, under another id")
    documents.write("ledger", "three")
    assert Documents(api).read("ledger") == "three"


def test_deletes_once_and_does_not_mind_again(api: Api, documents: Documents) -> None:
    documents.write("ledger", "one")
    documents.read("ledger")
    Documents(api).delete("ledger")
    documents.delete("ledger")
    documents.delete("ledger")
    assert documents.names() == []


def test_sets_aside_all_that_a_document_holds(api: Api, documents: Documents) -> None:
    documents.write("ledger", "broken")
    document_id = rows(api)["ledger"]["id"]
    api.request("PATCH", f"/block_documents/{document_id}", json={"data": {"note": "by hand"}})
    new = documents.set_aside("ledger")
    assert new == aside("ledger", "broken")
    assert {name: row["data"] for name, row in rows(api).items()} == {new: {"body": "broken", "note": "by hand"}}
    assert documents.set_aside("ledger") is None


def test_sets_aside_without_loss_or_a_second_copy_when_it_is_stopped_half_way(
    api: Api, documents: Documents, monkeypatch: pytest.MonkeyPatch
) -> None:
    documents.write("ledger", "broken")

    def stopped(_: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(documents, "delete", stopped)
    with pytest.raises(KeyboardInterrupt):
        documents.set_aside("ledger")
    assert documents.names() == ["ledger", aside("ledger", "broken")]
    again = Documents(api)
    assert again.set_aside("ledger") == aside("ledger", "broken")
    assert again.names() == [aside("ledger", "broken")]
    assert again.read(aside("ledger", "broken")) == "broken"


def test_a_document_without_its_body_reads_as_empty_and_can_be_set_aside(api: Api, documents: Documents) -> None:
    documents.write("ledger", "one")
    update = {"data": {"body": {"not": "text"}}}
    api.request("PATCH", f"/block_documents/{rows(api)['ledger']['id']}", json=update)
    assert documents.read("ledger") == ""
    new = documents.set_aside("ledger")
    assert rows(api)[str(new)]["data"] == {"body": {"not": "text"}}


def test_a_block_class_of_another_version_reads_ours_and_we_read_its(api: Api, documents: Documents) -> None:
    class Document(Block):
        _block_type_name = "Watchdog document"
        _block_type_slug = SLUG
        body: str
        colour: str = "red"

    documents.write("ours", "hello")
    loaded: Any = Document.load("ours")
    assert loaded.body == "hello"
    Document(body="from tomorrow").save("theirs")
    assert documents.read("theirs") == "from tomorrow"
    documents.write("theirs", "back to today")
    loaded = Document.load("theirs")
    assert (loaded.body, loaded.colour) == ("back to today", "red")
    documents.write("new", "the schema of today is still known")
    assert rows(api)["new"]["block_schema_id"] == rows(api)["ours"]["block_schema_id"]


def test_documents_of_other_types_are_not_ours(api: Api, documents: Documents) -> None:
    class Foreign(Block):
        _block_type_name = f"Foreign {uuid4()}"
        body: str

    Foreign(body="not yours").save("ledger")
    assert documents.read("ledger") is None
    documents.write("ledger", "ours")
    documents.delete("ledger")
    assert documents.names() == []
    loaded: Any = Foreign.load("ledger")
    assert loaded.body == "not yours"


def test_a_server_that_gives_few_rows_at_a_time_hides_none(fresh_server: Callable[..., Server]) -> None:
    server = fresh_server({"PREFECT_SERVER_API_DEFAULT_LIMIT": "3"})
    with open_api(Settings(), Target(address=server.api_url)) as api:
        documents = Documents(api)
        names = [f"document-{n}" for n in range(7)]
        for name in names:
            documents.write(name, name)
        assert documents.names() == names
        assert documents.read_all(names[:3]) == {name: name for name in names[:3]}
        # Three rows of seven would look as if the other four did not exist.
        with pytest.raises(BadAnswer, match="422"):
            documents.read_all(names)


def test_what_is_rejected_and_what_is_not_there_are_errors(httpserver: HTTPServer) -> None:
    """A conflict about a document that does not exist, as PostgreSQL has it while the first ones are made."""
    httpserver.expect_request("/api/csrf-token").respond_with_json({}, status=404)
    httpserver.expect_request("/api/block_documents/filter").respond_with_json([])
    httpserver.expect_request("/api/block_types/").respond_with_json({}, status=409)
    httpserver.expect_request(f"/api/block_types/slug/{SLUG}").respond_with_json({"id": "type"})
    httpserver.expect_request("/api/block_schemas/").respond_with_json({"id": "schema"})
    httpserver.expect_request("/api/block_documents/").respond_with_json({}, status=409)
    with (
        open_api(Settings(), Target(address=httpserver.url_for("/api"))) as api,
        pytest.raises(BadAnswer, match="does not take"),
    ):
        Documents(api).write("request-1", "asked")
