from typing import NamedTuple

from tapegrad import nn
from tapegrad.nn.core import state


# %% saved_record saved_record_fields saved_records
@state.saved_record
class Padding(NamedTuple):
    left: int
    right: int


class Padded(nn.Module):
    def __init__(self):
        super().__init__()
        self.padding = Padding(1, 2)


state.saved_record_fields(Padding)
Padding in state.saved_records().values()
nn.save(Padded(), "padded.tg")


# %% has_default
class Scaled(nn.Module):
    factor = 2.0


state.has_default(Scaled, "factor"), state.has_default(Scaled, "other")
