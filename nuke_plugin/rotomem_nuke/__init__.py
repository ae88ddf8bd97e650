"""The Nuke plugin: a node's buttons and callbacks over ``rotomem_client``. Python 3.9, standard library only.

``host`` alone imports ``nuke``; everything else is plain Python that is handed nodes by ``host``.
"""
