"""Data sets: from a name in the config to one prepared file, and from that file to arrays.

* :mod:`~nfd.data.sources`: the data sets that are known, one record each; check, fingerprint, prepare
* :mod:`~nfd.data.digits`, :mod:`~nfd.data.torchvision_sets`, :mod:`~nfd.data.image_folder`,
  :mod:`~nfd.data.arrays`: one reader each; :mod:`~nfd.data.raw` is what every reader gives
* :mod:`~nfd.data.download`: one file from the network, resumed where it broke off
* :mod:`~nfd.data.prepared`: the prepared file, its order and its scaling
* :mod:`~nfd.data.needs`: whether there is data enough for the experiments

Heavy packages are imported where they are used: a workflow calls
:func:`~nfd.data.sources.check_settings` before it starts.
"""
