"""The claims C1..C13 of docs/theory.md, section 6: one folder per family of claims.

A family's folder holds all there is of it:

* ``__init__.py``: its figures and claims, as data (:mod:`nfd.claims.family` says what they are made of),
* ``evidence.py``: one function per figure, from tables of runs to a table of estimates with intervals,
* ``verdict.py``: one function per claim, from that evidence to findings, with rules and thresholds,
* ``figure.py``: one function per figure, from that evidence to panels,
* ``<figure>.rst``: captions.

Plots draw the rows of evidence and claims are judged on them, so that what is drawn is what is judged.
:mod:`nfd.claims.registry` lists the families, :mod:`nfd.claims.rules` holds the algebra of rules and
:mod:`nfd.claims.rates` what the claims about learning rates share, :mod:`nfd.claims.two_layers` what those
about two-layer blocks do. Families never import each other.
"""
