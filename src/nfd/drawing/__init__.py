"""How figures look: one visual language for all of them.

Colour is the parametrization (or, where a panel shows a single one, a ramp over depth or width); a solid line
is standard training, a dashed line decoupled training; a circle is a network, a diamond a limit; bars and
bands are 95 % intervals over seeds; closed forms are dashed black.

Which rows of evidence go into which panel stands with the claims (``figure.py`` in :mod:`nfd.claims`).
:func:`nfd.drawing.page.draw` makes a page of them, :func:`nfd.drawing.page.save_as` writes it, the same bytes
every time.
"""
