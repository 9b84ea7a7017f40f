"""schemathesis asks the agent for everything its description allows, and for what it does not: it answers, and never with a fault."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from agent_process import AgentProcess

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is missing: pip install privcam[test]")
requests = pytest.importorskip("requests", reason="it comes with schemathesis")
pytest.importorskip("uvicorn", reason="the agent's server is missing: pip install privcam[agent]")

from hypothesis import HealthCheck, given, settings  # noqa: E402
from schemathesis.checks import negative_data_rejection, positive_data_acceptance  # noqa: E402

pytestmark = pytest.mark.timeout(120)
HEADERS = {"Authorization": "Bearer " + "t" * 40}
OPERATIONS = {("GET", "/v1/agent"), ("PUT", "/v1/session"), ("DELETE", "/v1/session"), ("PUT", "/v1/captures/{number}"),
              ("GET", "/v1/captures/{number}/frames/{place}"), ("PUT", "/v1/shown/{number}"), ("PUT", "/v1/confirmed/{number}"),
             
              ("PUT", "/v1/pictures/{name}"), ("POST", "/v1/refusal")}
TRIES = 15  # of each operation
NOT_CHECKED = [negative_data_rejection]  # a level of `false` is taken as 0
UNSAID = {"/v1/shown/{number}", "/v1/refusal"}  # that a pattern's rows are of one length no JSON schema can say
ASKS = [(*way, mode) for way in sorted(OPERATIONS) for mode in schemathesis.GenerationMode
        if way != ("GET", "/v1/agent") or mode.is_positive]  # of that one nothing can be wrong


@pytest.fixture(scope="module")
def agent() -> Iterator[AgentProcess]:
    with AgentProcess.light() as running:
        yield running


@pytest.fixture(scope="module")
def described(agent: AgentProcess):
    return schemathesis.openapi.from_url(f"{agent.url}/openapi.json")


def test_every_way_in_is_described(described) -> None:
    found = {(one.ok().method.upper(), one.ok().path) for one in described.get_all_operations()}
    assert found == OPERATIONS


@pytest.mark.parametrize("with_session", [True, False], ids=["session", "no session"])
@pytest.mark.parametrize(("method", "path", "mode"), ASKS)
def test_what_is_answered_is_what_is_described(described, agent: AgentProcess, method: str, path: str, with_session: bool, mode) -> None:
    answered: list[int] = []

    @given(case=described[path][method].as_strategy(generation_mode=mode))
    @settings(max_examples=TRIES, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    def ask(case) -> None:
        if with_session:
            requests.put(f"{agent.url}/v1/session", json={"who": "a test"}, headers=HEADERS, timeout=10)
        answer = case.call(headers=HEADERS if with_session else None)
        answered.append(answer.status_code)
        case.validate_response(answer, excluded_checks=[*NOT_CHECKED, *([positive_data_acceptance] if path in UNSAID else [])])

    ask()
    assert max(answered) < 500
