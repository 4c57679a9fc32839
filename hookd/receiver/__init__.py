"""The receiver: verifies signed pushes, stores them and answers status requests.

`server` (gunicorn) → `app` (the push route) → `signed_request` (verify) → `delivery` (parse, decide) · `refusal_log` ·
`status_routes`, `metrics` (read) · `errors`
"""
