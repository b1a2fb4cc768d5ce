from tapegrad.nn import mxnet as mx

# %% KVStore
store = mx.kvstore.KVStore("local")
store.init("w", mx.nd.zeros((2,)))
store.push("w", [mx.nd.ones((2,)), mx.nd.ones((2,))])  # of two devices: their sum
w = mx.nd.empty((2,))
store.pull("w", out=w)
w

# %% create
mx.kvstore.create("local").type

# %% for_module
store, on_store = mx.kvstore.for_module("local", 2, {"w": mx.nd.ones((2,))})
store.type, on_store

# %% key_number
mx.kvstore.key_number("3"), mx.kvstore.key_number("weight")

# %% key_pairs
mx.kvstore.key_pairs(["a", "b"], [mx.nd.ones((1,)), mx.nd.zeros((1,))])


# %% register_store
class Remembering(mx.kvstore.KVStore):
    """A store that keeps what was pushed."""


@mx.kvstore.register_store("remember")
def remembering(kind):
    return Remembering(kind)


type(mx.kvstore.create("remember_all")).__name__
