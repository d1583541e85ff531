"""What gates hold, as a task of its own: red where what this run brought is held, whatever else was published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from templates.airflow.command import WRONG_USE, project_folder
from templates.airflow.operators import HeadraceOperator, interval
from templates.airflow.summary import held_by

_MOST_NAMED = 5
_WROTE = (0, 1)  # exit codes: what is good is published


class GateOperator(HeadraceOperator):
    """Asks what the gate of a dataset holds after a task of the same run.

    The task before has published what passed; so downstream runs on that. This one fails, without retries, where a partition of
    the run's range is held, or one that a command of this run was the first to hold, or where a rule of severity stop holds
    something before the end of the range, and keeps back what comes after it. It asks also where the task before failed, or had
    nothing to do: what is held of the range is held all the same. XCom holds the first of these partitions.

    Args:
        dataset: whose gate.
        of: id of the task whose commands wrote.
        range_of: id of the task that tells the range of the run; the data interval's where it is empty.
        foreseen_of: id of the task that said before what would be held: a person has let the rest through. Empty: nobody has.
        others: as of HeadraceOperator.
    """

    def __init__(self, *, dataset: str, of: str, range_of: str = "", foreseen_of: str = "", **kwargs: Any) -> None:
        super().__init__(command=["quality", "status", dataset], **kwargs)
        self.dataset = dataset
        self.of = of
        self.range_of = range_of
        self.foreseen_of = foreseen_of

    def execute(self, context: Context) -> dict[str, Any]:
        """Ask.

        Raises:
            AirflowFailException: something is held, or nobody knows.
            AirflowSkipException: no command of the run wrote anything, and none has before: there is no gate yet.
        """
        ti = context["task_instance"]
        pulled = ti.xcom_pull(task_ids=self.of, key="headrace")  # of calls that failed, too
        parts = [pulled] if isinstance(pulled, Mapping) else list(pulled or ())
        span = (ti.xcom_pull(task_ids=self.range_of) if self.range_of else None) or interval(context)
        folder = project_folder(self.project)
        outcome = self.headrace(self.arguments(folder), folder)
        found = self._note(context, outcome, "")
        if outcome.code == WRONG_USE and not any(part.get("exit_code") in _WROTE for part in parts if part):
            raise AirflowSkipException(f"nothing was written in this run, and {self.dataset} has no gate yet")
        self.judge(outcome)
        if not isinstance(outcome.document, list):
            raise AirflowFailException("headrace quality status printed no JSON list, so nothing is known of the gate")
        run_ids = [part["run_id"] for part in parts if part and part.get("run_id")]
        held = held_by(outcome.document, run_ids, span)
        foreseen = (ti.xcom_pull(task_ids=self.foreseen_of) or {}).get("held", ()) if self.foreseen_of else ()
        agreed = {(one["from"], one["to"]) for one in foreseen}
        found["held"] = held[:_MOST_NAMED]
        ti.xcom_push(key="headrace", value=found)
        if unforeseen := [one for one in held if (one["from"], one["to"]) not in agreed]:
            raise AirflowFailException(self._told(unforeseen))
        return found

    def _told(self, held: Sequence[Mapping[str, Any]]) -> str:
        named = "; ".join(f"{one['from']} to {one['to']}: {', '.join(one['rules'])}" for one in held[:_MOST_NAMED])
        more = f"; and {len(held) - _MOST_NAMED} more" if len(held) > _MOST_NAMED else ""
        return (
            f"the gate of {self.dataset} holds {len(held)} partition{'s' if len(held) > 1 else ''} ({named}{more}). Readers have "
            f"their last good state, and the rest is published. Look: headrace quality status {self.dataset}"
        )
