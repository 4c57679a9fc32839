"""The receiver: verifies signed pushes, stores them and answers status requests.

`server` (gunicorn) → `app` (the push route) → `signed_request` with `signatures`, `senders`, `secrets` (verify) →
`push_event` (parse) → `delivery`, `refusal_log` (decisions) · `status_routes`, `metrics` (read) · `errors`
"""
