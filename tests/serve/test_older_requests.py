"""The older services' documented requests, as their READMEs print them, over the application in this process."""

from __future__ import annotations

import json
import time
from typing import Any

from pipeline.types import SpecRecord
from tests.serve.conftest import App

JSON = {"Content-Type": "application/json"}

A_STRIPE = """{
    "user_id": "u-stripe-1",
    "events": [
        { "ts": "2025-07-08T14:12:03Z", "endpoint": "GET /v1/invoices", "params": {} },
        { "ts": "2025-07-08T14:13:11Z", "endpoint": "PUT /v1/invoices/in_123/status", "params": { "status": "draft" } }
    ],
    "prompt": "Let''s finish billing for Q2 and get this invoice paid",
    "spec_url": "https://raw.githubusercontent.com/stripe/openapi/master/openapi/spec3.json",
    "k": 5
}"""
A_GITHUB = """{
    "user_id": "u-github-1",
    "events": [
        { "ts": "2025-07-09T10:30:00Z", "endpoint": "GET /repos/owner/repo", "params": {} },
        { "ts": "2025-07-09T10:31:00Z", "endpoint": "GET /repos/owner/repo/issues", "params": { "state": "open" } }
    ],
    "prompt": "I need to check on the recent pull requests for this project",
    "spec_url": "https://raw.githubusercontent.com/github/rest-api-description/main/descriptions/api.github.com/api.github.com.json",
    "k": 3
}"""
A_FEEDBACK = '{"feedback": "accept"}'
B = (
    """{
  "prompt": "I need to get user information for authentication",
  "history": [
    {"api_call": "/api/auth/login", "method": "POST", "timestamp": "2024-01-01T10:00:00Z"}
  ],
  "max_predictions": 5,
  "temperature": 0.7
}""",
    """{
    "prompt": "create a new user account",
    "max_predictions": 3
  }""",
    """{
    "prompt": "update user profile",
    "history": [
      {"api_call": "/api/users/123", "method": "GET"},
      {"api_call": "/api/users/123/profile", "method": "GET"}
    ],
    "max_predictions": 3
  }""",
    """{
    "prompt": "I need to create a new user account",
    "history": [],
    "max_predictions": 3
  }""",
)
C_SUGGEST = """{
    "user_id": "user_123",
    "context": "search_query",
    "context_type": "search",
    "limit": 5,
    "device": "mobile"
  }"""
C_EVENT = """{
    "event_type": "click",
    "user_id": "user_123",
    "proposition_id": "prop_456",
    "timestamp": "2025-12-13T22:00:00Z"
  }"""


# What their clients sent beside what their READMEs print: more in an entry, other words, a longer list, no body.
B_MORE = """{
  "prompt": "create a new user account",
  "history": [
    {"api_call": "GET /api/users", "method": "GET", "timestamp": "2024-01-01T10:00:00Z", "response_time_ms": 12.5,
     "description": "List users", "user_agent": {"name": "curl"}}
  ],
  "max_predictions": 3
}"""
C_MORE = """{
  "user_id": "user_123", "context": "homepage", "context_type": "recommendation", "limit": 100, "device": "ios"
}"""


async def post(app: App, path: str, body: str, **headers: str) -> Any:
    return await app.client.post(path, content=body, headers=JSON | headers)


async def test_a_s_predictions_and_their_feedback(app: App):
    digest = (await app.predict(catalog="billing")).json()["metadata"]["catalog"]
    for body in (A_STRIPE, A_GITHUB):
        asked = json.loads(body)
        # Stands for what the address answers, which no test fetches.
        await app.state.catalogs.put_spec("local", asked["spec_url"], SpecRecord(digest, time.time()), True)
        answer = await post(app, "/predict", body)
        assert answer.status_code == 200, answer.text
        assert len(answer.json()["predictions"]) == asked["k"]
        assert answer.json()["metadata"]["catalog"] == digest
        nobodys = await post(app, "/feedback", A_FEEDBACK)
        assert (nobodys.status_code, "needs a user_id" in nobodys.json()["detail"]) == (400, True)
        told = await post(app, "/feedback", A_FEEDBACK, **{"X-User-ID": asked["user_id"]})
        assert (told.status_code, told.json()["prediction_id"]) == (202, answer.json()["prediction_id"])


async def test_b_s_predictions(app: App):
    for body in B:
        asked = json.loads(body)
        answer = await post(app, "/predict", body)
        assert answer.status_code == 200, answer.text
        assert len(answer.json()["predictions"]) == asked["max_predictions"]
        unmatched = list(range(len(asked.get("history", []))))  # the default catalog has none of these calls
        assert answer.json()["metadata"]["unmatched"] == unmatched


async def test_b_s_history_may_say_more_than_is_read(app: App):
    answer = await post(app, "/predict", B_MORE)
    assert (answer.status_code, len(answer.json()["predictions"])) == (200, 3), answer.text
    wrong = await post(app, "/predict", B_MORE.replace('"method": "GET"', '"method": 1'))
    assert (wrong.status_code, "history.0.method" in wrong.json()["detail"]) == (400, True)
    newer = await app.predict(catalog="billing", events=[{"endpoint": "GET /v1/charges", "duration": 1}])
    assert "events.0.duration: there is no such field" in newer.json()["detail"]


async def test_b_s_header_says_whose_prediction_it_is(app: App):
    body = '{"prompt": "test request 1", "max_predictions": 1}'
    answer = await post(app, "/predict", body, **{"X-User-ID": "test-user-123"})
    assert (answer.status_code, len(answer.json()["predictions"])) == (200, 1)
    accept = {"feedback": "accept", "user_id": "test-user-123"}
    told = await app.client.post("/feedback", json=accept)
    assert told.json()["prediction_id"] == answer.json()["prediction_id"]


async def test_c_s_suggestion_and_its_click(app: App):
    offers = [{"id": "prop_456", "title": "Popular search"}, {"id": "prop_457", "title": "Saved searches"}]
    await app.client.put("/catalogs/offers", json=offers)
    suggested = await post(app, "/suggest", C_SUGGEST)
    assert suggested.status_code == 200, suggested.text
    assert [p["id"] for p in suggested.json()["propositions"]] == ["prop_456", "prop_457"]
    clicked = await post(app, "/log_event", C_EVENT)
    assert (clicked.status_code, clicked.json()["suggestion_id"]) == (202, suggested.json()["suggestion_id"])


async def test_c_s_own_words_and_long_lists_are_taken(app: App):
    answer = await post(app, "/suggest", C_MORE)
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["propositions"]) == answer.json()["metadata"]["propositions"] == 26
