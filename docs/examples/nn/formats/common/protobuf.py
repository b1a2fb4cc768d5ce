from tapegrad.nn.formats.common import protobuf

# %% Record Enum
kinds = protobuf.Enum("Kind", {"DENSE": 0, "CONV": 1})
layer = protobuf.Message(
    "Layer", protobuf.Field(1, "name", "string"), protobuf.Field(2, "kind", "Kind")
)
format = protobuf.Schema("example", "proto3", [layer], [kinds])
record = format.new("Layer", name="fc1", kind=kinds.numbers["CONV"])
isinstance(record, protobuf.Record), record.name, kinds.names[record.kind]
"kind" in record
