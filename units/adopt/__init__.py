"""Taking over a project that is deployed by hand: `hookd app adopt`.

Map: `facts` (looks: `checkout` at git, `service` at systemd, `listeners` at /proc, `loose` at what git does not track,
`options` at gunicorn's, `sites` at nginx's, `variables`) · `decide` (facts → an `adoption`, or all that stands in the
way) · `show` (says it) · `prepare`, `steps` (carry it out; `bridge` has the files that exist meanwhile) · `back`.
"""
