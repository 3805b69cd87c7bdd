"""The networks: parametrizations as data, the parts a network is put together from, and the stack.

Only :mod:`nfd.network.stack` loads torch; everything else is facts and formulas.
"""
