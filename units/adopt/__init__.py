"""Taking over a project that is deployed by hand: `hookd app adopt`.

Map: `look` → `facts` (`checkout`: git · `service`: systemd · `listeners`: /proc · `loose`: what git does not track ·
`options`: gunicorn's · `sites`: nginx's · `variables`) · `decide` (facts → an `adoption`, or `reasons` against it) ·
`show` (says it) · `prepare`, `steps` (carry it out; `bridge`: the files that are there meanwhile) · `back` (undoes it).
"""
