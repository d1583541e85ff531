"""Settings of the local Airflow that depend on its database."""

from pathlib import Path

import pytest

from devstack import airflow, airflow_sqlite
from devstack.layout import Layout

ARGS = ("AIRFLOW__DATABASE__SQL_ALCHEMY_CONNECT_ARGS", "AIRFLOW__DATABASE__SQL_ALCHEMY_CONNECT_ARGS_ASYNC")


def test_sqlite_is_waited_for_and_another_database_has_settings_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = Layout.default().with_home(tmp_path)
    monkeypatch.delenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", raising=False)
    given = airflow.variables(layout, 1)
    for name in ARGS:
        module, _, attribute = given[name].rpartition(".")
        assert module == airflow_sqlite.__name__ and getattr(airflow_sqlite, attribute)["timeout"] >= 60
    monkeypatch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "postgresql+psycopg://localhost/airflow")
    assert not set(ARGS) & airflow.variables(layout, 1).keys()


def test_a_test_may_say_when_a_scheduler_is_believed_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD"
    monkeypatch.delenv(name, raising=False)
    assert airflow.variables(Layout.default().with_home(tmp_path), 1)[name] == "120"
    monkeypatch.setenv(name, "20")
    assert airflow.variables(Layout.default().with_home(tmp_path), 1)[name] == "20"
