"""Subjects of a registry against contracts."""

import json
from dataclasses import replace
from typing import Any

from contracts.evolution.avro import avro_schema
from contracts.evolution.registered import RegisteredAvro
from contracts.spec.model import Column, ColumnType, Contract
from operations.drift.subjects import Subject, compare_subjects, normal_form

ID, CITY = Column(name="id", type=ColumnType.STRING, required=True), Column(name="city", type=ColumnType.STRING)
ORDER = Contract(name="order", version="1.1.0", kind="event", columns=(ID, CITY), event_id="id")
NAME = "headrace.validated.order-value"


def registered(contract: Contract, **more: Any) -> Subject:
    return Subject(versions=[RegisteredAvro("registry version 1", json.dumps(avro_schema(contract)))], **more)


def told(subjects: dict[str, Subject], contract: Contract = ORDER) -> list[tuple[str, str]]:
    found = compare_subjects("registry", {NAME: contract, "other-value": replace(contract, name="other")}, subjects, {})
    return [(one.what, one.deployed) for one in found]


def test_where_nothing_is_registered_nothing_is_missing() -> None:
    assert told({}) == []
    assert told({NAME: Subject(), "other-value": Subject()}) == []


def test_one_that_is_not_there_beside_others_that_are() -> None:
    """arkiaman/terraform-provider-confluent-schema-registry#17: a subject that was deleted was an error, and no difference."""
    fine = registered(replace(ORDER, name="other"))
    assert told({"other-value": fine}) == [(f"subject {NAME}", "not there")]
    assert told({"other-value": fine, NAME: Subject(deleted=True)}) == [(f"subject {NAME}", "deleted")]


def both(subject: Subject) -> dict[str, Subject]:
    return {NAME: subject, "other-value": registered(replace(ORDER, name="other"))}


def test_the_same_schema_is_no_difference_however_it_is_written() -> None:
    assert told(both(registered(ORDER))) == []
    (version,) = registered(ORDER).versions
    document = json.loads(version.text)
    written = json.dumps(
        {key: document[key] for key in reversed(document)}, indent=8
    )  # confluentinc/terraform-provider-confluent#573
    assert told(both(Subject(versions=[RegisteredAvro("v", written)]))) == []
    described = replace(ORDER, description="other words", columns=(ID, replace(CITY, description="where")))
    assert told(both(registered(described))) == []


def test_a_namespace_that_a_registry_strips_is_no_difference() -> None:
    """confluentinc/terraform-provider-confluent#181."""
    inner = {"name": "N", "type": "record", "fields": [{"name": "a", "type": "string"}]}
    outer = {"name": "M", "namespace": "com.example", "type": "record", "fields": [{"name": "x", "type": inner}]}
    told_twice = json.loads(json.dumps(outer))
    told_twice["fields"][0]["type"]["namespace"] = "com.example"
    assert normal_form(json.dumps(outer)) == normal_form(json.dumps(told_twice))


def test_a_contract_that_went_on_is_to_be_registered() -> None:
    earlier = replace(ORDER, version="1.0.0", columns=(ID,))
    (found,) = compare_subjects("registry", {NAME: ORDER}, {NAME: registered(earlier)}, {NAME: "order.v1.yaml"})
    assert found.deployed == "registry version 1 is another schema" and "city" in found.repository
    assert found.remedy == "headrace contract register order" and found.file == "order.v1.yaml"


def test_a_contract_that_breaks_what_is_registered_is_told_by_the_rules_of_contract_check() -> None:
    later = replace(ORDER, columns=(ID, replace(CITY, type=ColumnType.INTEGER)))
    (found,) = compare_subjects("registry", {NAME: ORDER}, {NAME: registered(later)}, {})
    assert "breaks it" in found.repository and "headrace contract check order --against-registry" in found.remedy


def test_a_mode_of_its_own_that_is_another() -> None:
    assert told(both(registered(ORDER, mode="NONE"))) == [(f"subject {NAME}", "held to NONE")]
    assert told(both(registered(ORDER, mode="BACKWARD_TRANSITIVE"))) == []
    assert told(both(registered(ORDER, mode=None))) == [], "the registry's own mode is no choice of the project"


def test_a_project_whose_every_subject_was_deleted_had_registered_them() -> None:
    assert told({NAME: Subject(deleted=True)}) == [(f"subject {NAME}", "deleted"), ("subject other-value", "not there")]
