"""A Modal server on loopback, to which the unmodified SDK and CLI talk: `python -m tests.modal_server`.

A *part* is a class whose methods are named as the RPCs that they answer, made with the server's `State`:

    class Dicts:
        def __init__(self, state: State) -> None: ...
        async def DictLen(self, request, call: Call) -> api_pb2.DictLenResponse: ...   # a unary answer
        async def DictContents(self, request, call: Call): yield ...                   # a streamed one
        def admin_dicts(self, **details) -> Any: ...       # POST /admin/dicts with a JSON object of details
        async def close(self) -> None: ...                 # optional: the server ends

What the server does is what the SDK's source shows that it expects; nothing here was seen on the real Modal.
"""
