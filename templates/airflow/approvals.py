"""Operators that ask a person: whether a large replay may run, and whether one goes on of which the gate would hold a part."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk import Context, Param
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.comms import CreateHITLDetailPayload

from templates.airflow.command import Outcome, project_folder
from templates.airflow.operators import HeadraceOperator

REJECT = "Reject"
_ABOUT = " It takes "  # what follows is an estimate, which may be another one each time
_MOST_TOLD = 20


class AskOperator(HITLOperator):
    """Asks a person, where the task before says in ``needs`` what somebody has to agree to; else goes on at once.

    Args:
        of: id of the task before.
        respond_s: how long an answer is waited for.
        approve: the answer that lets it go on.
        reason: what stands in the field for the reason.
        refused: what is raised where the answer is another one, or none comes in time; told: what that means.
        changed: what is said where the question has changed since this run asked.
    """

    def __init__(
        self,
        *,
        of: str,
        respond_s: int,
        approve: str,
        reason: str,
        refused: type[AirflowException],
        told: str,
        changed: str,
        **kwargs: Any,
    ) -> None:
        for name in ("execution_timeout", "params"):  # Airflow passes those of the DAG
            kwargs.pop(name, None)
        super().__init__(
            options=[approve, REJECT],
            defaults=[REJECT],
            params={"reason": Param(reason, type="string", minLength=1, description="Why; it is recorded with the replay.")},
            response_timeout=timedelta(seconds=respond_s),
            execution_timeout=None,
            **kwargs,
        )
        self.of, self.approve, self.usual_reason, self.refused, self.told, self.changed = (
            of,
            approve,
            reason,
            refused,
            told,
            changed,
        )

    def execute(self, context: Context) -> Any:
        """Nothing to approve: go on.

        Raises:
            AirflowFailException: people would see an earlier question, with other figures.
        """
        if not context["task_instance"].xcom_pull(task_ids=self.of)["needs"]:
            return {"approved_by": "", "reason": ""}
        if self._shown(context).partition(_ABOUT)[0] != str(self.body).partition(_ABOUT)[0]:
            raise AirflowFailException(
                f"{self.changed} since this run asked before, and Airflow still shows the old question; the new one is: "
                f"{self.body} Delete this run and ask for the backfill again, or trigger the DAG with start and end"
            )
        return super().execute(context)

    def _shown(self, context: Context) -> str:
        """The question as Airflow shows it: that of the first time, where a run was cleared (apache/airflow#73235)."""
        asked = CreateHITLDetailPayload(
            ti_id=context["task_instance"].id, options=self.options, subject=self.subject, body=self.body,
            defaults=self.defaults, multiple=self.multiple, params=self.serialized_params, assigned_users=[],
        )  # fmt: skip
        return str(getattr(task_runner.SUPERVISOR_COMMS.send(asked), "body", None) or "")

    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, str]:
        """Who approved it, and why. Raises what ``refused`` says: refused, or not answered in time."""
        answer = super().execute_complete(context, event)
        user = answer.get("responded_by_user") or {}
        name = user.get("name") or user.get("id") if isinstance(user, dict) else getattr(user, "name", user)
        if self.approve not in answer["chosen_options"]:
            how = "nobody answered in time" if event.get("timedout") else f"{name or 'somebody'} refused"
            raise self.refused(f"{how}; {self.told}")
        reason = str((answer["params_input"] or {}).get("reason") or self.usual_reason)
        return {"approved_by": str(name or "somebody"), "reason": reason}


class ApproveOperator(AskOperator):
    """Asks whether a replay may run, where its plan needs an approval. of: id of the plan's task.

    Refused, or not answered in time: what follows is skipped, and nothing was changed.
    """

    def __init__(self, *, of: str = "plan", respond_s: int, **kwargs: Any) -> None:
        plan = f"ti.xcom_pull(task_ids='{of}')"
        super().__init__(
            of=of,
            respond_s=respond_s,
            approve="Approve",
            reason="backfill",
            refused=AirflowSkipException,
            told="nothing was changed",
            changed="the plan has changed",
            subject=f"Replay {{{{ {plan}['name'] }}}}",
            body=f"{{{{ {plan}['start'] }}}} to {{{{ {plan}['end'] }}}}: {{{{ {plan}['records'] }}}} records, "
            f"{{{{ '{{:,}}'.format({plan}['bytes']) }}}} bytes, {{{{ {plan}['windows'] }}}} windows. "
            f"Asked because it {{{{ {plan}['needs'] | join('; ') }}}}.{_ABOUT}{{{{ {plan}['estimate_told'] }}}}.",
            **kwargs,
        )


class ApproveHeldOperator(AskOperator):
    """Asks whether a replay is promoted of which the gate would hold a part. of: id of the task that asked the gate.

    Refused, or not answered in time: it fails. Nothing was promoted, and the replay is there to be looked at.
    """

    def __init__(self, *, of: str = "gate", respond_s: int, **kwargs: Any) -> None:
        gate = f"ti.xcom_pull(task_ids='{of}')"
        super().__init__(
            of=of,
            respond_s=respond_s,
            approve="Promote the rest",
            reason="the rest is right",
            refused=AirflowFailException,
            told="nothing was promoted, and the replay claims its windows: mend what is wrong and headrace replay discard it",
            changed="what the gate would hold has changed",
            subject=f"The gate would hold a part of replay {{{{ {gate}['name'] }}}}",
            body=f"{{{{ {gate}['needs'] | join('; ') }}}}: {{{{ {gate}['told'] }}}}. Readers keep what they see of these, and get "
            "the rest.",
            **kwargs,
        )


class VerdictOperator(HeadraceOperator):
    """Asks what the gate of a dataset would hold of a replay that is not promoted yet. replay: its name; a template.

    XCom holds ``needs``, what a person has to agree to, and ``held``, the partitions.
    """

    def __init__(self, *, replay: str, **kwargs: Any) -> None:
        super().__init__(command=["replay", "gate", replay], **kwargs)

    def execute(self, context: Context) -> dict[str, Any]:
        """Raises AirflowFailException: the gate could not be asked."""
        folder = project_folder(self.project)
        outcome = self.headrace(self.arguments(folder), folder)
        self._note(context, outcome, "")
        if not _is_verdict(outcome):
            self.judge(outcome)
            raise AirflowFailException("headrace replay gate printed no verdict, so nothing is known of the gate")
        held = [{key: one[key] for key in ("from", "to", "rules", "severity")} for one in outcome.document["held"]]
        return {"name": outcome.document["name"], "needs": outcome.document["needs"], "held": held, "told": _told(held)}


def _is_verdict(outcome: Outcome) -> bool:
    """Exit code 1 says that something would be held, which is for a person to judge."""
    return outcome.code in (0, 1) and isinstance(outcome.document, Mapping) and "needs" in outcome.document


def _told(held: list[dict[str, Any]]) -> str:
    named = "; ".join(f"{one['from']} to {one['to']}: {', '.join(one['rules'])}" for one in held[:_MOST_TOLD])
    return named + (f"; and {len(held) - _MOST_TOLD} more" if len(held) > _MOST_TOLD else "")
