"""One deployment of one app.

`pipeline` holds all steps in their order. `target` chooses the commit and decides, `build` makes and checks a release,
`restart` and `blue_green` are the two handovers, which `start` a release. `repair` corrects drift, and `retention`
prunes.
"""
