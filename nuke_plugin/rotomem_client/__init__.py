"""Wire protocol and client of the Rotomem daemon. Python 3.9, stdlib + msgpack + pyzmq only."""
